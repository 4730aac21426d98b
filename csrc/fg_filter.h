/* Exchanges on rules with filter plugins: which stage is called next, and what its verdict does. See fg_call.h. */
#ifndef FG_FILTER_H
#define FG_FILTER_H

#include "fg_call.h"
#include "fg_worker.h"

/* Where an exchange of the request phase goes on when a phase has passed all of its stages. */
enum fg_filter_then { FG_THEN_ROUTE, FG_THEN_ACT, FG_THEN_FORWARD, FG_THEN_TRY /* the upstream phase */, FG_THEN_RESPOND /* the response phase */, FG_THEN_REPLY /* a local reply */ };

enum { FG_FILTER_SAID = 8192 }; /* bytes of log fields of one exchange; those for which there is no room are left out */
enum { FG_FILTER_WAITING = 1024 }; /* calls that may wait for the plugin process at a time: each is a task of its loop */
enum { FG_FILTER_MEMBERS = 64 }; /* of one exchange; what further ones do is not counted by Filter */

struct fg_filter_member {
    uint32_t number;                /* of the Filter in the statistics */
    uint32_t phases;                /* bit by enum fg_phase */
};

/* One direction of a body that stages see: taken piece by piece from the exchange's flow, and sent by a flow of its own. */
struct fg_filter_body {
    struct fg_filtering *x;
    struct fg_timer timer;          /* for the verdict on the piece */
    struct fg_flow flow;            /* of what the stages made of it; it is sent from `out` */
    struct fg_buf out, piece;       /* `piece` is with stage `at` */
    struct fg_buf trailers;         /* lines of fields, from the last piece on until the exchange ends */
    uint8_t phase, at;
    uint32_t call;                  /* number of the one that is waited for */
    bool active, waiting;
    bool last;                      /* the piece is the last one */
    bool taken;                     /* and so is nothing left to take */
};

/* Of an exchange, from its first call to its end; owned by fg_req. */
struct fg_filtering {
    struct fg_req *r;
    struct fg_generation *gen;      /* whose stages these are; its image may be gone */
    uint32_t slot, sequence;        /* together the number of the exchange in calls */
    uint8_t nstages, at;            /* `at`: the stage that is called now or next */
    uint8_t phase, then;
    bool waiting;                   /* for the verdict of stages[at] */
    uint32_t call;                  /* number of that call */
    uint32_t calls;                 /* made so far: the number of the last one */
    bool responded;                 /* the response phase is through */
    uint32_t buffering;             /* bytes that the request body may have, while it is waited for; 0: it is not */
    bool buffered;                  /* the request body was at hand as a whole, in the client's buffer, before it went on */
    struct fg_address chosen;       /* the endpoint to try first; family 0: none */
    uint8_t reply_reason;           /* of a local reply that stages are asked about; 0: none yet */
    uint16_t reply_status;
    uint32_t told;                  /* bit by stage: it holds state of this exchange, until END */
    struct fg_img_stage stages[FG_FILTER_STAGES]; /* copies, which outlive their image: references in them do not */
    struct fg_filter_member members[FG_FILTER_MEMBERS]; /* of all stages, */
    uint8_t members_end[FG_FILTER_STAGES];              /* and behind the last one of each */
    struct fg_buf said;             /* fields for the access log, see fg_filter_seen.c */
    struct fg_buf kept;             /* verdicts with edits: of the request first, then of the response */
    uint32_t request_kept;          /* bytes of `kept` that are about the request */
    struct fg_filter_body body[2];  /* of the request, of the response */
};

enum fg_filter_result {
    FG_FILTER_PASSED, /* nothing was to be called, or nothing that is waited for */
    FG_FILTER_WAITS,  /* r goes on by itself */
    FG_FILTER_OVER    /* r is answered, and gone */
};

/* Makes the inline filters that an image names. On a helper thread. 0, or -1 with a sentence in `why`. */
int fg_filter_prepare(const struct fg_functions *f, struct fg_generation *g, char *why, size_t why_size);

/* Gives a keep back. With the last one its inline filters end, after their last call; the manager is told, and `g` is gone. */
void fg_filter_unkeep(struct fg_engine *e, struct fg_generation *g);

/* Likewise, of a generation that nothing was called for. */
void fg_filter_discard(const struct fg_functions *f, struct fg_generation *g);

/* Calls the stages of `filters` (of the listener, the rule or its backend) that have the request phase; the exchange goes on at
 * `then`. */
enum fg_filter_result fg_filter_request(struct fg_req *r, const uint8_t *seg, uint32_t filters, enum fg_filter_then then);

/* Calls the stages that have the upstream phase; the exchange goes on with its first try. */
enum fg_filter_result fg_filter_upstream(struct fg_req *r);

/* Calls the stages that have the response phase, the last one first; e->response is parsed from `head`. */
enum fg_filter_result fg_filter_response(struct fg_req *r, struct fg_bytes head);

/* Asks the stages that have the phase about an answer of the gateway's own. FG_FILTER_PASSED: it is sent as it is. */
enum fg_filter_result fg_filter_local_reply(struct fg_req *r, int reason, uint16_t status);

/* --- bodies, fg_filter_body.c. `response`: which one --- */

