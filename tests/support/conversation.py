"""Whole connections for differential tests: what both ends say, drawn by Hypothesis, and both ends saying it.

A `Conversation` is the bytes of a client, valid requests in which a few bytes may have been changed, the places where they are
cut, and what the backend answers to the first request that it sees, to the second, and so on.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from dataclasses import dataclass

import h11
from hypothesis import strategies as st
from origin import Message, Origin, Reader, read

ANSWER = b"x-t-answer"  # the field that tells a backend's answers from the gateway's own
TIMEOUT = 10.0


@dataclass(frozen=True)
class Answer:
    """What a backend says to one request."""

    status: int
    framing: str  # of the body: "length", "chunked", "close"
    pieces: tuple[bytes, ...]  # of the body: chunks, if it has them, and writes
    trailer: bool
    fields: tuple[tuple[bytes, bytes], ...]
    interim: tuple[int, ...]  # statuses sent when the request's head is read
    early: bool  # also the answer itself, whatever of the body is still to come
    version: bytes
    closes: bool

    def has_body(self, method: bytes) -> bool:
        return method != b"HEAD" and self.status not in (204, 304)

    def ends_connection(self) -> bool:
        return self.closes or self.framing == "close" or self.version == b"1.0"

    def body(self, method: bytes) -> bytes:
        return b"".join(self.pieces) if self.has_body(method) else b""

    def writes(self, number: int, method: bytes) -> list[bytes]:
        """The bytes of the answer, one after the other as they are written."""
        lines = [b"HTTP/%s %d Said" % (self.version, self.status), ANSWER + b": %d" % number]
        lines += [name + b": " + value for name, value in self.fields]
        if self.framing == "length" and self.status not in (204, 304):
            lines.append(b"Content-Length: %d" % sum(map(len, self.pieces)))
        if self.framing == "chunked" and self.has_body(method):
            lines.append(b"Transfer-Encoding: chunked")
        if self.closes or (self.framing == "close" and not self.has_body(method)):
            lines.append(b"Connection: close")
        head = b"\r\n".join([*lines, b"", b""])
        if not self.has_body(method):
            return [head]
        if self.framing != "chunked":
            return [head, *self.pieces]
        last = b"0\r\n" + (b"ETag: t\r\nX-T-Trailer: t\r\n" if self.trailer else b"") + b"\r\n"
        return [head, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in self.pieces), last]


@dataclass(frozen=True)
class Conversation:
    """What is said on one connection of a client."""

    asked: bytes
    cuts: tuple[int, ...]  # lengths of the first writes
    ends_early: bool  # FIN behind the last byte, not behind the last answer
    answers: tuple[Answer, ...]


# --- what may be said -------------------------------------------------------------------------------------------------------

SAFE = "abcxyzABCXYZ019-~!$&'()*+,;=:@"
targets = st.builds(
    lambda origin, path, query: (origin + "/" + "/".join(path) + query).encode(),
    st.sampled_from(["", "", "", "http://b.example"]),
    st.lists(st.text(SAFE, min_size=1, max_size=8), max_size=3),
    st.sampled_from(["", "", "?", "?a=%ff&b=/?"]),
)
values = st.binary(max_size=30).map(lambda b: bytes(c for c in b if c >= 0x20 and c != 0x7F).strip())
fields = st.lists(
    st.tuples(st.sampled_from([b"x-t-a", b"X-T-B", b"x-t-~!"]), values)
    | st.sampled_from(
        [(b"Cookie", b"c=1"), (b"x_t", b"u"), (b"Keep-Alive", b"timeout=5"), (b"X-Forwarded-For", b"evil")]
    ),
    max_size=4,
).map(tuple)
pieces = st.lists(
    st.binary(min_size=1, max_size=40) | st.builds(lambda n: b"0123456789abcdef" * n, st.integers(1, 2500)), max_size=4
).map(tuple)
options = st.sampled_from([b"", b"", b"", b"", b"close", b"keep-alive", b"x-t-a", b"Keep-Alive, X-T-B", b"Host, x-t-a"])
extensions = st.sampled_from([b"", b"", b";a", b';a="b"', b";" + b"e" * 100])
trailers = st.sampled_from(
    [b"", b"", b"ETag: t\r\n", b"X-T-Trailer: t\r\nRepr-Digest: d\r\n", b"Content-Length: 5\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"X-OTHER"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.1", b"1.0"]))
    lines = [b"%s %s HTTP/%s" % (method, draw(targets), version), b"Host: a.example"]
    lines += [name + b": " + value for name, value in draw(fields)]
    if option := draw(options):
        lines.append(b"Connection: " + option)
    body = b""
    framing = draw(st.sampled_from(["none", "none", "length", "chunked"]))
    if framing == "length":
        body = b"".join(draw(pieces))
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked" and version == b"1.1":
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%X%s\r\n%s\r\n" % (len(piece), draw(extensions), piece) for piece in draw(pieces))
        body += b"0%s\r\n%s\r\n" % (draw(extensions), draw(trailers))
    if framing != "none" and draw(st.booleans()):
        lines.append(b"Expect: 100-continue")
    if draw(st.booleans()):
        lines.append(b"TE: trailers")
    empty = draw(st.sampled_from([b"", b"", b"", b"\r\n"]))
    return empty + b"\r\n".join([*lines, b"", body])


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a byte replaced, left out, doubled or put in; heads, short as they are, are hit more often than bodies."""
    end = data.find(b"\r\n\r\n") + 4
    at = draw(st.integers(0, end - 1) | st.integers(0, len(data) - 1))
    kept = draw(st.sampled_from([0, 1, 1, 2]))  # of the byte that stands there
    new = draw(st.sampled_from([b"", *(bytes([c]) for c in b'\0\x01\t\n\r :;,/\\"#0123aZ_\x7f\xff')]))
    return data[:at] + new + data[at : at + 1] * kept + data[at + 1 :]


