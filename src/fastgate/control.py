"""Messages between the listener manager and a worker: csrc/fg_control.h, from the manager's side."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = 1
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
    HELLO = 64
    LISTENING = 65
    UNLISTENED = 66
    PREPARED = 67
    FAILED = 68
    COMMITTED = 69
    ENDPOINTS_SET = 70
    DRAINED = 71


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
    """The manager's end of a control socket, on the running event loop."""

    def __init__(self, end: socket.socket, received: Callable[[Message | None], None]) -> None:
        """Take a SOCK_SEQPACKET socket. `received` gets every message, and None once when the worker is gone."""
        end.setblocking(False)
        self._socket = end
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[bytes, int | None]] = []
        self._loop.add_reader(end.fileno(), self._readable)

    def send(self, message: Message, fd: int | None = None) -> None:
        """Send a message, now or when there is room. The descriptor must stay open until its answer came."""
        self._queue.append((message.pack(), fd))
        self._flush()

    def close(self) -> None:
        """Close this end: the worker goes on without a manager."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def _flush(self) -> None:
        while self._queue and self._socket.fileno() >= 0:
            data, fd = self._queue[0]
            try:
                socket.send_fds(self._socket, [data], [fd] if fd is not None else [])
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._flush)
                return
            except OSError:
                return  # the reader sees the end
            self._queue.pop(0)
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                data = self._socket.recv(_LAYOUT.size)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                self._received(None)
                return
            self._received(Message.unpack(data))
