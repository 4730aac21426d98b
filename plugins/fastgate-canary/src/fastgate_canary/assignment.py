"""Which users get the canary: a pure function of what names them."""

from __future__ import annotations

import hashlib

_SPACE = 2**64


def chosen(user: str, salt: str, percentage: float) -> bool:
    """Return whether a user is among this percentage of them.

    A user has a fixed place in [0, 100), which no percentage moves: raising it only adds users. Another salt puts them
    in another order, so that it is not always the same ones who get what is new.
    """
    place = hashlib.blake2b(f"{salt}\0{user}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(place, "big") * 100 < percentage * _SPACE
