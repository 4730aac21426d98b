"""Buckets in a file that is mapped into every plugin process of a host.

The file is a table of sets of 8 slots; a key's hash says in which set its bucket is. A process changes a set while it
holds the lock of the set's byte in the file, a lock of an open file description: the kernel lets go of it when the
process dies, however it does, and two filters of one process exclude each other too. What a process that died left half
written is some time, and counts as one. Times are of CLOCK_MONOTONIC, the same in all processes.

Every process holds a shared lock of the whole file while it uses it; the one that gets it alone when it stops removes
the file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import secrets
import stat
import struct
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fastgate_ratelimit.bucket import take
from fastgate_ratelimit.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastgate_ratelimit.bucket import Decision, Rate
    from fastgate_ratelimit.config import LocalStore

_VERSION = 1
_WAYS = 8
_SALT = struct.Struct("16s")  # at the start: keys cannot be made up so that they fall into one set
_SLOT = struct.Struct("=16sq")  # hash of a key, when its bucket is full; zeros: free
_SET = struct.Struct("=" + "16sq" * _WAYS)
_HEADER = 64  # bytes
_LOCK = struct.Struct("hhqqi4x")  # struct flock
_PATIENCE = 0.1  # seconds that a lock is waited for: only a process that was stopped holds one for longer
_FIRST_WAIT, _LAST_WAIT = 0.000_02, 0.001  # seconds; the first is about as long as a lock is held, the next ones grow
_REST = 1.0  # seconds in which a lock is not waited for again after that


class Local:
    """The table of one rate, in this process."""

    def __init__(self, config: LocalStore, rate: Rate) -> None:
        """Name the file; it is opened by `start`."""
        self._rate = rate
        self._sets = -(-config.size // _WAYS)
        named = f"{_VERSION} {config.name} {rate.interval} {rate.burst} {self._sets}"
        self._name = hashlib.sha256(named.encode()).hexdigest()[:32]
        self._directory = config.directory
        self._fd = -1
        self._map: mmap.mmap | None = None
        self._salt = b""
        self._stuck: dict[int, float] = {}  # locks that are not waited for, until when

    async def start(self) -> None:
        """Open the table, and make it if it is not there."""
        folder = Path(self._directory) if self._directory else _own_folder()
        self.path = folder / self._name
        length = _HEADER + self._sets * _SET.size
        self._fd = _opened(self.path)
        try:
            os.posix_fallocate(self._fd, 0, length)  # or a full disk would kill the process later
            self._map = mmap.mmap(self._fd, length)
            with self._locked(0):
                if self._map[: _SALT.size] == bytes(_SALT.size):
                    _SALT.pack_into(self._map, 0, secrets.token_bytes(_SALT.size))
                self._salt = self._map[: _SALT.size]
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close the table, and remove it when no other process has it open."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._fd != -1:
            with suppress(BlockingIOError):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    async def take(self, owner: str, key: bytes) -> Decision:
        """Take a token, as `Store` says."""
        digest = hashlib.blake2b(owner.encode() + b"\0" + key, digest_size=24, key=self._salt).digest()
        number = int.from_bytes(digest[16:]) % self._sets
        with self._locked(_HEADER + number):
            return self._take(_HEADER + number * _SET.size, digest[:16])

    def _take(self, at: int, key: bytes) -> Decision:
        assert self._map is not None  # noqa: S101 - it has started
        found = _SET.unpack_from(self._map, at)
        keys, times = found[::2], found[1::2]
        slot = keys.index(key) if key in keys else times.index(min(times))
        decision, full_at = take(self._rate, times[slot] if keys[slot] == key else 0, time.monotonic_ns())
        if decision.allowed:
            _SLOT.pack_into(self._map, at + slot * _SLOT.size, key, full_at)
        return decision

    def _lock(self, byte: int) -> None:
        wait, give_up = _FIRST_WAIT, 0.0
        while not self._try_lock(byte):
            now = time.monotonic()
            give_up = give_up or now + _PATIENCE
            if now > give_up:
                self._stuck[byte] = now + _REST
            if now < self._stuck.get(byte, 0.0):
                raise StoreError(f"{self.path} is held by a process that does not go on")
            time.sleep(wait)
            wait = min(2 * wait, _LAST_WAIT)
        self._stuck.pop(byte, None)

    def _try_lock(self, byte: int) -> bool:
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise StoreError(f"{self.path}: {e.strerror}") from None
        return True

    @contextmanager
    def _locked(self, byte: int) -> Iterator[None]:
        """Hold the lock of a byte of the file."""
        self._lock(byte)
        try:
            yield
        finally:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))


def _opened(path: Path) -> int:
    """Open the file and hold the shared lock; a file that was removed meanwhile is not the one that others open."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            os.close(fd)
            raise StoreError(f"{path} is no file of this user")
        fcntl.flock(fd, fcntl.LOCK_SH)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def _own_folder() -> Path:
    """A folder that only this user can write to, in memory where there is /dev/shm."""
    shared = Path("/dev/shm")  # noqa: S108 - see below
    parent = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    folder = parent / f"fastgate-ratelimit-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StoreError(f"{folder} is no folder that only this user can use")
    return folder
