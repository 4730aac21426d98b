"""What the engine calls to run inline filter plugins (csrc/fg_engine.h, csrc/fg_call.h), and what core/calls.pyx runs them with."""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastgate.core.image cimport fg_ref

cdef extern from "fg_call.h" nogil:
    enum: FG_CALL_MORE

    ctypedef struct fg_call "struct fg_call":
        uint32_t size, kind
        uint64_t exchange
        uint32_t number
        uint64_t stage, deadline_ns
        uint8_t phase, flags
        uint16_t status, client_port
        uint64_t received, sent, duration_ns
        fg_ref text[1]
        fg_ref fields, response_fields, request_edits, response_edits, trailers, response_trailers, endpoints, members, body

    ctypedef struct fg_spent "struct fg_spent":
        uint64_t took_ns
        uint32_t member, failed

    ctypedef struct fg_records "struct fg_records":
        uint8_t *p
        size_t len, cap

@cython.final
cdef class Call:
    cdef bytes data
    cdef const fg_call *c
    cdef uint64_t began_ns
    cdef fg_spent first                 # the most that is needed as a rule
    cdef fg_spent *spent                # `first`, or of malloc's
    cdef uint32_t nspent, room
    cdef list counts                    # of (member, name, n)
    cdef list fields_said               # of (name, JSON)

    cpdef enter(self)
    cpdef double leave(self, uint32_t position) except -1
    cpdef fail(self)
    cpdef count(self, uint32_t position, dict counts)
    cpdef say(self, list fields)
    cpdef bytes reported(self, bytes verdict)
    cdef uint32_t member(self, uint32_t position) noexcept
    cdef int grow(self) except -1
    cdef fg_ref put_counts(self, bytearray more, size_t base)
    cdef fg_ref put_fields(self, bytearray more, size_t base)

cdef str call_text(Call call, int which)

cdef class Runner:
    cdef bytes run_call(self, Call call)

cpdef bytes simple_verdict(Call call, list journal)

cdef void run_filters(const uint8_t *calls, size_t n, fg_records *verdicts) noexcept nogil
cdef int prepare_stage(const void *owner, uint64_t key, const uint8_t *spec, size_t n, char *why, size_t why_size) noexcept nogil
cdef void release_stages(const void *owner) noexcept nogil
