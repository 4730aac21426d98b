/* Statistics of a worker: a memfd that the worker alone writes and the listener manager reads, as aligned 64-bit words.
 *
 *   +--------+------------------+-------------------------------+-------------+---------------+
 *   | header | counters, gauges | series: (listener, route) ... | Filters ... | listeners ... |
 *   +--------+------------------+-------------------------------+-------------+---------------+
 *
 * A series, Filter or listener is claimed once, in order of first use, and never moves; what does not fit counts into the last one. The
 * same holds for the names that a Filter counts by.
 */
#ifndef FG_STATS_H
#define FG_STATS_H

#include "fg_base.h"
#include "fg_reasons.h"

#define FG_STATS_MAGIC 0x3453544154534746ull /* "FGSTATS4" */

/* X(name, kind, text): kind is counter or gauge. */
#define FG_COUNTERS(X)                                                                            \
    X(heartbeat_ms, gauge, "monotonic time of the last loop turn")                                \
    X(generation, gauge, "generation of the image that is served")                                \
    X(endpoints_version, gauge, "version of the endpoint table that is served")                   \
    X(generations_live, gauge, "images that are still mapped")                                    \
    X(connections_accepted, counter, "client connections accepted")                               \
    X(connections_open, gauge, "client connections open")                                         \
    X(http2_connections, counter, "client connections that began to speak HTTP/2")                \
    X(http2_streams, counter, "streams of HTTP/2 that clients began")                             \
    X(accept_errors, counter, "accept calls that failed for want of descriptors or memory")       \
    X(requests, counter, "requests whose head was complete")                                      \
    X(requests_active, gauge, "requests being served")                                            \
    X(upstream_connects, counter, "upstream connections begun")                                   \
    X(upstream_connect_errors, counter, "upstream connections that failed or came too late")      \
    X(upstream_reused, counter, "requests sent on a pooled upstream connection")                  \
    X(upstream_open, gauge, "upstream connections open")                                          \
    X(upstream_idle, gauge, "upstream connections that wait in a pool")                           \
    X(upstream_unsolicited, counter, "idle upstream connections closed because data came")        \
    X(upstream_retries, counter, "requests sent again to another connection")                     \
    X(upstream_not_retried, counter, "requests lost on a reused connection that may not be replayed") \
    X(upstream_ejections, counter, "endpoints ejected because connections failed")                \
    X(upstream_ejected, gauge, "endpoints that are ejected, counted by each worker")              \
    X(upstream_panics, counter, "choices among all endpoints because less than half are usable")  \
    X(health_probes, counter, "active health checks begun")                                       \
    X(health_failures, counter, "active health checks that failed")                               \
    X(tunnels_open, gauge, "upgraded connections open")                                           \
    X(buffer_bytes, gauge, "bytes in buffers of connections")                                     \
    X(log_lines, counter, "access log lines written")                                             \
    X(log_dropped, counter, "access log lines dropped because the ring was full")                 \
    X(log_sink_dropped, counter, "access log lines that plugins did not take in time")            \
    X(turns, counter, "turns of the event loop")                                                  \
    X(slow_turns, counter, "turns that worked for more than 2 ms")                                \
    X(longest_turn_ns, gauge, "longest turn so far")                                              \
    X(filter_calls, counter, "calls of filter plugins")                                           \
    X(filter_failures, counter, "calls of filter plugins that failed")                            \
    X(filter_timeouts, counter, "calls of filter plugins that were not answered in time")         \
    X(filter_overloads, counter, "calls of filter plugins that found the queue full")             \
    X(filter_waiting, gauge, "calls of filter plugins that wait for an answer")                   \
    X(py_enter, counter, "times that the engine called into Python")                              \
    X(py_inside, gauge, "1 while the engine is in Python, or waits to get there")                  \
    X(bytes_received, counter, "bytes of request bodies received")                                \
    X(bytes_sent, counter, "bytes of responses sent")

/* X(REASON, kind): how calls of a Filter come to nothing, by the label that says so. */
#define FG_FILTER_ERRORS(X)             \
    X(FILTER_FAILED, "failed")          \
    X(FILTER_TIMEOUT, "timeout")        \
    X(FILTER_OVERLOADED, "overloaded")  \
    X(FILTER_OPEN, "open")

