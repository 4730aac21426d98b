/* Bodies on their way through the stages that see them, a piece at a time: the next one is taken when what became of the one
 * before is on its way, so that neither the rings nor this worker hold more than that. */
#include "fg_filter.h"

enum { PIECE = FG_BUF_LARGE };

static struct fg_img_stage *stage_of(struct fg_filter_body *b) { /* responses meet the last stage first */
    struct fg_filtering *x = b->x;
    return &x->stages[b->phase == FG_PHASE_RESPONSE_BODY ? x->nstages - 1 - b->at : b->at];
}

static bool seen_by_next(struct fg_filter_body *b) {
    while (b->at < b->x->nstages && !(stage_of(b)->phases >> b->phase & 1))
        b->at++;
    return b->at < b->x->nstages;
}

static unsigned position(struct fg_filter_body *b) {
    return (unsigned)(stage_of(b) - b->x->stages);
}

static void fail(struct fg_filter_body *b, int reason, bool counted);

static void expired(struct fg_timer *t) {
    struct fg_filter_body *b = fg_container_of(t, struct fg_filter_body, timer);
    fg_filter_late(b->x->r->down->e, stage_of(b), b->phase);
    fail(b, FG_R_FILTER_TIMEOUT, false);
}

static void stop_waiting(struct fg_filter_body *b) {
    b->waiting = false;
    fg_filter_waiting(b->x->r, position(b), b->phase, -1);
    fg_timer_clear(&b->timer);
}

bool fg_filter_body_start(struct fg_req *r, bool response, int framing, int out, bool pass_trailers) {
    struct fg_filtering *x = r->filtering;
    if (x == NULL || framing == FG_FRAMING_NONE)
        return false;
    struct fg_filter_body *b = &x->body[response];
    b->x = x;
    b->phase = response ? FG_PHASE_RESPONSE_BODY : FG_PHASE_REQUEST_BODY;
    b->timer.fire = expired;
    b->at = 0;
    b->active = seen_by_next(b);
    fg_flow_start(&b->flow, FG_FRAMING_NONE, out, 0);
    b->flow.whole = b->flow.sent = false;
    b->flow.pass_trailers = pass_trailers;
    return b->active;
}

struct fg_bytes fg_filter_body_buffered(const struct fg_req *r) {
    return (struct fg_bytes){fg_buf_data(&r->down->in), r->request.ready};
}

struct fg_bytes fg_filter_trailers(const struct fg_req *r, bool response) {
    const struct fg_filter_body *b = &r->filtering->body[response];
    if (b->trailers.p)
        return (struct fg_bytes){b->trailers.p, b->trailers.end};
    if (response || !r->filtering->buffered)
        return (struct fg_bytes){NULL, 0};
    return (struct fg_bytes){fg_buf_data(&r->down->in) + r->request.ready, r->request.trailers};
}

int fg_filter_body_set(struct fg_req *r, struct fg_bytes body) {
    struct fg_buf *in = &r->down->in;
    if (fg_buf_replace(&r->down->e->pool, in, r->request.ready, body.p, (uint32_t)body.len) < 0)
        return -1;
    r->request.ready = (uint32_t)body.len;
    fg_flow_take(&r->request, in, 0); /* of an empty one nothing is left to send, and no framing to wait behind it */
    return 0;
}

/* The piece has passed all stages. */
static int finish_piece(struct fg_filter_body *b) {
    struct fg_pool *pool = &b->x->r->down->e->pool;
    uint32_t n = fg_buf_len(&b->piece);
    if (n) {
        if (b->out.p)
            fg_buf_compact(&b->out);
        if (fg_buf_reserve(pool, &b->out, b->out.end + n) < 0)
            return -1;
        memcpy(b->out.p + b->out.end, fg_buf_data(&b->piece), n);
        b->out.end += n;
        b->flow.ready += n;
    }
    fg_buf_release(pool, &b->piece);
    if (b->last && b->flow.pass_trailers && b->trailers.end) {
        if (fg_buf_reserve(pool, &b->out, b->out.end + b->trailers.end) < 0)
            return -1;
        memcpy(b->out.p + b->out.end, b->trailers.p, b->trailers.end);
        b->out.end += b->flow.trailers = b->trailers.end;
    }
    if (b->last) {
        b->flow.whole = true;
        b->flow.sent = b->flow.ready == 0 && b->flow.out != FG_FRAMING_CHUNKED;
    }
    return 0;
}

/* Sends the piece from stage to stage. 0: it waits or has passed all of them; or the reason to give the exchange up. */
static int pass(struct fg_filter_body *b) {
    struct fg_req *r = b->x->r;
    for (; seen_by_next(b); b->at++) {
        struct fg_img_stage *stage = stage_of(b);
        int reason = fg_filter_call(r, b->phase, position(b), (struct fg_bytes){0}, &b->piece, b->last);
        if (reason == 0) {
            b->waiting = true;
            b->call = b->x->calls;
            fg_timer_at(&r->down->e->loop.wheel, &b->timer, fg_now_ms(&r->down->e->loop) + stage->timeout);
            return 0;
        }
        if (stage->deny)
            return reason;
    }
    return finish_piece(b) < 0 ? FG_R_OVERLOADED : 0;
}

