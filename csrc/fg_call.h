/* What passes between the engine and filter plugins: calls one way, verdicts back, as flat records.
 *
 * Inline stages and the plugin process read and write the same records; the latter over a pair of rings (fg_ring.h). Every
 * reference is relative to its record's first byte. A verdict's edits have the form of the image's (fg_image.h), so that the
 * record is their segment.
 *
 * Neither side trusts the other: the engine looks at a copy of a verdict, and fg_verdict_ok says whether it is well-formed.
 */
#ifndef FG_CALL_H
#define FG_CALL_H

#include "fg_image.h"

enum { FG_RECORD_CALL = 0x314c4146, FG_RECORD_VERDICT = 0x31564146, FG_RECORD_MAX = 256 * 1024 };

/* X(NAME, name): texts of a call, by the name of the attribute that shows them. */
#define FG_CALL_TEXTS(X)     \
    X(METHOD, "method")      \
    X(SCHEME, "scheme")      \
    X(AUTHORITY, "authority")\
    X(PATH, "path")          \
    X(QUERY, "query")        \
    X(TARGET, "raw_path")    \
    X(CLIENT, "client_address") \
    X(ROUTE, "route")        \
    X(RULE, "rule")          \
    X(ID, "id")              \
    X(REASON, "reason")      \
    X(BACKEND, "backend")    \
    X(TLS_VERSION, "tls_version") \
    X(SERVER_NAME, "server_name") \
    X(TLS_SUBJECT, "tls_subject") \
    X(TLS_NAMES, "tls_names") \
    X(TLS_FINGERPRINT, "tls_fingerprint")

enum fg_call_text {
#define X(NAME, name) FG_CALL_##NAME,
    FG_CALL_TEXTS(X)
#undef X
    FG_CALL_TEXT_COUNT
};

enum { FG_CALL_MORE = 1, /* later calls of this exchange may follow, and END surely does: keep its state */
       FG_CALL_LAST = 2, /* body phases: the last piece */
       FG_CALL_BODY = 4  /* REQUEST: `body` is the whole body */ };

struct fg_call {
    uint32_t size;             /* of the record, a multiple of 8 */
    uint32_t kind;             /* FG_RECORD_CALL */
    uint64_t exchange;         /* which one; the verdict repeats it */
    uint32_t number;           /* of the call in its exchange; the verdict repeats it */
    uint32_t unused;
    uint64_t stage;            /* fg_img_stage.key */
    uint64_t deadline_ns;      /* CLOCK_MONOTONIC: an answer after it is not waited for */
    uint8_t phase;             /* enum fg_phase */
    uint8_t flags;
    uint16_t status;           /* of the response */
    uint16_t client_port;
    uint16_t reserved;
    uint64_t received, sent;   /* LOG: bytes of the request body and of the response */
    uint64_t duration_ns;      /* LOG: since the request head was complete */
    struct fg_ref text[FG_CALL_TEXT_COUNT];
    struct fg_ref fields;          /* of fg_field: the request's, offsets relative to the record */
    struct fg_ref response_fields; /* the same of the response */
    struct fg_ref request_edits;   /* bytes: verdicts of earlier stages on the request, back to back */
    struct fg_ref response_edits;
    struct fg_ref trailers;        /* bytes: lines of the request's trailer fields, once its body has ended */
    struct fg_ref response_trailers;
    struct fg_ref endpoints;       /* UPSTREAM: of fg_ep_endpoint, those that the request may be sent to */
    struct fg_ref members;         /* of uint32_t: the stage's Filters, by the numbers that a verdict names them with */
    struct fg_ref body;            /* LOCAL_REPLY: that the gateway would send; body phases: a piece of it; REQUEST: see FG_CALL_BODY */
};

enum fg_outcome {
    FG_OUTCOME_CONTINUE,
    FG_OUTCOME_REPLY,   /* the exchange is answered with `status`, the fields in edits.add, and `body` */
    FG_OUTCOME_FAILED,  /* a filter that may not be skipped failed */
    FG_OUTCOME_REPLACE, /* body phases: `body` is sent in the place of the piece; REQUEST: of the buffered body */
    FG_OUTCOME_NONE     /* nobody waits: it is only about what the filters did */
};

enum { FG_NAME_MAX = 64 };     /* bytes of a name of fg_count or of a log field: letters, digits and "_" */

struct fg_spent {              /* one filter was called */
    uint64_t took_ns;
    uint32_t member;           /* one of fg_call.members */
    uint32_t failed;           /* 1: by an exception, or what it returned was of no use */
};

struct fg_count {              /* a filter counted something */
    uint64_t n;
    struct fg_ref name;
    uint32_t member;
    uint32_t reserved;
};

struct fg_verdict {
    uint32_t size;             /* of the record, a multiple of 8 */
    uint32_t kind;             /* FG_RECORD_VERDICT */
    uint64_t exchange;
    uint8_t phase;
    uint8_t outcome;           /* enum fg_outcome */
    uint16_t status;           /* REPLY; or of the response, 0: kept */
    uint32_t number;           /* of the call */
    struct fg_img_edits edits; /* of the request or of the response, whichever the phase is about */
    struct fg_ref target;      /* path and query that go upstream; len 0: kept */
    struct fg_ref authority;   /* the same for Host */
    struct fg_ref body;        /* REPLY, REPLACE */
    struct fg_ref spent;       /* of fg_spent */
    struct fg_ref counts;      /* of fg_count */
    struct fg_ref fields;      /* of fg_img_pair: for the access log; a value is a string, number, true or false as JSON in
                                  ASCII, or of len 0, which removes the field */
    struct fg_ep_endpoint endpoint; /* UPSTREAM: the chosen one; family 0: none */
};

struct fg_records { /* records back to back, in memory of malloc's */
    uint8_t *p;
    size_t len, cap;
};
int fg_records_add(struct fg_records *a, const void *record, size_t size); /* 0 or -1 */

/* Is this a whole, well-formed verdict that may go onto the wire: references inside of it, names that are tokens and do not
 * frame or route, values without line ends, log fields that are JSON? At most FG_MAX_FIELDS edits of a kind, whose texts are
 * together no longer than the record: what it costs to apply is bounded, too. `record` has `size` bytes and is not shared with
 * anybody. */
bool fg_verdict_ok(const uint8_t *record, size_t size);

#endif
