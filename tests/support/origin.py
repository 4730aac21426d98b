"""An origin that reads requests with h11, a parser that is not ours, and what h11 makes of bytes on the wire."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h11

from fastgate import ir

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Message:
    """A request or response that came whole."""

    start: tuple  # (method, target) or (status,)
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    version: bytes = b"1.1"
    interim: tuple[int, ...] = ()  # statuses before a response's
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass
class Reader:
    """Messages of one direction of a connection, one after the other, as h11 reads them."""

    role: type = h11.SERVER  # of the reader
    methods: list[bytes] = field(default_factory=list)  # a client's: of the requests that are answered here
    messages: list[Message] = field(default_factory=list)
    error: str = ""
    until_close: bool = False
    current: Message | None = None  # whose head came, and not yet all of its body
    rest: bytes = b""  # what had come behind the last whole message when that ended
    _connection: h11.Connection | None = None
    _interim: tuple[int, ...] = ()

    def feed(self, data: bytes, *, end: bool = False) -> None:
        """Take bytes and, at the end of the connection, b"" with `end`."""
        if self._connection is None:
            self._start()
            self.rest = data = self._without_empty_lines(data)
        if self.error:
            return
        try:
            if data:
                self._connection.receive_data(data)
            if end and (self.current or self._interim or self._connection.trailing_data[0]):
                self._connection.receive_data(b"")
            self._events()
        except h11.RemoteProtocolError as e:
            self.error = str(e) or "malformed"

    def _without_empty_lines(self, data: bytes) -> bytes:
        """Skip those before a request (RFC 9112 section 2.2), which h11 does not."""
        while self.role is h11.SERVER and data.startswith(b"\r\n"):
            data = data[2:]
        return data

    def _start(self) -> None:
        self._connection = h11.Connection(self.role, max_incomplete_event_size=1 << 20)
        if self.role is h11.CLIENT:
            method = self.methods.pop(0) if self.methods else b"GET"
            self._connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
            self._connection.send(h11.EndOfMessage())

    def _events(self) -> None:
        while True:
            event = self._connection.next_event()
            match event:
                case h11.Request():
                    start = event.method, event.target
                    self.current = Message(start, list(event.headers), version=event.http_version)
                case h11.Response():
                    self.current = Message((event.status_code,), list(event.headers), interim=self._interim)
                    self._interim = ()
                    framed = {b"content-length", b"transfer-encoding"} & {name for name, _ in event.headers}
                    self.until_close = not framed and event.status_code not in (204, 304)
                case h11.Data():
                    self.current.body += event.data
                case h11.EndOfMessage():
                    self.current.trailers = list(event.headers)
                    self.messages.append(self.current)
                    self.current = None
                    self.rest = self._without_empty_lines(self._connection.trailing_data[0])
                    self._start()
                    if not self.rest:
                        return
                    self._connection.receive_data(self.rest)
                case h11.InformationalResponse():
                    self._interim += (event.status_code,)
                case _:
                    return


def read(data: bytes, role: type = h11.SERVER, *, methods: tuple[bytes, ...] = (), end: bool = True) -> Reader:
    """Return what h11 makes of all bytes of one direction of a connection."""
    reader = Reader(role, list(methods))
    reader.feed(data, end=end)
    return reader


class Origin:
    """A backend on a thread: reads requests with h11, notes them, and answers each as `answer` says.

    `answer(request)` returns pieces that are sent one by one, and whether the connection ends behind them.
    """

    def __init__(self, answer: Callable[[Message], tuple[list[bytes], bool]]) -> None:
        self.answer = answer
        self.requests: list[Message] = []
        self.errors: list[str] = []
        self.accepted = self.ended = 0  # connections
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.endpoint = ir.Endpoint("127.0.0.1", self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, wake = socket.socketpair()
        self._selector.register(wake, selectors.EVENT_READ)
        self._ends = wake
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._ends:
                    return
                if key.fileobj is self._listener:
                    conn = self._listener.accept()[0]
                    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.accepted += 1
                    self._selector.register(conn, selectors.EVENT_READ, Reader())
                    continue
                with contextlib.suppress(OSError):
                    if self._talk(key.fileobj, key.data):
                        continue
                self._selector.unregister(key.fileobj)
                key.fileobj.close()
                self.ended += 1

    def _talk(self, conn: socket.socket, reader: Reader) -> bool:
        data = conn.recv(65536)
        if not data:
            return False
        reader.feed(data)
        if reader.error:
            self.errors.append(reader.error)
            return False
        return self.hear(conn, reader)

    def hear(self, conn: socket.socket, reader: Reader) -> bool:
        """Answer what came whole; whether the connection goes on."""
        while reader.messages:
            request = reader.messages.pop(0)
            self.requests.append(request)
            pieces, ends = self.answer(request)
            for piece in pieces:
                conn.sendall(piece)
            if ends:
                return False
        return True

    def close(self) -> None:
        self._wake.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
