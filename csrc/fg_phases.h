/* Phases of an exchange in which filter plugins are called, in their order: one table for the engine, Cython and Python.
 *
 * X(NAME, name): `name` is what plugins.filter.Phase calls it.
 */
#ifndef FG_PHASES_H
#define FG_PHASES_H

#define FG_PHASES(X)                  \
    X(REQUEST, "request")             \
    X(REQUEST_BODY, "request_body")   \
    X(UPSTREAM, "upstream")           \
    X(RESPONSE, "response")           \
    X(RESPONSE_BODY, "response_body") \
    X(LOCAL_REPLY, "local_reply")     \
    X(LOG, "log")

enum fg_phase {
#define X(NAME, name) FG_PHASE_##NAME,
    FG_PHASES(X)
#undef X
    FG_PHASE_COUNT,
    FG_PHASE_END = FG_PHASE_COUNT /* the exchange is over; nobody waits for a verdict */
};

enum { FG_FILTER_STAGES = 16,         /* of one exchange: its rule's and its backend's */
       FG_FILTER_BODY = 128 * 1024 }; /* bytes of a request body that can be buffered for a filter */

#endif
