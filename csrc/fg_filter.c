/* The way of an exchange through its stages. A stage that cannot be called, fails or is late ends the exchange when the image
 * says deny, and is passed over otherwise. */
#include "fg_filter.h"

#include "fg_breaker.h"
#include "fg_head.h"
#include "fg_ring.h"
#include "fg_table.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TURN_VERDICTS = 1024 };

struct fg_filters {
    struct fg_io io;                 /* the socket beside the rings; fd -1: there is no plugin process */
    struct fg_engine *e;
    struct fg_rings *rings;
    uint8_t *copy;                   /* of the verdict that is looked at, FG_RECORD_MAX bytes: the scratch is for calls */
    struct fg_records calls, verdicts; /* inline: of this turn */
    struct fg_generation *ended;     /* whose inline stages have had their last call, or have it in `calls` */
    struct fg_filtering **slots;     /* by number: in use, or NULL */
    uint32_t nslots, first_free;     /* no slot before first_free is free */
    uint32_t sequence;
    uint64_t fatal;                  /* number of the last process that was lost, or inline call that came late */
    uint64_t late;                   /* stage that was late first since the plugin process answered a call; 0: none */
    struct fg_breakers breakers;
};

static struct fg_filters *filters_of(struct fg_engine *e) {
    if (e->filters == NULL && (e->filters = calloc(1, sizeof *e->filters)) != NULL) {
        e->filters->e = e;
        e->filters->io.fd = -1;
    }
    return e->filters;
}

/* --- numbers of exchanges --------------------------------------------------------------------------------------------------- */

static int take_slot(struct fg_filters *f, struct fg_filtering *x) {
    uint32_t i = f->first_free;
    while (i < f->nslots && f->slots[i])
        i++;
    if (i == f->nslots) {
        uint32_t n = f->nslots ? f->nslots * 2 : 64;
        struct fg_filtering **p = realloc(f->slots, n * sizeof *p);
        if (p == NULL)
            return -1;
        memset(p + f->nslots, 0, (n - f->nslots) * sizeof *p);
        f->slots = p;
        f->nslots = n;
    }
    f->slots[i] = x;
    f->first_free = i + 1;
    x->slot = i;
    x->sequence = ++f->sequence;
    return 0;
}

static uint64_t number_of(const struct fg_filtering *x) {
    return (uint64_t)x->sequence << 32 | x->slot;
}

static struct fg_filtering *find(const struct fg_filters *f, uint64_t number) {
    uint32_t slot = (uint32_t)number;
    struct fg_filtering *x = slot < f->nslots ? f->slots[slot] : NULL;
    return x && number_of(x) == number ? x : NULL;
}

static struct fg_filtering *filtering_of(struct fg_req *r) {
    struct fg_filters *f = filters_of(r->down->e);
    if (f == NULL || r->filtering)
        return r->filtering;
    struct fg_filtering *x = calloc(1, sizeof *x);
    if (x == NULL || take_slot(f, x) < 0) {
        free(x);
        return NULL;
    }
    x->r = r;
    x->gen = r->gen;
    x->gen->keeps++;
    return r->filtering = x;
}

/* --- calls ---------------------------------------------------------------------------------------------------------------------- */

static struct fg_ref put_ref(struct fg_put *o, const uint8_t *record, const void *p, size_t n) {
    struct fg_ref ref = {(uint32_t)(o->at - record), (uint32_t)n};
    if (n) /* else there may be no memory to point at */
        fg_put(o, p, n);
    return ref;
}

static void align(struct fg_put *o, const uint8_t *record) {
    static const uint8_t zero[8];
    fg_put(o, zero, -(size_t)(o->at - record) & 7);
}

/* The fields that go on, with the head they point into behind them. */
static struct fg_ref put_fields(struct fg_put *o, const uint8_t *record, const struct fg_h1_head *h, const uint8_t *base,
                                size_t head_len) {
    align(o, record);
    struct fg_ref ref = {(uint32_t)(o->at - record), 0};
    for (uint16_t i = 0; i < h->nfields; i++) {
        if (h->fields[i].flags & FG_FIELD_DROP)
            continue;
        fg_put(o, &h->fields[i], sizeof h->fields[i]);
        ref.len++;
    }
    uint32_t head = (uint32_t)(o->at - record);
    fg_put(o, base, head_len);
    if (o->full)
        return ref;
    struct fg_field *f = (void *)(record + ref.off);
    for (uint32_t i = 0; i < ref.len; i++) {
        f[i].name += head;
        f[i].value += head;
    }
    return ref;
}

