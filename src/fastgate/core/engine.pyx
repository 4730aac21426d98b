"""The engine, handed the functions that Cython implements, and its statistics.

This is the one module that knows both sides: csrc/fg_engine.h takes functions, http1.pyx, image.pyx and router.pyx give them.
"""

import os

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastgate.core.http1 cimport (
    fg_h1_chunked, fg_h1_head, fg_h1_limits, fg_span, h1_chunk, h1_request, h1_response, h1_trailers, path_normalize,
)
from fastgate.core.client_hello cimport client_hello, fg_client_hello
from fastgate.core.image cimport fg_image, fg_match_query, fg_match_result, image_close, image_open
from fastgate.core.filters cimport fg_records, prepare_stage, release_stages, run_filters
from fastgate.core.router cimport find_host, match

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *s, size_t n)

cdef extern from "fg_engine.h" nogil:
    ctypedef int64_t (*head_fn)(const uint8_t *, size_t, const fg_h1_limits *, fg_h1_head *) noexcept nogil
    ctypedef int64_t (*chunk_fn)(fg_h1_chunked *, const uint8_t *, size_t, fg_span *) noexcept nogil
    ctypedef int64_t (*normalize_fn)(uint8_t *, size_t) noexcept nogil
    ctypedef int64_t (*hello_fn)(const uint8_t *, size_t, size_t, fg_client_hello *) noexcept nogil
    ctypedef int (*open_fn)(int, fg_image *, char *, size_t) noexcept nogil
    ctypedef void (*close_fn)(fg_image *) noexcept nogil
    ctypedef void (*match_fn)(const fg_image *, uint32_t, const fg_match_query *, fg_match_result *) noexcept nogil
    ctypedef uint32_t (*find_host_fn)(const fg_image *, uint32_t, const uint8_t *, uint32_t) noexcept nogil
    ctypedef void (*run_filters_fn)(const uint8_t *, size_t, fg_records *) noexcept nogil
    ctypedef int (*prepare_fn)(const void *, uint64_t, const uint8_t *, size_t, char *, size_t) noexcept nogil
    ctypedef void (*release_fn)(const void *) noexcept nogil

    ctypedef struct fg_functions "struct fg_functions":
        head_fn parse_request, parse_response, parse_trailers
        chunk_fn next_chunk
        normalize_fn normalize_path
        hello_fn peek_client_hello
        open_fn open_image
        close_fn close_image
        match_fn match
        find_host_fn find_host
        run_filters_fn run_filters
        prepare_fn prepare_stage
        release_fn release_stages

    ctypedef struct fg_engine_options "struct fg_engine_options":
        int control_fd, stats_fd, log_fd, adopt_fd
        uint32_t worker, workers, orphan_timeout
        uint64_t memory_limit
        bint http2
        const char *build

    ctypedef struct fg_engine "struct fg_engine":
        pass

    fg_engine *fg_engine_new(const fg_functions *functions, const fg_engine_options *options)
    int fg_engine_run(fg_engine *e)
    void fg_engine_free(fg_engine *e)

