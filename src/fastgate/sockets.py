"""Listening sockets: bound once by the manager, one of a SO_REUSEPORT group for every worker."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field

BACKLOG = 4096


class BindError(Exception):
    """An address cannot be bound; the message says which and why."""


@dataclass(slots=True)
class Group:
    """The sockets of one (address, port), by slot. The lock keeps other instances away.

    A member is never closed while the group is served: the connections in its accept queue would be reset.
    """

    address: str
    port: int
    members: dict[int, socket.socket] = field(default_factory=dict)
    lock: socket.socket | None = field(repr=False, default=None)

    def fds(self, slot: int) -> tuple[int, ...]:
        """Return the descriptors that a worker needs to serve a slot."""
        return (self.members[slot].fileno(), *([self.lock.fileno()] if self.lock is not None else []))

    def fill(self, members: int) -> None:
        """Bind the slots below `members` that are not there. OSError when that is not possible."""
        for slot in range(members):
            if slot not in self.members:
                self.members[slot] = _listening(self.address, self.port)
                self.port = self.members[slot].getsockname()[1]

    def close(self) -> None:
        """Close every socket, the lock last."""
        for member in self.members.values():
            member.close()
        if self.lock is not None:
            self.lock.close()


def bind(address: str, port: int, members: int) -> Group:
    """Bind and listen.

    Args:
        address: an IP literal, or "" for every address of both families.
        port: 0 lets the system choose.
        members: sockets in the group.

    Raises:
        BindError: the address is in use, not of this machine, or may not be bound by this user.
    """
    group = Group(address, port)
    try:
        if port:
            group.lock = _lock(address, port)
        group.fill(members)
    except OSError as e:
        group.close()
        raise BindError(_explained(address, port, e)) from None
    return group


def _listening(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address or (not address and socket.has_dualstack_ipv6()) else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address else 0)
        s.bind((address or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))  # noqa: S104 - "" asks for it
        s.listen(BACKLOG)
    except BaseException:
        s.close()
        raise
    return s


def _lock(address: str, port: int) -> socket.socket:
    """Hold a name that a second instance of this user needs too: SO_REUSEPORT would give it half the traffic."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        s.bind(f"\0fastgate/{os.getuid()}/{address}/{port}")
    except BaseException:
        s.close()
        raise
    return s


def _explained(address: str, port: int, e: OSError) -> str:
    where = f"[{address}]:{port}" if ":" in address else f"{address or '*'}:{port}"
    if e.errno == errno.EACCES:
        return f"{where}: ports below 1024 need CAP_NET_BIND_SERVICE; or bind another: --port-map {port}={port + 8000}"
    if e.errno == errno.EADDRINUSE:
        return f"{where}: another process serves this address"
    if e.errno == errno.EADDRNOTAVAIL:
        return f"{where}: not an address of this machine"
    return f"{where}: {e.strerror}"