static struct fg_ref put_kept(struct fg_put *o, const uint8_t *record, const struct fg_filtering *x, bool response) {
    uint32_t from = response ? x->request_kept : 0, to = response ? x->kept.end : x->request_kept;
    align(o, record);
    return from == to ? (struct fg_ref){0} : put_ref(o, record, x->kept.p + from, to - from);
}

static struct fg_ref put_trailers(struct fg_put *o, const struct fg_req *r, bool response) {
    struct fg_bytes lines = fg_filter_trailers(r, response);
    return lines.len ? put_ref(o, (const uint8_t *)r->down->e->scratch, lines.p, lines.len) : (struct fg_ref){0};
}

static struct fg_ref put_members(struct fg_put *o, const uint8_t *record, struct fg_filter_members members) {
    struct fg_ref ref = {(uint32_t)(o->at - record), members.n};
    for (unsigned i = 0; i < members.n; i++)
        fg_put(o, &members.p[i].number, sizeof members.p[i].number);
    return ref;
}

static void put_texts(struct fg_put *o, struct fg_call *c, struct fg_req *r) {
    const uint8_t *record = (const uint8_t *)c, *base = r->down->in.p, *seg = r->match.seg;
    const struct fg_h1_head *h = &r->head;
#define TEXT(name, p, n) c->text[FG_CALL_##name] = put_ref(o, record, (p), (n))
    TEXT(METHOD, base + h->method.off, h->method.len);
    TEXT(SCHEME, fg_down_scheme(r->down).p, fg_down_scheme(r->down).len);
    TEXT(AUTHORITY, base + h->authority.off, h->authority.len);
    TEXT(PATH, base + h->path.off, r->path_len);
    TEXT(QUERY, base + h->query.off, h->query.off ? h->query.len : 0);
    TEXT(TARGET, base + h->target.off, h->target.len);
    c->text[FG_CALL_CLIENT].off = (uint32_t)(o->at - record);
    fg_put_address(o, &r->down->peer, false);
    c->text[FG_CALL_CLIENT].len = (uint32_t)(o->at - record) - c->text[FG_CALL_CLIENT].off;
    if (r->match.rule && r->gen) {
        TEXT(ROUTE, seg + r->match.rule->route.off, r->match.rule->route.len);
        TEXT(RULE, seg + r->match.rule->name.off, r->match.rule->name.len);
    }
    uint16_t at = h->first[FG_H_X_REQUEST_ID];
    if (r->request_id_len)
        TEXT(ID, r->request_id, r->request_id_len);
    else if (at)
        TEXT(ID, base + r->fields[at - 1].value, r->fields[at - 1].value_len);
    const struct fg_identity *who = r->down->identity;
    if (who) {
        TEXT(TLS_VERSION, who->version.p, who->version.len);
        TEXT(SERVER_NAME, who->server_name.p, who->server_name.len);
        TEXT(TLS_SUBJECT, who->subject.p, who->subject.len);
        TEXT(TLS_NAMES, who->names.p, who->names.len);
        TEXT(TLS_FINGERPRINT, who->fingerprint.p, who->fingerprint.len);
    }
    const char *reason = fg_reasons[r->filtering->reply_reason ? r->filtering->reply_reason : r->reason].name;
    TEXT(REASON, reason, strlen(reason));
#undef TEXT
}

