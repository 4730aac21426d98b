# cython: binding=False
# A bound method of a limited-API class costs hundreds of instructions more, and each call has several.
"""Calls and verdicts of filter plugins as Python values, and the rings that carry them (csrc/fg_call.h, csrc/fg_ring.h)."""

import mmap
import socket

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strlen
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastgate.core.http1 cimport fg_field
from fastgate.core.image cimport fg_ep_endpoint, fg_img_edits, fg_img_pair, fg_ref

cdef extern from "fg_call.h" nogil:
    """
    #include "fg_call.h"
    static const char *const filter_phases[] = {
    #define X(NAME, name) name,
        FG_PHASES(X)
    #undef X
    };
    static const char *const filter_texts[] = {
    #define X(NAME, name) name,
        FG_CALL_TEXTS(X)
    #undef X
    };
    """
    enum: FG_RECORD_CALL, FG_RECORD_VERDICT, FG_RECORD_MAX, FG_PHASE_COUNT, FG_PHASE_END, FG_CALL_TEXT_COUNT, FG_CALL_LAST, FG_CALL_BODY
    enum: FG_OUTCOME_CONTINUE, FG_OUTCOME_REPLY, FG_OUTCOME_FAILED, FG_OUTCOME_REPLACE, FG_OUTCOME_NONE
    const char *const filter_phases[]
    const char *const filter_texts[]

    ctypedef struct fg_count "struct fg_count":
        uint64_t n
        fg_ref name
        uint32_t member

    ctypedef struct fg_verdict "struct fg_verdict":
        uint32_t size, kind
        uint64_t exchange
        uint8_t phase, outcome
        uint16_t status
        uint32_t number
        fg_img_edits edits
        fg_ref target, authority, body, spent, counts, fields
        fg_ep_endpoint endpoint

    int fg_records_add(fg_records *a, const void *record, size_t size)
    bint fg_verdict_ok(const uint8_t *record, size_t size)

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from "fg_ring.h" nogil:
    ctypedef struct fg_ring "struct fg_ring":
        pass
    ctypedef struct fg_rings "struct fg_rings":
        fg_ring calls, verdicts
    bint fg_ring_put(fg_ring *r, const void *record, uint32_t size)
    int64_t fg_ring_take(fg_ring *r, uint8_t *out, uint32_t cap)
    bint fg_ring_sleep(fg_ring *r)
    bint fg_ring_must_wake(fg_ring *r)

CONTINUE, REPLY, FAILED, REPLACE = FG_OUTCOME_CONTINUE, FG_OUTCOME_REPLY, FG_OUTCOME_FAILED, FG_OUTCOME_REPLACE
NONE = FG_OUTCOME_NONE
PHASES = tuple(filter_phases[i].decode() for i in range(FG_PHASE_COUNT))
END = FG_PHASE_END
TEXTS = {filter_texts[i].decode(): i for i in range(FG_CALL_TEXT_COUNT)}
RINGS_SIZE = sizeof(fg_rings)
RECORD_MAX = FG_RECORD_MAX


