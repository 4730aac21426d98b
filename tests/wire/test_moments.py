"""Every limit and fault at every moment of a request, as tests/support/moments.py says."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from pathlib import Path

import moments
import pytest

from fastgate import ir
from wire import Backend, config, fields, forward, match, no_descriptors

BEFORE, HEAD, BODY, AFTER = moments.MOMENTS
SOON = 100  # ms: times that have to pass
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

LIMITS = {
    "requestLine": {"request_line": 256},
    "headBytes": {"head_bytes": 1024},
    "headFields": {"head_fields": 10},
    "bodyBytes": {"body_bytes": 20},
    "firstByteTimeout": {"first_byte_timeout": SOON},
    "headTimeout": {"head_timeout": SOON},
    "idleTimeout": {"idle_timeout": SOON},
    "bodyMinRate, sending": {"body_rate_window": SOON},
    "bodyMinRate, reading": {"body_rate_window": SOON},
    "keepaliveRequests": {"keepalive_requests": 1},
    "connections": {"connections": 1},
    "upstreamConnections": {"upstream_connections": 1},
    "connectTimeout": {"connect_timeout": SOON},
    "responseHeadBytes": {"response_head_bytes": 1024},
    "responseTimeout": {"response_timeout": SOON},
    "streamIdleTimeout": {"stream_idle_timeout": SOON},
    "upstreamIdleTimeout": {"upstream_idle_timeout": SOON},
    "tunnelIdleTimeout": {"tunnel_idle_timeout": SOON},
    "client slow but steady": {"response_timeout": SOON, "stream_idle_timeout": SOON},
    "backend silent": {"response_timeout": SOON, "stream_idle_timeout": SOON},
    "backend slow but steady": {
        "response_timeout": 2 * SOON,
        "stream_idle_timeout": 2 * SOON,
        "body_rate_window": SOON,
    },
    "backend stops reading": {"response_timeout": SOON},
}
RULES = {"timeouts.request": {"request_timeout": SOON}, "timeouts.backendRequest": {"backend_timeout": SOON}}
OPTIONS = {"memory": {"memory_limit": 20_000}, "no descriptors": {"threads": False}}

# What the request looks like where the fault needs more than a body that is half sent and half answered.
NO_BODY = {"keepaliveRequests", "upstreamConnections", "connectTimeout", "responseHeadBytes", "interimResponses",
           "responseTimeout", "backend bad chunk", "backend silent", "no endpoint", "backend refuses", "backend slow but steady"}  # fmt: skip
CHUNKED = {"bodyBytes", "client bad chunk"}
ANSWERED_EARLY = {"bodyBytes", "bodyMinRate, sending", "client bad chunk"}
POOLED = {"idleTimeout", "upstreamIdleTimeout", "backend FIN", "backend RST", "backend RST, reused", "backend garbage",
          "drain", "configuration changes"}  # fmt: skip # a connection to the backend is idle
ONLY_ONE = {"connections", "memory", "upstreamConnections", "no descriptors"}  # another client has it
NO_BACKEND = {"upstreamConnections", "connectTimeout", "no endpoint", "backend refuses"}


class Scene:
    """A request that is brought to a moment, and both its ends."""

    def __init__(self, fault, moment, proxies, backend):
        self.fault, self.moment, self.backend = fault, moment, backend
        self.live = backend
        self.fillers = []
        self.shortage = contextlib.ExitStack()
        self.up = None  # the backend's end of the request
        self.request_left = GET  # what the client has still to send
        self.response_left, self.body_left = OK, b"ok"  # and what the backend has
        endpoints = {"c": () if fault == "no endpoint" else (backend.endpoint,)}
        configuration = config(match(forward(**RULES.get(fault, {}))), limits=LIMITS.get(fault))
        self.proxy = proxies(configuration, endpoints, **OPTIONS.get(fault, {}))
        self.port = self.proxy.port
        waits = fault in ONLY_ONE and moment == BEFORE
        self.client = None if waits else self.proxy.connect()
        if fault in ONLY_ONE:
            self.others = [self.proxy.connect()]
            self.others[0].send(GET)
            self.other_up = backend.accept()
            self.other_up.head()
        if fault == "memory" and moment == BEFORE:
            self.others.append(self.proxy.connect())
            self.others[1].send(b"GET")
            self.proxy.wait_for(lambda: self.proxy.counter("buffer_bytes") >= 20_000)
        if fault == "no descriptors" and moment == BEFORE:
            no_more_descriptors(self)
        self.open = self.proxy.counter("connections_open")
        self.client = self.client or self.proxy.connect()
        if fault in POOLED and (moment in (BEFORE, HEAD) or fault == "backend RST, reused"):
            self._pool_a_connection()

    def _pool_a_connection(self):
        self.client.send(GET)
        self.up = self.backend.accept()
        self.up.head()
        self.up.send(OK)
        self.client.head()
        assert self.client.exactly(2) == b"ok"
        assert self.proxy.log()["status"] == 200

    def come_to_moment(self):
        if self.moment == HEAD:
            self._send_first(b"GET /" if self.fault == "requestLine" else GET[:20])
        elif self.moment == BODY:
            self._send_request(whole=self.fault in NO_BODY)
        elif self.moment == AFTER and self.fault != "tunnelIdleTimeout":
            self._send_request(whole=self.fault not in ANSWERED_EARLY)
            chunked = self.fault == "backend bad chunk"
            framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % self.length
            self.up.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + (b"3\r\n" if chunked else b"") + b"abc")
            self.client.until(b"abc")
            self.response_left = self.body_left = b"de"

    @property
    def length(self):
        return 32 << 20 if self.fault == "bodyMinRate, reading" else 5

    def _send_first(self, part):
        self.client.send(part)
        self.request_left = GET[len(part) :]

    def _send_request(self, *, whole):
        self.request_left = b"" if whole else b"defghij"
        if whole:
            self.client.send(GET)
        elif self.fault in CHUNKED:
            self.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        else:
            self.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nabc" % self.body_length)
        if self.fault not in NO_BACKEND:
            self.up = self.up or self.backend.accept()
            self.up.head() if whole else self.up.until(b"abc")

    @property
    def body_length(self):
        return 1 << 30 if self.fault == "backend stops reading" else 10

    def finish(self):
        """Send what is left on both sides and return the status that the client sees."""
        if self.request_left:
            self.client.send(self.request_left)
            if self.moment == BODY:
                self.up.until(b"hij")
        if self.moment in (BEFORE, HEAD):
            self._reach_backend()
        self.up.send(self.response_left)
        status = 200 if self.moment == AFTER else self.final_status()
        assert self.client.exactly(len(self.body_left)) == self.body_left
        return status

    def _reach_backend(self):
        """The request comes on the connection of the one before or, where that is gone, on another."""
        if self.up is not None:
            with contextlib.suppress(AssertionError, OSError):
                self.up.head()
                return
        self.up = self.backend.accept()
        self.up.head()

    def final_status(self):
        while True:
            self.head = self.client.head()
            if not self.head.startswith(b"HTTP/1.1 1"):
                return int(self.head[9:12])

    def heal(self):
        """From now on there is an endpoint, and it answers everything."""
        if self.fault == "no descriptors":
            self._other_goes_on()
            self.shortage.close()
        elif self.fault in ONLY_ONE:
            for other in self.others:
                other.reset()
            self.proxy.wait_for(lambda: self.proxy.reason("client_reset") == len(self.others))
        if self.fault in NO_BACKEND and self.fault not in ONLY_ONE:
            self.live = Backend()
            self.proxy.endpoints({"c": (self.live.endpoint,)})
        self.live.answer_all(OK)

    def _other_goes_on(self):
        self.other_up.send(OK)
        assert self.others[0].head().startswith(b"HTTP/1.1 200")
        assert self.others[0].exactly(2) == b"ok"

    def drain(self, timeout):
        async def start():
            self.proxy.draining = asyncio.ensure_future(self.proxy.manager.drain(0, timeout))

        self.proxy.run(start())

    def listens(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def close(self):
        self.shortage.close()
        for one in self.fillers:
            one.close()
        if self.live is not self.backend:
            self.live.close()

    def silence(self, seconds):
        """Nothing happens at the backend's end for so long."""
        self.up.sock.settimeout(seconds)
        with pytest.raises(TimeoutError):
            self.up.sock.recv(1)
        self.up.sock.settimeout(10)


