"""Where messages end, on both sides (RFC 9112 sections 6 and 7)."""

import threading

import pytest

from wire import config, fields

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body_head: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + body_head + b"\r\n\r\n"


def answer(conn, body=b"ok", extra=b""):
    conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, body))


def test_requests_and_responses_with_a_length(proxy, backend):
    client = proxy.connect()
    client.send(post(b"Content-Length: 5") + b"hello")
    up = backend.accept()
    head = up.head()
    assert fields(head)["content-length"] == "5"
    assert up.exactly(5) == b"hello"
    answer(up, b"world")
    head = client.head()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert client.exactly(5) == b"world"
    client.send(GET)  # both connections are used again
    assert up.head()
    answer(up)
    assert client.head()
    assert proxy.counter("upstream_connects") == 1


def test_chunked_requests_are_framed_anew(proxy, backend):
    client = proxy.connect()
    client.send(post(b"Transfer-Encoding: chunked") + b"3;ext=1\r\nabc\r\n")
    up = backend.accept()
    assert fields(up.head())["transfer-encoding"] == "chunked"
    assert up.until(b"abc\r\n").endswith(b"3\r\nabc\r\n")
    client.send(b"0000A\r\n0123456789\r\n0\r\nTrailer-Field: x\r\n\r\n")
    rest = up.until(b"0\r\n\r\n")
    assert b"0123456789" in rest
    assert b";ext" not in rest
    answer(up)
    assert client.head()


def test_chunked_responses(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert fields(client.head())["transfer-encoding"] == "chunked"
    assert client.until(b"hello\r\n") == b"5\r\nhello\r\n"
    up.send(b"0\r\n\r\n")
    assert client.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_a_response_until_close_becomes_chunked(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    up.close()
    assert fields(client.head())["transfer-encoding"] == "chunked"
    assert client.until(b"0\r\n\r\n") == b"5\r\nhello\r\n0\r\n\r\n"


def test_a_client_of_http_1_0_gets_no_chunks(proxy, backend):
    client = proxy.connect()
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    up = backend.accept()
    assert up.head().startswith(b"GET / HTTP/1.1\r\n")
    up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    head = client.head()
    assert "transfer-encoding" not in fields(head)
    assert client.rest() == b"hello"


def test_http_1_0_keeps_the_connection_only_when_asked(proxy, backend):
    client = proxy.connect()
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    up = backend.accept()
    up.head()
    answer(up)
    head = client.head()
    assert fields(head)["connection"].lower() == "keep-alive"
    assert client.exactly(2) == b"ok"
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    up.head()
    answer(up)
    client.head()
    assert client.rest() == b"ok"


def test_a_backend_of_http_1_0(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.head().startswith(b"HTTP/1.1 200")
    assert client.exactly(2) == b"ok"
    client.send(GET)
    backend.accept().head()  # its connection is not used again


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_responses_without_body(proxy, backend, status):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
    head = client.head()
    assert head.startswith(b"HTTP/1.1 " + status)
    assert "transfer-encoding" not in fields(head)
    client.send(GET)
    up.head()


def test_head_requests(proxy, backend):
    client = proxy.connect()
    client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    up = backend.accept()
    assert up.head().startswith(b"HEAD ")
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    assert fields(client.head())["content-length"] == "1000"
    client.send(GET)
    up.head()
    answer(up)
    assert client.head()
    assert client.exactly(2) == b"ok"


def test_pipelined_requests_are_answered_in_order(proxy, backend):
    client = proxy.connect()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(5)))
    up = backend.accept()
    for n in range(5):
        assert up.head().startswith(b"GET /%d " % n)
        answer(up, b"%d" % n)
    for n in range(5):
        client.head()
        assert client.exactly(1) == b"%d" % n


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Transfer-Encoding: gzip",
        b"Content-Length: abc",
    ],
)
def test_a_backend_with_faulty_framing_is_a_502(proxy, backend, head):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nabc")
    assert client.head().startswith(b"HTTP/1.1 502")
    assert up.rest() == b""
    assert proxy.log()["reason"] == "bad_response"


def test_a_backend_cut_short_cuts_the_client(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    client.head()
    client.until(b"hel")
    up.close()
    assert b"0\r\n\r\n" not in client.rest()
    assert proxy.log()["reason"] == "upstream_closed"


def test_bytes_after_a_response_are_never_somebody_elses(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    client.head()
    assert client.exactly(2) == b"ok"
    client.send(GET)
    second = backend.accept()
    second.head()
    answer(second, b"good")
    client.head()
    assert client.exactly(4) == b"good"


def test_data_without_a_request_closes_an_idle_connection(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    answer(up)
    client.head()
    client.exactly(2)
    up.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    assert up.rest() == b""
    proxy.wait_for(lambda: proxy.counter("upstream_unsolicited") == 1)


def test_large_bodies_pass_both_ways_in_bounded_memory(proxy, backend):
    size = 8 << 20
    client = proxy.connect()
    client.send(post(b"Content-Length: %d" % size))
    up = backend.accept()
    up.head()
    sender = threading.Thread(target=client.send, args=(b"x" * size,))
    sender.start()
    assert up.exactly(1) == b"x"
    assert proxy.counter("buffer_bytes") <= 1 << 20
    assert up.exactly(size - 1) == b"x" * (size - 1)
    sender.join()
    sender = threading.Thread(target=answer, args=(up, b"y" * size))
    sender.start()
    client.head()
    assert client.exactly(size) == b"y" * size
    sender.join()
    assert proxy.counter("buffer_bytes") <= 1 << 20


def test_a_body_over_the_limit_is_413(proxies, backend):
    proxy = proxies(config(limits={"body_bytes": 10}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(post(b"Content-Length: 11") + b"x" * 11)
    assert client.head().startswith(b"HTTP/1.1 413")
    assert proxy.log()["reason"] == "body_too_large"
    client = proxy.connect()
    client.send(post(b"Transfer-Encoding: chunked") + b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 413")