@cython.final
cdef class Call:
    """A call record. What it holds is decoded when it is asked for.

    Attributes:
        exchange: number of the exchange that it belongs to.
        stage: key of the stage that is called.
        phase: position in PHASES, or END.
        deadline: monotonic time in seconds after which nobody waits.
        more: the exchange's state is needed until END.
        status: of the response; 0 in phases without one.
        client_port: the client's.
        received, sent: bytes of the request body and of the response, in the log phase.
        duration: seconds since the request head was complete, in the log phase.
        body: of a local reply; a piece of it in the body phases.
        last: the piece is the last one.
        trailing: it has trailer fields.
        buffered: `body` is the request's whole body.
    """

    def __cinit__(self, bytes data):
        self.data = data
        self.c = <const fg_call *><const char *>data
        if len(data) < <Py_ssize_t>sizeof(fg_call) or self.c.size != len(data) or self.c.kind != FG_RECORD_CALL:
            raise ValueError("not a call record")
        self.spent, self.room = &self.first, 1

    def __dealloc__(self):
        if self.spent != &self.first:
            free(self.spent)

    @property
    def exchange(self):
        return self.c.exchange

    @property
    def stage(self):
        return self.c.stage

    @property
    def phase(self):
        return self.c.phase

    @property
    def deadline(self):
        return self.c.deadline_ns * 1e-9

    @property
    def more(self):
        return (self.c.flags & FG_CALL_MORE) != 0

    @property
    def status(self):
        return self.c.status

    @property
    def client_port(self):
        return self.c.client_port

    @property
    def buffered(self):
        return (self.c.flags & FG_CALL_BODY) != 0

    @property
    def last(self):
        return (self.c.flags & FG_CALL_LAST) != 0

    @property
    def received(self):
        return self.c.received

    @property
    def sent(self):
        return self.c.sent

    @property
    def duration(self):
        return self.c.duration_ns * 1e-9

    @property
    def body(self):
        return (<const char *>self.data)[self.c.body.off:self.c.body.off + self.c.body.len]

    def text(self, int which):
        """Return one of TEXTS, by its number."""
        if not 0 <= which < FG_CALL_TEXT_COUNT:
            raise IndexError(which)
        return call_text(self, which)

    def fields(self, bint response=False):
        """Return the fields of the request or of the response, names as spelt, in the order of arrival."""
        cdef fg_ref r = self.c.response_fields if response else self.c.fields
        cdef const fg_field *f = <const fg_field *>(<const char *>self.data + r.off)
        cdef uint32_t i
        return [(text_at(self.data, fg_ref(f[i].name, f[i].name_len)), text_at(self.data, fg_ref(f[i].value, f[i].value_len)))
                for i in range(r.len)]

    @property
    def trailing(self):
        return self.c.trailers.len != 0 or self.c.response_trailers.len != 0

    def trailers(self, bint response=False):
        """Return the trailer fields of the request or of the response; none while its body has not ended."""
        lines = text_at(self.data, self.c.response_trailers if response else self.c.trailers).split("\r\n")[:-1]
        return [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]

    def endpoints(self):
        """Return what the request may be sent to: (address, port, weight)."""
        cdef const fg_ep_endpoint *x = <const fg_ep_endpoint *>(<const char *>self.data + self.c.endpoints.off)
        cdef uint32_t i
        return [(address_of(&x[i]), x[i].port, x[i].weight) for i in range(self.c.endpoints.len)]

    def edits(self, bint response=False):
        """Return what earlier stages did to the request or to the response: (set, add, remove, target, authority, status,
        body)."""
        cdef fg_ref r = self.c.response_edits if response else self.c.request_edits
        cdef uint32_t at = r.off
        out = []
        while at < r.off + r.len:
            out.append(edits_at(self.data, at))
            at += (<const fg_verdict *>(<const char *>self.data + at)).size
        return out

    # --- what its filters do, for statistics and log

    cdef uint32_t member(self, uint32_t position) noexcept:
        """The number of a Filter of the stage in the statistics; one that nobody has for those that are not counted."""
        if position >= self.c.members.len:
            return 0xffffffff
        return (<const uint32_t *>(<const char *>self.data + self.c.members.off))[position]

    cpdef enter(self):
        """A method of a filter is called."""
        self.began_ns = now_ns()

    cpdef double leave(self, uint32_t position) except -1:
        """It is over: a method of the filter at this position in the stage. Returns the seconds since `enter`."""
        cdef uint64_t took_ns = now_ns() - self.began_ns
        if self.nspent == self.room:
            self.grow()
        self.spent[self.nspent].took_ns = took_ns
        self.spent[self.nspent].member, self.spent[self.nspent].failed = self.member(position), 0
        self.nspent += 1
        return took_ns * 1e-9

    cdef int grow(self) except -1:
        cdef uint32_t room = self.room + self.c.members.len + 1
        cdef fg_spent *more = <fg_spent *>malloc(room * sizeof(fg_spent))
        if more == NULL:
            raise MemoryError
        memcpy(more, self.spent, self.nspent * sizeof(fg_spent))
        if self.spent != &self.first:
            free(self.spent)
        self.spent, self.room = more, room
        return 0

    cpdef fail(self):
        """The filter that `leave` was about has failed."""
        if self.nspent:
            self.spent[self.nspent - 1].failed = 1

    cpdef count(self, uint32_t position, dict counts):
        """A filter has counted this much, by name."""
        if self.counts is None:
            self.counts = []
        self.counts += [(self.member(position), name, min(n, FG_COUNT_MAX)) for name, n in counts.items()]

    cpdef say(self, list fields):
        """These are new for the access log: pairs of name and JSON, which is empty for one that is withdrawn."""
        self.fields_said = fields

    cpdef bytes reported(self, bytes verdict):
        """Return the verdict with what the filters did; for b"" one of outcome NONE."""
        cdef bytes base = verdict or bare(self.c, FG_OUTCOME_NONE), out
        cdef size_t spent = self.nspent * sizeof(fg_spent), at = len(base), size = at + spent
        cdef fg_ref counts = fg_ref(0, 0), fields = fg_ref(0, 0)
        cdef bytearray more = None
        cdef fg_verdict *v
        if self.counts or self.fields_said:
            more = bytearray()
            counts = self.put_counts(more, size)
            fields = self.put_fields(more, size)
            more += bytes(-len(more) & 7)
            size += len(more)
        if size > FG_RECORD_MAX:
            return base
        out = PyBytes_FromStringAndSize(NULL, size)
        memcpy(<char *>out, <const char *>base, at)
        memcpy(<char *>out + at, self.spent, spent)
        if more is not None:
            memcpy(<char *>out + at + spent, <const char *>more, len(more))
        v = <fg_verdict *><char *>out
        v.size, v.spent, v.counts, v.fields = <uint32_t>size, fg_ref(<uint32_t>at, self.nspent), counts, fields
        return out

    cdef fg_ref put_counts(self, bytearray more, size_t base):
        cdef fg_count c
        cdef list counts = self.counts or []
        cdef size_t at = len(more)
        memset(&c, 0, sizeof(c))
        more += bytes(len(counts) * sizeof(fg_count))
        for i, (member, name, n) in enumerate(counts):
            c.n, c.member, c.name = n, member, fg_ref(<uint32_t>(base + len(more)), <uint32_t>len(name))
            more[at + i * sizeof(c):at + (i + 1) * sizeof(c)] = (<const char *>&c)[:sizeof(c)]
            more += name.encode()
        return fg_ref(<uint32_t>(base + at), <uint32_t>len(counts))

    cdef fg_ref put_fields(self, bytearray more, size_t base):
        cdef fg_img_pair pair
        cdef list fields = self.fields_said or []
        cdef size_t at
        more += bytes(-len(more) & 7)
        at = len(more)
        more += bytes(len(fields) * sizeof(pair))
        for i, (name, value) in enumerate(fields):
            pair.name = fg_ref(<uint32_t>(base + len(more)), <uint32_t>len(name))
            more += name.encode()
            pair.value = fg_ref(<uint32_t>(base + len(more)), <uint32_t>len(value))
            more += value.encode()
            more[at + i * sizeof(pair):at + (i + 1) * sizeof(pair)] = (<const char *>&pair)[:sizeof(pair)]
        return fg_ref(<uint32_t>(base + at), <uint32_t>len(fields))