# --- one function for each fault: it happens now ---------------------------------------------------------------------------


def in_time(_scene):
    """Nothing is done: a time passes, or the fault was there from the start."""


def request_line(s):
    s.client.send(b"a" * 300)


def head_bytes(s):
    s.client.send(b": a\r\nA: " + b"a" * 1100)


def head_fields(s):
    s.client.send(b": a\r\n" + b"A: b\r\n" * 11 + b"\r\n")


def body_bytes(s):
    s.client.send(b": a\r\nContent-Length: 21\r\n\r\n" if s.moment == HEAD else b"14\r\n" + b"x" * 20 + b"\r\n")


def client_reads_nothing(s):
    def send():
        with contextlib.suppress(OSError):
            s.up.send(b"x" * s.length)

    threading.Thread(target=send, daemon=True).start()


def head_completes(s):
    if s.moment == HEAD:
        s.client.send(s.request_left)


def no_more_descriptors(s):
    """The worker can open nothing more."""
    s.shortage.enter_context(no_descriptors(s.proxy.manager.pids[0]))


def head_completes_without_descriptors(s):
    if s.moment != BEFORE:
        no_more_descriptors(s)
    head_completes(s)


def queue_is_full(s):
    """Connections that nobody accepts fill the backend's queue; what it answers to more is silence."""
    s.backend.listener.listen(0)
    while len(s.fillers) < 4:
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", s.backend.endpoint.port))
        s.fillers.append(filler)


