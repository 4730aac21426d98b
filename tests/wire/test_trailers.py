"""Trailer fields: an allow-list decides which go on, and only chunks carry them (RFC 9110 section 6.5)."""

import socket
import threading
from dataclasses import replace

import pytest

from fastgate import ir
from wire import config, fields

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
TAKES = b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
BODY = b"5\r\nhello\r\n0\r\n"
SENT = (
    b'Server-Timing:  a;dur=1 \t\r\nHost: evil\r\nX-Other: 1\r\ncontent-length: 5\r\nETAG:"x"\r\n'
    b"Transfer-Encoding: chunked\r\nAuthorization: x\r\nserver-timing: b\r\n\r\n"
)  # fmt: skip
PASSED = b'Server-Timing:  a;dur=1\r\nETAG:"x"\r\nserver-timing: b\r\n\r\n'


def allowing(*names):
    return config(settings=replace(ir.Settings(), trailers=names))


def in_pieces(conn, data, cut):
    conn.send(data[:cut])
    conn.send(data[cut:])


def unchunked(data):
    """The bytes of a chunked body and what follows its last chunk's line, however it was cut into chunks."""
    body = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        if line == b"0":
            return body, data
        size = int(line, 16)
        body += data[:size]
        assert data[size : size + 2] == b"\r\n"
        data = data[size + 2 :]


def last_chunk(conn):
    out = conn.until(b"0\r\n")
    while not out.endswith(b"\r\n\r\n"):
        out += conn.until(b"\r\n")
    return out


def test_trailers_of_requests_at_every_cut(proxy, backend):
    client = proxy.connect()
    message = BODY + SENT
    for cut in range(len(message) + 1):
        client.send(POST + b"\r\n")
        up = backend.conns[0] if backend.conns else backend.accept()
        up.head()
        in_pieces(client, message, cut)
        assert unchunked(last_chunk(up)) == (b"hello", PASSED)
        up.send(OK)
        client.head()
        assert client.exactly(2) == b"ok"
    assert proxy.counter("upstream_connects") == 1


def test_trailers_of_responses_at_every_cut(proxy, backend):
    client = proxy.connect()
    message = BODY + SENT
    for cut in range(len(message) + 1):
        client.send(TAKES)
        up = backend.conns[0] if backend.conns else backend.accept()
        up.head()
        up.send(CHUNKED + b"\r\n")
        client.head()
        in_pieces(up, message, cut)
        assert unchunked(last_chunk(client)) == (b"hello", PASSED)
    assert proxy.counter("upstream_connects") == 1


@pytest.mark.parametrize("towards", ["backend", "client"])
def test_trailers_byte_by_byte(proxy, backend, towards):
    client = proxy.connect()
    client.send(POST + b"TE: trailers\r\n\r\n")
    up = backend.accept()
    up.head()
    source, sink = client, up
    if towards == "client":
        client.send(b"0\r\n\r\n")
        up.until(b"0\r\n\r\n")
        up.send(CHUNKED + b"\r\n")
        client.head()
        source, sink = up, client
    for byte in BODY + SENT:
        source.send(bytes([byte]))
    assert unchunked(last_chunk(sink)) == (b"hello", PASSED)


def test_what_follows_trailers_is_the_next_request(proxy, backend):
    client = proxy.connect()
    second = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
    client.send(POST + b"\r\n" + BODY + SENT + second)
    up = backend.accept()
    up.head()
    last_chunk(up)
    up.send(OK)
    assert up.head().startswith(b"GET /second ")


@pytest.mark.parametrize("te", [b"", b"TE: gzip\r\n"])
def test_clients_that_did_not_ask_get_no_trailers(proxy, backend, te):
    client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + te + b"\r\n")
    up = backend.accept()
    assert "te" not in fields(up.head())
    up.send(CHUNKED + b"Trailer: etag\r\n\r\n" + BODY + SENT)
    assert "trailer" not in fields(client.head())
    assert unchunked(last_chunk(client)) == (b"hello", b"\r\n")