/* Writes a call into the engine's scratch. Its size, or 0 when it is larger than a record may be. */
static uint32_t write_call(struct fg_req *r, int phase, const struct fg_img_stage *stage, struct fg_bytes response,
                           const struct fg_buf *piece, bool last) {
    struct fg_engine *e = r->down->e;
    struct fg_filtering *x = r->filtering;
    struct fg_call *c = (void *)e->scratch;
    struct fg_put o = {e->scratch + sizeof *c, e->scratch + FG_RECORD_MAX, false};
    memset(c, 0, sizeof *c);
    c->kind = FG_RECORD_CALL;
    c->exchange = number_of(x);
    c->number = ++x->calls;
    c->stage = stage->key;
    c->deadline_ns = e->loop.now_ns + stage->timeout * 1000000ull;
    c->phase = (uint8_t)phase;
    c->flags = phase != FG_PHASE_END && stage->phases >> phase > 1 ? FG_CALL_MORE : 0;
    if (piece && !last)
        c->flags = FG_CALL_MORE;
    c->client_port = r->down->peer.port;
    if (phase != FG_PHASE_END) {
        c->members = put_members(&o, e->scratch, fg_filter_members(x, (unsigned)(stage - x->stages)));
        put_texts(&o, c, r);
        c->fields = put_fields(&o, e->scratch, &r->head, r->down->in.p, r->head_len);
        c->request_edits = put_kept(&o, e->scratch, x, false);
        c->trailers = put_trailers(&o, r, false);
        c->response_trailers = put_trailers(&o, r, true);
    }
    if (phase == FG_PHASE_REQUEST && x->buffered && stage->buffer_body) {
        struct fg_bytes body = fg_filter_body_buffered(r);
        c->flags |= FG_CALL_BODY;
        c->body = put_ref(&o, e->scratch, body.p, body.len);
    }
    if (phase == FG_PHASE_LOCAL_REPLY) {
        char text[FG_REPLY_TEXT];
        c->status = x->reply_status;
        c->body = put_ref(&o, e->scratch, text, fg_reply_text(text, x->reply_status));
        c->response_edits = put_kept(&o, e->scratch, x, true);
    }
    if (piece) {
        c->flags |= last ? FG_CALL_LAST : 0;
        c->body = put_ref(&o, e->scratch, piece->p ? fg_buf_data(piece) : NULL, fg_buf_len(piece));
    }
    if (phase == FG_PHASE_UPSTREAM) {
        const struct fg_img_cluster *cluster = &r->gen->image.clusters[r->backend->cluster - 1];
        c->text[FG_CALL_BACKEND] =
            put_ref(&o, e->scratch, r->gen->image.clusters_seg + cluster->name.off, cluster->name.len);
        align(&o, e->scratch);
        c->endpoints = (struct fg_ref){(uint32_t)(o.at - e->scratch), 0};
        struct fg_ep_endpoint one;
        while (!o.full && fg_cluster_list(e, cluster->key, c->endpoints.len, &one)) {
            fg_put(&o, &one, sizeof one);
            c->endpoints.len++;
        }
    }
    if (phase == FG_PHASE_LOG) {
        c->status = r->status;
        c->received = r->request.bytes;
        c->sent = r->sent;
        c->duration_ns = e->loop.now_ns - r->began_ns;
    }
    if (response.len) {
        c->status = e->response.status;
        c->response_fields = put_fields(&o, e->scratch, &e->response, response.p, response.len);
        c->response_edits = put_kept(&o, e->scratch, x, true);
    }
    align(&o, e->scratch);
    c->size = (uint32_t)(o.at - e->scratch);
    return o.full ? 0 : c->size;
}

static void wake(struct fg_filters *f) {
    if (fg_ring_must_wake(&f->rings->calls))
        (void)!send(f->io.fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); /* full: it will wake up anyway */
}

/* Hands the call in the scratch over: 0, or the reason why nobody takes it. */
static int deliver(struct fg_filters *f, const struct fg_img_stage *stage, uint32_t size) {
    if (size == 0)
        return FG_R_FILTER_FAILED;
    if (stage->runs_inline)
        return f->e->f.run_filters && fg_records_add(&f->calls, f->e->scratch, size) == 0 ? 0 : FG_R_FILTER_FAILED;
    if (f->io.fd < 0)
        return FG_R_FILTER_TIMEOUT;
    if (!fg_ring_put(&f->rings->calls, f->e->scratch, size))
        return FG_R_FILTER_OVERLOADED;
    wake(f);
    return 0;
}

/* --- from stage to stage ------------------------------------------------------------------------------------------------------ */

/* Responses, also local ones, meet the last stage first. */
static struct fg_img_stage *stage_at(struct fg_filtering *x) {
    return &x->stages[x->then >= FG_THEN_RESPOND ? x->nstages - 1 - x->at : x->at];
}

static unsigned position(struct fg_filtering *x) {
    return (unsigned)(stage_at(x) - x->stages);
}

static bool next_stage(struct fg_filtering *x) {
    while (x->at < x->nstages && !(stage_at(x)->phases >> x->phase & 1))
        x->at++;
    return x->at < x->nstages;
}

