"""A segment of the image while it is written: records and strings that refer to one another by offsets."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastgate.core.image cimport fg_hash, fg_ref


cdef uint64_t key_of(object text) except? 0:
    """The 64-bit key of a name, as csrc/fg_hash.h computes it."""
    cdef bytes data = text.encode()
    return fg_hash(<const char *>data, len(data))


cdef class Segment:
    """A growing block of records and strings. Offsets stay good when it grows; pointers do not."""

    def __cinit__(self):
        self.texts = {}

    def __dealloc__(self):
        free(self.p)

    cdef uint32_t room(self, size_t n, size_t align=8) except? 0xffffff:
        """Append n zero bytes, aligned to a power of two up to the segment's own 64; returns their offset."""
        cdef size_t at = (self.size + align - 1) & ~(align - 1)
        cdef size_t capacity
        cdef uint8_t *p
        if at + n > 0xffffff00:
            raise OverflowError("a segment of the image would be larger than 4 GiB")
        if at + n > self.capacity:
            capacity = (at + n) * 2 if at + n > 128 else 256
            p = <uint8_t *>realloc(self.p, capacity)
            if p == NULL:
                raise MemoryError()
            self.p = p
            self.capacity = capacity
        memset(self.p + self.size, 0, at + n - self.size)
        self.size = at + n
        return <uint32_t>at

    cdef fg_ref text(self, object s) except *:
        """Append a string once; values that HTTP carries are bytes, that is Latin-1."""
        cdef fg_ref r
        cdef bytes data
        found = self.texts.get(s)
        if found is None:
            try:
                data = s.encode("latin-1")
            except UnicodeEncodeError:
                data = s.encode()
            r.len = <uint32_t>len(data)
            r.off = self.room(len(data)) if data else 0
            memcpy(self.p + r.off, <const char *>data, r.len)
            self.texts[s] = (r.off, r.len)
        else:
            r.off, r.len = found
        return r

    cdef bytes done(self):
        return <bytes>(<char *>self.p)[:self.size]


cdef fg_ref array_of(Segment seg, object items, size_t record) except *:
    """Room for a record for each item, so aligned that none lies in more cache lines than it must."""
    cdef fg_ref r
    r.len = <uint32_t>len(items)
    r.off = seg.room(record * r.len, max(<size_t>8, min(record & (~record + 1), <size_t>64))) if r.len else 0
    return r


cdef fg_ref texts_of(Segment seg, object items) except *:
    """An array of strings."""
    cdef fg_ref array = array_of(seg, items, sizeof(fg_ref))
    cdef fg_ref text
    for i, item in enumerate(items):
        text = seg.text(item)
        (<fg_ref *>(seg.p + array.off))[<size_t>i] = text
    return array