cdef bytes bare(const fg_call *c, int outcome):
    cdef fg_verdict v
    memset(&v, 0, sizeof(v))
    v.size, v.kind, v.exchange, v.phase, v.outcome = sizeof(v), FG_RECORD_VERDICT, c.exchange, c.phase, outcome
    return (<const char *>&v)[:sizeof(v)]


cdef enum:
    FG_COUNT_MAX = 1 << 30  # of one call: no sum of them ever wraps


cdef uint64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec


cdef str call_text(Call call, int which):
    return text_at(call.data, call.c.text[which])


cdef str address_of(const fg_ep_endpoint *x):
    if x.family == 6:
        return socket.inet_ntop(socket.AF_INET6, (<const char *>x.address)[:16])
    return socket.inet_ntop(socket.AF_INET, (<const char *>x.address)[:4])


cdef str text_at(bytes data, fg_ref r):
    return (<const char *>data)[r.off:r.off + r.len].decode("latin-1")


cdef tuple edits_at(bytes data, uint32_t at):
    cdef const fg_verdict *v = <const fg_verdict *>(<const char *>data + at)
    return (pairs_at(data, at, v.edits.set), pairs_at(data, at, v.edits.add), names_at(data, at, v.edits.remove),
            text_at(data, fg_ref(at + v.target.off, v.target.len)),
            text_at(data, fg_ref(at + v.authority.off, v.authority.len)), v.status,
            (<const char *>data)[at + v.body.off:at + v.body.off + v.body.len])


