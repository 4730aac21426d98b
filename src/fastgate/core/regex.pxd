"""Regular expressions: C interface, see csrc/fg_re2.h."""

from libc.stdint cimport uint8_t

cdef extern from "fg_re2.h" nogil:
    ctypedef struct fg_re2 "struct fg_re2":
        pass

cdef fg_re2 *re2_new(const uint8_t *pattern, size_t size, char *why, size_t why_size) noexcept nogil
cdef bint re2_search(const fg_re2 *re, const uint8_t *text, size_t size) noexcept nogil
cdef void re2_free(fg_re2 *re) noexcept nogil
