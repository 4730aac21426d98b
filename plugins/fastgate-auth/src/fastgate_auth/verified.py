"""Credentials that were right a moment ago, so that a slow hash is not computed for every request."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import OrderedDict

_MOST = 1024


class Verified:
    """A bounded set of credentials, each for a while. It holds no passwords: only their HMAC, with a key of its own."""

    def __init__(self, seconds: float) -> None:
        """Remember for so long; 0: nothing."""
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()  # the one used longest ago first

    def mark(self, name: str, password: bytes) -> bytes:
        """Return what stands for credentials here."""
        return hmac.digest(self._key, name.encode() + b"\0" + password, "sha256")

    def add(self, mark: bytes) -> None:
        """Remember credentials, in the place of those used longest ago when there are too many."""
        if self._seconds:
            self._until[mark] = time.monotonic() + self._seconds
            self._until.move_to_end(mark)
            if len(self._until) > _MOST:
                self._until.popitem(last=False)

    def __contains__(self, mark: bytes) -> bool:
        until = self._until.get(mark)
        if until is None:
            return False
        if until < time.monotonic():
            del self._until[mark]
            return False
        self._until.move_to_end(mark)
        return True