def long_response_head(s):
    s.up.send(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 1100)


def interim_responses(s):
    s.up.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17)


def upstream_idles(s):
    assert s.up.rest() == b""


def tunnel(s):
    s.client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    s.up = s.backend.accept()
    s.up.head()
    s.up.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert s.client.head().startswith(b"HTTP/1.1 101 ")


def client_fin(s):
    s.client.finish()


def client_reset(s):
    s.client.reset()


def client_garbage(s):
    s.client.send(b"\x16\x03\x01\r\n\r\n")
    if s.moment == AFTER:
        s.up.send(s.response_left)
        assert s.client.exactly(2) == b"de"
        assert s.proxy.log()["status"] == 200


def client_bad_chunk(s):
    s.client.send(b"0x3\r\nabc\r\n")


def client_pauses(s):
    s.silence(2.5 * SOON / 1000)


def backend_is_gone(s):
    s.backend.listener.close()


def left_the_pool(s):
    if s.moment in (BEFORE, HEAD):
        s.proxy.wait_for(lambda: s.proxy.counter("upstream_open") == 0)


def backend_fin(s):
    s.up.close()
    left_the_pool(s)


def backend_reset(s):
    s.up.reset()
    left_the_pool(s)


def backend_garbage(s):
    if s.moment != AFTER:
        s.up.send(b"\x00\r\n\r\n")
        left_the_pool(s)
        return
    s.response_left = b"deHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def backend_bad_chunk(s):
    head = b"" if s.moment == AFTER else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    s.up.send(head + b"0x3\r\nabc\r\n")


def backend_pauses(s):
    for part in (b"d", b"e") if s.moment == AFTER else (b"", b""):
        s.silence(1.5 * SOON / 1000)
        s.up.send(part)
        if s.moment == BODY:
            s.up.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    if s.moment == AFTER:
        s.client.exactly(2)
        s.response_left = s.body_left = b""


def backend_stops_reading(s):
    def send():
        with contextlib.suppress(OSError):
            while True:
                s.client.sock.send(b"x" * 65536)

    s.sender = threading.Thread(target=send, daemon=True)
    s.sender.start()


def drain(s):
    s.drain(10)
    s.proxy.wait_for(lambda: not s.listens())


def drain_for_a_moment(s):
    (s.worker,) = s.proxy.manager._supervisor.live()
    s.drain(SOON / 1000)


def configuration_changes(s):
    s.proxy.apply(config(match(forward(), "/never"), match(forward())), {"c": (s.backend.endpoint,)})


ACTIONS = {
    "requestLine": request_line,
    "headBytes": head_bytes,
    "headFields": head_fields,
    "bodyBytes": body_bytes,
    "bodyMinRate, reading": client_reads_nothing,
    "memory": head_completes,
    "no descriptors": head_completes_without_descriptors,
    "responseHeadBytes": long_response_head,
    "interimResponses": interim_responses,
    "upstreamIdleTimeout": upstream_idles,
    "tunnelIdleTimeout": tunnel,
    "client FIN": client_fin,
    "client RST": client_reset,
    "client garbage": client_garbage,
    "client bad chunk": client_bad_chunk,
    "client slow but steady": client_pauses,
    "backend FIN": backend_fin,
    "backend RST": backend_reset,
    "backend RST, reused": backend_reset,
    "backend garbage": backend_garbage,
    "backend bad chunk": backend_bad_chunk,
    "backend slow but steady": backend_pauses,
    "backend stops reading": backend_stops_reading,
    "drain": drain,
    "drain timeout": drain_for_a_moment,
    "configuration changes": configuration_changes,
}
FROM_THE_START = {"connectTimeout": queue_is_full, "backend refuses": backend_is_gone}


