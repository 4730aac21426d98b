"""HTTP/1 parsers over buffers (RFC 9112): no copies, no allocation, no guesses.

The C interface is in http1.pxd and csrc/fg_http1.h; the Python one is at the end of this file. Only complete lines are
judged: the verdict on some bytes is the same however they were cut on their way. A line that does not stand in the grammar
is a named error (csrc/fg_parse_errors.h), and the first one counts.
"""

from libc.string cimport memchr, memcmp, memcpy, memmove, memset

from fastgate.errors import ParseError
from fastgate.heads import RequestHead, ResponseHead

cdef extern from "fg_http1.h" nogil:
    enum: FG_MORE
    enum: FG_H_COUNT, FG_H_HOST, FG_H_CONTENT_LENGTH, FG_H_TRANSFER_ENCODING, FG_H_CONNECTION
    enum: FG_METHOD_OTHER, FG_METHOD_GET, FG_METHOD_HEAD, FG_METHOD_POST, FG_METHOD_PUT, FG_METHOD_DELETE
    enum: FG_METHOD_CONNECT, FG_METHOD_OPTIONS, FG_METHOD_TRACE, FG_METHOD_PATCH
    enum: FG_TARGET_ORIGIN, FG_TARGET_ABSOLUTE, FG_TARGET_AUTHORITY, FG_TARGET_ASTERISK
    enum: FG_FRAMING_NONE, FG_FRAMING_LENGTH, FG_FRAMING_CHUNKED, FG_FRAMING_UNTIL_CLOSE
    enum: FG_CONN_CLOSE, FG_CONN_KEEP_ALIVE, FG_CONN_UPGRADE, FG_CONN_NAMES
    enum: FG_FIELD_UNDERSCORE
    enum: FG_CHUNK_SIZE, FG_CHUNK_EXT, FG_CHUNK_SIZE_LF, FG_CHUNK_DATA, FG_CHUNK_DATA_CR, FG_CHUNK_DATA_LF
    enum: FG_CHUNK_TRAILERS, FG_CHUNK_DONE
    const uint64_t FG_NO_LENGTH
    enum: FG_E_BAD_METHOD, FG_E_BAD_TARGET, FG_E_BAD_TARGET_FORM, FG_E_BAD_VERSION, FG_E_UNSUPPORTED_VERSION
    enum: FG_E_BAD_LINE_END, FG_E_BAD_FIELD_NAME, FG_E_BAD_FIELD_VALUE, FG_E_OBS_FOLD, FG_E_TOO_MANY_FIELDS
    enum: FG_E_HEAD_TOO_LARGE, FG_E_LINE_TOO_LONG, FG_E_MISSING_HOST, FG_E_DUPLICATE_HOST, FG_E_BAD_HOST
    enum: FG_E_BAD_CONTENT_LENGTH, FG_E_DUPLICATE_CONTENT_LENGTH, FG_E_LENGTH_WITH_TRANSFER_ENCODING
    enum: FG_E_BAD_TRANSFER_ENCODING, FG_E_UNSUPPORTED_TRANSFER_ENCODING, FG_E_BAD_STATUS_LINE
    enum: FG_E_BAD_CHUNK_SIZE, FG_E_BAD_CHUNK_END, FG_E_CHUNK_EXTENSION_TOO_LONG, FG_E_BAD_CHUNK_EXTENSION
    enum: FG_E_TRAILERS_TOO_LARGE, FG_E_BAD_PATH_ESCAPE, FG_E_BAD_PATH_CLIMB, FG_E_BAD_PATH_BYTE

cdef extern from "fg_scan.h" nogil:
    enum: FG_CLASS_TOKEN, FG_CLASS_VALUE, FG_CLASS_TARGET, FG_CLASS_HOST, FG_CLASS_UNRESERVED
    const uint8_t fg_class[256]
    const uint8_t *fg_scan_class(const uint8_t *p, const uint8_t *end, uint8_t cls)
    const uint8_t *fg_scan_value(const uint8_t *p, const uint8_t *end)
    const uint8_t *fg_scan_target(const uint8_t *p, const uint8_t *end)
    const uint8_t *fg_scan_path(const uint8_t *p, const uint8_t *end)
    ctypedef struct fg_value_map "struct fg_value_map":
        pass
    void fg_map_start(fg_value_map *m, const uint8_t *p)
    const uint8_t *fg_map_next(fg_value_map *m, const uint8_t *p, const uint8_t *end)
    const uint8_t *fg_scan_host(const uint8_t *p, const uint8_t *end)
    unsigned fg_near_name(const uint8_t *p)
    bint fg_is_word(const uint8_t *p, size_t n, const char *word, size_t word_size)
    bint fg_same_lower(const uint8_t *p, const uint8_t *lower, unsigned n)

