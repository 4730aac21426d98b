"""HTTP/2 as clients see it, frame by frame, with backends of HTTP/1 (docs/design/120-http2.md)."""

import pytest
from http2 import USUAL, Client, frame

from fastgate import ir
from wire import config, fields

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROTOCOL_ERROR = 1


@pytest.fixture(autouse=True)
def switched_on(monkeypatch):
    monkeypatch.setenv("FASTGATE_HTTP2", "provisional")


@pytest.fixture
def proxy(proxies, backend):
    return proxies(config(), {"c": (backend.endpoint,)})


@pytest.fixture
def client(proxy):
    return Client(proxy.connect())


# --- requests and responses -------------------------------------------------------------------------------------------------------


def test_a_get_goes_to_a_backend_of_http_1_and_back(proxy, client, backend):
    stream = client.request("GET", "/a/../b?q=1", ("accept", "*/*"), authority="a.example:80")
    up = backend.accept()
    head = up.head()
    assert head.startswith(b"GET /b?q=1 HTTP/1.1\r\nhost: a.example:80\r\naccept: */*\r\n")
    assert fields(head)["via"] == "2.0 fastgate"
    assert "transfer-encoding" not in fields(head)
    up.send(b"HTTP/1.1 200 Fine\r\nX-Odd-Case: Yes\r\nConnection: x-gone\r\nX-Gone: 1\r\nContent-Length: 2\r\n\r\nok")
    reply = client.reply(stream)
    assert (reply.status, reply.body, reply.fields["x-odd-case"]) == ("200", b"ok", "Yes")
    assert not {"connection", "x-gone", "transfer-encoding", "keep-alive"} & set(reply.fields)
    line = proxy.log()
    assert (line["protocol"], line["path"], line["status"]) == ("HTTP/2.0", "/b", 200)
    assert (proxy.counter("http2_connections"), proxy.counter("http2_streams")) == (1, 1)


def test_streams_are_served_side_by_side_and_backends_reused(client, backend):
    first, second = client.request(path="/1"), client.request(path="/2")
    ups = [backend.accept(), backend.accept()]
    heads = [up.head() for up in ups]
    for up, head in reversed(list(zip(ups, heads, strict=True))):
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + head[4:6])
    assert (client.reply(first).body, client.reply(second).body) == (b"/1", b"/2")
    assert backend.nobody_comes(0.05)


