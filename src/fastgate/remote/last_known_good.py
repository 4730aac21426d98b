"""What a data plane served last, on disk: it begins with that when its process is started again.

The file has certificates with their keys: it is for this user only, and its directory is best in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from fastgate.remote import wire
from fastgate.remote.difference import EMPTY, applied, difference

if TYPE_CHECKING:
    from pathlib import Path

    from fastgate.remote.share import Share

log = logging.getLogger("fastgate")

APART, SHARE = 1.0, 0.05  # seconds between two writes at least, and of the time that they may take
_NAME, _MAGIC, _FASTEST = "last-known-good", b"fastgate share 1\n", 1


class LastKnownGood:
    """One file in a directory of the data plane's own."""

    def __init__(self, directory: Path) -> None:
        """Use this directory; it is made when something is kept."""
        self._path = directory / _NAME
        self._share: Share | None = None  # to be written
        self._written: Share | None = None
        self._news = asyncio.Event()

    def read(self) -> Share | None:
        """Return what was kept; None: nothing, or nothing that can be used, which is logged."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            log.warning("%s: %s", self._path, e.strerror)
            return None
        head, body = data[: len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
        if head != _MAGIC + hashlib.sha256(body).digest():
            log.warning("%s is damaged, or of another version, and not used", self._path)
            return None
        try:
            return applied(EMPTY, wire.from_controller(zlib.decompress(body)))
        except (wire.WireError, zlib.error) as e:
            log.warning("%s is of another version and not used: %s", self._path, e)
            return None

    def keep(self, share: Share) -> None:
        """Have this Share on disk soon."""
        if share is not self._written:
            self._share = share
            self._news.set()

    async def run(self) -> None:
        """Write what is to be kept, until cancelled; a disk that is full is no fault of what is served."""
        while True:
            await self._news.wait()
            begun = time.monotonic()
            await asyncio.shield(asyncio.to_thread(self.write))
            await asyncio.sleep(max(APART, (time.monotonic() - begun) / SHARE))

    def write(self) -> None:
        """Write what is to be kept, if it is not there yet."""
        share, self._share = self._share, None
        self._news.clear()
        if share is None:
            return
        body = zlib.compress(wire.encode(difference(EMPTY, share)), _FASTEST)
        temporary = self._path.with_name(f"{_NAME}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(body).digest() + body)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            self._written = share
        except OSError as e:
            log.warning("%s cannot be written: %s", self._path, e.strerror)
            with suppress(OSError):
                temporary.unlink()