int fg_filter_call(struct fg_req *r, int phase, unsigned stage, struct fg_bytes response, const struct fg_buf *piece, bool last) {
    struct fg_engine *e = r->down->e;
    struct fg_filtering *x = r->filtering;
    const struct fg_img_stage *s = &x->stages[stage];
    bool lets = fg_breaker_lets(&e->filters->breakers, s->key + (unsigned)phase, fg_now_ms(&e->loop));
    bool full = !s->runs_inline && phase != FG_PHASE_LOG && e->filters_waiting >= FG_FILTER_WAITING;
    int reason = !lets ? FG_R_FILTER_OPEN
                 : full ? FG_R_FILTER_OVERLOADED
                        : deliver(e->filters, s, write_call(r, phase, s, response, piece, last));
    fg_filter_called(r, stage, phase);
    if (reason) {
        fg_filter_error(r, stage, phase, reason);
        return reason;
    }
    if (phase != FG_PHASE_LOG)
        fg_filter_waiting(r, stage, phase, 1);
    uint32_t bit = 1u << stage;
    x->told = ((const struct fg_call *)e->scratch)->flags & FG_CALL_MORE ? x->told | bit : x->told & ~bit;
    return 0;
}

/* Calls stages until one is waited for or none is left. `response`: its head, in that phase. */
static enum fg_filter_result advance(struct fg_req *r, struct fg_bytes response) {
    struct fg_engine *e = r->down->e;
    struct fg_filtering *x = r->filtering;
    for (; next_stage(x); x->at++) {
        const struct fg_img_stage *stage = stage_at(x);
        int reason = fg_filter_call(r, x->phase, position(x), response, NULL, false);
        if (reason == 0) {
            x->waiting = true;
            x->call = x->calls;
            fg_exchange_due(r, fg_now_ms(&e->loop) + stage->timeout);
            return FG_FILTER_WAITS;
        }
        if (stage->deny && x->then != FG_THEN_REPLY) {
            fg_reply_reason(r, reason);
            return FG_FILTER_OVER;
        }
    }
    return FG_FILTER_PASSED;
}

static void go_on(struct fg_req *r);

enum fg_filter_result fg_filter_request(struct fg_req *r, const uint8_t *seg, uint32_t filters, enum fg_filter_then then) {
    const struct fg_img_filters *f = fg_img_filters_at(seg, filters);
    if (f->stages.len == 0)
        return FG_FILTER_PASSED;
    struct fg_filtering *x = filtering_of(r);
    if (x == NULL || x->nstages + f->stages.len > FG_FILTER_STAGES) {
        fg_reply_reason(r, x ? FG_R_FILTER_FAILED : FG_R_OVERLOADED);
        return FG_FILTER_OVER;
    }
    memcpy(x->stages + x->nstages, seg + f->stages.off, f->stages.len * sizeof *x->stages);
    x->at = x->nstages;
    x->nstages += (uint8_t)f->stages.len;
    for (unsigned i = x->at; i < x->nstages; i++)
        fg_filter_meet(r, i, seg);
    x->phase = FG_PHASE_REQUEST;
    x->then = (uint8_t)then;
    for (unsigned i = x->at; i < x->nstages && !x->buffered && r->head.framing != FG_FRAMING_NONE; i++)
        if (x->stages[i].buffer_body > x->buffering)
            x->buffering = x->stages[i].buffer_body;
    if (x->buffering) {
        r->request.pass_trailers = r->head.framing == FG_FRAMING_CHUNKED || r->head.framing == FG_FRAMING_FRAMES;
        fg_exchange_buffer(r);
        return FG_FILTER_WAITS;
    }
    return advance(r, (struct fg_bytes){0});
}

void fg_filter_buffered(struct fg_req *r) {
    r->filtering->buffering = 0;
    r->filtering->buffered = true;
    go_on(r);
}

static bool has_phase(const struct fg_filtering *x, int phase) {
    uint32_t phases = 0;
    for (unsigned i = 0; i < x->nstages; i++)
        phases |= x->stages[i].phases;
    return phases >> phase & 1;
}

enum fg_filter_result fg_filter_upstream(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    if (x == NULL || !has_phase(x, FG_PHASE_UPSTREAM))
        return FG_FILTER_PASSED;
    x->phase = FG_PHASE_UPSTREAM;
    x->then = FG_THEN_TRY;
    x->at = 0;
    return advance(r, (struct fg_bytes){0});
}