cdef list pairs_at(bytes data, uint32_t base, fg_ref r):
    cdef const fg_img_pair *p = <const fg_img_pair *>(<const char *>data + base + r.off)
    cdef uint32_t i
    return [(text_at(data, fg_ref(base + p[i].name.off, p[i].name.len)),
             text_at(data, fg_ref(base + p[i].value.off, p[i].value.len))) for i in range(r.len)]


cdef list names_at(bytes data, uint32_t base, fg_ref r):
    cdef const fg_ref *p = <const fg_ref *>(<const char *>data + base + r.off)
    cdef uint32_t i
    return [text_at(data, fg_ref(base + p[i].off, p[i].len)) for i in range(r.len)]


# --- verdicts ---------------------------------------------------------------------------------------------------------------------

cdef class _Writer:
    """Texts behind the fixed parts of a record."""

    cdef bytearray out
    cdef size_t at

    cdef fg_ref text(self, object s):
        cdef fg_ref r
        cdef bytes data = s if isinstance(s, bytes) else s.encode("latin-1")
        r.off, r.len = <uint32_t>len(self.out), <uint32_t>len(data)
        self.out += data
        return r

    cdef fg_ref pairs(self, object items):
        cdef fg_ref array, name, value
        cdef size_t record
        array.off, array.len = <uint32_t>self.at, <uint32_t>len(items)
        for n, v in items:
            name, value = self.text(n), self.text(v)
            record = self.at
            (<fg_img_pair *>(<char *>self.out + record)).name = name
            (<fg_img_pair *>(<char *>self.out + record)).value = value
            self.at += sizeof(fg_img_pair)
        return array

    cdef fg_ref names(self, object items):
        cdef fg_ref array, name
        array.off, array.len = <uint32_t>self.at, <uint32_t>len(items)
        for n in items:
            name = self.text(n)
            (<fg_ref *>(<char *>self.out + self.at))[0] = name
            self.at += sizeof(fg_ref)
        return array


def verdict(Call call, int outcome=FG_OUTCOME_CONTINUE, *, int status=0, replace=(), add=(), remove=(), target="",
            authority="", bytes body=b"", endpoint=None):
    """Return the verdict record of a call.

    Args:
        call: the call.
        outcome: CONTINUE, REPLY, FAILED, or REPLACE in body phases.
        status: of a REPLY, or what the response's becomes; 0 keeps it.
        replace, add: pairs of names and values, `str` in Latin-1: fields in the place of those of the same name, and beside
            them; those of a REPLY are in `add`.
        remove: names.
        target: path and query that go upstream; "" keeps them.
        authority: Host that goes upstream; "" keeps it.
        body: of a REPLY or REPLACE.
        endpoint: address and port of the one that the request is sent to.

    Raises:
        ValueError: it is larger than a record may be, or a name, a value or the target may not be sent.
        UnicodeEncodeError: a text is not Latin-1.
    """
    cdef fg_verdict v
    cdef _Writer w = _Writer()
    cdef bytes packed
    cdef size_t fixed = sizeof(fg_verdict) + sizeof(fg_img_pair) * (len(replace) + len(add)) + sizeof(fg_ref) * len(remove)
    memset(&v, 0, sizeof(v))
    w.out = bytearray(fixed)
    w.at = sizeof(fg_verdict)
    v.kind = FG_RECORD_VERDICT
    v.exchange, v.number, v.phase = call.c.exchange, call.c.number, call.c.phase
    v.outcome, v.status = outcome, status
    v.edits.set = w.pairs(replace)
    v.edits.add = w.pairs(add)
    v.edits.remove = w.names(remove)
    if endpoint is not None:
        address, v.endpoint.port = endpoint
        v.endpoint.family = 6 if ":" in address else 4
        packed = socket.inet_pton(socket.AF_INET6 if v.endpoint.family == 6 else socket.AF_INET, address)
        memcpy(v.endpoint.address, <const char *>packed, len(packed))
    v.target, v.authority, v.body = w.text(target), w.text(authority), w.text(body)
    w.out += bytes(-len(w.out) & 7)
    if len(w.out) > FG_RECORD_MAX:
        raise ValueError(f"what a filter returned has {len(w.out)} bytes; {FG_RECORD_MAX} are possible")
    v.size = <uint32_t>len(w.out)
    memcpy(<char *>w.out, &v, sizeof(v))
    if not fg_verdict_ok(<const uint8_t *><char *>w.out, v.size):
        raise ValueError("what a filter returned may not be sent")
    return bytes(w.out)