enum fg_filter_error {
#define X(REASON, kind) FG_ERROR_##REASON,
    FG_FILTER_ERRORS(X)
#undef X
    FG_FILTER_ERROR_COUNT
};

enum { FG_SERIES_MAX = 1024, FG_LATENCY_BUCKETS = 16, FG_FILTERS_MAX = 256, FG_FILTER_NAMES = 32,
       FG_LISTENERS_MAX = 256 };

/* Upper bounds of the latency histogram's buckets, in microseconds; the last one is without bound. */
#define FG_LATENCY_BOUNDS \
    {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 5000000, 30000000}

struct fg_counters {
#define X(name, kind, text) uint64_t name;
    FG_COUNTERS(X)
#undef X
};

/* Aligned to cache lines, of which a request with a status of 2xx writes the first and one of the buckets'. */
struct fg_series {
    uint64_t listener_key, route_key;
    uint64_t received, sent;                /* bytes of request bodies, of responses with their heads */
    uint64_t latency_sum_us;
    uint64_t status_class[6];               /* 0: no response; 1xx .. 5xx */
    uint64_t latency[FG_LATENCY_BUCKETS];
    char listener[180], route[180];         /* NUL-terminated, cut */
};
_Static_assert(sizeof(struct fg_series) % 64 == 0, "a series begins with a cache line");

struct fg_filter_count { char name[64]; uint64_t n; }; /* the name fills it or ends with NUL */

struct fg_filter_series {
    uint64_t key;
    uint64_t calls;                         /* made, or tried */
    uint64_t waiting;                       /* calls without answer */
    uint64_t latency_sum_ns;                /* of its methods */
    uint64_t latency[FG_LATENCY_BUCKETS];
    uint64_t errors[FG_FILTER_ERROR_COUNT]; /* by enum fg_filter_error */
    char name[180];                         /* of the Filter; NUL-terminated, cut */
    uint64_t nnames;
    struct fg_filter_count names[FG_FILTER_NAMES]; /* what it counts itself */
};

enum fg_handshake { FG_HANDSHAKE_FULL, FG_HANDSHAKE_RESUMED, FG_HANDSHAKE_FAILED, FG_HANDSHAKE_COUNT };

/* What a listener counts below HTTP. Bytes and datagrams are those of TLSRoutes, TCPRoutes and UDPRoutes. */
struct fg_listener_series {
    uint64_t key;
    uint64_t connections;                   /* connections accepted for it, or UDP sessions begun */
    uint64_t active;                        /* of them, open now; only relays and UDP sessions */
    uint64_t handshakes[2][FG_HANDSHAKE_COUNT]; /* of TLS 1.2 and older, of 1.3 */
    uint64_t unknown_names;                 /* server names for which it has no route */
    uint64_t received, sent;                /* bytes from clients, to clients */
    uint64_t datagrams_received, datagrams_sent;
    uint64_t datagrams_dropped;             /* no session, no backend, no room, or a limit */
    char name[180];                         /* NUL-terminated, cut */
};

struct fg_slab {
    uint64_t magic;
    uint64_t size;
    uint64_t pid;
    uint64_t nseries;
    uint64_t nfilters;
    uint64_t nlisteners;
    struct fg_counters c;
    uint64_t reasons[FG_R_COUNT];           /* exchanges and connections that ended so */
    uint64_t upstream_errors[FG_R_COUNT];   /* tries at an endpoint that failed so, also those that another made good */
    _Alignas(64) struct fg_series series[FG_SERIES_MAX];
    struct fg_filter_series filters[FG_FILTERS_MAX];
    struct fg_listener_series listeners[FG_LISTENERS_MAX];
};

static inline size_t fg_stats_size(void) {
    return sizeof(struct fg_slab);
}

/* How a reader looks at a word that the worker may be writing: the one writer stores whole words. */
static inline uint64_t fg_stats_load(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* For nseries, nfilters, nlisteners and nnames: the names of what they count are complete. */
static inline uint64_t fg_stats_load_acquire(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

#endif
