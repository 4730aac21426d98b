"""Sockets that listen, or take datagrams: bound once by the manager, one of a SO_REUSEPORT group for every worker."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field

BACKLOG = 4096
RECEIVE_BUFFER = 4 << 20  # bytes of datagrams that wait; net.core.rmem_max may allow less
IP_PKTINFO = 8  # linux/in.h; the socket module has it since Python 3.14


class BindError(Exception):
    """An address cannot be bound; the message says which and why."""


@dataclass(slots=True)
class Group:
    """The sockets of one (address, port), by slot. The lock keeps other instances away.

    A member is never closed while the group is served: the connections in its accept queue would be reset, its
    datagrams lost, and the sources of others would change their worker.
    """

    address: str
    port: int
    datagrams: bool = False  # UDP
    members: dict[int, socket.socket] = field(default_factory=dict)
    lock: socket.socket | None = field(repr=False, default=None)

    def fds(self, slot: int) -> tuple[int, ...]:
        """Return the descriptors that a worker needs to serve a slot."""
        return (self.members[slot].fileno(), *([self.lock.fileno()] if self.lock is not None else []))

    def fill(self, members: int) -> None:
        """Bind the slots below `members` that are not there. OSError when that is not possible."""
        for slot in range(members):
            if slot not in self.members:
                self.members[slot] = _bound(self.address, self.port, datagrams=self.datagrams)
                self.port = self.members[slot].getsockname()[1]

    def close(self) -> None:
        """Close every socket, the lock last."""
        for member in self.members.values():
            member.close()
        if self.lock is not None:
            self.lock.close()


def bind(address: str, port: int, members: int, *, datagrams: bool = False) -> Group:
    """Bind, and listen unless it is for datagrams.

    Args:
        address: an IP literal, or "" for every address of both families.
        port: 0 lets the system choose.
        members: sockets in the group.
        datagrams: UDP, not TCP.

    Raises:
        BindError: the address is in use, not of this machine, or may not be bound by this user.
    """
    group = Group(address, port, datagrams)
    try:
        if port:
            group.lock = _lock(address, port, datagrams=datagrams)
        group.fill(members)
    except OSError as e:
        group.close()
        raise BindError(_explained(address, port, e)) from None
    return group


def everywhere(port: int) -> socket.socket:
    """Return a socket that listens on every address of both families, or of IPv4 where there is no other."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _bound(address: str, port: int, *, datagrams: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address or (not address and socket.has_dualstack_ipv6()) else socket.AF_INET
    kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    s = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address else 0)
        where = (address or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port)  # noqa: S104 - "" asks for it
        if datagrams:
            _bind_datagrams(s, where)
        else:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            s.bind(where)
            s.listen(BACKLOG)
    except BaseException:
        s.close()
        raise
    return s


def _bind_datagrams(s: socket.socket, where: tuple[str, int]) -> None:
    """Each datagram will say which address it came to: the answer leaves from there."""
    if s.family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        s.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if where[1]:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(where)
    else:  # the system would choose a port of another group of this user
        s.bind(where)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _lock(address: str, port: int, *, datagrams: bool) -> socket.socket:
    """Hold a name that a second instance of this user needs too: SO_REUSEPORT would give it half the traffic."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        s.bind(f"\0fastgate/{os.getuid()}/{'udp/' if datagrams else ''}{address}/{port}")
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