enum fg_filter_result fg_filter_response(struct fg_req *r, struct fg_bytes head) {
    struct fg_filtering *x = r->filtering;
    if (x == NULL || x->responded)
        return FG_FILTER_PASSED;
    if (x->phase != FG_PHASE_RESPONSE) {
        x->phase = FG_PHASE_RESPONSE;
        x->then = FG_THEN_RESPOND;
        x->at = 0;
    }
    enum fg_filter_result result = advance(r, head);
    if (result == FG_FILTER_PASSED)
        x->responded = true;
    return result;
}

static void stop_waiting(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    x->waiting = false;
    fg_filter_waiting(r, position(x), x->phase, -1);
    fg_exchange_due(r, 0);
}

/* Nobody waits for the verdict any more: END stops the stage. */
static void give_up(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    x->told |= 1u << position(x);
    stop_waiting(r);
}

enum fg_filter_result fg_filter_local_reply(struct fg_req *r, int reason, uint16_t status) {
    struct fg_filtering *x = r->filtering;
    if (x == NULL || x->reply_reason || r->gen == NULL || !has_phase(x, FG_PHASE_LOCAL_REPLY) || reason == FG_R_DRAIN_TIMEOUT)
        return FG_FILTER_PASSED;
    if (x->waiting) /* for what is of no use any more */
        give_up(r);
    fg_exchange_drop_up(r);
    r->state = FG_REQ_CONNECTING; /* nothing moves until the verdict is there */
    r->request_deadline = r->backend_deadline = 0;
    x->buffering = 0; /* and no more of the request is read */
    x->reply_reason = (uint8_t)reason;
    x->reply_status = status;
    x->phase = FG_PHASE_LOCAL_REPLY;
    x->then = FG_THEN_REPLY;
    x->at = 0;
    x->kept.end = x->request_kept; /* what was done to a response that is not sent */
    return advance(r, (struct fg_bytes){0});
}

static void go_on(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    if (x->then == FG_THEN_RESPOND) {
        fg_exchange_run(r); /* which comes to fg_filter_response again, with the head at hand */
        return;
    }
    if (advance(r, (struct fg_bytes){0}) != FG_FILTER_PASSED)
        return;
    if (x->then == FG_THEN_ROUTE)
        fg_exchange_route(r);
    else if (x->then == FG_THEN_ACT)
        fg_exchange_act(r);
    else if (x->then == FG_THEN_FORWARD)
        fg_exchange_forward(r);
    else if (x->then == FG_THEN_TRY)
        fg_exchange_try(r, false);
    else
        fg_reply_local(r);
}

/* --- verdicts ------------------------------------------------------------------------------------------------------------------- */

/* The stage that is waited for gives none. `counted`: the verdict has named who failed. */
static void fail(struct fg_req *r, int reason, bool counted) {
    struct fg_filtering *x = r->filtering;
    bool deny = stage_at(x)->deny && x->then != FG_THEN_REPLY;
    if (reason == FG_R_FILTER_TIMEOUT) { /* it may be working yet: END stops it */
        x->told |= 1u << position(x);
        fg_filter_late(r->down->e, stage_at(x), x->phase);
    }
    stop_waiting(r);
    if (!counted)
        fg_filter_error(r, position(x), x->phase, reason);
    if (deny) {
        fg_reply_reason(r, reason);
        return;
    }
    x->at++;
    go_on(r);
}

static int keep(struct fg_req *r, const struct fg_verdict *v) {
    struct fg_filtering *x = r->filtering;
    if (x->phase == FG_PHASE_UPSTREAM || (x->then == FG_THEN_REPLY && v->outcome != FG_OUTCOME_REPLY))
        return 0;
    if (x->then == FG_THEN_REPLY)
        x->kept.end = x->request_kept; /* the last one counts, which has seen the one before */
    bool plain = v->edits.set.len == 0 && v->edits.add.len == 0 && v->edits.remove.len == 0;
    if (v->outcome == FG_OUTCOME_CONTINUE && plain && v->status == 0 && v->target.len == 0 && v->authority.len == 0)
        return 0;
    if (fg_buf_reserve(&r->down->e->pool, &x->kept, x->kept.end + v->size) < 0)
        return -1;
    memcpy(x->kept.p + x->kept.end, v, v->size);
    x->kept.end += v->size;
    if (x->phase == FG_PHASE_REQUEST)
        x->request_kept += v->size;
    return 0;
}

