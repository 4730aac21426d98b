"""What the engine calls to run inline filter plugins (csrc/fg_engine.h, csrc/fg_call.h)."""

from libc.stdint cimport uint8_t, uint64_t

cdef extern from "fg_call.h" nogil:
    ctypedef struct fg_records "struct fg_records":
        pass

cdef void run_filters(const uint8_t *calls, size_t n, fg_records *verdicts) noexcept nogil
cdef int prepare_stage(const void *owner, uint64_t key, const uint8_t *spec, size_t n, char *why, size_t why_size) noexcept nogil
cdef void release_stages(const void *owner) noexcept nogil
