"""What writers of segments share."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastgate.core.image cimport fg_ref

cdef uint64_t key_of(object text) except? 0

cdef class Segment:
    cdef uint8_t *p
    cdef size_t size, capacity
    cdef dict texts

    cdef uint32_t room(self, size_t n, size_t align=*) except? 0xffffff
    cdef fg_ref text(self, object s) except *
    cdef bytes done(self)

cdef fg_ref array_of(Segment seg, object items, size_t record) except *
cdef fg_ref texts_of(Segment seg, object items) except *