cdef extern from * nogil:
    """
    #include <arpa/inet.h>
    #include <string.h>

    /* With the colon, so that a name and its length are compared at once. */
    static const struct { uint8_t len; char name[31]; } h1_names[] = {{0, ":"},
    #define X(token, name, flags) {sizeof(name) - 1, name ":"},
        FG_HEADERS(X)
    #undef X
    };

    static const struct { int code; int status; const char *name; const char *text; } h1_errors[] = {
    #define X(name, code, status, text) {code, status, #name, text},
        FG_PARSE_ERRORS(X)
    #undef X
    };
    enum { H1_ERRORS = sizeof h1_errors / sizeof h1_errors[0] };

    /* An IPv6 address without its brackets (RFC 3986 section 3.2.2; zones are not for the wire, RFC 9844). */
    static int h1_ipv6(const uint8_t *p, size_t len) {
        char text[INET6_ADDRSTRLEN];
        struct in6_addr a;
        if (len >= sizeof text || memchr(p, 0, len))
            return 0;
        memcpy(text, p, len);
        text[len] = 0;
        return inet_pton(AF_INET6, text, &a) == 1;
    }
    """
    ctypedef struct h1_name_t:
        uint8_t len
        char name[31]
    ctypedef struct h1_error_t:
        int code
        int status
        const char *name
        const char *text
    const h1_name_t h1_names[]
    const h1_error_t h1_errors[]
    enum: H1_ERRORS
    int h1_ipv6(const uint8_t *p, size_t size)
    void *memrchr(const void *p, int c, size_t n)


# --- field names: a perfect hash over length, first two, last and an inner byte, found when the module is imported ------------

cdef uint8_t NAME_SLOTS[256]
cdef uint64_t NAME_MULTIPLIER = 0

