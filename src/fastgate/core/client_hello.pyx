"""The ClientHello at the start of a TLS connection (RFC 8446 section 4.1.2): server name, protocols, versions.

The message may be cut over any number of records (section 5.1), so that it is read through a cursor that steps over record
headers; nothing is copied but what is returned. Only a whole message is judged, beyond its first record's header.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memset

from fastgate.core.http1 cimport parse_error

cdef extern from "fg_http1.h" nogil:
    enum: FG_MORE
    enum: FG_E_NOT_TLS, FG_E_BAD_CLIENT_HELLO, FG_E_CLIENT_HELLO_TOO_LARGE, FG_E_BAD_SERVER_NAME

cdef extern from "fg_scan.h" nogil:
    enum: FG_CLASS_HOST
    const uint8_t fg_class[256]

cdef enum:
    HANDSHAKE = 22
    CLIENT_HELLO = 1
    MAX_RECORD = 16384
    EXT_SERVER_NAME = 0
    EXT_ALPN = 16
    EXT_SUPPORTED_VERSIONS = 43
    EXT_ENCRYPTED_CLIENT_HELLO = 0xfe0d

ctypedef struct cursor_t:
    const uint8_t *buf
    size_t pos     # next byte
    size_t record  # first byte behind the current record


cdef inline uint8_t byte(cursor_t *c) noexcept nogil:
    """The next byte of the message; the caller knows that there is one."""
    if c.pos == c.record:
        c.record = c.pos + 5 + (c.buf[c.pos + 3] << 8 | c.buf[c.pos + 4])
        c.pos += 5
    c.pos += 1
    return c.buf[c.pos - 1]


cdef inline int64_t number(cursor_t *c, uint32_t size, uint32_t *left) noexcept nogil:
    """A big-endian number of `size` bytes out of a vector that has `left` bytes; -1 when it has fewer."""
    cdef int64_t n = 0
    cdef uint32_t i
    if left[0] < size:
        return -1
    left[0] -= size
    for i in range(size):
        n = n << 8 | byte(c)
    return n


cdef inline int64_t vector(cursor_t *c, uint32_t size, uint32_t *left) noexcept nogil:
    """The length of a vector with a length prefix of `size` bytes that lies within `left`, which is taken off; or -1."""
    cdef int64_t n = number(c, size, left)
    if n < 0 or n > left[0]:
        return -1
    left[0] -= <uint32_t>n
    return n


cdef inline void skip(cursor_t *c, uint32_t n) noexcept nogil:
    while n:
        byte(c)
        n -= 1


cdef int64_t record(const uint8_t *buf, size_t size, size_t pos) noexcept nogil:
    """Judges the record header at pos, byte by byte: a wrong protocol is known at once. Returns the record's length."""
    cdef int64_t bad = FG_E_BAD_CLIENT_HELLO if pos else FG_E_NOT_TLS
    cdef int64_t n
    if size > pos and buf[pos] != HANDSHAKE:
        return bad
    if size > pos + 1 and buf[pos + 1] != 3:
        return bad
    if size > pos + 2 and buf[pos + 2] > 4:
        return bad
    if size < pos + 5:
        return FG_MORE
    n = buf[pos + 3] << 8 | buf[pos + 4]
    return n if 0 < n <= MAX_RECORD else FG_E_BAD_CLIENT_HELLO


cdef int64_t message(const uint8_t *buf, size_t size, size_t max_size, uint32_t *length) noexcept nogil:
    """Finds the end of the handshake message. Returns the offset behind its last record; `length` counts its header too."""
    cdef size_t pos = 0, body, there
    cdef uint32_t have = 0, i
    cdef int64_t n
    length[0] = 0
    while True:
        n = record(buf, size, pos)
        if n < 0:
            return n
        pos += 5
        body = <size_t>n
        there = body if body < size - pos else size - pos
        for i in range(<uint32_t>there):
            if have + i == 0:
                if buf[pos] != CLIENT_HELLO:
                    return FG_E_BAD_CLIENT_HELLO
            elif have + i < 4:
                length[0] = length[0] << 8 | buf[pos + i]
            else:
                break
        if have + there >= 4 and length[0] + 4 > max_size:
            return FG_E_CLIENT_HELLO_TOO_LARGE
        if there < body:
            return FG_MORE
        have += <uint32_t>body
        pos += body
        if have >= 4 and have >= length[0] + 4:
            length[0] += 4
            return <int64_t>pos if have == length[0] else FG_E_BAD_CLIENT_HELLO


cdef int64_t server_name(cursor_t *c, uint32_t left, fg_client_hello *hello) noexcept nogil:
    """server_name (RFC 6066 section 3): one DNS host name, lower-cased here; other types of names are skipped."""
    cdef int64_t all_ = vector(c, 2, &left), kind, n
    cdef uint32_t names, i
    cdef uint8_t x
    if all_ < 0 or left or hello.server_name_len:
        return FG_E_BAD_CLIENT_HELLO
    names = <uint32_t>all_
    while names:
        kind = number(c, 1, &names)
        n = vector(c, 2, &names)
        if n <= 0:
            return FG_E_BAD_CLIENT_HELLO
        if kind != 0:
            skip(c, <uint32_t>n)
            continue
        if hello.server_name_len or n > 255:
            return FG_E_BAD_SERVER_NAME
        for i in range(<uint32_t>n):
            x = byte(c)
            if not fg_class[x] & FG_CLASS_HOST:
                return FG_E_BAD_SERVER_NAME
            hello.server_name[i] = x | 0x20 if c'A' <= x <= c'Z' else x
        hello.server_name_len = <uint16_t>n
        if hello.server_name[n - 1] == c'.':
            hello.server_name_len -= 1
        if hello.server_name_len == 0:
            return FG_E_BAD_SERVER_NAME
    return 0


