"""The ClientHello parser: C interface, see csrc/fg_http1.h."""

from libc.stdint cimport int64_t, uint8_t, uint16_t

cdef extern from "fg_http1.h" nogil:
    enum: FG_HELLO_MAX_ALPN

    ctypedef struct fg_client_hello "struct fg_client_hello":
        uint8_t server_name[256]
        uint16_t server_name_len, legacy_version, max_version
        uint8_t nalpn, has_ech
        uint8_t alpn_len[16]
        uint8_t alpn[16][32]

cdef int64_t client_hello(const uint8_t *buf, size_t size, size_t max_size, fg_client_hello *hello) noexcept nogil