# --- what becomes of it ------------------------------------------------------------------------------------------------------


def end_of(conn):
    """How the other side ended a connection on which everything was read."""
    assert conn.buffer == b""
    try:
        assert conn.sock.recv(1) == b""
    except ConnectionResetError:
        return "reset"
    try:
        conn.sock.send(b"x")  # a closed connection answers with a reset, which the next one is told of once it is here
        reset = select.poll()
        reset.register(conn.sock, 0)
        reset.poll(100)
        conn.sock.send(b"x")
    except (ConnectionResetError, BrokenPipeError):
        return "closed"
    return "lingers"


def check_kept(s, cell):
    if cell.status == 200:
        assert s.finish() == 200
    else:
        assert s.final_status() == cell.status
        s.client.exactly(int(fields(s.head)["content-length"]))
    check_log(s, cell)
    s.heal()
    s.client.send(GET)
    assert s.final_status() == 200


def check_waits(s, _cell):
    s.client.send(GET)
    assert s.backend.nobody_comes()
    assert s.proxy.counter("connections_open") == s.open
    s.heal()
    assert s.final_status() == 200


def check_cut(s, cell):
    check_log(s, cell)
    if s.fault == "client RST":
        return
    rest = s.client.rest()
    assert len(rest) + 3 < s.length or s.fault == "backend bad chunk"
    assert b"0\r\n\r\n" not in rest


def check_reset(s, cell):
    assert s.final_status() == cell.status
    s.sender.join()
    check_log(s, cell)


def check_ended(s, cell):
    if s.fault == "client RST":
        s.proxy.wait_for(lambda: s.proxy.counter("connections_open") == 0)
        check_log(s, cell)
        return
    if cell.status == 200:
        assert s.finish() == 200
    elif cell.status:
        assert s.final_status() == cell.status
        assert fields(s.head)["connection"] == "close"
        s.client.exactly(int(fields(s.head)["content-length"]))
    if s.fault == "drain timeout":
        s.proxy.run(s.worker.runner.ended())
    assert end_of(s.client) == cell.fate
    check_log(s, cell)


def check_log(s, cell):
    """The line in the log, and the counters of the reason; a connection without a request has no line."""
    if cell.status or (cell.reason and s.moment != BEFORE):
        line = s.proxy.log()
        assert (line["status"], line.get("reason", "")) == (cell.status, cell.reason)
    if cell.reason:
        s.proxy.wait_for(lambda: s.proxy.reason(cell.reason) == 1)
    if cell.counter:
        s.proxy.wait_for(lambda: s.proxy.counter(cell.counter) >= 1)


CHECKS = {"kept": check_kept, "waits": check_waits, "cut": check_cut, "reset": check_reset}


@pytest.mark.parametrize(
    ("fault", "moment", "cell"),
    [pytest.param(*each, id=f"{each[0]}-{each[1]}") for each in moments.cells()],
)
def test_moment(proxies, backend, fault, moment, cell):
    scene = Scene(fault, moment, proxies, backend)
    FROM_THE_START.get(fault, in_time)(scene)
    scene.come_to_moment()
    ACTIONS.get(fault, in_time)(scene)
    try:
        CHECKS.get(cell.fate, check_ended)(scene, cell)
    finally:
        scene.close()


def test_every_limit_has_a_row():
    rows = {fault.partition(",")[0] for fault, *_ in moments.TABLE}
    assert {moments.camel_case(name) for name in ir.Limits.__slots__} - rows == {"bodyRateWindow"}  # of bodyMinRate


def test_every_row_and_action_is_known():
    rows = {fault for fault, *_ in moments.TABLE}
    assert rows >= {*ACTIONS, *FROM_THE_START, *LIMITS, *RULES, *OPTIONS, *NO_BODY, *POOLED, *ONLY_ONE, *NO_BACKEND}


def test_the_documentation_has_the_same_table():
    """Otherwise: python tests/support/moments.py >docs/limits.md ."""
    assert (Path(__file__).resolve().parents[2] / "docs" / "limits.md").read_text() == moments.document()