void fg_filter_strike(struct fg_engine *e, const struct fg_img_stage *stage, int phase) {
    fg_breaker_strike(&e->filters->breakers, stage->key + (unsigned)phase, e->filters->fatal, fg_now_ms(&e->loop));
}

void fg_filter_late(struct fg_engine *e, const struct fg_img_stage *stage, int phase) {
    if (!stage->runs_inline && e->filters->late == 0)
        e->filters->late = stage->key + (unsigned)phase;
}

void fg_filter_judge(struct fg_engine *e, const struct fg_img_stage *stage, const struct fg_verdict *v) {
    const struct fg_spent *spent = (const void *)((const uint8_t *)v + v->spent.off);
    uint64_t took_ns = 0;
    if (!stage->runs_inline)
        e->filters->late = 0;
    for (uint32_t i = 0; stage->runs_inline && i < v->spent.len; i++)
        took_ns += spent[i].took_ns;
    if (took_ns > stage->timeout * 1000000ull) {
        e->filters->fatal++;
        fg_filter_strike(e, stage, v->phase);
    } else if (v->outcome != FG_OUTCOME_FAILED) { /* which a process says, too, that does not know the stage yet */
        fg_breaker_clear(&e->filters->breakers, stage->key + v->phase);
    }
}

/* `record` is the engine's own copy. Nobody answers for another: not a late call for the one behind it, and not the plugin
 * process for an inline stage. */
static void take_verdict(struct fg_engine *e, const uint8_t *record, size_t size, bool runs_inline) {
    const struct fg_verdict *v = (const void *)record;
    bool ok = fg_verdict_ok(record, size);
    bool counted = ok && fg_filter_reported(e, v);
    struct fg_filtering *x = size >= sizeof *v ? find(e->filters, v->exchange) : NULL;
    if (x && ok && v->fields.len)
        fg_filter_said(x, v);
    if (ok && v->outcome == FG_OUTCOME_NONE)
        return;
    if (x && (v->phase == FG_PHASE_REQUEST_BODY || v->phase == FG_PHASE_RESPONSE_BODY)) {
        fg_filter_body_verdict(x->r, v, ok, runs_inline, counted);
        return;
    }
    if (x == NULL || !x->waiting || v->number != x->call || v->phase != x->phase || stage_at(x)->runs_inline != runs_inline)
        return;
    struct fg_req *r = x->r;
    if (ok)
        fg_filter_judge(e, stage_at(x), v);
    bool body = ok && v->outcome == FG_OUTCOME_REPLACE && v->phase == FG_PHASE_REQUEST && x->buffered;
    if (body && fg_filter_body_set(r, fg_str(record, v->body)) < 0)
        ok = false;
    if (!ok || (v->outcome == FG_OUTCOME_REPLACE && !body) || v->outcome == FG_OUTCOME_FAILED) {
        fail(r, FG_R_FILTER_FAILED, counted);
        return;
    }
    if (v->outcome == FG_OUTCOME_REPLY && x->then != FG_THEN_REPLY) {
        stop_waiting(r);
        fg_reply_filter(r, v);
        return;
    }
    if (v->phase == FG_PHASE_UPSTREAM && v->endpoint.family) {
        memcpy(x->chosen.ip, v->endpoint.address, sizeof x->chosen.ip);
        x->chosen.port = v->endpoint.port;
        x->chosen.family = v->endpoint.family;
    }
    if (keep(r, v) < 0) {
        fail(r, FG_R_FILTER_FAILED, false);
        return;
    }
    stop_waiting(r);
    x->at++;
    go_on(r);
}

const struct fg_verdict *fg_filter_kept(const struct fg_req *r, bool response, const struct fg_verdict *v) {
    const struct fg_filtering *x = r->filtering;
    if (x == NULL || x->kept.p == NULL)
        return NULL;
    const uint8_t *p = x->kept.p, *end = p + (response ? x->kept.end : x->request_kept);
    const uint8_t *next = v ? (const uint8_t *)v + v->size : response ? p + x->request_kept : p;
    return next < end ? (const void *)next : NULL;
}

void fg_filter_forget(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    x->kept.end = x->request_kept = 0;
}

void fg_filter_log(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    if (x->waiting)
        give_up(r);
    for (unsigned i = 0; i < x->nstages; i++)
        if (x->stages[i].phases >> FG_PHASE_LOG & 1)
            (void)fg_filter_call(r, FG_PHASE_LOG, i, (struct fg_bytes){0}, NULL, false);
}

