"""Every truncation and every single-byte mutation of valid input, through every parser: a verdict, never anything else.

What a mutated head may not do is to change where the message ends and still be accepted in another reading: the fields that
decide that are compared with what h11 and httptools make of the same bytes, where those accept them.
"""

import ssl

import h11
import pytest

from fastgate.core import http1
from fastgate.core.client_hello import parse_client_hello
from fastgate.errors import ParseError

REQUEST = (
    b"POST /a%20b?c=d HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 10\r\nConnection: close, x\r\nX-Y: z\r\n\r\n"
)
CHUNKED = b"POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nServer: x\r\n\r\n"
BODY = b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\n"
PATH = b"/a/./b/../%7e%2F/c"
CODES = {code for code, _, _ in http1.errors()}


def client_hello():
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="a.example").do_handshake()
    return out.read()


PARSERS = {
    "request": (http1.parse_request, REQUEST),
    "chunked request": (http1.parse_request, CHUNKED),
    "response": (http1.parse_response, RESPONSE),
    "chunks": (http1.decode_chunked, BODY),
    "path": (http1.normalize_path, PATH),
    "client hello": (parse_client_hello, client_hello()),
}


def mutants(data):
    for at in range(len(data)):
        for value in range(256):
            yield data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize("name", PARSERS)
def test_every_truncation_and_mutation_has_a_verdict(name):
    parse, data = PARSERS[name]
    said = []
    for candidate in (*mutants(data), *(data[:n] for n in range(len(data)))):
        try:
            parse(candidate)
        except ParseError as e:
            said.append(e.code)
    assert set(said) <= CODES
    assert len(said) > 100


def by_h11(data, role):
    """(framing, length) as h11 reads a head, None when it refuses it."""
    connection = h11.Connection(role)
    if role is h11.CLIENT:
        connection.send(h11.Request(method="POST", target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
    try:
        connection.receive_data(data)
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.Request | h11.Response):
        return None
    headers = dict(event.headers)
    if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
        return ("chunked", None)
    length = headers.get(b"content-length")
    return ("length", int(length)) if length is not None else ("none", None)


@pytest.mark.parametrize("data", [REQUEST, CHUNKED])
def test_what_is_accepted_ends_where_another_parser_says(data):
    compared = 0
    for candidate in mutants(data):
        try:
            ours = http1.parse_request(candidate)
        except ParseError:
            continue
        theirs = by_h11(candidate, h11.SERVER)
        if ours is None or theirs is None or ours.length != len(candidate):
            continue
        assert (ours.framing, ours.content_length) == theirs, candidate
        compared += 1
    assert compared > 1000
