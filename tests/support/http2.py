"""The client's side of HTTP/2, frame by frame, over a connection of `wire`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import h2.settings

if TYPE_CHECKING:
    from wire import Conn

GOAWAY = 7
USUAL = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class Reply:
    """What came on a stream so far."""

    def __init__(self) -> None:
        self.interim: list[dict[str, str]] = []
        self.fields: dict[str, str] = {}
        self.lines: list[tuple[str, str]] = []
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.ended = False
        self.reset: int | None = None

    @property
    def status(self) -> str:
        return self.fields[":status"]


class Client:
    """A client that says what it is told to, well-formed or not."""

    def __init__(self, conn: Conn, *, window: int = 65535, start: bool = True) -> None:
        settings = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=True,
        )
        self.conn = conn
        self.h2 = h2.connection.H2Connection(settings)
        self.replies: dict[int, Reply] = {}
        self.goaways: list[tuple[int, int]] = []  # last stream, error
        self.acked = 0
        self.pings = 0
        self.settled = False
        self.takes = True  # gives credit for what it gets
        self.over = False
        if start:
            self.h2.initiate_connection()
            if window != 65535:
                self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
            self.flush()

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data:
            self.conn.send(data)

    def raw(self, data: bytes) -> None:
        self.flush()
        self.conn.send(data)

    def request(
        self, method: str = "GET", path: str = "/", *fields: tuple[str, str], authority: str = "a", scheme: str = "http",
        end: bool = True, pseudo: list[tuple[str, str]] | None = None,
    ) -> int:  # fmt: skip
        """Begin a stream; `pseudo` stands in the place of the usual pseudo-header fields."""
        stream = self.h2.get_next_available_stream_id()
        usual = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
        self.replies[stream] = Reply()
        self.h2.send_headers(stream, [*(usual if pseudo is None else pseudo), *fields], end_stream=end)
        self.flush()
        return stream

    def data(self, stream: int, data: bytes = b"", *, end: bool = False) -> None:
        """Send as windows allow, waiting for credit."""
        while True:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            piece, data = data[:room], data[room:]
            if piece or not data:
                self.h2.send_data(stream, piece, end_stream=end and not data)
                self.flush()
            if not data:
                return
            if not room:
                self.more()

    def trailers(self, stream: int, *fields: tuple[str, str]) -> None:
        self.h2.send_headers(stream, list(fields), end_stream=True)
        self.flush()

    def reset(self, stream: int) -> None:
        self.h2.reset_stream(stream, 8)
        self.flush()

    def more(self) -> None:
        """Wait for bytes, and take what they say."""
        if not self.conn._more():
            self.over = True
            return
        data = self.conn.buffer
        while len(data) >= 9 and len(data) >= 9 + (length := int.from_bytes(data[:3], "big")):
            frame, data = data[: 9 + length], data[9 + length :]
            if frame[3] == GOAWAY:  # behind which h2 would read nothing more
                self.goaways.append(struct.unpack(">II", frame[9:17]))
                continue
            for event in self.h2.receive_data(frame):
                self._take(event)
        self.conn.buffer = data
        self.flush()

    def _take(self, event: h2.events.Event) -> None:
        reply = self.replies.get(getattr(event, "stream_id", None) or 0)
        match event:
            case h2.events.InformationalResponseReceived():
                reply.interim.append(dict(event.headers))
            case h2.events.ResponseReceived():
                reply.lines = list(event.headers)
                reply.fields = dict(event.headers)
            case h2.events.DataReceived():
                reply.body += event.data
                if self.takes and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                reply.trailers = dict(event.headers)
            case h2.events.StreamEnded():
                reply.ended = True
            case h2.events.StreamReset() if reply is not None:
                reply.reset = int(event.error_code)
            case h2.events.SettingsAcknowledged():
                self.settled = True
            case h2.events.PingAckReceived():
                self.pings += 1

    def until(self, condition) -> None:
        while not condition():
            assert not self.over, "the connection ended before"
            self.more()

    def reply(self, stream: int) -> Reply:
        """The whole response, or what came before a reset."""
        reply = self.replies[stream]
        self.until(lambda: reply.ended or reply.reset is not None)
        return reply

    def get(self, path: str = "/", *fields: tuple[str, str], **options) -> Reply:
        return self.reply(self.request("GET", path, *fields, **options))

    def goaway(self) -> int:
        """The error of the GOAWAY behind which the connection ends."""
        while not self.over:
            self.more()
        assert self.goaways, "no GOAWAY came"
        return self.goaways[-1][1]