cdef enum:
    SIMPLE = 8  # edits, of as many names


cpdef bytes simple_verdict(Call call, list journal):
    """Return the verdict of a few edits of fields, none of which is of a name in the case of another's; None for others.

    Edits are ("set", "add" or "remove", name, value), in Latin-1, as `Headers` checked them.
    """
    cdef uint8_t out[4096]
    cdef uint8_t *limit = out + sizeof(out) - 8
    cdef uint8_t *text
    cdef fg_verdict *v = <fg_verdict *>out
    cdef fg_ref *next_[3]
    cdef uint32_t counts[3]
    cdef uint8_t kinds[SIMPLE]
    cdef size_t i, n = len(journal)
    if n > SIMPLE:
        return None
    memset(v, 0, sizeof(v[0]))
    memset(counts, 0, sizeof(counts))
    for i in range(n):
        edit = <tuple>journal[i]
        op, name = edit[0], edit[1]
        if not name:
            return None
        kinds[i] = <uint8_t>(0 if op == "set" else 1 if op == "add" else 2)
        counts[kinds[i]] += 1
    if n > 1 and len({(<str>(<tuple>edit)[1]).lower() for edit in journal}) != n:
        return None
    v.kind = FG_RECORD_VERDICT
    v.exchange, v.number, v.phase = call.c.exchange, call.c.number, call.c.phase
    v.edits.set = fg_ref(sizeof(fg_verdict), counts[0])
    v.edits.add = fg_ref(<uint32_t>(v.edits.set.off + sizeof(fg_img_pair) * counts[0]), counts[1])
    v.edits.remove = fg_ref(<uint32_t>(v.edits.add.off + sizeof(fg_img_pair) * counts[1]), counts[2])
    next_[0] = <fg_ref *>(out + v.edits.set.off)
    next_[1] = <fg_ref *>(out + v.edits.add.off)
    next_[2] = <fg_ref *>(out + v.edits.remove.off)
    text = out + v.edits.remove.off + sizeof(fg_ref) * counts[2]
    for i in range(n):
        _, name, value = <tuple>journal[i]
        text = put_text(next_[kinds[i]], out, text, limit, name)
        next_[kinds[i]] += 1
        if text != NULL and kinds[i] != 2:
            text = put_text(next_[kinds[i]], out, text, limit, value)
            next_[kinds[i]] += 1
        if text == NULL:
            return None
    memset(text, 0, 8)
    v.size = <uint32_t>((text - out + 7) & ~<size_t>7)
    if not fg_verdict_ok(out, v.size):
        raise ValueError("what a filter returned may not be sent")
    return (<char *>out)[:v.size]


cdef uint8_t *put_text(fg_ref *ref, const uint8_t *record, uint8_t *at, const uint8_t *limit, str text) except? NULL:
    """Write a text in Latin-1 and what refers to it. The byte behind it, or NULL when there is no room."""
    cdef Py_ssize_t n = 0
    cdef const char *p = PyUnicode_AsUTF8AndSize(text, &n)
    cdef bytes latin
    if n != len(text):
        latin = text.encode("latin-1")
        p, n = latin, len(latin)
    if n > limit - at:
        return NULL
    ref.off, ref.len = <uint32_t>(at - record), <uint32_t>n
    memcpy(at, p, n)
    return at + n


