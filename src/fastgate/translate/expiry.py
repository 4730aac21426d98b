"""When the certificates of listeners are over. Certificates that are over are served: clients decide what they take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastgate.ir import Ir, KeyPair

SOON = timedelta(days=14)
BAD = ("expired", "not valid yet")


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that a listener shows to clients."""

    listener: str  # its key
    pair: KeyPair

    def state(self, now: datetime) -> str:
        """Return "valid", "expires soon", "expired" or "not valid yet"."""
        if now >= self.pair.not_after:
            return "expired"
        if now < self.pair.not_before:
            return "not valid yet"
        return "valid" if now < self.pair.not_after - SOON else "expires soon"


def certificates_of(ir: Ir) -> Iterator[Shown]:
    """Return the certificates of every listener, each once, in the order of the listener's choices."""
    pairs = {pair.digest: pair for pair in ir.key_pairs}
    for listener in {listener.key: listener for socket in ir.sockets for listener in socket.listeners}.values():
        choices = listener.tls.choices if listener.tls is not None else ()
        for digest in dict.fromkeys(digest for choice in choices for digest in choice.certificates):
            yield Shown(listener.key, pairs[digest])