def test_clients_of_http_1_0_get_neither_chunks_nor_trailers(proxy, backend):
    client = proxy.connect()
    client.send(TAKES.replace(b"HTTP/1.1", b"HTTP/1.0"))
    up = backend.accept()
    assert "te" not in fields(up.head())
    up.send(CHUNKED + b"\r\n" + BODY + SENT)
    assert client.rest().endswith(b"\r\n\r\nhello")


def test_te_and_trailer_are_made_anew(proxy, backend):
    client = proxy.connect()
    client.send(POST + b"TE: gzip;q=0.5, Trailers\r\nTrailer: X-Other, etag ,Host\r\nTrailer: Server-Timing\r\n\r\n")
    up = backend.accept()
    seen = fields(up.head())
    assert (seen["te"], seen["connection"], seen["trailer"]) == ("trailers", "te", "etag, Server-Timing")
    up.send(CHUNKED + b"Trailer: grpc-status, content-length\r\n\r\n")
    assert fields(client.head())["trailer"] == "grpc-status"


def test_an_empty_list_lets_none_pass(proxies, backend):
    proxy = proxies(allowing(), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(POST + b"TE: trailers\r\nTrailer: etag\r\n\r\n" + BODY + SENT)
    up = backend.accept()
    assert fields(up.head()).keys() & {"te", "trailer", "connection"} == set()
    assert unchunked(last_chunk(up)) == (b"hello", b"\r\n")


def test_fields_that_route_or_frame_never_pass(proxies, backend):
    names = ("authorization", "content-length", "host", "transfer-encoding", "x-forwarded-ssl", "x-other")
    proxy = proxies(allowing(*names), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(POST + b"\r\n" + BODY + b"X-Forwarded-Ssl: on\r\n" + SENT)
    up = backend.accept()
    up.head()
    assert unchunked(last_chunk(up)) == (b"hello", b"X-Other: 1\r\n\r\n")


FAULTY = [
    b"A : b\r\n\r\n",
    b"A: b\n\r\n",
    b" folded\r\n\r\n",
    b"A: \x00\r\n\r\n",
    b"A: " + b"a" * 4100,
    b"A: b\r\n" * 700,
]


@pytest.mark.parametrize("trailers", FAULTY)
def test_faulty_trailers_of_requests_are_refused(proxy, backend, trailers):
    client = proxy.connect()
    client.send(POST + b"\r\n" + BODY + trailers)
    answer = client.head()
    assert answer[9:12] in (b"400", b"431")
    assert fields(answer)["connection"] == "close"
    assert proxy.log()["reason"] == "bad_request"
    assert b"0\r\n\r\n" not in (backend.accept().rest() if proxy.counter("upstream_connects") else b"")


@pytest.mark.parametrize("trailers", FAULTY)
def test_faulty_trailers_of_responses_cut_the_client(proxy, backend, trailers):
    client = proxy.connect()
    client.send(TAKES)
    up = backend.accept()
    up.head()
    up.send(CHUNKED + b"\r\n")
    client.head()
    up.send(BODY + trailers)
    assert b"0\r\n" not in client.rest()
    assert proxy.log()["reason"] == "bad_response"


def test_trailers_wait_behind_a_body_that_nobody_reads(proxy, backend):
    client = proxy.connect()
    client.send(TAKES)
    up = backend.accept()
    up.head()
    up.send(CHUNKED + b"\r\n")
    client.head()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    body = b"x" * (6 << 20)
    sender = threading.Thread(target=up.send, args=(b"%x\r\n%s\r\n0\r\n" % (len(body), body) + SENT,))
    sender.start()
    proxy.wait_for(lambda: proxy.counter("buffer_bytes") >= 1 << 16)
    received = client.until(PASSED)
    sender.join()
    assert unchunked(received) == (body, PASSED)