# --- rings ------------------------------------------------------------------------------------------------------------------------

cdef class Rings:
    """The plugin process's end of the rings: takes calls, puts verdicts. One thread at a time."""

    cdef object map
    cdef fg_rings *rings
    cdef bytearray copy

    def __init__(self, fd):
        cdef uint8_t[::1] view
        self.map = mmap.mmap(fd, sizeof(fg_rings))
        view = self.map
        self.rings = <fg_rings *>&view[0]
        self.copy = bytearray(FG_RECORD_MAX)

    def take(self):
        """Return the next Call, or None. ValueError: the ring is broken."""
        cdef int64_t n = fg_ring_take(&self.rings.calls, <uint8_t *><char *>self.copy, FG_RECORD_MAX)
        if n < 0:
            raise ValueError("the ring of calls is broken")
        return Call((<char *>self.copy)[:n]) if n else None

    def put(self, bytes record):
        """Put a verdict; False when there is no room now."""
        return fg_ring_put(&self.rings.verdicts, <const char *>record, <uint32_t>len(record))

    def sleep(self):
        """Ask to be woken; False when a call is there already."""
        return fg_ring_sleep(&self.rings.calls)

    def must_wake(self):
        """Whether the engine waits to be woken for what was put."""
        return fg_ring_must_wake(&self.rings.verdicts)


# --- inline -----------------------------------------------------------------------------------------------------------------------

cdef object _inline = None


def inline():
    """Return what runs the inline stages of every engine of this process; it is imported and made on first use."""
    global _inline
    if _inline is None:
        from fastgate.plugins.inline import Inline

        _inline = Inline()
    return _inline


cdef void run_filters(const uint8_t *calls, size_t n, fg_records *verdicts) noexcept nogil:
    """Run calls that lie back to back. A call without verdict times out: what raises here was no filter's fault."""
    with gil:
        run_calls(calls, n, verdicts)


cdef class Runner:
    """What runs inline calls."""

    cdef bytes run_call(self, Call call):
        """Run a call and return its verdict; None for the end of an exchange, which has none."""
        raise NotImplementedError


cdef void run_calls(const uint8_t *calls, size_t n, fg_records *verdicts) noexcept:
    cdef size_t at = 0
    cdef const fg_call *c
    cdef bytes found
    cdef Runner runner = _inline if _inline is not None else inline()
    while at < n:
        c = <const fg_call *>(calls + at)
        found = runner.run_call(Call.__new__(Call, (<const char *>c)[:c.size]))
        at += c.size
        if found is not None:
            fg_records_add(verdicts, <const char *>found, len(found))


def run(bytes calls):
    """Run calls that lie back to back, as for the engine of a worker, and return their verdicts likewise."""
    cdef fg_records verdicts
    memset(&verdicts, 0, sizeof(verdicts))
    try:
        run_calls(<const uint8_t *><const char *>calls, len(calls), &verdicts)
        return (<char *>verdicts.p)[:verdicts.len]
    finally:
        free(verdicts.p)


cdef int prepare_stage(const void *owner, uint64_t key, const uint8_t *spec, size_t n, char *why, size_t why_size) noexcept nogil:
    """Make the filters of an inline stage. 0, or -1 with a sentence in `why`."""
    with gil:
        return prepare(<uint64_t>owner, key, (<const char *>spec)[:n], why, why_size)


cdef int prepare(uint64_t owner, uint64_t key, bytes spec, char *why, size_t why_size) noexcept:
    cdef bytes text
    try:
        inline().prepare(owner, key, spec)
        return 0
    except BaseException as e:
        text = str(e).encode()[:why_size - 1]
        memcpy(why, <const char *>text, len(text))
        why[len(text)] = 0
        return -1


cdef void release_stages(const void *owner) noexcept nogil:
    """Stop the inline stages that only this owner had."""
    with gil:
        inline().release(<uint64_t>owner)