@pytest.mark.parametrize("length", [0, 5, 70_000, 400_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_response_bodies_of_every_framing(client, backend, framing, length):
    body = bytes(i * 7 % 251 for i in range(length))
    stream = client.request()
    up = backend.accept()
    up.head()
    if framing == "length":
        up.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (length, body))
    elif framing == "chunked":
        chunk = b"%x\r\n%s\r\n" % (length, body) if length else b""
        up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n")
    else:
        up.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        up.finish()
    reply = client.reply(stream)
    assert (reply.ended, reply.body == body) == (True, True)
    assert reply.fields.get("content-length") == (str(length) if framing == "length" else None)


def test_a_head_request_has_no_body(client, backend):
    stream = client.request("HEAD")
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
    reply = client.reply(stream)
    assert (reply.ended, reply.fields["content-length"], reply.body) == (True, "7", b"")


@pytest.mark.parametrize("length", [1, 5000, 300_000])
def test_a_request_body_of_a_known_length(client, backend, length):
    body = bytes(i * 3 % 253 for i in range(length))
    stream = client.request("POST", "/", ("content-length", str(length)), end=False)
    up = backend.accept()
    head = up.head()
    assert fields(head)["content-length"] == str(length)
    client.data(stream, body[: length // 2])
    assert up.exactly(length // 2) == body[: length // 2]
    client.data(stream, body[length // 2 :], end=True)
    assert up.exactly(length - length // 2) == body[length // 2 :]
    up.send(OK)
    assert client.reply(stream).status == "200"


def test_a_request_body_of_an_unknown_length_is_chunked(client, backend):
    stream = client.request("POST", "/", end=False)
    up = backend.accept()
    assert fields(up.head())["transfer-encoding"] == "chunked"
    client.data(stream, b"hello")
    assert up.exactly(10) == b"5\r\nhello\r\n"
    client.data(stream, end=True)
    assert up.exactly(5) == b"0\r\n\r\n"
    up.send(OK)
    assert client.reply(stream).status == "200"


def test_trailers_pass_as_the_allow_list_says_both_ways(proxies, backend):
    settings = ir.Settings(trailers=("x-sum",))
    client = Client(proxies(config(settings=settings), {"c": (backend.endpoint,)}).connect())
    stream = client.request("POST", "/", ("te", "trailers"), end=False)
    up = backend.accept()
    assert fields(up.head())["te"] == "trailers"
    client.data(stream, b"ab")
    client.trailers(stream, ("x-sum", "7"), ("x-other", "no"))
    assert up.until(b"\r\n\r\n") == b"2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n"
    up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\nX-Other: no\r\n\r\n")
    reply = client.reply(stream)
    assert (reply.body, reply.trailers) == (b"abc", {"x-sum": "9"})


def test_interim_responses_pass(client, backend):
    stream = client.request("POST", "/", ("expect", "100-continue"), ("content-length", "2"), end=False)
    up = backend.accept()
    assert fields(up.head())["expect"] == "100-continue"
    up.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    client.until(lambda: len(client.replies[stream].interim) == 2)
    client.data(stream, b"ab", end=True)
    assert up.exactly(2) == b"ab"
    up.send(OK)
    reply = client.reply(stream)
    assert [i[":status"] for i in reply.interim] == ["100", "103"]
    assert reply.interim[1]["link"] == "</a>"


def test_crumbs_of_cookies_become_one_field(client, backend):
    client.request("GET", "/", ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3"))
    head = backend.accept().head()
    assert fields(head)["cookie"] == "a=1; b=2; c=3"
    assert fields(head)["x"] == "y"


# --- answers of the gateway's own -------------------------------------------------------------------------------------------------


def test_local_answers(proxies):
    client = Client(proxies(config(hostname="a.example"), {}).connect())
    assert client.get(authority="b.example").status == "404"
    reply = client.get(authority="a.example")
    assert (reply.status, reply.body, reply.fields["content-type"]) == (
        "503",
        b"503 Service Unavailable\n",
        "text/plain",
    )
    assert "connection" not in reply.fields


def test_an_early_answer_ends_the_request_without_an_error(proxies):
    client = Client(proxies(config(), {}).connect())
    reply = client.reply(stream := client.request("POST", end=False))
    assert reply.status == "503"
    client.until(lambda: client.replies[stream].reset is not None)
    assert client.replies[stream].reset == 0
    assert client.get().status == "503"


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/%00", (), "400"),
        ("GET", "/../..", (), "400"),
        ("GET", "/a#b", (), "400"),
        ("GET", "/", (("host", "other"),), "400"),
        ("GET", "/", (("content-length", "2"), ("expect", "magic")), None),
        ("GET", "/" + "a" * 9000, (), "414"),
        ("GET", "/", tuple((f"x-{i}", "1") for i in range(120)), "431"),
        ("GET", "/", (("x", "y" * 12000), ("z", "y" * 12000), ("w", "y" * 12000)), "431"),
        ("GET", "/", tuple(("cookie", "a=1") for _ in range(120)), "431"),
    ],
)
def test_requests_that_are_refused(proxy, client, backend, method, path, more, status):
    reply = client.reply(client.request(method, path, *more))
    if status is None:
        assert reply.reset == PROTOCOL_ERROR
    else:
        assert reply.status == status
    assert backend.nobody_comes(0.05)
    backend.answer_all(OK)
    assert client.get().status == "200"


def test_a_host_field_that_says_the_same_is_left_out(client, backend):
    client.request("GET", "/", ("host", "A"), authority="a")
    assert backend.accept().head().lower().count(b"\r\nhost:") == 1


def test_a_request_for_another_scheme_is_misdirected(client):
    assert client.get(scheme="https").status == "421"


# --- what would be smuggled -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        [("connection", "close")],
        [("transfer-encoding", "chunked")],
        [("keep-alive", "1")],
        [("proxy-connection", "x")],
        [("upgrade", "websocket")],
        [("te", "gzip")],
        [("X-Upper", "1")],
        [("x y", "1")],
        [("x:y", "1")],
        [("x", "a\r\nGET /evil HTTP/1.1\r\n\r\n")],
        [("x", "a\nb")],
        [("x", "a\0b")],
        [("x", " a")],
        [("x", "a ")],
        [("", "a")],
        [("x\r\ny", "a")],
        [("content-length", "1"), ("content-length", "2")],
        [("content-length", "+1")],
        [(":path", "/twice")],
        [(":unknown", "1")],
    ],
    ids=repr,
)
def test_fields_that_may_not_come_reset_the_stream(client, backend, more):
    stream = client.request(pseudo=USUAL + more)
    assert client.reply(stream).reset == PROTOCOL_ERROR
    assert backend.nobody_comes(0.05)
    backend.answer_all(OK)
    assert client.get().status == "200"


@pytest.mark.parametrize(
    "pseudo",
    [
        [(":method", "GET"), (":scheme", "http"), (":authority", "a")],
        [(":method", "GET"), (":authority", "a"), (":path", "/")],
        [(":scheme", "http"), (":authority", "a"), (":path", "/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "")],
        [(":method", "GET /evil HTTP/1.1\r\nx:"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/ HTTP/1.1\r\nx: y")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a\r\nx: y"), (":path", "/")],
        [(":method", "GET"), (":scheme", "http"), ("x", "y"), (":authority", "a"), (":path", "/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "u@a"), (":path", "/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a b")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "a")],
        [(":method", "G T"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
    ],
    ids=repr,
)
def test_pseudo_fields_that_are_wrong(client, backend, pseudo):
    stream = client.request(pseudo=pseudo)
    reply = client.reply(stream)
    assert reply.reset == PROTOCOL_ERROR or reply.status == "400"
    assert backend.nobody_comes(0.05)


@pytest.mark.parametrize("sent", [b"abc", b"abcdefgh"])
def test_a_body_that_is_not_of_the_length_said_is_never_whole(proxy, client, backend, sent):
    stream = client.request("POST", "/", ("content-length", "5"), end=False)
    up = backend.accept()
    up.head()
    client.raw(frame(0, 1, stream, sent))
    assert client.reply(stream).reset == PROTOCOL_ERROR
    assert len(up.rest()) < 5
    assert proxy.log()["reason"] == "client_reset"


# --- ends -------------------------------------------------------------------------------------------------------------------------


def test_a_reset_cancels_the_request_upstream(proxy, client, backend):
    stream = client.request("POST", end=False)
    up = backend.accept()
    up.head()
    client.reset(stream)
    assert up.rest() == b""
    assert proxy.log()["reason"] == "client_reset"
    other = client.request()
    up = backend.accept()
    up.head()
    up.send(OK)
    assert client.reply(other).status == "200"


def test_a_client_that_leaves_cancels_its_requests(proxy, client, backend):
    client.request()
    up = backend.accept()
    up.head()
    client.conn.close()
    assert up.rest() == b""
    assert proxy.log()["reason"] in {"client_closed", "client_reset"}
    proxy.wait_for(lambda: proxy.counter("connections_open") == 0)


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_a_response_that_is_cut_resets_the_stream(client, backend, framing):
    stream = client.request()
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
    client.until(lambda: client.replies[stream].fields)
    up.close()
    reply = client.reply(stream)
    assert (reply.ended, reply.reset) == (False, 2)


def test_a_drain_says_goaway_and_ends_what_was_begun(proxy, client, backend):
    stream = client.request()
    up = backend.accept()
    up.head()
    proxy.start_drain()
    client.until(lambda: len(client.goaways) == 2)
    assert [last for last, _ in client.goaways] == [2**31 - 1, stream]
    up.send(OK)
    assert client.reply(stream).body == b"ok"
    assert client.goaway() == 0
    proxy.wait_for(proxy.draining.done)


def test_an_idle_connection_ends_with_goaway(proxies):
    client = Client(proxies(config(limits={"idle_timeout": 100}), {}).connect())
    assert client.get().status == "503"
    assert client.goaway() == 0


# --- back-pressure ----------------------------------------------------------------------------------------------------------------


def test_a_client_gets_no_credit_while_the_backend_takes_nothing(proxy, client, backend):
    stream = client.request("POST", end=False)
    up = backend.accept()
    up.head()
    sent = 0
    while (room := client.h2.local_flow_control_window(stream)) > 0 or client.h2.outbound_flow_control_window <= 0:
        client.h2.send_data(stream, bytes(min(room, 16384)))
        client.flush()
        sent += min(room, 16384)
        client.conn.sock.settimeout(0.2)
        try:
            client.more()
        except TimeoutError:
            break
        assert sent < 64 << 20
    assert sent < 16 << 20
    client.conn.sock.settimeout(10)
    other = client.request(path="/other")
    second = backend.accept()
    second.head()
    second.send(OK)
    assert client.reply(other).status == "200"


def test_a_backend_waits_for_a_client_that_gives_no_credit(proxy, client, backend):
    client.takes = False
    stream = client.request()
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
    up.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        up.sock.sendall(bytes(64 << 20))
    client.until(lambda: len(client.replies[stream].body) == 65535)
    assert proxy.counter("buffer_bytes") < 1 << 20


def test_a_client_that_takes_too_little_is_reset(proxies, backend):
    limits = {"body_min_rate": 1000, "body_rate_window": 100}
    proxy = proxies(config(limits=limits), {"c": (backend.endpoint,)})
    client = Client(proxy.connect(), window=10)
    stream = client.request()
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
    client.takes = False
    reply = client.reply(stream)
    assert (reply.body, reply.ended) == (bytes(10), False)
    assert proxy.log()["reason"] == "client_slow"


def test_so_is_one_that_does_not_take_an_answer_of_ours(proxies):
    proxy = proxies(config(limits={"body_min_rate": 1000, "body_rate_window": 100}), {})
    client = Client(proxy.connect(), window=10)
    client.takes = False
    reply = client.reply(client.request())
    assert (reply.status, reply.body, reply.reset) == ("503", b"503 Servic", 8)
    assert proxy.reason("client_slow") == 1