/* The buffered request body, as the last filter left it. */
struct fg_bytes fg_filter_body_buffered(const struct fg_req *r);
int fg_filter_body_set(struct fg_req *r, struct fg_bytes body); /* a filter's body in its place: 0 or -1 */

/* The lines of trailer fields behind a body that stages have seen the end of, or that is buffered. */
struct fg_bytes fg_filter_trailers(const struct fg_req *r, bool response);

/* Does a stage see the body that travels as `framing`? It is sent chunked then, or until the close. */
bool fg_filter_body_start(struct fg_req *r, bool response, int framing, int out, bool pass_trailers);

static inline struct fg_filter_body *fg_filter_body_of(const struct fg_req *r, bool response) {
    return r->filtering && r->filtering->body[response].active ? &r->filtering->body[response] : NULL;
}

static inline bool fg_filter_passes_trailers(const struct fg_req *r, bool response) {
    const struct fg_filter_body *b = fg_filter_body_of(r, response);
    return b ? b->flow.pass_trailers : response ? r->response.pass_trailers : r->request.pass_trailers;
}

/* Hands the stages what has been decoded, when they have nothing else. 1: something moved; 0; -1: the exchange is over. */
int fg_filter_body_pump(struct fg_req *r, bool response);
/* A verdict of a stage that was waited for: whether it was in time counts for its breaker. */
void fg_filter_judge(struct fg_engine *e, const struct fg_img_stage *stage, const struct fg_verdict *v);
void fg_filter_strike(struct fg_engine *e, const struct fg_img_stage *stage, int phase); /* the process was lost while it ran */
void fg_filter_late(struct fg_engine *e, const struct fg_img_stage *stage, int phase);   /* its time was over */

/* `ok`: a well-formed one, else nothing but its start can be read; `runs_inline`: of an inline stage; `counted`: it has named
 * who failed. */
void fg_filter_body_verdict(struct fg_req *r, const struct fg_verdict *v, bool ok, bool runs_inline, bool counted);
void fg_filter_body_lose(struct fg_req *r);                                /* the plugin process is gone */
void fg_filter_body_end(struct fg_filtering *x);

/* fg_filter.c, for it: one call of a stage. 0, or the reason why nobody takes it. */
int fg_filter_call(struct fg_req *r, int phase, unsigned stage, struct fg_bytes response, const struct fg_buf *piece, bool last);

/* Tells the stages that have the log phase that the exchange has ended; before anything of it is given back. */
void fg_filter_log(struct fg_req *r);

static inline bool fg_filter_buffers(const struct fg_req *r) {
    return r->filtering && r->filtering->buffering;
}

void fg_filter_buffered(struct fg_req *r); /* the body is whole: the request phase goes on */

static inline bool fg_filter_waits(const struct fg_req *r) {
    return r->filtering && r->filtering->waiting;
}

void fg_filter_expired(struct fg_req *r); /* the verdict did not come in time */
void fg_filter_end(struct fg_req *r);     /* tells stages that hold state, and gives everything back */

/* --- what can be seen of them, fg_filter_seen.c. `stage`, `phase`: of a call --- */

struct fg_filter_members { const struct fg_filter_member *p; unsigned n; };

void fg_filter_meet(struct fg_req *r, unsigned stage, const uint8_t *seg); /* a stage whose references are into `seg` */
struct fg_filter_members fg_filter_members(const struct fg_filtering *x, unsigned stage);
void fg_filter_called(struct fg_req *r, unsigned stage, int phase);
void fg_filter_waiting(struct fg_req *r, unsigned stage, int phase, int64_t more); /* so many calls */
void fg_filter_error(struct fg_req *r, unsigned stage, int phase, int reason);     /* a call came to nothing */
/* Counts what a well-formed verdict says that its filters did. True: one failed, and that is counted. */
bool fg_filter_reported(struct fg_engine *e, const struct fg_verdict *v);
void fg_filter_said(struct fg_filtering *x, const struct fg_verdict *v); /* keeps its fields for the access log */
/* The field of an exchange at `*at`, which moves on to the next one; false: there is none. */
bool fg_filter_field(const struct fg_req *r, uint32_t *at, struct fg_bytes *name, struct fg_bytes *value);

/* fg_reply.c: answers the client as a verdict says; answers as `reply_reason` or the kept verdict says. */
void fg_reply_filter(struct fg_req *r, const struct fg_verdict *v);
void fg_reply_local(struct fg_req *r);
enum { FG_REPLY_TEXT = 64 };
size_t fg_reply_text(char out[FG_REPLY_TEXT], unsigned status); /* the body of a local reply, its length */

/* The next kept verdict about the request (or the response) behind `v`; NULL for the first. NULL: there is none. */
const struct fg_verdict *fg_filter_kept(const struct fg_req *r, bool response, const struct fg_verdict *v);

/* Drops the kept verdicts, all about the request: its head is what they made of it. */
void fg_filter_forget(struct fg_req *r);

/* Inline stages: every call of the turn that ended, in one batch; again until there is none. Then those stop that are called
 * no more. */
void fg_filter_run_inline(struct fg_engine *e);

/* The plugin process: rings in a memfd, and the socket beside them. Takes both descriptors. What waits for the one before is
 * treated as if that were dead. */
void fg_filter_attach(struct fg_engine *e, int rings_fd, int socket_fd);
void fg_filter_free(struct fg_engine *e);

#endif
