"""Keys of session tickets (csrc/fg_secrets.h): the same in all workers, so that each resumes what another began.

The manager makes them and replaces them by time. What is next is known to all before the first of them uses it, and
what was used last is still understood. Workers keep them for the manager's successor: sessions outlive restarts and
upgrades.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastgate.core import secrets, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

ROTATION = 12 * 3600.0  # seconds that a key encrypts for; it is understood for as long again


class TicketKeys:
    """Three keys: current, next and previous.

    Attributes:
        rotated: when the current one became that, in seconds of the epoch; 0 before there is any.
    """

    def __init__(self) -> None:
        """Have none; the first `refresh` makes them, unless others are restored before."""
        self.rotated = 0.0
        self._keys: list[bytes] = []

    def due(self, now: float) -> float:
        """Return the seconds until the next rotation; 0 when it is due."""
        age = now - self.rotated
        return ROTATION - age if self._keys and 0 <= age < ROTATION else 0.0  # a clock may have been set back

    def refresh(self, now: float) -> bool:
        """Make or rotate the keys if that is due; whether it was."""
        if self.due(now):
            return False
        if not self._keys or not 0 <= now - self.rotated < 2 * ROTATION:
            self._keys = [_key() for _ in range(3)]  # none at all, or all of them too old to be used again
        else:
            current, following, _ = self._keys
            self._keys = [following, _key(), current]
        self.rotated = now
        return True

    def seal(self) -> int:
        """Return the descriptor that TICKETS takes: of a memfd, the caller's."""
        return snapshot.seal(b"".join(self._keys), "fastgate-tickets")

    def document(self) -> dict[str, Any]:
        """Return what a successor has to know. It goes into memfds of this user and nowhere else."""
        return {"rotated": self.rotated, "keys": [key.hex() for key in self._keys]}

    def restore(self, documents: Iterable[dict[str, Any]]) -> None:
        """Go on with the latest of these keys, when they are later than what is known."""
        for document in documents:
            keys = [bytes.fromhex(key) for key in document["keys"]]
            if document["rotated"] > self.rotated and [len(key) for key in keys] == [secrets.TICKET_KEY] * 3:
                self.rotated, self._keys = document["rotated"], keys


def _key() -> bytes:
    return os.urandom(secrets.TICKET_KEY)
