"""Messages between the listener manager and a worker: csrc/fg_control.h, from the manager's side."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

VERSION = 1
MAX_FDS = 2  # with one message
_LAYOUT = struct.Struct("=IIQQQ224s")


class Type(IntEnum):
    """enum fg_control_type."""

    LISTEN = 1
    UNLISTEN = 2
    PREPARE = 3
    COMMIT = 4
    ABORT = 5
    ENDPOINTS = 6
    LOG = 7
    DRAIN = 8
    STOP = 9
    KEEP = 10
    HEALTH = 11
    PLUGIN = 12
    SINK = 13
    TICKETS = 14
    HELLO = 64
    LISTENING = 65
    UNLISTENED = 66
    PREPARED = 67
    FAILED = 68
    COMMITTED = 69
    ENDPOINTS_SET = 70
    DRAINED = 71
    HOLDS = 72
    KEPT = 73
    ADOPTED = 74
    HEALTH_CHANGED = 75
    ENDED = 76


@dataclass(frozen=True, slots=True)
class Message:
    """One packet. `key` is a socket's key, a generation or an endpoint version; see csrc/fg_control.h."""

    type: Type
    key: int = 0
    slot: int = 0
    a: int = 0
    b: int = 0
    text: str = ""

    def pack(self) -> bytes:
        """Return the 256 bytes of the packet."""
        return _LAYOUT.pack(self.type, self.slot, self.key, self.a, self.b, self.text.encode()[:223])

    @classmethod
    def unpack(cls, data: bytes) -> Message:
        """Read a packet; ValueError when it is none."""
        if len(data) != _LAYOUT.size:
            raise ValueError(f"a control message has {_LAYOUT.size} bytes, not {len(data)}")
        kind, slot, key, a, b, text = _LAYOUT.unpack(data)
        return cls(Type(kind), key, slot, a, b, text.split(b"\0", 1)[0].decode("utf-8", "replace"))


class Gone(Exception):  # noqa: N818 - it is what happened to the worker
    """The worker is gone: it closed its end."""


class Channel:
    """The manager's end of a control socket, on the running event loop.

    Attributes:
        received: called with every message and its descriptors, which are the callee's; with None once when the worker
            is gone.
    """

    def __init__(self, end: socket.socket, received: Callable[[Message | None, list[int]], None]) -> None:
        """Take a connected SOCK_SEQPACKET socket."""
        end.setblocking(False)
        self.received = received
        self._socket = end
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[bytes, list[int]]] = []  # what there was no room for, with copies of its descriptors
        self._loop.add_reader(end.fileno(), self._readable)

    def send(self, message: Message, *fds: int) -> None:
        """Send a message, now or when there is room. The descriptors stay the caller's."""
        if self._queue or not self._sent(message.pack(), fds):
            self._queue.append((message.pack(), [os.dup(fd) for fd in fds]))
            if self._socket.fileno() >= 0:
                self._loop.add_writer(self._socket.fileno(), self._flush)

    def close(self) -> None:
        """Close this end: the worker goes on without a manager."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
        for _, fds in self._queue:
            _close(fds)
        self._queue.clear()

    def _sent(self, data: bytes, fds: Sequence[int]) -> bool:
        """Whether there is no need to try again; of an error the reader sees the end."""
        if self._socket.fileno() < 0:
            return True
        try:
            socket.send_fds(self._socket, [data], fds)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _flush(self) -> None:
        while self._queue:
            data, fds = self._queue[0]
            if not self._sent(data, fds):
                return
            _close(fds)
            del self._queue[0]
        self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        while self._socket.fileno() >= 0:
            fds: list[int] = []
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, _LAYOUT.size, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                self.received(None, [])
                return
            try:
                message = Message.unpack(data)
            except ValueError:
                _close(fds)  # a newer worker's; what it needs an answer to it does not send
                continue
            self.received(message, fds)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