cdef int64_t protocols(cursor_t *c, uint32_t left, fg_client_hello *hello) noexcept nogil:
    """application_layer_protocol_negotiation (RFC 7301 section 3.1)."""
    cdef int64_t all_ = vector(c, 2, &left), n
    cdef uint32_t names, i
    if all_ <= 0 or left or hello.nalpn:
        return FG_E_BAD_CLIENT_HELLO
    names = <uint32_t>all_
    while names:
        n = vector(c, 1, &names)
        if n <= 0:
            return FG_E_BAD_CLIENT_HELLO
        if n > 32 or hello.nalpn == FG_HELLO_MAX_ALPN:
            skip(c, <uint32_t>n)
            continue
        for i in range(<uint32_t>n):
            hello.alpn[hello.nalpn][i] = byte(c)
        hello.alpn_len[hello.nalpn] = <uint8_t>n
        hello.nalpn += 1
    return 0


cdef int64_t versions(cursor_t *c, uint32_t left, fg_client_hello *hello) noexcept nogil:
    """supported_versions (RFC 8446 section 4.2.1): the highest that is a version of TLS, not grease (RFC 8701)."""
    cdef int64_t all_ = vector(c, 1, &left), n
    cdef uint32_t list_
    if all_ <= 0 or left or all_ % 2:
        return FG_E_BAD_CLIENT_HELLO
    list_ = <uint32_t>all_
    while list_:
        n = number(c, 2, &list_)
        if n >> 8 == 3 and n > hello.max_version:
            hello.max_version = <uint16_t>n
    return 0


cdef int64_t extensions(cursor_t *c, uint32_t left, fg_client_hello *hello) noexcept nogil:
    cdef int64_t kind, n, bad
    while left:
        kind = number(c, 2, &left)
        n = vector(c, 2, &left)
        if kind < 0 or n < 0:
            return FG_E_BAD_CLIENT_HELLO
        bad = 0
        if kind == EXT_SERVER_NAME:
            bad = server_name(c, <uint32_t>n, hello)
        elif kind == EXT_ALPN:
            bad = protocols(c, <uint32_t>n, hello)
        elif kind == EXT_SUPPORTED_VERSIONS:
            bad = versions(c, <uint32_t>n, hello)
        else:
            hello.has_ech |= kind == EXT_ENCRYPTED_CLIENT_HELLO
            skip(c, <uint32_t>n)
        if bad:
            return bad
    return 0


cdef int64_t client_hello(const uint8_t *buf, size_t size, size_t max_size, fg_client_hello *hello) noexcept nogil:
    """Parses a ClientHello. Contract: csrc/fg_http1.h."""
    cdef cursor_t c
    cdef uint32_t left = 0
    cdef int64_t end = message(buf, size if size < max_size else max_size, max_size, &left), n
    memset(hello, 0, sizeof(fg_client_hello))
    if end < 0:
        return FG_E_CLIENT_HELLO_TOO_LARGE if end == FG_MORE and size >= max_size else end
    c.buf = buf
    c.pos = c.record = 0
    left -= 4
    skip(&c, 4)
    n = number(&c, 2, &left)
    if n < 0 or left < 32:
        return FG_E_BAD_CLIENT_HELLO
    hello.legacy_version = hello.max_version = <uint16_t>n
    skip(&c, 32)  # random
    left -= 32
    n = vector(&c, 1, &left)  # legacy_session_id
    if n < 0 or n > 32:
        return FG_E_BAD_CLIENT_HELLO
    skip(&c, <uint32_t>n)
    n = vector(&c, 2, &left)  # cipher_suites
    if n < 2 or n % 2:
        return FG_E_BAD_CLIENT_HELLO
    skip(&c, <uint32_t>n)
    n = vector(&c, 1, &left)  # legacy_compression_methods
    if n < 1:
        return FG_E_BAD_CLIENT_HELLO
    skip(&c, <uint32_t>n)
    if left == 0:
        return end  # before TLS 1.2 there may be no extensions
    n = vector(&c, 2, &left)
    if n < 0 or left:
        return FG_E_BAD_CLIENT_HELLO
    n = extensions(&c, <uint32_t>n, hello)
    return n if n else end


def parse_client_hello(bytes data, *, size_t max_size=16384):
    """Parse the ClientHello at the start of `data`; None when it is not complete; ParseError when it is malformed.

    Returns (server name or "", protocols offered by ALPN, highest TLS version offered, whether it has an encrypted part,
    bytes of its records).
    """
    cdef fg_client_hello h
    cdef int64_t n = client_hello(data, len(data), max_size, &h)
    if n == FG_MORE:
        return None
    if n < 0:
        raise parse_error(n)
    return ((<const char *>h.server_name)[:h.server_name_len].decode("ascii"),
            tuple((<const char *>h.alpn[i])[:h.alpn_len[i]] for i in range(h.nalpn)), h.max_version, bool(h.has_ech), n)
