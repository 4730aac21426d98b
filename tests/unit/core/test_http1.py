"""The HTTP/1 parsers through their Python interface: every fault by name, and no verdict that depends on the cuts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate.core import http1
from fastgate.errors import ParseError

GET = b"GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nX-A:  1 \t\r\nx-b:\r\n\r\n"


def verdict(parse, data, **limits):
    try:
        return parse(data, **limits)
    except ParseError as e:
        return e.code


def head(*lines: bytes, start: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: a") -> bytes:
    return b"\r\n".join([start, *([host] if host else []), *lines, b"", b""])


def test_request():
    r = http1.parse_request(GET + b"body")
    assert (r.method, r.target, r.path, r.query) == (b"GET", b"/a?b=c", b"/a", b"b=c")
    assert (r.host, r.port, r.minor_version, r.framing, r.content_length) == (b"example.com", 8080, 1, "none", None)
    assert r.fields == ((b"Host", b"example.com:8080"), (b"X-A", b"1"), (b"x-b", b""))
    assert r.length == len(GET)


def test_incomplete_heads_want_more():
    for n in range(len(GET)):
        assert http1.parse_request(GET[:n]) is None


def test_one_empty_line_may_precede():
    assert http1.parse_request(b"\r\n" + GET).length == len(GET) + 2
    assert verdict(http1.parse_request, b"\r\n\r\n" + GET) == "bad_method"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET  / HTTP/1.1\r\n", "bad_target"),
        (b" GET / HTTP/1.1\r\n", "bad_method"),
        (b"G\x00T / HTTP/1.1\r\n", "bad_method"),
        (b"GET\t/ HTTP/1.1\r\n", "bad_method"),
        (b"\r\r\nGET / HTTP/1.1\r\n", "bad_method"),
        (b"GET /\r\n", "bad_version"),
        (b"GET / RTSP/1.0\r\n", "bad_version"),
        (b"GET / XHTTP/1.1\r\n", "bad_version"),
        (b"GET / \r\n", "bad_version"),
        (b"GET / HTTP/1.1 \r\n", "bad_version"),
        (b"GET / http/1.1\r\n", "bad_version"),
        (b"GET / HTTP/1.10\r\n", "bad_version"),
        (b"GET / HTTP/0.9\r\n", "unsupported_version"),
        (b"PRI * HTTP/2.0\r\n", "unsupported_version"),
        (b"GET / HTTP/1.1\n", "bad_line_end"),
        (b"GET /\x7f HTTP/1.1\r\n", "bad_target"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n", "bad_target"),
        (b"GET /#a HTTP/1.1\r\n", "bad_target"),
        (b"GET a HTTP/1.1\r\n", "bad_target_form"),
        (b"GET * HTTP/1.1\r\n", "bad_target_form"),
        (b"NOTIFY * HTTP/1.1\r\n", "bad_target_form"),
        (b"GET ftp://a/ HTTP/1.1\r\n", "bad_target_form"),
        (b"GET http:/// HTTP/1.1\r\n", "bad_host"),
        (b"GET http://u@a/ HTTP/1.1\r\n", "bad_host"),
        (b"CONNECT / HTTP/1.1\r\n", "bad_target_form"),
        (b"CONNECT a HTTP/1.1\r\n", "bad_target_form"),
        (b"CONNECT a: HTTP/1.1\r\n", "bad_target_form"),
        (b"CONNECT a:0 HTTP/1.1\r\n", "bad_target_form"),
        (head(b"A : 1"), "bad_field_name"),
        (head(b": 1"), "bad_field_name"),
        (head(b"A"), "bad_field_name"),
        (head(b"A\x00: 1"), "bad_field_name"),
        (head(b"A\rB: 1"), "bad_field_name"),
        (head(b"A@: 1"), "bad_field_name"),
        (head(b"A", b" : 1"), "bad_field_name"),
        (head(b"A:\rB: 1"), "bad_field_value"),
        (head(b"A: 1\x00"), "bad_field_value"),
        (head(b"A: 1\r2"), "bad_field_value"),
        (head(b"A: \x7f"), "bad_field_value"),
        (head(b"A: 1\n2"), "bad_line_end"),
        (head(b"A: 1", b" 2"), "obs_fold"),
        (head(b"\tA: 1", host=None), "obs_fold"),
        (head(b"A: 1\r\n\n"), "bad_line_end"),
        (head(b"\r"), "bad_line_end"),
        (head(host=None), "missing_host"),
        (head(b"Host: a"), "duplicate_host"),
        (head(host=b"Host:"), "bad_host"),
        (head(host=b"Host: a,b"), "bad_host"),
        (head(host=b"Host: a b"), "bad_host"),
        (head(host=b"Host: u@a"), "bad_host"),
        (head(host=b"Host: a:65536"), "bad_host"),
        (head(host=b"Host: a:+80"), "bad_host"),
        (head(host=b"Host: :80"), "bad_host"),
        (head(host=b"Host: [::1"), "bad_host"),
        (head(host=b"Host: [::1]x"), "bad_host"),
        (head(host=b"Host: [12345::]"), "bad_host"),
        (head(host=b"Host: [::1%25eth0]"), "bad_host"),
        (head(b"Content-Length: +1"), "bad_content_length"),
        (head(b"Content-Length:"), "bad_content_length"),
        (head(b"Content-Length: 1,1"), "bad_content_length"),
        (head(b"Content-Length: 0x1"), "bad_content_length"),
        (head(b"Content-Length: 1 2"), "bad_content_length"),
        (head(b"Content-Length: 9999999999999999999"), "bad_content_length"),
        (head(b"Content-Length: 1", b"Content-Length: 1"), "duplicate_content_length"),
        (head(b"Content-Length: 1", b"Transfer-Encoding: chunked"), "length_with_transfer_encoding"),
        (head(b"Transfer-Encoding: gzip"), "bad_transfer_encoding"),
        (head(b"Transfer-Encoding: chunked, gzip"), "bad_transfer_encoding"),
        (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "bad_transfer_encoding"),
        (head(b"Transfer-Encoding: ,chunked"), "bad_transfer_encoding"),
        (head(b"Transfer-Encoding: chunked;a=b"), "bad_transfer_encoding"),
        (head(b"Transfer-Encoding: \x0bchunked"), "bad_field_value"),
        (head(b"Transfer-Encoding: xchunked"), "bad_transfer_encoding"),
        (head(b"Transfer-Encoding:"), "bad_transfer_encoding"),
        (head(b"Transfer-Encoding: gzip, chunked"), "unsupported_transfer_encoding"),
        (head(b"Transfer-Encoding: chunked", start=b"GET / HTTP/1.0"), "bad_transfer_encoding"),
    ],
)
def test_faults(data, code):
    assert verdict(http1.parse_request, data) == code


def test_limits():
    assert verdict(http1.parse_request, b"GET /" + b"a" * 100, max_line=64) == "line_too_long"
    assert verdict(http1.parse_request, b"GET /" + b"a" * 100 + b" HTTP/1.1\r\n", max_line=64) == "line_too_long"
    for whole in (b"G" * 100 + b"\r\n", b"\r\n" + b"G" * 100 + b"\r\n"):  # known before what is wrong with it
        assert verdict(http1.parse_request, whole, max_line=64) == "line_too_long"
        assert verdict(http1.parse_request, whole[:64], max_line=64) == "line_too_long"
        assert verdict(http1.parse_request, whole, max_line=96, max_head=64) == "line_too_long"
        assert verdict(http1.parse_request, whole[:64], max_line=96, max_head=64) == "line_too_long"
    assert verdict(http1.parse_request, head(b"A: " + b"a" * 100), max_head=64) == "head_too_large"
    assert verdict(http1.parse_request, head(b"A: " + b"a" * 100)[:80], max_head=64) == "head_too_large"
    assert verdict(http1.parse_request, head(b"A: 1", b"A: 1"), max_fields=2) == "too_many_fields"
    assert http1.parse_request(head(b"A: 1"), max_fields=2).length
    whole = head(b"A: 1")
    assert http1.parse_request(whole, max_head=len(whole)).length == len(whole)


@pytest.mark.parametrize(
    ("target", "host", "port", "path", "query"),
    [
        (b"http://b.example:81/x?y", b"b.example", 81, b"/x", b"y"),
        (b"HTTP://b", b"b", 0, b"/", None),
        (b"https://b?y", b"b", 0, b"/", b"y"),
        (b"http://[::1]:81?", b"[::1]", 81, b"/", b""),
        (b"/?", b"a", 0, b"/", b""),
        (b"//x", b"a", 0, b"//x", None),
    ],
)
def test_targets(target, host, port, path, query):
    r = http1.parse_request(head(start=b"GET " + target + b" HTTP/1.1"))
    assert (r.host, r.port, r.path, r.query) == (host, port, path, query)


def test_any_token_is_a_method():
    for method in (b"M-SEARCH", b"get", b"!#$%&'*+-.^_`|~09"):
        assert http1.parse_request(head(start=method + b" / HTTP/1.1")).method == method


def test_what_values_may_have():
    r = http1.parse_request(head(b"Content-Length: \t 007\t ", b"A: \xc3\xa9\xff", b"b: \t", b"C_d: 1\t2"))
    assert (r.framing, r.content_length) == ("length", 7)
    assert r.fields[2:] == ((b"A", b"\xc3\xa9\xff"), (b"b", b""), (b"C_d", b"1\t2"))


def test_other_forms():
    assert http1.parse_request(head(start=b"OPTIONS * HTTP/1.1")).path == b"*"
    r = http1.parse_request(head(start=b"CONNECT b:443 HTTP/1.1"))
    assert (r.path, r.host, r.port) == (b"", b"b", 443)
    assert http1.parse_request(head(start=b"GET / HTTP/1.0", host=None)).host == b""


def test_response():
    r = http1.parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n")
    assert (r.status, r.reason, r.framing, r.content_length) == (200, b"OK", "length", 3)
    assert http1.parse_response(b"HTTP/1.0 404\r\n\r\n").framing == "until_close"
    assert http1.parse_response(b"HTTP/1.1 304 \r\nContent-Length: 3\r\n\r\n").framing == "none"
    assert http1.parse_response(b"HTTP/1.1 304 \r\nTransfer-Encoding: chunked\r\n\r\n").framing == "none"
    assert http1.parse_response(b"HTTP/1.1 200  \xc3\xa9\t\r\n\r\n").reason == b" \xc3\xa9\t"
    assert http1.parse_response(b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n").framing == "chunked"
    assert http1.parse_response(b"HTTP/1.1 200 \r\n") is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"HTTP/1.1 200\n", "bad_line_end"),
        (b"HTTP/1.1 20 OK\r\n", "bad_status_line"),
        (b"HTTP/1.1 2000 OK\r\n", "bad_status_line"),
        (b"HTTP/1.1  200 OK\r\n", "bad_status_line"),
        (b"HTTP/1.1 099 OK\r\n", "bad_status_line"),
        (b"HTTP/1.1\t200 OK\r\n", "bad_status_line"),
        (b"HTTP/01.1 200 OK\r\n", "bad_status_line"),
        (b"HTTP/1.01 200 OK\r\n", "bad_status_line"),
        (b"HTTP/1.1 200 OK\rA: 1\r\n", "bad_status_line"),
        (b"\r\nHTTP/1.1 200 OK\r\n", "bad_status_line"),  # RFC 9112 section 2.2 grants this to requests only
        (b"\rHTTP/1.1 200 OK\r\n", "bad_status_line"),
        (b"ICY 200 OK\r\n", "bad_status_line"),
        (b"HTTP/1.1 200 O\x00K\r\n", "bad_status_line"),
        (b"HTTP/1.1 200 OK\n", "bad_line_end"),
        (b"HTTP/2.0 200 OK\r\n", "unsupported_version"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "duplicate_content_length"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "length_with_transfer_encoding",
        ),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, deflate\r\n\r\n", "bad_transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n x\r\n\r\n", "obs_fold"),
        (b"HTTP/1.1 200 OK\r\n Server: a\r\n\r\n", "obs_fold"),
        (b"HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n", "bad_field_value"),
        (b"HTTP/1.1 200 OK\r\nA b: 1\r\n", "bad_field_name"),
    ],
)
def test_response_faults(data, code):
    assert verdict(http1.parse_response, data) == code


@pytest.mark.parametrize(
    ("data", "out"),
    [
        (b"3\r\nabc\r\n0\r\n", (b"abc", 11, True)),
        (b"003;a=b\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", (b"abcde", 24, True)),
        (b"2;\r\nab\r\n0\r\n\r\n", (b"ab", 11, True)),  # of extensions only the bytes and the length are looked at
        (b'2;a="b;\r\nab\r\n0;"\r\n\r\n', (b"ab", 18, True)),
        (b"A\r\n01234", (b"01234", 8, False)),
        (b"2 a\r\n", "bad_chunk_size"),
        (b"g\r\n", "bad_chunk_size"),
        (b"\r\n", "bad_chunk_size"),
        (b" 3\r\n", "bad_chunk_size"),
        (b"3 \r\n", "bad_chunk_size"),
        (b"-1\r\n", "bad_chunk_size"),
        (b"0x3\r\n", "bad_chunk_size"),
        (b"1000000000000000\r\n", "bad_chunk_size"),
        (b"3\nabc", "bad_line_end"),
        (b"3\rabc", "bad_line_end"),
        (b"3;a\nabc", "bad_line_end"),
        (b"3;\x00\r\n", "bad_chunk_extension"),
        (b"3;" + b"a" * 300, "chunk_extension_too_long"),
        (b"3\r\nabcd", "bad_chunk_end"),
        (b"3\r\nabc\rx", "bad_chunk_end"),
        (b"3\r\nabc\n", "bad_chunk_end"),
    ],
)
def test_chunks(data, out):
    assert verdict(http1.decode_chunked, data) == out


@pytest.mark.parametrize(
    ("path", "out"),
    [
        (b"/", b"/"),
        (b"/a/./b/../c", b"/a/c"),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a/"),
        (b"/a//../b", b"/a/b"),
        (b"//", b"//"),
        (b"/%41%2d%7E", b"/A-~"),
        (b"/a%2fb%5c", b"/a%2Fb%5C"),
        (b"/%2e%2E/x", "bad_path_climb"),
        (b"/a/%2e%2e/b", b"/b"),
        (b"/...", b"/..."),
        (b"/.a/..b", b"/.a/..b"),
        (b"/..", "bad_path_climb"),
        (b"/a/../..", "bad_path_climb"),
        (b"/%", "bad_path_escape"),
        (b"/%4", "bad_path_escape"),
        (b"/%zz", "bad_path_escape"),
        (b"/%00", "bad_path_escape"),
        (b"/a\\b", "bad_path_byte"),
        (b"/a b", "bad_path_byte"),
        (b"/a?b", "bad_path_byte"),
        (b"", "bad_path_byte"),
        (b"a", "bad_path_byte"),
    ],
)
def test_paths(path, out):
    assert verdict(http1.normalize_path, path) == out


PATHS = st.lists(st.sampled_from([b"/", b"a", b".", b"..", b"%2e", b"%2F", b"%61", b"~", b"//"])).map(
    lambda x: b"/" + b"".join(x)
)


@given(PATHS)
def test_normal_form_is_a_fixed_point(path):
    first = verdict(http1.normalize_path, path)
    if isinstance(first, bytes):
        assert http1.normalize_path(first) == first
        assert len(first) <= len(path)
        assert not {b".", b".."} & set(first.split(b"/"))


PIECES = st.sampled_from(
    [
        b"GET ",
        b"/",
        b"*",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"Host: a",
        b"Host",
        b":",
        b" ",
        b"\t",
        b"x",
        b"Content-Length: 1",
        b"Transfer-Encoding: chunked",
        b"Connection: close, x",
        b"\x00",
        b"\xff",
        b"HTTP/1.1 200 OK",
    ]
)


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=14), st.sampled_from([b"", GET[:-2], b"HTTP/1.1 200 OK\r\n"]))
def test_the_first_verdict_stands_however_the_input_is_cut(pieces, start):
    data = start + b"".join(pieces)
    for parse in (http1.parse_request, http1.parse_response):
        whole = verdict(parse, data)
        early = next((v for n in range(len(data)) if (v := verdict(parse, data[:n])) is not None), whole)
        assert early == whole


def test_every_fault_has_a_status_and_a_sentence():
    table = http1.errors()
    assert len({code for code, _, _ in table}) == len(table) > 30
    assert all(status in {400, 414, 431, 501, 505} and text for _, status, text in table)
