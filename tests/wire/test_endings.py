"""How exchanges and connections end when not all went as planned: early answers, cuts, lingering, times."""

import contextlib
import select
import threading
import time
from dataclasses import replace

import pytest

from fastgate import ir
from wire import config, fields, forward, match

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *lines, b"", b""])


def early(proxy, backend, answer=b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"):
    """A client whose request was answered before its body ended."""
    client = proxy.connect()
    client.send(post(b"Content-Length: 100000000") + b"x" * 1000)
    up = backend.accept()
    up.head()
    up.send(answer)
    head = client.head()
    assert fields(head)["connection"] == "close"
    assert client.exactly(2) == b"no"
    return client, up


def test_after_an_early_answer_both_connections_end(proxy, backend):
    client, up = early(proxy, backend)
    assert up.rest() == b"x" * 1000
    assert client.rest() == b""
    assert proxy.log()["status"] == 413


def test_a_silent_client_is_lingered_for_two_seconds(proxy, backend):
    began = time.monotonic()
    client, _ = early(proxy, backend)
    assert client.rest() == b""  # the write side is shut at once
    assert proxy.counter("connections_open") == 1
    proxy.wait_for(lambda: proxy.counter("connections_open") == 0)
    assert 1.9 <= time.monotonic() - began < 4


def test_a_client_that_goes_on_sending_is_read_for_256_kib(proxy, backend):
    client, _ = early(proxy, backend)
    client.send(b"x" * 200_000)
    assert client.rest() == b""  # no reset yet: the answer would have been destroyed
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        client.send(b"x" * (64 << 20))


def test_a_client_that_ends_is_not_lingered(proxy, backend):
    client, _ = early(proxy, backend)
    began = time.monotonic()
    client.finish()
    proxy.wait_for(lambda: proxy.counter("connections_open") == 0)
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("head", "first", "second"),
    [
        (b"Content-Length: 10", b"01234", b"56789"),
        (b"Transfer-Encoding: chunked", b"5\r\n01234\r\n", b"5\r\n56789\r\n0\r\n\r\n"),
    ],
)
def test_a_request_that_ends_after_its_answer_began_frees_no_connection(proxy, backend, head, first, second):
    client = proxy.connect()
    client.send(post(head) + first)
    up = backend.accept()
    up.head()
    up.until(first)
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nno")
    assert fields(client.head())["connection"] == "close"
    client.send(second)
    assert up.until(second)
    up.send(b"ok")
    assert client.rest() == b"nook"
    assert up.rest() == b""


def test_a_response_that_ends_with_the_connection_is_cut_by_a_reset(proxy, backend):
    client = proxy.connect()
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    client.until(b"hel")
    up.close()
    with pytest.raises(ConnectionResetError):
        client.sock.recv(1)


@pytest.mark.parametrize("head", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_a_backend_that_resets_cuts_the_response(proxy, backend, head):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"5\r\n" if b"chunked" in head else b"") + b"hel")
    client.until(b"hel")
    up.reset()
    assert b"0\r\n\r\n" not in client.rest()
    assert proxy.log()["reason"] == "upstream_reset"


def test_a_whole_request_that_fails_leaves_the_client_its_connection(proxy, backend):
    client = proxy.connect()
    client.send(post(b"Content-Length: 2") + b"hi" + GET)
    up = backend.accept()
    up.until(b"hi")
    up.reset()
    head = fields(client.head())
    assert "connection" not in head
    assert client.exactly(int(head["content-length"])) == b"502 Bad Gateway\n"
    second = backend.accept()
    second.head()
    second.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def ticks(limits, backend):
    """A configuration whose rule for /tick takes 100 ms to fail: a clock for everything else."""
    clock = replace(forward(request_timeout=100), key="HTTPRoute/ns/r/1")
    return config(match(clock, "/tick"), match(forward()), limits=limits), {"c": (backend.endpoint,)}


def tick(proxy, backend, times=1):
    for _ in range(times):
        client = proxy.connect()
        client.send(b"GET /tick HTTP/1.1\r\nHost: a\r\n\r\n")
        backend.accept().head()
        assert client.head().startswith(b"HTTP/1.1 504")


def test_a_response_may_take_longer_than_its_head(proxies, backend):
    proxy = proxies(*ticks({"response_timeout": 200}, backend))
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(OK[:-1])
    client.head()
    tick(proxy, backend, 3)
    up.send(OK[-1:])
    assert client.exactly(2) == b"ok"


def test_a_request_may_take_longer_than_the_head_of_its_response(proxies, backend):
    proxy = proxies(*ticks({"response_timeout": 250}, backend))
    client = proxy.connect()
    client.send(post(b"Content-Length: 5"))
    up = backend.accept()
    up.head()
    for byte in (b"a", b"b", b"c", b"d", b"e"):
        tick(proxy, backend)
        client.send(byte)
        assert up.exactly(1) == byte
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_pipelined_requests_with_errors_among_them(proxies, backend):
    proxy = proxies(config(match(forward(), "/x")), {"c": (backend.endpoint,)})
    client = proxy.connect()
    missing = b"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET"
    found = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    client.send(missing * 40 + found + missing + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + found)
    up = backend.accept()
    up.head()
    up.send(OK)
    answers = client.rest()
    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"404"] * 40 + [b"200", b"404", b"400"]


@pytest.mark.parametrize("target", [b"/x", b"/y"])
def test_nothing_is_answered_behind_a_close(proxies, backend, target):
    proxy = proxies(config(match(forward(), "/x")), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
    if target == b"/x":
        up = backend.accept()
        up.head()
        up.send(OK)
    assert client.rest().count(b"HTTP/1.1 ") == 1


def test_a_reader_that_is_slow_stops_its_backend(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    client.head()
    up.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        up.send(b"x" * 500_000_000)
    assert 0 < proxy.counter("buffer_bytes") <= 1 << 18
    client.reset()
    assert proxy.log()["reason"] in ("client_reset", "client_closed")


def test_a_backend_that_is_slow_stops_its_client(proxies, backend):
    proxy = proxies(config(limits={"response_timeout": 500}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(post(b"Content-Length: 1000000000"))
    up = backend.accept()
    up.head()

    def send():
        with contextlib.suppress(OSError):
            client.send(b"x" * 500_000_000)

    sender = threading.Thread(target=send)
    sender.start()
    while not select.select([client.sock], [], [], 0.01)[0]:
        assert proxy.counter("buffer_bytes") <= 1 << 18
    assert client.head().startswith(b"HTTP/1.1 504")  # it takes nothing for so long: no answer will come
    sender.join()
    line = proxy.log()
    assert line["reason"] == "response_timeout"
    assert line["bytes_received"] < 100_000_000


def test_a_head_that_fills_its_buffer_leaves_room_for_the_body(proxies, backend):
    proxy = proxies(config(settings=ir.Settings(), limits={"head_bytes": 65536}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    head = post(b"Transfer-Encoding: chunked", b"X: ")
    head = head.replace(b"X: ", b"X: " + b"x" * (65536 - len(head)))
    client.send(head)
    up = backend.accept()
    up.head()
    client.send(b"3;" + b"e" * 200 + b"\r\nabc\r\n0\r\nX-Trailer: " + b"t" * 3000 + b"\r\n\r\n")
    assert up.until(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")