void fg_filter_expired(struct fg_req *r) {
    fail(r, FG_R_FILTER_TIMEOUT, false);
}

void fg_filter_end(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    struct fg_engine *e = r->down->e;
    struct fg_filters *f = e->filters;
    if (x->waiting)
        give_up(r);
    fg_filter_body_end(x);
    for (unsigned i = 0; i < x->nstages; i++) {
        const struct fg_img_stage *stage = &x->stages[i];
        if (x->told >> i & 1)
            (void)deliver(f, stage, write_call(r, FG_PHASE_END, stage, (struct fg_bytes){0}, NULL, false)); /* not passed: its deadline ends it */
    }
    fg_buf_release(&e->pool, &x->kept);
    fg_buf_release(&e->pool, &x->said);
    f->slots[x->slot] = NULL;
    if (x->slot < f->first_free)
        f->first_free = x->slot;
    r->filtering = NULL;
    fg_filter_unkeep(e, x->gen);
    free(x);
}

/* --- images ------------------------------------------------------------------------------------------------------------------------ */

static int prepare_stages(const struct fg_functions *f, struct fg_generation *g, const uint8_t *seg, uint32_t filters, char *why,
                          size_t why_size) {
    const struct fg_ref stages = fg_img_filters_at(seg, filters)->stages;
    const struct fg_img_stage *s = (const void *)(seg + stages.off);
    for (uint32_t i = 0; i < stages.len; i++) {
        if (!s[i].runs_inline || f->prepare_stage == NULL)
            continue;
        g->runs_inline = true;
        if (f->prepare_stage(g, s[i].key, seg + s[i].spec.off, s[i].spec.len, why, why_size) < 0)
            return -1;
    }
    return 0;
}

int fg_filter_prepare(const struct fg_functions *f, struct fg_generation *g, char *why, size_t why_size) {
    const struct fg_image *image = &g->image;
    for (uint32_t i = 0; i < image->nsockets; i++) {
        const struct fg_ref of = image->sockets[i].listeners;
        const struct fg_img_listener *listeners = (const void *)(image->sockets_seg + of.off);
        for (uint32_t j = 0; j < of.len; j++)
            if (prepare_stages(f, g, image->sockets_seg, listeners[j].filters, why, why_size) < 0)
                return -1;
    }
    for (uint32_t i = 0; i < image->nsegments; i++) {
        const uint8_t *seg = image->base + image->dir[i].offset;
        if (image->dir[i].kind != FG_SEG_GROUP)
            continue;
        const struct fg_ref rules = ((const struct fg_group *)seg)->rules;
        for (uint32_t j = 0; j < rules.len; j++) {
            const struct fg_img_rule *rule = (const struct fg_img_rule *)(seg + rules.off) + j;
            const struct fg_img_backend *backends = (const void *)(seg + rule->to.off);
            if (prepare_stages(f, g, seg, rule->filters, why, why_size) < 0)
                return -1;
            for (uint32_t k = 0; rule->action == FG_ACTION_FORWARD && k < rule->to.len; k++)
                if (prepare_stages(f, g, seg, backends[k].filters, why, why_size) < 0)
                    return -1;
        }
    }
    return 0;
}

void fg_filter_discard(const struct fg_functions *f, struct fg_generation *g) {
    if (g->runs_inline)
        f->release_stages(g);
    free(g);
}

void fg_filter_unkeep(struct fg_engine *e, struct fg_generation *g) {
    if (--g->keeps)
        return;
    if (e->filters && g->runs_inline) {
        g->next_ended = e->filters->ended;
        e->filters->ended = g;
    } else {
        fg_control_ended(e, g->number);
        fg_filter_discard(&e->f, g);
    }
}

static void discard_ended(struct fg_filters *f) {
    while (f->ended) {
        struct fg_generation *g = f->ended;
        f->ended = g->next_ended;
        f->e->stats->c.py_enter++;
        f->e->stats->c.py_inside = 1;
        fg_control_ended(f->e, g->number);
        fg_filter_discard(&f->e->f, g);
        f->e->stats->c.py_inside = 0;
    }
}

/* --- who answers ------------------------------------------------------------------------------------------------------------------ */

