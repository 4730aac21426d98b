"""HTTP/1 parsers: C interface, see csrc/fg_http1.h for the contract."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "fg_http1.h" nogil:
    ctypedef struct fg_span "struct fg_span":
        uint32_t off
        uint32_t len

    ctypedef struct fg_field "struct fg_field":
        uint32_t name
        uint32_t value
        uint32_t value_len
        uint16_t name_len
        uint8_t token
        uint8_t flags

    ctypedef struct fg_h1_limits "struct fg_h1_limits":
        uint32_t max_head
        uint32_t max_line
        uint16_t max_fields

    ctypedef struct fg_h1_head "struct fg_h1_head":
        fg_field *fields
        uint32_t scanned
        fg_span method, target, path, query, authority, host, reason
        uint16_t port, status, nfields
        uint8_t method_token, target_form, minor_version, framing, connection, path_clean
        uint64_t content_length, repeated
        uint16_t first[64]

    ctypedef struct fg_h1_chunked "struct fg_h1_chunked":
        uint64_t left
        uint32_t line
        uint8_t state
        uint8_t digits

cdef int64_t h1_request(const uint8_t *buf, size_t size, const fg_h1_limits *limits, fg_h1_head *head) noexcept nogil
cdef int64_t h1_response(const uint8_t *buf, size_t size, const fg_h1_limits *limits, fg_h1_head *head) noexcept nogil
cdef int64_t h1_trailers(const uint8_t *buf, size_t size, const fg_h1_limits *limits, fg_h1_head *head) noexcept nogil
cdef int64_t h1_chunk(fg_h1_chunked *c, const uint8_t *buf, size_t size, fg_span *data) noexcept nogil
cdef int64_t path_normalize(uint8_t *path, size_t size) noexcept nogil

# Token of a field name in any case (enum fg_header), 0 when the table does not have it.
cdef uint8_t header_token(const uint8_t *name, uint32_t size) noexcept nogil

# The exception for an error code of any parser.
cdef object parse_error(int64_t code)
