"""Where managers and workers of one gateway find each other: a directory of this user, a lock and sockets in it.

    RUNTIME/NAME.lock          held by the manager (flock(2)); contains its process id
    RUNTIME/NAME.N-XXXX.sock   a worker's: who connects there while it has no manager adopts it

The directory is for this user only (0700), and both ends of a connection check the other's user (SO_PEERCRED).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class InstanceError(Exception):
    """An instance cannot be had; the message says why."""


class InUseError(InstanceError):
    """Another manager runs it."""


def runtime_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where this user's sockets belong: systemd's choice, then the session's, the system's, /tmp."""
    uid = os.geteuid()
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        if environment.get(name):
            return Path(environment[name].split(":")[0], "fastgate")
    for parent in (f"/run/user/{uid}", *(["/run"] if uid == 0 else [])):
        if os.access(parent, os.W_OK):
            return Path(parent, "fastgate")
    return Path(f"/tmp/fastgate-{uid}")  # noqa: S108 - the owner and the mode are checked before it is used


def derived_name(paths: Iterable[Path], ports: Mapping[int, int]) -> str:
    """Name the instance that serves these files on these ports."""
    parts = [*sorted(str(p.absolute()) for p in paths), *(f"{a}={b}" for a, b in sorted(ports.items()))]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


class Instance:
    """A claimed instance. Its lock goes with this process, and with a successor that inherits the descriptor."""

    def __init__(self, name: str, directory: Path, lock: int) -> None:
        """Use `claim` or `inherit`."""
        self.name = name
        self.lock = lock
        self._directory = directory
        self._fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @classmethod
    def claim(cls, name: str, directory: Path | None = None) -> Self:
        """Become the manager of an instance.

        Raises:
            InUseError: it has one.
            InstanceError: the directory cannot be made, or is not for this user alone.
        """
        directory = directory or runtime_directory()
        if not _NAME.fullmatch(name):
            raise InstanceError(f"{name!r} names no instance: letters, digits, '.', '_' and '-', 64 at most")
        _private(directory)
        path = directory / f"{name}.lock"
        while True:
            try:
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError as e:
                raise InstanceError(f"{path}: {e.strerror}") from None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "?"
                os.close(lock)
                raise InUseError(f"process {holder} serves this already; --instance names another") from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), path.stat()):
                    claimed = cls(name, directory, lock)
                    claimed.sign()
                    return claimed
            os.close(lock)  # its last holder has removed it meanwhile

    @classmethod
    def inherit(cls, name: str, lock: int) -> Self:
        """Become the manager with the lock that the one before handed down."""
        os.set_inheritable(lock, False)
        return cls(name, runtime_directory(), lock)

    def sign(self) -> None:
        """Say in the lock whose it is."""
        os.truncate(self.lock, 0)
        os.pwrite(self.lock, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the instance up for good; nobody else holds the lock."""
        with suppress(OSError):
            (self._directory / f"{self.name}.lock").unlink()
        self.close()

    def close(self) -> None:
        """Leave the instance to who else holds the lock."""
        os.close(self.lock)
        os.close(self._fd)

    def new_socket(self, number: int) -> tuple[str, socket.socket]:
        """Return a bound socket for a worker, which has to listen itself, and its name."""
        name = f"{self.name}.{number}-{secrets.token_hex(4)}.sock"
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        s.bind(self._short(name))
        return name, s

    def connect(self, name: str) -> socket.socket:
        """Connect to a worker's socket. OSError when nobody of this user listens there."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        s.setblocking(False)
        try:
            s.connect(self._short(name))
        except BaseException:
            s.close()
            raise
        return s

    def sockets(self) -> list[str]:
        """Return the names of all workers' sockets, of dead workers too."""
        pattern = re.compile(re.escape(self.name) + r"\.\d+-[0-9a-f]{8}\.sock")
        return sorted(path.name for path in self._directory.iterdir() if pattern.fullmatch(path.name))

    def remove(self, name: str) -> None:
        """Remove a socket that nobody will connect to again."""
        if name:
            with suppress(OSError):
                (self._directory / name).unlink()

    def _short(self, name: str) -> str:
        """A path of at most 107 bytes (unix(7)), however deep the directory is."""
        return f"/proc/self/fd/{self._fd}/{name}"


def _private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as e:
        raise InstanceError(f"{directory}: {e.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise InstanceError(f"{directory} is not a directory of this user alone (mode 0700)")
