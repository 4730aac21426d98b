"""The ClientHello parser: what OpenSSL sends, however it is cut into records, and what nobody should send."""

import ssl

import pytest

from fastgate.core.client_hello import parse_client_hello
from fastgate.errors import ParseError


def openssl(name="shop.example.com", alpn=("h2", "http/1.1")):
    """The bytes that OpenSSL sends first."""
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError


def verdict(data, **limits):
    try:
        return parse_client_hello(data, **limits)
    except ParseError as e:
        return e.code


def records(message, *sizes):
    """A handshake message in records of these sizes; the last takes the rest."""
    out = b""
    for size in (*sizes, len(message)):
        part, message = message[:size], message[size:]
        out += b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part if part else b""
    return out


def vec(size, data):
    return len(data).to_bytes(size, "big") + data


def extension(kind, data):
    return kind.to_bytes(2, "big") + vec(2, data)


def hello(*extensions, ciphers=b"\x13\x01", session=b"", compression=b"\x00", tail=b""):
    body = b"\x03\x03" + bytes(32) + vec(1, session) + vec(2, ciphers) + vec(1, compression)
    body += vec(2, b"".join(extensions)) if extensions else b""
    return b"\x01" + vec(3, body + tail)


def sni(name):
    return extension(0, vec(2, b"\x00" + vec(2, name)))


def test_openssl():
    data = openssl()
    name, alpn, version, ech, used = parse_client_hello(data + b"more")
    assert (name, alpn, version, ech, used) == ("shop.example.com", (b"h2", b"http/1.1"), 0x0304, False, len(data))
    assert parse_client_hello(openssl(alpn=()))[1] == ()


def test_incomplete():
    data = openssl()
    assert all(verdict(data[:n]) is None for n in range(len(data)))


def test_records_of_any_size():
    data = openssl()
    message = data[5:]
    for sizes in [(1,), (3,), (4,), (5,), (1, 1, 1, 1, 1), (100, 1, 50), (1,) * 300]:
        cut = records(message, *sizes)
        assert verdict(cut)[:4] == verdict(data)[:4]
        assert verdict(cut)[4] == len(cut)
        assert verdict(cut[:-1]) is None


def test_names_are_lower_case_without_dot():
    assert verdict(records(hello(sni(b"A.Example."))))[0] == "a.example"
    assert verdict(records(hello()))[0] == ""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n", "not_tls"),
        (b"\x16\x02", "not_tls"),
        (b"\x16\x03\x09", "not_tls"),
        (b"\x15\x03\x01", "not_tls"),
        (b"\x16\x03\x01\x00\x00", "bad_client_hello"),
        (b"\x16\x03\x01\xff\xff", "bad_client_hello"),
        (records(b"\x02" + hello()[1:]), "bad_client_hello"),
        (records(hello()[:20], 10) + b"\x17\x03\x01", "bad_client_hello"),
        (records(hello() + b"\x00"), "bad_client_hello"),
        (records(hello(tail=b"\x00")), "bad_client_hello"),
        (records(hello(sni(b"a"), tail=b"\x00")), "bad_client_hello"),
        (records(hello(session=bytes(33))), "bad_client_hello"),
        (records(hello(ciphers=b"")), "bad_client_hello"),
        (records(hello(ciphers=b"\x00\x01\x02")), "bad_client_hello"),
        (records(hello(compression=b"")), "bad_client_hello"),
        (records(hello(b"\x00\x00\x00\x05\x00")), "bad_client_hello"),
        (records(hello(sni(b"a"), sni(b"b"))), "bad_client_hello"),
        (records(hello(sni(b""))), "bad_client_hello"),
        (records(hello(sni(b"."))), "bad_server_name"),
        (records(hello(sni(b"a b"))), "bad_server_name"),
        (records(hello(sni(b"a\x00"))), "bad_server_name"),
        (records(hello(sni(b"a" * 256))), "bad_server_name"),
        (records(hello(extension(0, vec(2, (b"\x00" + vec(2, b"a")) * 2)))), "bad_server_name"),
        (records(hello(extension(16, vec(2, b"")))), "bad_client_hello"),
        (records(hello(extension(16, vec(2, b"\x00")))), "bad_client_hello"),
        (records(hello(extension(43, vec(1, b"\x03")))), "bad_client_hello"),
        (records(b"\x01\xff\xff\xff"), "client_hello_too_large"),
        (records(hello(extension(99, bytes(500))))[:100], None),
    ],
)
def test_faults(data, code):
    assert verdict(data) == code


def test_limits():
    data = records(hello(extension(99, bytes(500))))
    assert verdict(data, max_size=200) == "client_hello_too_large"
    assert verdict(records(hello(extension(99, bytes(180))), *(1,) * 200), max_size=400) == "client_hello_too_large"
    data = records(hello(), *(20,) * 10)
    for size in range(len(data) + 1):  # of the records, however many of their bytes are there
        whole, there = verdict(data, max_size=size), verdict(data[:size], max_size=size)
        assert whole == there == "client_hello_too_large" or size == len(data)
    assert verdict(records(hello(extension(16, vec(2, vec(1, b"x") * 40)))))[1] == (b"x",) * 16
    assert verdict(records(hello(extension(16, vec(2, vec(1, b"x" * 33) + vec(1, b"h2"))))))[1] == (b"h2",)
    assert verdict(records(hello(extension(43, vec(1, b"\x7a\x7a\x03\x03")))))[2] == 0x0303