cdef extern from "fg_stats.h" nogil:
    """
    #include "fg_stats.h"
    static const struct { const char *name, *kind, *text; } engine_counters[] = {
    #define X(name, kind, text) {#name, #kind, text},
        FG_COUNTERS(X)
    #undef X
    };
    enum { ENGINE_COUNTERS = sizeof engine_counters / sizeof engine_counters[0] };
    static const char *const engine_errors[] = {
    #define X(REASON, kind) kind,
        FG_FILTER_ERRORS(X)
    #undef X
    };
    static const uint64_t engine_bounds[] = FG_LATENCY_BOUNDS;
    enum { ENGINE_BOUNDS = sizeof engine_bounds / sizeof engine_bounds[0] };
    """
    ctypedef struct counter_t:
        const char *name
        const char *kind
        const char *text
    const counter_t engine_counters[]
    enum: ENGINE_COUNTERS, ENGINE_BOUNDS, FG_R_COUNT, FG_LATENCY_BUCKETS, FG_SERIES_MAX, FG_FILTERS_MAX, FG_FILTER_NAMES
    enum: FG_FILTER_ERROR_COUNT, FG_LISTENERS_MAX, FG_HANDSHAKE_COUNT
    const char *const engine_errors[]
    const uint64_t FG_STATS_MAGIC
    const uint64_t engine_bounds[]

    ctypedef struct fg_counters "struct fg_counters":
        uint64_t turns, py_inside

    ctypedef struct fg_series "struct fg_series":
        uint64_t listener_key, route_key
        char listener[120]
        char route[120]
        uint64_t status_class[6]
        uint64_t latency[1]
        uint64_t latency_sum_us, received, sent

    ctypedef struct fg_filter_count "struct fg_filter_count":
        char name[64]
        uint64_t n

    ctypedef struct fg_filter_series "struct fg_filter_series":
        char name[180]
        uint64_t calls, waiting, latency_sum_ns, nnames
        uint64_t errors[1]
        uint64_t latency[1]
        fg_filter_count names[1]

    ctypedef struct fg_listener_series "struct fg_listener_series":
        char name[180]
        uint64_t connections, active, unknown_names, received, sent
        uint64_t datagrams_received, datagrams_sent, datagrams_dropped
        uint64_t handshakes[2][3]

    ctypedef struct fg_slab "struct fg_slab":
        uint64_t magic, size, pid, nseries, nfilters, nlisteners
        fg_counters c
        uint64_t reasons[1]
        uint64_t upstream_errors[1]
        fg_series series[1]
        fg_filter_series filters[1]
        fg_listener_series listeners[1]

    size_t fg_stats_size()
    uint64_t fg_stats_load(const uint64_t *word)
    uint64_t fg_stats_load_acquire(const uint64_t *word)


def run(int control_fd, int stats_fd, int log_fd, *, int adopt_fd=-1, uint32_t worker=0, uint32_t workers=1,
        uint32_t orphan_timeout=60000, uint64_t memory_limit=0, bytes build=b""):
    """Run one worker on the calling thread until its manager stops it or its drain has ended. The descriptors become the
    engine's; times are milliseconds, sizes bytes. Returns 0, or raises OSError when the engine cannot be made."""
    cdef fg_functions f
    cdef fg_engine_options o
    cdef fg_engine *e
    cdef int result
    memset(&f, 0, sizeof(f))
    memset(&o, 0, sizeof(o))
    f.parse_request = h1_request
    f.parse_response = h1_response
    f.parse_trailers = h1_trailers
    f.next_chunk = h1_chunk
    f.normalize_path = path_normalize
    f.peek_client_hello = client_hello
    f.open_image = image_open
    f.close_image = image_close
    f.match = match
    f.find_host = find_host
    f.run_filters = run_filters
    f.prepare_stage = prepare_stage
    f.release_stages = release_stages
    o.control_fd, o.stats_fd, o.log_fd, o.adopt_fd = control_fd, stats_fd, log_fd, adopt_fd
    o.build = build
    o.http2 = os.environ.get("FASTGATE_HTTP2") == "provisional"
    o.worker, o.workers, o.orphan_timeout, o.memory_limit = worker, workers, orphan_timeout, memory_limit
    with nogil:
        e = fg_engine_new(&f, &o)
        result = fg_engine_run(e) if e != NULL else -1
        fg_engine_free(e)
    if e == NULL:
        raise OSError("the engine could not be made: no memory, no epoll or a bad statistics descriptor")
    return result


def stats_size():
    """Bytes of a statistics slab."""
    return fg_stats_size()


def counters():
    """What a slab counts: (name, "counter" or "gauge", sentence)."""
    return [(engine_counters[i].name.decode(), engine_counters[i].kind.decode(), engine_counters[i].text.decode())
            for i in range(ENGINE_COUNTERS)]


def latency_bounds():
    """Upper bounds of the latency histogram's buckets, in microseconds; one more bucket has no bound."""
    return [engine_bounds[i] for i in range(ENGINE_BOUNDS)]


def filter_errors():
    """Kinds of errors of a filter's calls, in their order in a slab."""
    return [engine_errors[i].decode() for i in range(FG_FILTER_ERROR_COUNT)]


def is_stats(const uint8_t[::1] slab):
    """Whether this is the slab of a worker of this version that has started."""
    return (slab.shape[0] == <Py_ssize_t>fg_stats_size() and (<const fg_slab *>&slab[0]).magic == FG_STATS_MAGIC
            and (<const fg_slab *>&slab[0]).size == fg_stats_size())


