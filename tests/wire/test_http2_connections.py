"""What clients of HTTP/2 may not do, and on which connections it is spoken (docs/design/120-http2.md)."""

import struct

import pytest
from http2 import PREFACE, USUAL, Client, frame
from secure import Authority, listener, open_tls, terminating, trusting
from secure import config as secure_config

from wire import Conn, config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CANCEL, ENHANCE_YOUR_CALM = 8, 11
ROOT = Authority()
A = ROOT.issue("a.example")


@pytest.fixture(autouse=True)
def switched_on(monkeypatch):
    monkeypatch.setenv("FASTGATE_HTTP2", "provisional")


@pytest.fixture
def proxy(proxies, backend):
    return proxies(config(), {"c": (backend.endpoint,)})


@pytest.fixture
def client(proxy):
    return Client(proxy.connect())


# --- what a client may not do -----------------------------------------------------------------------------------------------------


def flood(proxy, client, data, reason):
    for _ in range(200):
        try:
            client.conn.send(data)
        except OSError:
            break
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert proxy.reason(reason) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(6, 0, 0, bytes(8)) * 10, "http2_pings"),
        (frame(4) * 10, "http2_settings"),
        (frame(2, 0, 1, struct.pack(">IB", 0, 1)) * 10, "http2_priorities"),
        (frame(8, 0, 0, struct.pack(">I", 1)) * 200, "http2_window_updates"),
    ],
    ids=["ping", "settings", "priority", "window update"],
)
def test_floods_of_frames_end_the_connection(proxy, client, data, reason):
    client.until(lambda: client.settled)
    flood(proxy, client, data, reason)


def test_a_flood_of_empty_data(proxy, client, backend):
    stream = client.request("POST", end=False)
    backend.accept().head()
    flood(proxy, client, frame(0, 0, stream) * 10, "http2_empty_frames")


def test_rapid_resets_end_the_connection(proxy, client):
    for _ in range(300):
        client.h2.reset_stream(client.request(), CANCEL)
    flood(proxy, client, b"", "http2_resets")


def test_streams_that_have_to_be_reset_count_as_resets(proxy, client):
    """MadeYouReset (CVE-2025-8671)."""
    for _ in range(300):
        client.h2.send_headers(
            client.h2.get_next_available_stream_id(), [*USUAL, ("connection", "close")], end_stream=True
        )
    client.flush()
    assert client.goaway() == ENHANCE_YOUR_CALM
    assert proxy.reason("http2_resets") == 1


def test_more_streams_than_may_be_open_are_refused(proxy, client, backend):
    client.until(lambda: client.h2.remote_settings.max_concurrent_streams == 100)
    client.raw(b"".join(frame(1, 5, 2 * n + 1, client.h2.encoder.encode(USUAL)) for n in range(101)))
    ups = [backend.accept() for _ in range(100)]
    assert backend.nobody_comes()
    assert proxy.counter("requests") == len(ups)


# --- which connections -------------------------------------------------------------------------------------------------------------


def test_a_preface_may_come_byte_by_byte(proxy, backend):
    backend.answer_all(OK)
    conn = proxy.connect()
    for byte in PREFACE:
        conn.send(bytes([byte]))
    client = Client(conn, start=False)
    client.h2.initiate_connection()
    client.raw(client.h2.data_to_send()[len(PREFACE) :])
    assert client.get().status == "200"


def test_a_preface_that_goes_on_wrongly(proxy):
    conn = proxy.connect()
    conn.send(PREFACE[:20])
    proxy.wait_for(lambda: proxy.counter("http2_connections") == 1)
    conn.send(b"X\r\n\r\n")
    conn.rest()
    proxy.wait_for(lambda: proxy.reason("http2_error") == 1)


def test_without_the_switch_the_preface_is_refused(monkeypatch, proxies):
    monkeypatch.delenv("FASTGATE_HTTP2")
    conn: Conn = proxies().connect()
    conn.send(PREFACE)
    assert conn.head().startswith(b"HTTP/1.1 ")


def test_a_preface_behind_a_request_of_http_1_is_refused(proxy, backend):
    backend.answer_all(OK)
    conn = proxy.connect()
    conn.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + PREFACE)
    assert conn.head().startswith(b"HTTP/1.1 200")
    assert conn.exactly(2) == b"ok"
    assert int(conn.head().split()[1]) >= 400


def secure(hostname="", **terms):
    return listener(terminating(A, alpn=("h2", "http/1.1"), **terms), hostname)


def test_alpn_chooses_http_2(proxies, backend):
    backend.answer_all(OK)
    proxy = proxies(secure_config(secure(), pairs=(A,)), {"c": (backend.endpoint,)})
    context = trusting(ROOT)
    context.set_alpn_protocols(["h2", "http/1.1"])
    conn = open_tls(proxy, context, "a.example")
    assert conn.sock.selected_alpn_protocol() == "h2"
    reply = Client(conn).get(authority="a.example", scheme="https")
    assert (reply.status, reply.body) == ("200", b"ok")
    line = proxy.log()
    assert (line["protocol"], line["scheme"], line["alpn"]) == ("HTTP/2.0", "https", "h2")


def test_a_name_of_another_listener_is_misdirected(proxies, backend):
    backend.answer_all(OK)
    listeners = (
        listener(terminating(A, alpn=("h2",)), "a.example", "a"),
        listener(terminating(A, alpn=("h2",)), "b.example", "b"),
    )
    proxy = proxies(secure_config(*listeners, pairs=(A,)), {"c": (backend.endpoint,)})
    context = trusting(ROOT)
    context.set_alpn_protocols(["h2"])
    client = Client(open_tls(proxy, context, "a.example"))
    answers = [client.get(authority=name, scheme="https").status for name in ("a.example", "b.example", "c.example")]
    assert answers == ["200", "421", "404"]
