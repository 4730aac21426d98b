"""Users and the hashes of their passwords."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import argon2
import bcrypt

from fastgate_auth.identity import entries

if TYPE_CHECKING:
    from collections.abc import Callable

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_MOST_ROUNDS = 16  # of bcrypt, as a power of two: some seconds
_MOST_ARGON2_MEMORY = 1 << 20  # KiB
_LONGEST_BCRYPT = 72  # bytes of a password that count


class Users:
    """Users by name. Immutable, and safe to use from several threads."""

    def __init__(self, text: str) -> None:
        """Read lines `name:hash`; ValueError says what is wrong with one."""
        self._hashes: dict[str, str] = {}
        for number, name, stored in entries("users", text):
            if name in self._hashes:
                raise ValueError(f"users, line {number}: {name} is there already")
            try:
                _kind(stored)
            except ValueError as e:
                raise ValueError(f"users, line {number}: the hash of {name} {e}") from None
            self._hashes[name] = stored
        if not self._hashes:
            raise ValueError("users: there are none")
        self._someone = next(iter(self._hashes.values()))

    def right(self, name: str, password: bytes) -> bool:
        """Return whether it is the user's password. It takes as long for a user that there is not."""
        stored = self._hashes.get(name, self._someone)
        return _kind(stored)(password, stored) and name in self._hashes


def _kind(stored: str) -> Callable[[bytes, str], bool]:
    """Return what verifies a hash; ValueError says why nothing does."""
    if found := _BCRYPT.fullmatch(stored):
        if int(found[1]) > _MOST_ROUNDS:
            raise ValueError(f"costs too much: 2^{_MOST_ROUNDS} rounds of bcrypt are the most")
        return _of_bcrypt
    if stored.startswith("$argon2"):
        try:
            memory = argon2.extract_parameters(stored).memory_cost
        except (argon2.exceptions.InvalidHashError, ValueError):
            raise ValueError("is no hash of Argon2") from None
        if memory > _MOST_ARGON2_MEMORY:
            raise ValueError(f"needs too much memory: {_MOST_ARGON2_MEMORY} KiB of Argon2 are the most")
        return _of_argon2
    raise ValueError("is of neither bcrypt nor Argon2: `htpasswd -nB name` makes one")


def _of_bcrypt(password: bytes, stored: str) -> bool:
    cut = password[:_LONGEST_BCRYPT]  # more is not hashed, and so never right
    return bcrypt.checkpw(cut, stored.encode()) and cut == password


def _of_argon2(password: bytes, stored: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(stored, password)
    except argon2.exceptions.VerificationError:
        return False