/* Takes a piece of what is decoded, and the trailer fields behind the last one: 1; 0: there is none now; -1: no memory. */
static int take_piece(struct fg_filter_body *b, struct fg_flow *f, struct fg_buf *src) {
    struct fg_pool *pool = &b->x->r->down->e->pool;
    uint32_t n = f->ready < PIECE ? f->ready : PIECE;
    bool last = f->whole && n == f->ready;
    if (n == 0 && !last)
        return 0;
    if (n && fg_buf_reserve(pool, &b->piece, n) < 0)
        return -1;
    if (last && f->trailers && fg_buf_reserve(pool, &b->trailers, f->trailers) < 0)
        return -1;
    if (n) {
        memcpy(b->piece.p, fg_buf_data(src), n);
        b->piece.end = n;
        fg_flow_take(f, src, n);
    }
    if (last && f->trailers) {
        memcpy(b->trailers.p, fg_buf_data(src), f->trailers);
        b->trailers.end = f->trailers;
        fg_flow_discard(f, src);
    }
    b->last = b->taken = last;
    return 1;
}

int fg_filter_body_pump(struct fg_req *r, bool response) {
    struct fg_filter_body *b = fg_filter_body_of(r, response);
    struct fg_flow *f = response ? &r->response : &r->request;
    struct fg_buf *src = response ? &r->up->in : &r->down->in;
    f->sent = b->flow.sent;
    if (b->waiting || b->taken || b->flow.ready)
        return 0;
    int taken = take_piece(b, f, src);
    if (taken == 0)
        return 0;
    r->body_begun |= !response;
    b->at = 0;
    int reason = taken > 0 ? pass(b) : FG_R_OVERLOADED;
    if (reason) {
        fg_exchange_fail(r, reason);
        return -1;
    }
    return 1;
}

static void go_on(struct fg_filter_body *b) {
    struct fg_req *r = b->x->r;
    int reason = pass(b);
    if (reason)
        fg_exchange_fail(r, reason);
    else if (!b->waiting)
        fg_exchange_run(r);
}

static void fail(struct fg_filter_body *b, int reason, bool counted) {
    struct fg_req *r = b->x->r;
    stop_waiting(b);
    if (!counted)
        fg_filter_error(r, position(b), b->phase, reason);
    if (stage_of(b)->deny) {
        fg_exchange_fail(r, reason);
        return;
    }
    b->at++;
    go_on(b);
}

static int replace(struct fg_filter_body *b, const struct fg_verdict *v) {
    struct fg_bytes with = fg_str((const uint8_t *)v, v->body);
    fg_buf_release(&b->x->r->down->e->pool, &b->piece);
    if (with.len == 0)
        return 0;
    if (fg_buf_reserve(&b->x->r->down->e->pool, &b->piece, (uint32_t)with.len) < 0)
        return -1;
    memcpy(b->piece.p, with.p, with.len);
    b->piece.end = (uint32_t)with.len;
    return 0;
}

void fg_filter_body_verdict(struct fg_req *r, const struct fg_verdict *v, bool ok, bool runs_inline, bool counted) {
    struct fg_filter_body *b = fg_filter_body_of(r, v->phase == FG_PHASE_RESPONSE_BODY);
    if (b == NULL || !b->waiting || v->number != b->call || stage_of(b)->runs_inline != runs_inline)
        return;
    if (ok)
        fg_filter_judge(r->down->e, stage_of(b), v);
    if (!ok || v->outcome == FG_OUTCOME_FAILED || v->outcome == FG_OUTCOME_REPLY ||
        (v->outcome == FG_OUTCOME_REPLACE && replace(b, v) < 0)) {
        fail(b, FG_R_FILTER_FAILED, counted);
        return;
    }
    stop_waiting(b);
    b->at++;
    go_on(b);
}

void fg_filter_body_lose(struct fg_req *r) {
    uint64_t sequence = r->filtering->sequence;
    for (int response = 0; response < 2 && r->filtering && r->filtering->sequence == sequence; response++) {
        struct fg_filter_body *b = fg_filter_body_of(r, response);
        if (b && b->waiting && !stage_of(b)->runs_inline) {
            fg_filter_strike(r->down->e, stage_of(b), b->phase);
            fail(b, FG_R_FILTER_FAILED, false);
        }
    }
}

void fg_filter_body_end(struct fg_filtering *x) {
    struct fg_engine *e = x->r->down->e;
    for (unsigned i = 0; i < 2; i++) {
        if (x->body[i].waiting)
            stop_waiting(&x->body[i]);
        fg_timer_stop(&e->loop.wheel, &x->body[i].timer);
        fg_buf_release(&e->pool, &x->body[i].out);
        fg_buf_release(&e->pool, &x->body[i].piece);
        fg_buf_release(&e->pool, &x->body[i].trailers);
    }
}