void fg_filter_run_inline(struct fg_engine *e) {
    struct fg_filters *f = e->filters;
    while (f->calls.len) {
        struct fg_records calls = f->calls, verdicts = f->verdicts;
        f->calls = f->verdicts = (struct fg_records){0}; /* the verdicts cause calls of the next round */
        verdicts.len = 0;
        e->stats->c.py_enter++;
        e->stats->c.py_inside = 1;
        e->f.run_filters(calls.p, calls.len, &verdicts);
        e->stats->c.py_inside = 0;
        for (size_t at = 0; at < verdicts.len;) {
            const struct fg_verdict *v = (const void *)(verdicts.p + at);
            take_verdict(e, verdicts.p + at, v->size, true);
            at += v->size;
        }
        calls.len = 0;
        if (f->calls.p == NULL)
            f->calls = calls;
        else
            free(calls.p);
        f->verdicts = verdicts;
    }
    discard_ended(f);
}

/* Everybody who waits for the plugin process waits in vain. */
static void lose(struct fg_filters *f) {
    if (f->io.fd >= 0)
        fg_loop_close(&f->e->loop, &f->e->pool, &f->io);
    if (f->rings)
        munmap(f->rings, sizeof *f->rings);
    f->rings = NULL;
    f->fatal++;
    if (f->late) /* a process that hangs is lost when those that waited for it have given up */
        fg_breaker_strike(&f->breakers, f->late, f->fatal, fg_now_ms(&f->e->loop));
    f->late = 0;
    for (uint32_t i = 0; i < f->nslots; i++) {
        struct fg_filtering *x = f->slots[i];
        uint64_t number = x ? number_of(x) : 0;
        if (x && x->waiting && !stage_at(x)->runs_inline) {
            fg_filter_strike(f->e, stage_at(x), x->phase);
            fail(x->r, FG_R_FILTER_FAILED, false);
        }
        if (x && find(f, number)) /* which may have ended it */
            fg_filter_body_lose(x->r);
    }
}

/* Until there is none and the process is asked to wake us, or a turn's worth is taken: a process may put without end. False:
 * more is there. */
static bool take_verdicts(struct fg_filters *f) {
    for (unsigned taken = 0; f->rings && taken < TURN_VERDICTS; taken++) {
        int64_t n = fg_ring_take(&f->rings->verdicts, f->copy, FG_RECORD_MAX);
        if (n > 0)
            take_verdict(f->e, f->copy, (size_t)n, false);
        else if (n < 0)
            lose(f);
        else if (fg_ring_sleep(&f->rings->verdicts))
            return true;
    }
    return f->rings == NULL;
}

static void filters_run(struct fg_io *io) {
    struct fg_filters *f = fg_container_of(io, struct fg_filters, io);
    char wakes[64];
    ssize_t n = recv(io->fd, wakes, sizeof wakes, MSG_DONTWAIT);
    if (!take_verdicts(f))
        fg_loop_again(&f->e->loop, io);
    else if (f->rings && (io->hup || n == 0))
        lose(f);
}

void fg_filter_attach(struct fg_engine *e, int rings_fd, int socket_fd) {
    struct fg_filters *f = filters_of(e);
    struct stat st;
    void *rings = MAP_FAILED;
    if (f)
        lose(f);
    if (f && f->copy == NULL)
        f->copy = malloc(FG_RECORD_MAX);
    if (f && f->copy && socket_fd >= 0 && rings_fd >= 0 && fstat(rings_fd, &st) == 0 && (size_t)st.st_size >= sizeof(struct fg_rings))
        rings = mmap(NULL, sizeof(struct fg_rings), PROT_READ | PROT_WRITE, MAP_SHARED, rings_fd, 0);
    if (rings_fd >= 0)
        close(rings_fd);
    if (rings == MAP_FAILED) {
        if (socket_fd >= 0)
            close(socket_fd);
        return;
    }
    f->rings = rings;
    f->io = (struct fg_io){.fd = socket_fd, .run = filters_run};
    if (fg_loop_add(&e->loop, &f->io, EPOLLIN | EPOLLRDHUP) < 0)
        lose(f);
    else
        fg_loop_again(&e->loop, &f->io); /* what was put before anybody could be woken */
}

void fg_filter_free(struct fg_engine *e) {
    struct fg_filters *f = e->filters;
    if (f == NULL)
        return;
    discard_ended(f);
    if (f->io.fd >= 0)
        close(f->io.fd);
    if (f->rings)
        munmap(f->rings, sizeof *f->rings);
    free(f->calls.p);
    free(f->verdicts.p);
    free(f->slots);
    free(f->copy);
    free(f);
    e->filters = NULL;
}