answers = st.builds(
    Answer,
    status=st.sampled_from([200, 200, 200, 201, 204, 304, 404, 500, 503]),
    framing=st.sampled_from(["length", "length", "chunked", "close"]),
    pieces=pieces,
    trailer=st.booleans(),
    fields=fields,
    interim=st.lists(st.sampled_from([100, 100, 102, 103]), max_size=2).map(tuple),
    early=st.sampled_from([False, False, False, True]),
    version=st.just(b"1.1"),
    closes=st.sampled_from([False, False, False, True]),
) | st.builds(
    Answer,
    status=st.sampled_from([200, 404]),
    framing=st.sampled_from(["length", "close"]),
    pieces=pieces,
    trailer=st.just(False),
    fields=fields,
    interim=st.just(()),
    early=st.booleans(),
    version=st.just(b"1.0"),
    closes=st.booleans(),
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    said = draw(st.lists(requests(), min_size=1, max_size=5))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(said) - 1))
        said[at] = draw(mutated(said[at]))
    cuts = draw(st.lists(st.integers(1, 40) | st.integers(1, 20000), max_size=12))
    return Conversation(b"".join(said), tuple(cuts), draw(st.booleans()), tuple(draw(answers) for _ in said))


# --- the backend -------------------------------------------------------------------------------------------------------------


class Script(Origin):
    """An origin that says the answers of a conversation in turn, to the requests in the order in which their heads come."""

    def __init__(self) -> None:
        self.say(())
        super().__init__(lambda _: ([], False))

    def say(self, answers: tuple[Answer, ...]) -> None:
        """Begin another conversation."""
        self._answers = answers
        self.begun = 0
        self.whole: dict[int, Message] = {}

    def answer_to(self, number: int) -> Answer:
        return self._answers[number % len(self._answers)]  # a changed byte may make two requests of one

    def hear(self, conn: socket.socket, reader: Reader) -> bool:
        """Answer heads as well as what came whole."""
        for request in reader.messages:
            self._hear(conn, reader, request)
            self.whole[reader.number] = request
            if not self.answer_to(reader.number).early:
                self._answer(conn, reader.number, request)
        reader.messages.clear()
        if reader.current:
            self._hear(conn, reader, reader.current)
        return True

    def _hear(self, conn: socket.socket, reader: Reader, request: Message) -> None:
        """Number a request when its head came, and say what is said then."""
        if getattr(reader, "heard", None) is request:
            return
        reader.heard = request
        reader.number = self.begun
        self.begun += 1
        answer = self.answer_to(reader.number)
        for status in answer.interim:
            conn.sendall(b"HTTP/1.1 %d Wait\r\n%s: %d\r\n\r\n" % (status, ANSWER, reader.number))
        if answer.early:
            self._answer(conn, reader.number, request)

    def _answer(self, conn: socket.socket, number: int, request: Message) -> None:
        answer = self.answer_to(number)
        for piece in answer.writes(number, request.start[0]):
            conn.sendall(piece)
        if answer.ends_connection():
            conn.shutdown(socket.SHUT_WR)  # what is still on its way is read: no reset destroys the answer


# --- the client --------------------------------------------------------------------------------------------------------------


def converse(port: int, said: Conversation, asked: Reader) -> tuple[Reader, int]:
    """Say the client's part, reading all the while; returns what came back to the end, and the port of the client."""
    methods = [message.start[0] for message in asked.messages]
    methods.append(
        b"HEAD" if asked.rest.startswith(b"HEAD ") else b"GET"
    )  # of what comes behind them, if that is answered
    answered = Reader(h11.CLIENT, methods)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock, selectors.DefaultSelector() as selector:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own = sock.getsockname()[1]
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
        writes = _pieces(said)
        while True:
            if not writes and (said.ends_early or len(answered.messages) >= len(asked.messages)):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
            selector.modify(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if writes else 0))
            ready = selector.select(TIMEOUT)
            assert ready, f"nothing came, and no end: {answered}"
            if ready[0][1] & selectors.EVENT_WRITE:
                try:
                    n = sock.send(writes[0])
                    writes[0] = writes[0][n:]
                except OSError:  # it was closed: what it said before is still to be read
                    writes.clear()
                writes[:1] = [writes[0]] if writes and writes[0] else []
                selector.modify(sock, selectors.EVENT_READ)
                ready = selector.select(0.0005)  # a moment in which the gateway may take the piece by itself
            if ready and ready[0][1] & selectors.EVENT_READ:
                try:
                    data = sock.recv(65536)
                except ConnectionResetError:
                    data = b""
                answered.feed(data, end=not data)
                if not data:
                    return answered, own


def _pieces(said: Conversation) -> list[bytes]:
    out, at = [], 0
    for size in said.cuts:
        out.append(said.asked[at : at + size])
        at += size
    return [piece for piece in (*out, said.asked[at:]) if piece]


def understood(data: bytes) -> Reader:
    """What h11 reads in a client's bytes; one that does not go on is no fault."""
    return read(data, end=False)