def pulse(const uint8_t[::1] slab):
    """Turns of a worker's loop so far, 0 before the first, and whether it is in Python."""
    if not is_stats(slab):
        return 0, False
    cdef const fg_slab *s = <const fg_slab *>&slab[0]
    return fg_stats_load(&s.c.turns), fg_stats_load(&s.c.py_inside) != 0


def read_stats(const uint8_t[::1] slab):
    """Copy a slab, which may be written meanwhile: (pid, counters by name, reasons and upstream errors by number, series,
    filters, listeners). A series is (listener, route, requests by status class, latency buckets, latency sum in microseconds, bytes
    received, bytes sent), a filter (name, calls, errors by kind, calls that wait, latency buckets, latency sum in nanoseconds,
    (name, n) of what it counts itself), a listener (name, what it counts by the name of its word in
    csrc/fg_stats.h; handshakes are one list: full, resumed and failed ones of TLS 1.2 and older, then of 1.3)."""
    if slab.shape[0] < <Py_ssize_t>fg_stats_size():
        raise ValueError("not a statistics slab")
    cdef const fg_slab *s = <const fg_slab *>&slab[0]
    cdef const uint64_t *words = <const uint64_t *>&s.c
    cdef const fg_series *x
    cdef int i, j
    series = []
    for i in range(min(<int>fg_stats_load_acquire(&s.nseries), <int>FG_SERIES_MAX)):
        x = &s.series[i]
        series.append((
            text(x.listener, sizeof(x.listener)), text(x.route, sizeof(x.route)),
            [fg_stats_load(&x.status_class[j]) for j in range(6)],
            [fg_stats_load(&x.latency[j]) for j in range(FG_LATENCY_BUCKETS)],
            fg_stats_load(&x.latency_sum_us), fg_stats_load(&x.received), fg_stats_load(&x.sent),
        ))
    return (s.pid, {engine_counters[i].name.decode(): fg_stats_load(&words[i]) for i in range(ENGINE_COUNTERS)},
            [fg_stats_load(&s.reasons[i]) for i in range(FG_R_COUNT)],
            [fg_stats_load(&s.upstream_errors[i]) for i in range(FG_R_COUNT)], series,
            [read_filter(&s.filters[i]) for i in range(min(<int>fg_stats_load_acquire(&s.nfilters), <int>FG_FILTERS_MAX))],
            [read_listener(&s.listeners[i])
             for i in range(min(<int>fg_stats_load_acquire(&s.nlisteners), <int>FG_LISTENERS_MAX))])


cdef tuple read_filter(const fg_filter_series *x):
    cdef int i
    return (
        text(x.name, sizeof(x.name)), fg_stats_load(&x.calls), [fg_stats_load(&x.errors[i]) for i in range(FG_FILTER_ERROR_COUNT)],
        fg_stats_load(&x.waiting), [fg_stats_load(&x.latency[i]) for i in range(FG_LATENCY_BUCKETS)],
        fg_stats_load(&x.latency_sum_ns),
        [(text(x.names[i].name, sizeof(x.names[i].name)), fg_stats_load(&x.names[i].n))
         for i in range(min(<int>fg_stats_load_acquire(&x.nnames), <int>FG_FILTER_NAMES))],
    )


cdef tuple read_listener(const fg_listener_series *x):
    cdef int i, j
    return text(x.name, sizeof(x.name)), {
        "connections": fg_stats_load(&x.connections),
        "active": fg_stats_load(&x.active),
        "handshakes": [fg_stats_load(&x.handshakes[i][j]) for i in range(2) for j in range(FG_HANDSHAKE_COUNT)],
        "unknown_names": fg_stats_load(&x.unknown_names),
        "received": fg_stats_load(&x.received),
        "sent": fg_stats_load(&x.sent),
        "datagrams_received": fg_stats_load(&x.datagrams_received),
        "datagrams_sent": fg_stats_load(&x.datagrams_sent),
        "datagrams_dropped": fg_stats_load(&x.datagrams_dropped),
    }


cdef str text(const char *p, size_t room):
    return p[:strnlen(p, room)].decode("utf-8", "replace")