cdef inline uint32_t name_slot(const uint8_t *p, uint32_t n) noexcept nogil:
    """n at least 2."""
    cdef uint16_t start
    memcpy(&start, p, 2)
    cdef uint32_t x = start | <uint32_t>p[n - 1] << 16 | <uint32_t>p[n * 3 // 4] << 24
    return <uint32_t>((<uint64_t>n << 32 | x | 0x20202020u) * NAME_MULTIPLIER >> 56)


def _find_multiplier():
    global NAME_MULTIPLIER
    cdef uint32_t i, slot, tries
    for tries in range(1000000):
        NAME_MULTIPLIER = tries * <uint64_t>0x9e3779b97f4a7c15u | 1
        memset(NAME_SLOTS, 0, sizeof(NAME_SLOTS))
        for i in range(1, <uint32_t>FG_H_COUNT):
            slot = name_slot(<const uint8_t *>h1_names[i].name, h1_names[i].len)
            if NAME_SLOTS[slot]:
                break
            NAME_SLOTS[slot] = <uint8_t>i
        else:
            return
    raise AssertionError("no perfect hash for the names of csrc/fg_headers.h")


_find_multiplier()


cdef inline uint8_t name_token(const uint8_t *p, uint32_t n) noexcept nogil:
    """Token of a field name, any case; 0 when it is not in the table."""
    cdef uint8_t token = NAME_SLOTS[name_slot(p, n)]
    cdef uint8_t differ = 0
    cdef uint32_t i
    if h1_names[token].len != n:
        return 0
    for i in range(n):  # no byte of a token becomes a letter or '-' by |0x20 but its own upper case
        differ |= (p[i] | 0x20) ^ <uint8_t>h1_names[token].name[i]
    return token if differ == 0 else 0


cdef inline uint8_t near_token(const uint8_t *p, uint32_t n) noexcept nogil:
    """The same for names of at most 15 bytes before a colon, 16 bytes at once, which must be readable."""
    cdef uint8_t token = NAME_SLOTS[name_slot(p, n)]
    return token if fg_same_lower(p, <const uint8_t *>h1_names[token].name, n + 1) else 0


cdef uint8_t header_token(const uint8_t *name, uint32_t size) noexcept nogil:
    return name_token(name, size) if size > 1 else 0


# --- pieces of both heads ---------------------------------------------------------------------------------------------------

cdef inline int64_t complete_lines(const uint8_t *buf, size_t size, const fg_h1_limits *limits,
                                   fg_h1_head *head) noexcept nogil:
    """Bytes of the complete lines within the limit on the head; FG_MORE when no line was completed since the last call."""
    cdef size_t usable = size if size < limits.max_head else limits.max_head
    cdef size_t seen = head.scanned if head.scanned < usable else usable
    cdef const uint8_t *lf = <const uint8_t *>memrchr(buf + seen, c'\n', usable - seen)
    head.scanned = <uint32_t>usable
    if lf == NULL:
        return FG_E_HEAD_TOO_LARGE if size >= limits.max_head else FG_MORE
    return lf + 1 - buf


cdef inline uint8_t connection_option(const uint8_t *p, size_t n) noexcept nogil:
    if fg_is_word(p, n, b"keep-alive", 10):
        return FG_CONN_KEEP_ALIVE
    if fg_is_word(p, n, b"close", 5):
        return FG_CONN_CLOSE
    if fg_is_word(p, n, b"upgrade", 7):
        return FG_CONN_UPGRADE
    return FG_CONN_NAMES


cdef void connection_options(const uint8_t *p, const uint8_t *end, fg_h1_head *head) noexcept nogil:
    """Adds the options of one Connection field (RFC 9110 section 7.6.1) to head.connection."""
    cdef const uint8_t *start
    cdef uint8_t only = connection_option(p, end - p)
    if only != FG_CONN_NAMES:
        head.connection |= only
        return
    while p < end:
        if p[0] == c',' or p[0] == c' ' or p[0] == c'\t':
            p += 1
            continue
        start = p
        while p < end and p[0] != c',' and p[0] != c' ' and p[0] != c'\t':
            p += 1
        head.connection |= connection_option(start, p - start)


cdef int64_t content_length(const uint8_t *p, const uint8_t *end, uint64_t *value) noexcept nogil:
    """Decimal digits and nothing else (RFC 9110 section 8.6); a list, a sign or a value beyond 2^63 is an error."""
    cdef uint64_t n = 0
    if p == end or end - p > 18:
        return FG_E_BAD_CONTENT_LENGTH
    while p < end:
        if p[0] < c'0' or p[0] > c'9':
            return FG_E_BAD_CONTENT_LENGTH
        n = n * 10 + (p[0] - c'0')
        p += 1
    value[0] = n
    return 0


cdef enum:  # what Transfer-Encoding has said so far
    TE_NONE, TE_CHUNKED_LAST, TE_OTHER_LAST

cdef int64_t transfer_codings(const uint8_t *p, const uint8_t *end, uint8_t *state, bint *other) noexcept nogil:
    """Reads one Transfer-Encoding field: tokens in a list without empty members; nothing may follow chunked."""
    cdef const uint8_t *start
    while True:
        start = p
        p = fg_scan_class(p, end, FG_CLASS_TOKEN)
        if p == start or state[0] == TE_CHUNKED_LAST:
            return FG_E_BAD_TRANSFER_ENCODING
        if fg_is_word(start, p - start, b"chunked", 7):
            state[0] = TE_CHUNKED_LAST
        else:
            state[0] = TE_OTHER_LAST
            other[0] = True
        while p < end and (p[0] == c' ' or p[0] == c'\t'):
            p += 1
        if p == end:
            return 0
        if p[0] != c',':
            return FG_E_BAD_TRANSFER_ENCODING
        p += 1
        while p < end and (p[0] == c' ' or p[0] == c'\t'):
            p += 1


cdef int64_t field_lines(const uint8_t *buf, const uint8_t *p, const uint8_t *end, const fg_h1_limits *limits,
                         fg_h1_head *head) noexcept nogil:
    """Parses field lines from p up to the empty line. Returns the offset behind it, FG_MORE, or an error.

    `end` is just behind a LF, so that every line that starts before it is complete.
    """
    cdef const uint8_t *name
    cdef const uint8_t *value
    cdef const uint8_t *last
    cdef const uint8_t *stop  # first byte of the line that no value may have; found apart from the name, which takes longer
    cdef fg_value_map values
    cdef fg_field *field
    cdef uint8_t flags, token
    cdef uint32_t n = 0, size
    memset(&head.first[0], 0, sizeof(head.first) // 2)  # in halves, which compilers do with a few stores
    memset(&head.first[32], 0, sizeof(head.first) // 2)
    head.nfields = 0
    head.repeated = 0
    fg_map_start(&values, p)
    while p < end:
        stop = fg_map_next(&values, p, end)
        if p == stop:
            if p[0] == c'\r':
                if p[1] != c'\n':
                    return FG_E_BAD_LINE_END
                return p + 2 - buf
            if p[0] == c'\n':
                return FG_E_BAD_LINE_END
        if n == limits.max_fields:
            return FG_E_OBS_FOLD if p[0] == c' ' or p[0] == c'\t' else FG_E_TOO_MANY_FIELDS

        name = p
        flags = 0
        size = fg_near_name(p) if end - p >= 16 else 0
        if size:
            p += size
            token = near_token(name, size)
        else:
            while fg_class[p[0]] & FG_CLASS_TOKEN:  # ends at the line's LF at the latest
                if p[0] == c'_':
                    flags = FG_FIELD_UNDERSCORE
                p += 1
            if p == name and (p[0] == c' ' or p[0] == c'\t'):
                return FG_E_OBS_FOLD
            if p[0] != c':' or p == name or p - name > 0xffff:
                return FG_E_BAD_FIELD_NAME
            token = header_token(name, <uint32_t>(p - name))
        field = &head.fields[n]
        field.name = <uint32_t>(name - buf)
        field.name_len = <uint16_t>(p - name)
        field.token = token
        field.flags = flags

        p += 1
        while p[0] == c' ' or p[0] == c'\t':
            p += 1
        value = p
        p = stop
        if p[0] != c'\r':
            return FG_E_BAD_LINE_END if p[0] == c'\n' else FG_E_BAD_FIELD_VALUE
        if p[1] != c'\n':
            return FG_E_BAD_FIELD_VALUE
        last = p
        while last > value and ((last - 1)[0] == c' ' or (last - 1)[0] == c'\t'):
            last -= 1
        field.value = <uint32_t>(value - buf)
        field.value_len = <uint32_t>(last - value)
        p += 2
        n += 1
        head.nfields = <uint16_t>n
        if token:
            if head.first[token]:
                head.repeated |= <uint64_t>1 << token
            else:
                head.first[token] = <uint16_t>n
    return FG_MORE


cdef const fg_field *next_field(const fg_h1_head *head, uint8_t token, const fg_field *f) noexcept nogil:
    """The field with this token after `f`, the first one after NULL; NULL when there is none."""
    cdef const fg_field *end = head.fields + head.nfields
    if f == NULL:
        return &head.fields[head.first[token] - 1] if head.first[token] else NULL
    if head.repeated >> token & 1:
        f += 1
        while f < end:
            if f.token == token:
                return f
            f += 1
    return NULL


cdef int64_t message_framing(const uint8_t *buf, fg_h1_head *head, bint same_lengths) noexcept nogil:
    """Framing and connection options of a parsed field section (RFC 9112 section 6). `same_lengths` lets equal
    Content-Length fields stand for one (RFC 9110 section 8.6); requests have no use for that."""
    cdef uint8_t te = TE_NONE
    cdef bint other = False
    cdef uint64_t length = 0
    cdef int64_t bad
    cdef const fg_field *f
    head.connection = 0
    head.framing = FG_FRAMING_NONE
    head.content_length = FG_NO_LENGTH
    f = next_field(head, FG_H_CONNECTION, NULL)
    while f != NULL:
        connection_options(buf + f.value, buf + f.value + f.value_len, head)
        f = next_field(head, FG_H_CONNECTION, f)
    f = next_field(head, FG_H_CONTENT_LENGTH, NULL)
    while f != NULL:
        bad = content_length(buf + f.value, buf + f.value + f.value_len, &length)
        if bad:
            return bad
        if head.content_length != FG_NO_LENGTH and not (same_lengths and head.content_length == length):
            return FG_E_DUPLICATE_CONTENT_LENGTH
        head.content_length = length
        head.framing = FG_FRAMING_LENGTH
        f = next_field(head, FG_H_CONTENT_LENGTH, f)
    f = next_field(head, FG_H_TRANSFER_ENCODING, NULL)
    while f != NULL:
        bad = transfer_codings(buf + f.value, buf + f.value + f.value_len, &te, &other)
        if bad:
            return bad
        f = next_field(head, FG_H_TRANSFER_ENCODING, f)
    if te != TE_NONE:
        if head.content_length != FG_NO_LENGTH:
            return FG_E_LENGTH_WITH_TRANSFER_ENCODING
        if te != TE_CHUNKED_LAST or head.minor_version == 0:
            return FG_E_BAD_TRANSFER_ENCODING
        if other:
            return FG_E_UNSUPPORTED_TRANSFER_ENCODING
        head.framing = FG_FRAMING_CHUNKED
    return 0


cdef int64_t version(const uint8_t *p, const uint8_t *end, fg_h1_head *head) noexcept nogil:
    """Judges `HTTP/D.D` (RFC 9112 section 2.3) at p; the caller looks at what follows its 8 bytes."""
    if end - p < 9 or memcmp(p, b"HTTP/", 5) != 0 or p[6] != c'.':
        return FG_E_BAD_VERSION
    if p[5] < c'0' or p[5] > c'9' or p[7] < c'0' or p[7] > c'9':
        return FG_E_BAD_VERSION
    if p[5] != c'1':
        return FG_E_UNSUPPORTED_VERSION
    head.minor_version = 0 if p[7] == c'0' else 1
    return 0


# --- requests ---------------------------------------------------------------------------------------------------------------

cdef uint8_t method_token(const uint8_t *p, size_t n) noexcept nogil:
    if n == 3:
        if memcmp(p, b"GET", 3) == 0: return FG_METHOD_GET
        if memcmp(p, b"PUT", 3) == 0: return FG_METHOD_PUT
    elif n == 4:
        if memcmp(p, b"POST", 4) == 0: return FG_METHOD_POST
        if memcmp(p, b"HEAD", 4) == 0: return FG_METHOD_HEAD
    elif n == 5:
        if memcmp(p, b"PATCH", 5) == 0: return FG_METHOD_PATCH
        if memcmp(p, b"TRACE", 5) == 0: return FG_METHOD_TRACE
    elif n == 6:
        if memcmp(p, b"DELETE", 6) == 0: return FG_METHOD_DELETE
    elif n == 7:
        if memcmp(p, b"OPTIONS", 7) == 0: return FG_METHOD_OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0: return FG_METHOD_CONNECT
    return FG_METHOD_OTHER


cdef int64_t authority(const uint8_t *buf, uint32_t off, uint32_t n, fg_h1_head *head) noexcept nogil:
    """`host [":" port]` (RFC 9110 section 7.2): a host name or an IP literal, no userinfo, nothing empty."""
    cdef const uint8_t *start = buf + off
    cdef const uint8_t *end = start + n
    cdef const uint8_t *p = start
    cdef uint32_t port = 0
    if n and p[0] == c'[':
        p = <const uint8_t *>memchr(p, c']', n)
        if p == NULL or not h1_ipv6(start + 1, p - start - 1):
            return FG_E_BAD_HOST
        p += 1
    else:
        p = fg_scan_host(p, end)
        if p == start:
            return FG_E_BAD_HOST
    head.authority.off = off
    head.authority.len = n
    head.host.off = off
    head.host.len = <uint32_t>(p - start)
    if p < end:
        if p[0] != c':' or end - p > 6:
            return FG_E_BAD_HOST
        p += 1
        while p < end:
            if p[0] < c'0' or p[0] > c'9':
                return FG_E_BAD_HOST
            port = port * 10 + (p[0] - c'0')
            p += 1
        if port > 65535:
            return FG_E_BAD_HOST
    head.port = <uint16_t>port
    return 0


cdef const uint8_t *path_and_query(const uint8_t *buf, const uint8_t *p, const uint8_t *end, fg_h1_head *head) noexcept nogil:
    """Cuts what starts with '/' at p at its first '?', and says whether the path is in normal form already. Returns the
    first byte that may not stand in a target, or `end`."""
    cdef const uint8_t *start = p
    head.path_clean = 1
    while True:
        p = fg_scan_path(p, end)
        if p == end or p[0] == c'?' or not fg_class[p[0]] & FG_CLASS_TARGET:
            break
        if p[0] != c'.' or (p - 1)[0] == c'/':
            head.path_clean = 0
        p += 1
    head.path.off = <uint32_t>(start - buf)
    head.path.len = <uint32_t>(p - start)
    if p < end and p[0] == c'?':
        p += 1
        head.query.off = <uint32_t>(p - buf)
        start = p
        p = fg_scan_target(p, end)
        head.query.len = <uint32_t>(p - start)
    return p


cdef int64_t request_target(const uint8_t *buf, const uint8_t *p, const uint8_t *end, fg_h1_head *head) noexcept nogil:
    """The four forms of RFC 9112 section 3.2."""
    cdef const uint8_t *host
    cdef int64_t bad
    if head.method_token == FG_METHOD_CONNECT:
        head.target_form = FG_TARGET_AUTHORITY
        head.path_clean = 1
        bad = authority(buf, <uint32_t>(p - buf), <uint32_t>(end - p), head)
        return FG_E_BAD_TARGET_FORM if bad or head.port == 0 else 0  # there is no default port (RFC 9110 section 9.3.6)
    if p[0] == c'/':  # path_and_query has been here
        head.target_form = FG_TARGET_ORIGIN
        return 0
    if p[0] == c'*' and end - p == 1:
        if head.method_token != FG_METHOD_OPTIONS:
            return FG_E_BAD_TARGET_FORM
        head.target_form = FG_TARGET_ASTERISK
        head.path.off = <uint32_t>(p - buf)
        head.path.len = 1
        head.path_clean = 1
        return 0
    if end - p > 7 and fg_is_word(p, 4, b"http", 4) and memcmp(p + 4, b"://", 3) == 0:
        host = p + 7
    elif end - p > 8 and fg_is_word(p, 5, b"https", 5) and memcmp(p + 5, b"://", 3) == 0:
        host = p + 8
    else:
        return FG_E_BAD_TARGET_FORM
    head.target_form = FG_TARGET_ABSOLUTE
    p = host
    while p < end and p[0] != c'/' and p[0] != c'?':
        p += 1
    bad = authority(buf, <uint32_t>(host - buf), <uint32_t>(p - host), head)
    if bad:
        return bad
    if p < end and p[0] == c'/':
        path_and_query(buf, p, end, head)
        return 0
    head.path.off = <uint32_t>(host - 1 - buf)  # an empty path is "/" (RFC 9110 section 4.2.3): the scheme's second one
    head.path.len = 1
    head.path_clean = 1
    if p < end:
        head.query.off = <uint32_t>(p + 1 - buf)
        head.query.len = <uint32_t>(end - p - 1)
    return 0


cdef int64_t request_host(const uint8_t *buf, fg_h1_head *head) noexcept nogil:
    """Host, unless the target was in absolute-form, which replaces it (RFC 9112 section 3.2.2); checked all the same."""
    cdef uint32_t n = head.first[FG_H_HOST]
    cdef fg_span absolute = head.authority, host = head.host
    cdef uint16_t port = head.port
    cdef int64_t bad
    if n == 0:
        return FG_E_MISSING_HOST if head.minor_version else 0
    if head.repeated >> FG_H_HOST & 1:
        return FG_E_DUPLICATE_HOST
    bad = authority(buf, head.fields[n - 1].value, head.fields[n - 1].value_len, head)
    if bad == 0 and absolute.len:
        head.authority = absolute
        head.host = host
        head.port = port
    return bad


cdef int64_t h1_request(const uint8_t *buf, size_t size, const fg_h1_limits *limits, fg_h1_head *head) noexcept nogil:
    """Parses a request head (RFC 9112 section 3). Contract: csrc/fg_http1.h."""
    cdef size_t longest = limits.max_line if limits.max_line < limits.max_head else limits.max_head
    cdef bint unseen = head.scanned < longest <= size  # the request line's limit is reached for the first time
    cdef int64_t lines = complete_lines(buf, size, limits, head)
    cdef int64_t used, bad
    cdef const uint8_t *p = buf
    cdef const uint8_t *start
    cdef const uint8_t *end
    if size >= 2 and p[0] == c'\r' and p[1] == c'\n':  # one empty line before the request line (RFC 9112 section 2.2)
        p += 2
    if unseen and memchr(p, c'\n', longest - (p - buf)) == NULL:
        return FG_E_LINE_TOO_LONG
    if lines < 0:
        return lines
    end = buf + lines
    if p == end:
        return FG_MORE

    start = p
    p = fg_scan_class(p, end, FG_CLASS_TOKEN)
    if p == start or p[0] != c' ':
        return FG_E_BAD_METHOD
    head.method.off = <uint32_t>(start - buf)
    head.method.len = <uint32_t>(p - start)
    head.method_token = method_token(start, p - start)
    head.authority.off = head.authority.len = head.host.off = head.host.len = 0
    head.path.off = head.path.len = head.query.off = head.query.len = 0
    head.port = 0
    p += 1
    start = p
    if p < end and p[0] == c'/' and head.method_token != FG_METHOD_CONNECT:
        p = path_and_query(buf, p, end, head)
    else:
        p = fg_scan_target(p, end)
    if p == start or (p[0] != c' ' and p[0] != c'\r' and p[0] != c'\n'):
        return FG_E_BAD_TARGET
    if p[0] != c' ':
        return FG_E_BAD_VERSION
    head.target.off = <uint32_t>(start - buf)
    head.target.len = <uint32_t>(p - start)
    bad = version(p + 1, end, head)
    if bad:
        return bad
    if p[9] != c'\r' or p[10] != c'\n':
        return FG_E_BAD_LINE_END if p[9] == c'\n' or p[9] == c'\r' else FG_E_BAD_VERSION
    bad = request_target(buf, start, p, head)
    if bad:
        return bad

    used = field_lines(buf, p + 11, end, limits, head)
    if used < 0:
        return FG_E_HEAD_TOO_LARGE if used == FG_MORE and size >= limits.max_head else used
    bad = message_framing(buf, head, False)
    if bad:
        return bad
    bad = request_host(buf, head)
    return bad if bad else used


# --- responses, trailers ------------------------------------------------------------------------------------------------------

cdef int64_t h1_response(const uint8_t *buf, size_t size, const fg_h1_limits *limits, fg_h1_head *head) noexcept nogil:
    """Parses a response head (RFC 9112 section 4). Contract: csrc/fg_http1.h."""
    cdef int64_t lines = complete_lines(buf, size, limits, head)
    cdef int64_t used, bad
    cdef const uint8_t *p
    cdef const uint8_t *end
    if lines < 0:
        return lines
    end = buf + lines
    bad = version(buf, end, head)
    if bad:
        return FG_E_BAD_STATUS_LINE if bad == FG_E_BAD_VERSION else bad
    p = buf + 8
    if end - p < 5 or p[0] != c' ' or p[1] < c'1' or p[1] > c'9' or p[2] < c'0' or p[2] > c'9' or p[3] < c'0' or p[3] > c'9':
        return FG_E_BAD_STATUS_LINE
    head.status = (p[1] - c'0') * 100 + (p[2] - c'0') * 10 + (p[3] - c'0')
    p += 4
    head.reason.off = <uint32_t>(p - buf)
    if p[0] == c' ':  # the space is missing in the wild where there is no reason phrase
        p += 1
        head.reason.off += 1
        p = fg_scan_value(p, end)
    head.reason.len = <uint32_t>(p - buf - head.reason.off)
    if p[0] != c'\r' or p[1] != c'\n':
        return FG_E_BAD_LINE_END if p[0] == c'\n' else FG_E_BAD_STATUS_LINE

    used = field_lines(buf, p + 2, end, limits, head)
    if used < 0:
        return FG_E_HEAD_TOO_LARGE if used == FG_MORE and size >= limits.max_head else used
    bad = message_framing(buf, head, True)
    if bad:
        return bad
    if head.status < 200 or head.status == 204 or head.status == 304:
        head.framing = FG_FRAMING_NONE
    elif head.framing == FG_FRAMING_NONE:
        head.framing = FG_FRAMING_UNTIL_CLOSE
    return used


cdef int64_t h1_trailers(const uint8_t *buf, size_t size, const fg_h1_limits *limits, fg_h1_head *head) noexcept nogil:
    """Parses a trailer section (RFC 9112 section 7.1.2). Contract: csrc/fg_http1.h."""
    cdef int64_t lines = complete_lines(buf, size, limits, head)
    cdef int64_t used
    if lines < 0:
        return FG_E_TRAILERS_TOO_LARGE if lines == FG_E_HEAD_TOO_LARGE else lines
    used = field_lines(buf, buf, buf + lines, limits, head)
    if used == FG_MORE and size >= limits.max_head:
        return FG_E_TRAILERS_TOO_LARGE
    return used


# --- chunked bodies -------------------------------------------------------------------------------------------------------------

cdef enum:
    MAX_SIZE_DIGITS = 15    # below 2^60 bytes
    MAX_EXTENSION = 256     # bytes of one chunk's extensions

cdef inline int hex_digit(uint8_t c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef int64_t h1_chunk(fg_h1_chunked *c, const uint8_t *buf, size_t size, fg_span *data) noexcept nogil:
    """Advances over chunked framing (RFC 9112 section 7.1) up to the end of one run of data. Contract: csrc/fg_http1.h."""
    cdef size_t i = 0, run
    cdef int digit
    data.off = data.len = 0
    while i < size:
        if c.state == FG_CHUNK_DATA:
            if data.len:
                break
            run = size - i if size - i < c.left else <size_t>c.left
            if run > 0x7fffffff:
                run = 0x7fffffff
            data.off = <uint32_t>i
            data.len = <uint32_t>run
            i += run
            c.left -= run
            if c.left == 0:
                c.state = FG_CHUNK_DATA_CR
        elif c.state == FG_CHUNK_SIZE:
            digit = hex_digit(buf[i])
            if digit >= 0:
                c.digits += 1
                if c.digits > MAX_SIZE_DIGITS:
                    return FG_E_BAD_CHUNK_SIZE
                c.left = c.left << 4 | <uint64_t>digit
            elif c.digits == 0:
                return FG_E_BAD_CHUNK_SIZE
            elif buf[i] == c'\r':
                c.state = FG_CHUNK_SIZE_LF
            elif buf[i] == c';':
                c.state = FG_CHUNK_EXT
                c.line = 0
            else:
                return FG_E_BAD_LINE_END if buf[i] == c'\n' else FG_E_BAD_CHUNK_SIZE
            i += 1
        elif c.state == FG_CHUNK_EXT:
            c.line += 1
            if buf[i] == c'\r':
                c.state = FG_CHUNK_SIZE_LF
            elif not fg_class[buf[i]] & FG_CLASS_VALUE:
                return FG_E_BAD_LINE_END if buf[i] == c'\n' else FG_E_BAD_CHUNK_EXTENSION
            elif c.line > MAX_EXTENSION:
                return FG_E_CHUNK_EXTENSION_TOO_LONG
            i += 1
        elif c.state == FG_CHUNK_SIZE_LF:
            if buf[i] != c'\n':
                return FG_E_BAD_LINE_END
            c.digits = 0
            c.state = FG_CHUNK_DATA if c.left else FG_CHUNK_TRAILERS
            i += 1
        elif c.state == FG_CHUNK_DATA_CR:
            if buf[i] != c'\r':
                return FG_E_BAD_CHUNK_END
            c.state = FG_CHUNK_DATA_LF
            i += 1
        elif c.state == FG_CHUNK_DATA_LF:
            if buf[i] != c'\n':
                return FG_E_BAD_CHUNK_END
            c.state = FG_CHUNK_SIZE
            i += 1
        else:
            break
    return <int64_t>i


# --- paths ------------------------------------------------------------------------------------------------------------------------

cdef int64_t path_normalize(uint8_t *path, size_t size) noexcept nogil:
    """Brings an absolute path into normal form in place (RFC 3986 section 6.2.2). Contract: csrc/fg_http1.h."""
    cdef size_t i = 1, out = 1, segment = 1
    cdef size_t n
    cdef int high, low
    cdef uint8_t c
    if size == 0 or path[0] != c'/':
        return FG_E_BAD_PATH_BYTE
    while True:
        c = path[i] if i < size else c'/'
        if c == c'/':  # a segment has ended: [segment, out)
            n = out - segment
            if n == 1 and path[segment] == c'.':
                out = segment
            elif n == 2 and path[segment] == c'.' and path[segment + 1] == c'.':
                if segment == 1:
                    return FG_E_BAD_PATH_CLIMB
                out = segment - 1
                while path[out - 1] != c'/':
                    out -= 1
            elif i < size:
                path[out] = c'/'
                out += 1
            if i >= size:
                return <int64_t>out
            segment = out
            i += 1
        elif c == c'%':
            if size - i < 3:
                return FG_E_BAD_PATH_ESCAPE
            high = hex_digit(path[i + 1])
            low = hex_digit(path[i + 2])
            if high < 0 or low < 0 or (high == 0 and low == 0):
                return FG_E_BAD_PATH_ESCAPE
            c = <uint8_t>(high << 4 | low)
            if fg_class[c] & FG_CLASS_UNRESERVED:
                path[out] = c
                out += 1
            else:
                path[out] = c'%'
                path[out + 1] = path[i + 1] if path[i + 1] <= c'9' else path[i + 1] & 0xdf
                path[out + 2] = path[i + 2] if path[i + 2] <= c'9' else path[i + 2] & 0xdf
                out += 3
            i += 3
        elif not fg_class[c] & FG_CLASS_TARGET or c == c'\\' or c == c'?':
            return FG_E_BAD_PATH_BYTE
        else:
            path[out] = c
            out += 1
            i += 1


# --- the Python interface ---------------------------------------------------------------------------------------------------------

_FRAMING = ("none", "length", "chunked", "until_close")


cdef object parse_error(int64_t code):
    cdef int i
    for i in range(H1_ERRORS):
        if h1_errors[i].code == code:
            return ParseError(h1_errors[i].name.decode().lower(), h1_errors[i].status, h1_errors[i].text.decode())
    return ParseError("unknown", 400, f"error {code}")


def errors():
    """Every way in which a message can be malformed: (code, status, text), in the order of csrc/fg_parse_errors.h."""
    return [(h1_errors[i].name.decode().lower(), h1_errors[i].status, h1_errors[i].text.decode()) for i in range(H1_ERRORS)]


cdef class _Head:
    """A head with room for its fields."""

    cdef fg_h1_head head
    cdef fg_h1_limits limits
    cdef bytearray room
    cdef bytes data

    def __cinit__(self, bytes data, uint32_t max_head, uint32_t max_line, uint16_t max_fields):
        self.data = data
        self.limits.max_head = max_head
        self.limits.max_line = max_line
        self.limits.max_fields = max_fields
        self.room = bytearray(sizeof(fg_field) * max(max_fields, 1))
        memset(&self.head, 0, sizeof(self.head))
        self.head.fields = <fg_field *><char *>self.room

    cdef bytes cut(self, fg_span s):
        return self.data[s.off:s.off + s.len]

    cdef tuple fields(self):
        cdef fg_field *f
        cdef list out = []
        for i in range(self.head.nfields):
            f = &self.head.fields[i]
            out.append((self.data[f.name:f.name + f.name_len], self.data[f.value:f.value + f.value_len]))
        return tuple(out)

    cdef object length(self):
        return None if self.head.content_length == FG_NO_LENGTH else self.head.content_length


def parse_request(bytes data, *, uint32_t max_head=32768, uint32_t max_line=8192, uint16_t max_fields=100):
    """Parse the request head at the start of `data`; None when it is not complete; ParseError when it is malformed."""
    cdef _Head h = _Head(data, max_head, max_line, max_fields)
    cdef int64_t n = h1_request(data, len(data), &h.limits, &h.head)
    if n == FG_MORE:
        return None
    if n < 0:
        raise parse_error(n)
    return RequestHead(
        h.cut(h.head.method), h.cut(h.head.target), h.cut(h.head.path),
        h.cut(h.head.query) if h.head.query.off else None, h.cut(h.head.host), h.head.port, h.head.minor_version,
        _FRAMING[h.head.framing], h.length(), h.fields(), n,
    )


def parse_many(bytes data, unsigned int rounds):
    """Parse the same request head again and again without the GIL, for measurements; returns its length."""
    cdef _Head h = _Head(data, 65536, 65536, 256)
    cdef const uint8_t *p = data
    cdef size_t size = len(data)
    cdef int64_t n = 0
    cdef unsigned int i
    with nogil:
        for i in range(rounds):
            h.head.scanned = 0
            n = h1_request(p, size, &h.limits, &h.head)
    return n


def parse_response(bytes data, *, uint32_t max_head=65536, uint16_t max_fields=256):
    """Parse the response head at the start of `data`; None when it is not complete; ParseError when it is malformed."""
    cdef _Head h = _Head(data, max_head, 0, max_fields)
    cdef int64_t n = h1_response(data, len(data), &h.limits, &h.head)
    if n == FG_MORE:
        return None
    if n < 0:
        raise parse_error(n)
    return ResponseHead(h.head.status, h.cut(h.head.reason), h.head.minor_version, _FRAMING[h.head.framing], h.length(),
                        h.fields(), n)


def decode_chunked(bytes data):
    """Decode a chunked body: (data, bytes used, complete). Stops before the trailer section, which is framing as well."""
    cdef fg_h1_chunked c
    cdef fg_span run
    cdef const uint8_t *p = data
    cdef size_t off = 0
    cdef int64_t n
    memset(&c, 0, sizeof(c))
    out = bytearray()
    while True:
        n = h1_chunk(&c, p + off, len(data) - off, &run)
        if n < 0:
            raise parse_error(n)
        out += data[off + run.off:off + run.off + run.len]
        off += <size_t>n
        if n == 0:
            return bytes(out), off, c.state == FG_CHUNK_TRAILERS


def normalize_path(bytes path):
    """Return the normal form of an absolute path, the form that is matched, logged and forwarded; ParseError if it has none."""
    out = bytearray(path)
    cdef int64_t n = path_normalize(<uint8_t *><char *>out, len(out))
    if n < 0:
        raise parse_error(n)
    return bytes(out[:n])
