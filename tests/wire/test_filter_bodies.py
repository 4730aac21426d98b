"""Bodies and filter plugins on the wire: buffered ones, trailer fields, and exchanges that are upgraded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from filtered import OK, fields, get, plugin, read

from fastgate import ir
from fastgate.core import filters
from fastgate.plugins import process
from wire import config, forward, match

pytestmark = pytest.mark.usefixtures("installed")

POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCH = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def passing(*plugins):
    """A rule with filters, where the trailer field X-Sum may go on."""
    rule = forward(filters=ir.Filters(plugins=plugins))
    return config(match(rule), settings=replace(ir.Settings(), trailers=("x-sum",)))


def dechunked(conn) -> tuple[bytes, bytes]:
    """A chunked body, and its trailer section."""
    body = b""
    while size := int(conn.until(b"\r\n"), 16):
        body += conn.exactly(size + 2)[:-2]
    trailers = b""
    while not trailers.endswith(b"\r\n"):
        trailers += conn.until(b"\r\n")
        if trailers == b"\r\n":
            return body, b""
    while not trailers.endswith(b"\r\n\r\n"):
        trailers += conn.until(b"\r\n")
    return body, trailers[:-2]


@pytest.mark.parametrize("cut", [None, 5])
def test_trailers_go_on_behind_a_body_that_filters_see(proxies, backend, inline, cut):
    proxy = proxies(passing(plugin("Pieces", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    message = b"2\r\nab\r\n0\r\nX-Sum: 7\r\nX-Other: 1\r\nHost: evil\r\n\r\n"
    client.send(POST + message[:cut])
    server = backend.accept()
    assert dict(fields(server.head()))["transfer-encoding"] == "chunked"
    if cut:
        client.send(message[cut:])
    assert dechunked(server) == (b"AB!", b"X-Sum: 7\r\n")
    server.send(OK)
    client.until(b"0\r\n\r\n")
    get(client, "/", "TE: trailers", "Connection: TE")
    server.head()
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + message)
    assert ("trailer", "X-Sum") in fields(client.head())
    assert dechunked(client) == (b"ab.", b"X-Sum: 7\r\n")


def test_filters_read_trailers_at_the_end_of_a_body(proxies, backend, inline):
    proxy = proxies(passing(plugin("Trailers", inline), plugin("Trailers", not inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    trailers = b"0\r\nx-sum: 1\r\nX-Sum:  2 \t\r\nx-other: 3\r\n\r\n"
    client.send(POST + b"2\r\nab\r\n" + trailers)
    server = backend.accept()
    server.head()
    both = b"[('x-sum', '1'), ('X-Sum', '2')]"
    assert dechunked(server)[0] == b"ab" + both * 2
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n" + trailers.replace(b"2", b"4"))
    client.head()
    later = b"[('x-sum', '1'), ('X-Sum', '4')]"
    own = b"[" + both + b", " + later + b"]"
    assert dechunked(client) == (b"c" + own * 2, b"")  # filters see them, the client did not ask for any


@pytest.mark.parametrize("body", [b"", b"1\r\nx\r\n"])
def test_trailers_go_on_behind_a_buffered_body(proxies, backend, inline, body):
    proxy = proxies(passing(plugin("Wrap", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(POST + body + b"0\r\nx-sum: 7\r\nx-other: 8\r\n\r\n")
    server = backend.accept()
    sent = dict(fields(server.head()))
    assert (sent["transfer-encoding"], sent["x-trailers"]) == ("chunked", "[('x-sum', '7')]")
    assert dechunked(server) == (b"[x]" if body else b"[]", b"x-sum: 7\r\n")
    server.send(OK)
    read(client)
    client.send(POST + body + b"0\r\nx-other: 8\r\n\r\n")
    sent = dict(fields(server.head()))
    assert (sent["content-length"], sent["x-trailers"]) == (str(len(b"[x]" if body else b"[]")), "[]")


@pytest.mark.parametrize("order", [("Wrap", "Pieces"), ("Pieces", "Wrap")])
@pytest.mark.parametrize("other", [False, True])
def test_a_buffered_body_passes_filters_that_see_pieces(proxies, backend, inline, order, other):
    """Whoever waits for the body sees it first, wherever it stands; the pieces are of what it left."""
    one, two = plugin(order[0], inline), plugin(order[1], inline != other)
    proxy = proxies(passing(one, two), {"c": (backend.endpoint,)})
    client = proxy.connect()
    size = 65536
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    server = backend.accept()
    sent = dict(fields(server.head()))
    assert sent["transfer-encoding"] == "chunked"
    assert sent["x-size"] == str(size)
    assert dechunked(server)[0] == b"[" + b"X" * size + b"]!"
    server.send(OK)
    client.until(b"0\r\n\r\n")
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    server.head()


def test_what_follows_a_replaced_body_is_the_next_request(proxies, backend, inline):
    proxy = proxies(passing(plugin("Wrap", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send((POST + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n") * 3)
    server = backend.accept()
    for _ in range(3):
        assert dict(fields(server.head()))["content-length"] == "5"
        assert server.exactly(5) == b"[abc]"
        server.send(OK)
        assert read(client)[1] == b"hi"


def test_upgrades_pass_filters_of_heads_and_no_others(proxies, backend, inline):
    every = plugin("Edit", inline), plugin("Pieces", inline), plugin("Wrap", inline), plugin("Trailers", not inline)
    proxy = proxies(passing(*every), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"GET /chat HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\n" + SWITCH + b"\r\n")
    server = backend.accept()
    sent = fields(server.head())
    assert {("x-edit", "1"), ("upgrade", "websocket")} <= set(sent)
    assert "x-gone" not in dict(sent)
    server.send(b"HTTP/1.1 101 Switching Protocols\r\nX-Gone: 1\r\n" + SWITCH + b"\r\nfirst")
    head = client.head()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert {("x-order", "1"), ("upgrade", "websocket")} <= set(fields(head))
    assert "x-gone" not in dict(fields(head))
    assert client.exactly(5) == b"first"
    calls = proxy.counter("filter_calls")
    for number in range(20):
        client.send(b"ping %d" % number)
        assert server.exactly(len(b"ping %d" % number)) == b"ping %d" % number
        server.send(b"pong")
        assert client.exactly(4) == b"pong"
    assert proxy.counter("filter_calls") == calls


def test_a_filter_answers_in_the_place_of_an_upgrade(proxies, backend, inline):
    proxy = proxies(passing(plugin("Answer", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"GET /chat HTTP/1.1\r\nHost: a\r\n" + SWITCH + b"\r\n")
    assert read(client)[0].startswith(b"HTTP/1.1 403 ")
    get(client)
    assert read(client)[0].startswith(b"HTTP/1.1 403 ")
    assert backend.nobody_comes()


@pytest.mark.parametrize("form", ["thread"], indirect=True)
@pytest.mark.parametrize("deny", [True, False])
@pytest.mark.parametrize("phase", ["request", "request_body", "response", "response_body"])
def test_a_malformed_verdict_is_a_failure_at_once(proxies, backend, monkeypatch, phase, deny):
    """In every phase, long before the timeout; the filter is skipped if it may be."""
    number, put = filters.PHASES.index(phase), process.Host._put

    def scribble(host, verdict):
        outcome = verdict[17:18] if verdict[16] != number else b"\xfa"
        put(host, verdict[:17] + outcome + verdict[18:])

    monkeypatch.setattr(process.Host, "_put", scribble)
    proxy = proxies(passing(plugin("Pieces", timeout=60_000, phases=[phase], deny=deny)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(POST + b"2\r\nab\r\n0\r\n\r\n")
    if not deny or phase.startswith("response"):
        server = backend.accept()
        server.until(b"\r\n0\r\n\r\n")
        server.send(OK)
    if deny:
        client.rest() if phase == "response_body" else client.head()
        assert proxy.log()["reason"] == "filter_failed"
    else:
        assert client.head().startswith(b"HTTP/1.1 200")
        assert (dechunked(client)[0] if phase == "response_body" else client.exactly(2)) == b"hi"
    assert proxy.counter("filter_failures") == 1
