"""What stores of buckets have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastgate_ratelimit.bucket import Decision


class StoreError(Exception):
    """A store cannot say whether there is a token; the message says why."""


class Store(Protocol):
    """Where buckets are."""

    async def start(self) -> None:
        """Open it."""

    async def stop(self) -> None:
        """Close it."""

    async def take(self, owner: str, key: bytes) -> Decision:
        """Take a token of the bucket that a Filter has for a key.

        Raises:
            StoreError: it cannot be said whether there is one.
        """
