/* An exchange once it has a connection: the request's way there, the response's way back, and how it ends.
 *
 * Every function that may end the exchange returns false when it did: `r` is then gone.
 */
#include "fg_filter.h"
#include "fg_head.h"

#include <errno.h>
#include <sys/socket.h>

enum { TURN_BYTES = 256 * 1024 };

/* --- endings --------------------------------------------------------------------------------------------------------------- */

static void drop_up(struct fg_req *r, bool reusable) {
    struct fg_up *u = r->up;
    if (u == NULL)
        return;
    r->up = NULL;
    u->endpoint->active--;
    if (reusable)
        fg_up_release(u, fg_down_limits(r->down)->upstream_idle_timeout);
    else
        fg_up_close(u);
}

void fg_exchange_drop_up(struct fg_req *r) {
    drop_up(r, false);
}

void fg_exchange_finish(struct fg_req *r) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    bool whole = fg_flow_is_empty(&r->request);
    bool reusable = r->response.whole && r->request.sent && r->up_keep_alive && !r->tunnel && !r->request_stopped;
    e->stats->c.requests_active--;
    e->stats->c.tunnels_open -= r->tunnel;
    e->stats->reasons[r->reason] += r->reason != 0;
    e->stats->upstream_errors[r->reason] += fg_reasons[r->reason].side == FG_SIDE_UPSTREAM;
    uint64_t took_us = (e->loop.now_ns - r->began_ns) / 1000;
    fg_stats_exchange(r, took_us);
    if (r->log)
        fg_log_exchange(r, took_us);
    if (r->filtering)
        fg_filter_log(r);
    drop_up(r, reusable);
    bool next = r->keep_alive && whole && !d->io.hup && !d->eof;
    fg_req_free(r);
    if (next)
        fg_down_next(d);
    else
        fg_down_end(d, !whole || fg_buf_len(&d->in) || d->io.readable);
}

void fg_exchange_abort(struct fg_req *r, int reason) {
    struct fg_down *d = r->down;
    r->reason = (uint8_t)reason;
    r->keep_alive = false;
    r->response.whole = false;
    fg_buf_release(&d->e->pool, &d->io.out);
    d->io.hup = true; /* nothing more is owed: the client must see that the response is cut */
    if (r->state == FG_REQ_RESPONDING && r->response.out == FG_FRAMING_UNTIL_CLOSE) /* a FIN would end it cleanly */
        setsockopt(d->io.fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    fg_exchange_finish(r);
}

void fg_exchange_fail(struct fg_req *r, int reason) {
    if (r->state == FG_REQ_RESPONDING) {
        fg_exchange_abort(r, reason);
        return;
    }
    r->keep_alive = false;
    drop_up(r, false);
    if (r->parse_error)
        fg_reply_parse_error(r, r->parse_error);
    else
        fg_reply_reason(r, reason);
}

static bool may_replay(const struct fg_req *r) { /* RFC 9110 section 9.2.2 */
    switch (r->head.method_token) {
    case FG_METHOD_GET: case FG_METHOD_HEAD: case FG_METHOD_OPTIONS: case FG_METHOD_TRACE:
    case FG_METHOD_PUT: case FG_METHOD_DELETE:
        return !r->body_begun;
    default:
        return false;
    }
}

static bool may_end_otherwise(const struct fg_req *r, int reason) {
    uint64_t key = r->gen->image.clusters[r->backend->cluster - 1].key;
    return fg_cluster_may_retry(r->down->e, key, r->last_endpoint, reason);
}

void fg_exchange_up_failed(struct fg_req *r, int reason) {
    struct fg_engine *e = r->down->e;
    bool never_sent = r->state == FG_REQ_CONNECTING;
    if (r->state == FG_REQ_RESPONDING) {
        fg_exchange_abort(r, reason); /* cut short, never ended cleanly (RFC 9112 section 8) */
        return;
    }
    if (r->reused && !r->response_begun && (reason == FG_R_UPSTREAM_RESET || reason == FG_R_UPSTREAM_CLOSED))
        reason = FG_R_UPSTREAM_STALE;
    drop_up(r, false);
    bool again = fg_reasons[reason].retryable && r->tries < FG_REQ_MAX_TRIES && (never_sent || may_replay(r));
    again = again && may_end_otherwise(r, reason);
    e->stats->c.upstream_not_retried += reason == FG_R_UPSTREAM_STALE && !again;
    if (again) {
        e->stats->c.upstream_retries++;
        e->stats->upstream_errors[reason]++;
        r->backend_deadline = 0;
        fg_exchange_try(r, reason == FG_R_UPSTREAM_STALE);
        return;
    }
    fg_reply_reason(r, reason);
}

/* --- reading --------------------------------------------------------------------------------------------------------------- */

enum fill { FILL_NONE, FILL_SOME, FILL_EOF, FILL_FAILED, FILL_NO_MEMORY };

/* Reads once for a body. A buffer that a read filled grows to FG_BUF_LARGE, one that a pinned head nearly fills grows on, so
 * that framing and trailers always find room; one that cannot take more waits. */
static enum fill fill(struct fg_engine *e, struct fg_io *io, struct fg_buf *in) {
    if (!io->readable)
        return FILL_NONE;
    if (in->p == NULL && fg_buf_reserve(&e->pool, in, FG_BUF_MEDIUM) < 0)
        return FILL_NO_MEMORY;
    if (in->filled && in->cap < FG_BUF_LARGE && fg_buf_reserve(&e->pool, in, FG_BUF_LARGE) < 0)
        return FILL_NO_MEMORY;
    if (fg_buf_room(in) == 0) {
        if (fg_buf_len(in) < in->cap / 2 && in->start > in->pin)
            fg_buf_compact(in);
        else if (in->cap - in->pin >= FG_BUF_MEDIUM)
            return FILL_NONE;
        else if (fg_buf_reserve(&e->pool, in, in->cap + 1) < 0)
            return FILL_NO_MEMORY;
    }
    ssize_t n = fg_io_read(io, in);
    return n > 0 ? FILL_SOME : n == 0 ? FILL_EOF : n == -1 ? FILL_NONE : FILL_FAILED;
}

/* What is sent of a body, and from where: as it came, or as filter plugins made it. */
struct outgoing { struct fg_flow *flow; struct fg_buf *from; struct fg_flow *of; };

static struct outgoing outgoing(struct fg_req *r, bool response) {
    struct fg_flow *of = response ? &r->response : &r->request;
    struct fg_filter_body *b = fg_filter_body_of(r, response);
    if (b)
        return (struct outgoing){&b->flow, &b->out, of};
    return (struct outgoing){of, response ? &r->up->in : &r->down->in, of};
}

/* Are bytes of the response's body at hand that the client could have? */
static bool response_waits(const struct fg_req *r) {
    const struct fg_filter_body *b = fg_filter_body_of(r, true);
    return r->response.ready || (b && b->flow.ready);
}

static void advance(struct outgoing o, size_t n) {
    fg_flow_advance(o.flow, o.from, n);
    o.of->sent = o.flow->sent;
}

/* --- the request's way --------------------------------------------------------------------------------------------------- */

/* Hands decoded body bytes to the endpoint. A write that fails stops the request, not the exchange: the endpoint may
 * have answered before it closed, and its response is still to be read. */
static bool push_request(struct fg_req *r) {
    struct fg_up *u = r->up;
    struct iovec iov[3];
    if (r->request_stopped || !u->io.writable)
        return false;
    struct outgoing body = outgoing(r, false);
    int n = fg_flow_vectors(body.flow, body.from, iov);
    if (n == 0 && fg_buf_len(&u->io.out) == 0)
        return false;
    ssize_t sent = fg_io_writev(&u->io, &r->down->e->pool, iov, n);
    if (sent == -2) {
        r->request_stopped = true;
        u->io.readable = true;
        return true;
    }
    if (sent > 0)
        advance(body, (size_t)sent);
    r->body_begun |= sent > 0;
    return sent > 0;
}

/* Decodes what arrived of the body. False when it is malformed or larger than the limit: the exchange is over then. */
static bool decode_request(struct fg_req *r) {
    struct fg_down *d = r->down;
    int64_t error = fg_flow_decode(d, &r->request, &d->in, d->eof);
    uint64_t limit = fg_down_limits(d)->body_bytes;
    if (error == 0 && (limit == 0 || r->tunnel || r->request.bytes <= limit))
        return true;
    r->parse_error = (int16_t)error;
    fg_exchange_fail(r, error ? FG_R_BAD_REQUEST : FG_R_BODY_TOO_LARGE);
    return false;
}

/* 1 progress, 0 none, -1 the exchange is over. */
static int pump_request(struct fg_req *r) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    if (r->request.sent || r->request_stopped)
        return r->up && fg_buf_len(&r->up->io.out) ? push_request(r) : 0;
    int progress = 0;
    if (!r->request.whole) {
        enum fill got = fill(e, &d->io, &d->in);
        if (got == FILL_NO_MEMORY) {
            fg_exchange_fail(r, FG_R_OVERLOADED);
            return -1;
        }
        if (got == FILL_FAILED || (got == FILL_EOF && !fg_flow_ends_with_source(&r->request))) {
            fg_exchange_abort(r, got == FILL_EOF ? FG_R_CLIENT_CLOSED : FG_R_CLIENT_RESET);
            return -1;
        }
        d->eof |= got == FILL_EOF;
        progress = got != FILL_NONE;
        if (!decode_request(r))
            return -1;
    }
    if (fg_filter_body_of(r, false)) {
        int moved = fg_filter_body_pump(r, false);
        if (moved < 0)
            return -1;
        progress |= moved;
    }
    progress |= push_request(r);
    if (r->request.sent && r->tunnel)
        fg_io_shutdown(&r->up->io);
    return progress;
}

/* A direction that stands still is looked at once a window; a tunnel has its own idle time. */
static void watch(struct fg_req *r) {
    struct fg_down *d = r->down;
    const struct fg_img_limits *l = fg_down_limits(d);
    uint32_t wait = r->tunnel ? l->tunnel_idle_timeout : l->body_min_rate ? l->body_rate_window : 0;
    if (wait)
        fg_timer_at(&d->e->loop.wheel, &d->timer, fg_now_ms(&d->e->loop) + wait);
    else
        fg_timer_clear(&d->timer);
}

/* Reads the request's body for filters that want it whole, before anything else happens to it. */
void fg_exchange_buffer(struct fg_req *r) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    while (decode_request(r)) {
        if (r->request.bytes > r->filtering->buffering) {
            fg_exchange_fail(r, FG_R_BODY_TOO_LARGE);
            return;
        }
        if (r->request.whole) {
            fg_timer_clear(&d->timer);
            fg_filter_buffered(r);
            return;
        }
        if (d->in.p && fg_buf_room(&d->in) == 0 && fg_buf_reserve(&e->pool, &d->in, d->in.cap + 1) < 0) {
            fg_exchange_fail(r, FG_R_OVERLOADED);
            return;
        }
        enum fill got = fill(e, &d->io, &d->in);
        d->eof |= got == FILL_EOF;
        if (got == FILL_FAILED || (got == FILL_EOF && r->request.in != FG_FRAMING_FRAMES)) {
            fg_exchange_abort(r, got == FILL_EOF ? FG_R_CLIENT_CLOSED : FG_R_CLIENT_RESET);
            return;
        }
        if (got == FILL_NONE) {
            fg_head_continue(r);
            if (d->timer.deadline == 0)
                watch(r);
            return;
        }
    }
}

/* How long the endpoint may be silent now, in ms; 0: it is the client's turn, or there is no limit. */
static uint32_t endpoint_patience(const struct fg_req *r) {
    const struct fg_img_limits *l = fg_down_limits(r->down);
    if (r->tunnel)
        return 0;
    if (r->state == FG_REQ_RESPONDING)
        return r->response.whole || r->response.ready ? 0 : l->stream_idle_timeout;
    return r->request.sent || r->request_stopped || !r->up->io.writable ? l->response_timeout : 0;
}

void fg_exchange_due(struct fg_req *r, uint64_t next) {
    struct fg_engine *e = r->down->e;
    if (r->backend_deadline && (!next || r->backend_deadline < next))
        next = r->backend_deadline;
    if (r->request_deadline && (!next || r->request_deadline < next))
        next = r->request_deadline;
    if (next)
        fg_timer_at(&e->loop.wheel, &r->timer, next);
    else
        fg_timer_clear(&r->timer);
}

static void await_endpoint(struct fg_req *r) {
    uint32_t wait = endpoint_patience(r);
    if (!fg_filter_waits(r)) /* whose timer it is until then */
        fg_exchange_due(r, wait ? fg_now_ms(&r->down->e->loop) + wait : 0);
}

void fg_exchange_connected(struct fg_req *r) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    struct fg_up *u = r->up;
    struct iovec iov[4];
    size_t len = fg_head_request(e, r, e->scratch, FG_SCRATCH);
    if (len == 0) {
        drop_up(r, true);
        fg_reply_reason(r, FG_R_HEAD_TOO_LONG_TO_SEND);
        return;
    }
    if (!decode_request(r))
        return;
    r->state = FG_REQ_SENDING;
    r->backend_deadline = 0;
    if (r->match.rule->backend_timeout)
        r->backend_deadline = fg_now_ms(&e->loop) + r->match.rule->backend_timeout;
    iov[0] = (struct iovec){e->scratch, len};
    struct outgoing body = outgoing(r, false);
    int n = fg_flow_vectors(body.flow, body.from, iov + 1);
    u->io.writable = true;
    ssize_t sent = fg_io_writev(&u->io, &e->pool, iov, n + 1);
    if (sent == -2) {
        fg_exchange_up_failed(r, FG_R_UPSTREAM_RESET);
        return;
    }
    if ((size_t)sent < len) {
        if (fg_io_owe(&u->io, &e->pool, e->scratch + sent, len - (size_t)sent) < 0) {
            fg_exchange_up_failed(r, FG_R_OVERLOADED);
            return;
        }
    } else if ((size_t)sent > len) {
        advance(body, (size_t)sent - len);
        r->body_begun = true;
    }
    await_endpoint(r);
    if (u->io.readable || !r->request.sent)
        fg_exchange_run(r);
}

/* --- the response's way --------------------------------------------------------------------------------------------------- */

static bool push_response(struct fg_req *r, const uint8_t *head, size_t head_len) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    struct iovec iov[4];
    int n = 0;
    if (head_len)
        iov[n++] = (struct iovec){(void *)head, head_len};
    struct outgoing body = {0};
    if (r->up) {
        body = outgoing(r, true);
        n += fg_flow_vectors(body.flow, body.from, iov + n);
    }
    if (n == 0 && fg_buf_len(&d->io.out) == 0)
        return false;
    ssize_t sent = fg_io_writev(&d->io, &e->pool, iov, n);
    if (sent == -2) {
        d->io.hup = true;
        return true;
    }
    if ((size_t)sent < head_len) {
        if (fg_io_owe(&d->io, &e->pool, head + sent, head_len - (size_t)sent) < 0)
            d->io.hup = true;
    } else if ((size_t)sent > head_len) {
        advance(body, (size_t)sent - head_len);
    }
    r->sent += (size_t)sent;
    return sent > 0;
}

static void start_tunnel(struct fg_req *r) {
    struct fg_engine *e = r->down->e;
    r->tunnel = true;
    r->keep_alive = r->up_keep_alive = false;
    r->request_deadline = r->backend_deadline = 0;
    r->down->state = FG_DOWN_TUNNEL;
    e->stats->c.tunnels_open++;
    fg_flow_start(&r->request, FG_FRAMING_UNTIL_CLOSE, FG_FRAMING_UNTIL_CLOSE, 0);
    fg_flow_start(&r->response, FG_FRAMING_UNTIL_CLOSE, FG_FRAMING_UNTIL_CLOSE, 0);
}

/* How the body of the final response travels (RFC 9112 section 6.3). */
static void start_body(struct fg_req *r) {
    const struct fg_h1_head *h = &r->down->e->response;
    int in = h->framing, out;
    if (r->head.method_token == FG_METHOD_HEAD || h->status == 204 || h->status == 304)
        in = FG_FRAMING_NONE;
    out = in;
    int unknown = r->head.minor_version == 0 ? FG_FRAMING_UNTIL_CLOSE : r->down->stream ? FG_FRAMING_FRAMES : FG_FRAMING_CHUNKED;
    bool chunked = in == FG_FRAMING_CHUNKED && unknown != FG_FRAMING_UNTIL_CLOSE;
    bool passed = chunked && fg_head_takes_trailers(r);
    bool seen = fg_filter_body_start(r, true, in, unknown, passed);
    if (seen || in == FG_FRAMING_CHUNKED || in == FG_FRAMING_UNTIL_CLOSE)
        out = unknown;
    r->keep_alive &= out != FG_FRAMING_UNTIL_CLOSE;
    fg_flow_start(&r->response, in, out, h->content_length);
    r->response.pass_trailers = seen ? in == FG_FRAMING_CHUNKED : passed;
    bool persistent = !(h->connection & FG_CONN_CLOSE) && (h->minor_version == 1 || h->connection & FG_CONN_KEEP_ALIVE);
    r->up_keep_alive = persistent && in != FG_FRAMING_UNTIL_CLOSE && r->request.sent;
}

/* Negotiate and NTLM authenticate the connection (RFC 4559 section 6): nobody else's request may follow on it. */
static bool authenticates_connection(const struct fg_h1_head *h, const uint8_t *base, int header) {
    return h->first[header] &&
           (fg_head_has_token(h, base, header, "negotiate") || fg_head_has_token(h, base, header, "ntlm"));
}

/* The peer's own idle timeout, less a second for what is on the way (Keep-Alive: timeout=N). */
static void learn_idle_timeout(struct fg_req *r, const struct fg_h1_head *h, const uint8_t *base) {
    uint16_t at = h->first[FG_H_KEEP_ALIVE];
    if (!at)
        return;
    const struct fg_field *f = &h->fields[at - 1];
    const uint8_t *p = memmem(base + f->value, f->value_len, "timeout=", 8), *end = base + f->value + f->value_len;
    uint32_t seconds = 0;
    if (p == NULL)
        return;
    for (p += 8; p < end && *p >= '0' && *p <= '9' && seconds < 100000; p++)
        seconds = seconds * 10 + (*p - '0');
    r->up->idle_timeout = seconds > 1 ? (seconds - 1) * 1000 : 500;
    r->up_keep_alive &= seconds != 0;
}

static bool switches_as_asked(const struct fg_req *r, const uint8_t *base) {
    const struct fg_h1_head *h = &r->down->e->response;
    uint16_t at = h->first[FG_H_UPGRADE];
    if (!r->upgrade || !at || !(h->connection & FG_CONN_UPGRADE))
        return false;
    const struct fg_field *f = &h->fields[at - 1];
    return f->value_len == 9 && fg_same_name(base + f->value, (const uint8_t *)"websocket", 9);
}

static int pass_interim(struct fg_req *r, uint32_t len) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    struct fg_up *u = r->up;
    if (++r->interims > fg_down_limits(d)->interim_responses) {
        fg_exchange_up_failed(r, FG_R_TOO_MANY_INTERIM);
        return -1;
    }
    if (r->head.minor_version == 1 && (e->response.status != 100 || r->continue_wanted)) {
        fg_head_mark(&e->response, fg_buf_data(&u->in), true, false);
        size_t n = fg_head_interim(e, fg_buf_data(&u->in), e->scratch, FG_SCRATCH);
        push_response(r, e->scratch, n);
        r->continue_wanted &= e->response.status != 100;
    }
    fg_buf_consume(&u->in, len);
    return 1;
}

static int final_head(struct fg_req *r, uint32_t len) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    struct fg_up *u = r->up;
    uint8_t *base = fg_buf_data(&u->in);
    fg_head_mark(&e->response, base, true, false);
    switch (fg_filter_response(r, (struct fg_bytes){base, len})) {
    case FG_FILTER_WAITS: /* the head is parsed again when the verdicts are there: the buffer may move meanwhile */
        return 0;
    case FG_FILTER_OVER:
        return -1;
    default:
        fg_head_edit_status(r, &e->response);
    }
    bool switching = e->response.status == 101;
    if (switching && !switches_as_asked(r, base)) {
        fg_exchange_up_failed(r, FG_R_UNASKED_UPGRADE);
        return -1;
    }
    if (d->e->draining || (!switching && !r->request.whole))
        r->keep_alive = false; /* the rest of an early answered request is drained, not waited for: the client is told */
    if (switching)
        start_tunnel(r);
    else
        start_body(r);
    learn_idle_timeout(r, &e->response, base);
    if (authenticates_connection(&e->response, base, FG_H_WWW_AUTHENTICATE) ||
        authenticates_connection(&r->head, d->in.p, FG_H_AUTHORIZATION))
        r->up_keep_alive = false;
    size_t n = fg_head_response(e, r, base, e->scratch, FG_SCRATCH);
    if (n == 0) {
        fg_exchange_up_failed(r, FG_R_HEAD_TOO_LONG_TO_SEND);
        return -1;
    }
    r->status = e->response.status;
    r->state = FG_REQ_RESPONDING;
    r->responded_ns = e->loop.now_ns;
    fg_buf_consume(&u->in, len);
    if (fg_flow_decode(d, &r->response, &u->in, u->eof) < 0) {
        r->state = FG_REQ_SENDING;
        fg_exchange_up_failed(r, FG_R_BAD_RESPONSE);
        return -1;
    }
    push_response(r, e->scratch, n);
    return 1;
}

/* 1: a head was passed on; 0: more is needed; -1: the exchange is over. */
static int response_head(struct fg_req *r) {
    struct fg_engine *e = r->down->e;
    struct fg_up *u = r->up;
    const struct fg_img_limits *l = fg_down_limits(r->down);
    const struct fg_h1_limits limits = {.max_head = l->response_head_bytes, .max_line = l->response_head_bytes,
                                        .max_fields = FG_MAX_FIELDS};
    if (fg_buf_len(&u->in) == 0)
        return 0;
    r->response_begun = true;
    e->response.fields = e->response_fields;
    e->response.scanned = u->scanned;
    int64_t n = e->f.parse_response(fg_buf_data(&u->in), fg_buf_len(&u->in), &limits, &e->response);
    u->scanned = n >= 0 ? 0 : e->response.scanned;
    if (n == FG_MORE)
        return 0;
    if (n < 0) {
        r->parse_error = (int16_t)n;
        fg_exchange_up_failed(r, FG_R_BAD_RESPONSE);
        return -1;
    }
    if (e->response.status < 200 && e->response.status != 101)
        return pass_interim(r, (uint32_t)n);
    return final_head(r, (uint32_t)n);
}

static bool response_is_passed(const struct fg_req *r) {
    return r->state == FG_REQ_RESPONDING && r->response.sent && fg_buf_len(&r->down->io.out) == 0;
}

/* A head that fills its buffer, behind interim responses or alone, is read on: otherwise both sides would wait. */
static bool make_room(struct fg_req *r) {
    struct fg_buf *in = &r->up->in;
    if (r->state != FG_REQ_SENDING || in->p == NULL || fg_buf_room(in))
        return true;
    fg_buf_compact(in);
    return fg_buf_room(in) || fg_buf_reserve(&r->down->e->pool, in, in->cap + 1) == 0;
}

static int pump_response(struct fg_req *r) {
    struct fg_up *u = r->up;
    struct fg_engine *e = r->down->e;
    int progress = 0;
    bool unread = !r->response.whole || r->state != FG_REQ_RESPONDING;
    if (unread && !fg_filter_waits(r)) { /* what comes behind a head that filters look at waits in the socket */
        enum fill got = make_room(r) ? fill(e, &u->io, &u->in) : FILL_NO_MEMORY;
        if (got == FILL_NO_MEMORY) {
            fg_exchange_fail(r, FG_R_OVERLOADED);
            return -1;
        }
        progress = got != FILL_NONE;
        u->eof |= got == FILL_EOF || got == FILL_FAILED;
        while (r->state == FG_REQ_SENDING && !fg_filter_waits(r)) {
            int passed = response_head(r);
            if (passed < 0)
                return -1;
            if (passed == 0)
                break;
        }
        if (r->state == FG_REQ_SENDING && u->eof && !fg_filter_waits(r)) { /* not when the head just came */
            fg_exchange_up_failed(r, got == FILL_FAILED ? FG_R_UPSTREAM_RESET : FG_R_UPSTREAM_CLOSED);
            return -1;
        }
        if (r->state == FG_REQ_RESPONDING && !r->response.whole) {
            bool clean_end = u->eof && got != FILL_FAILED;
            if (fg_flow_decode(r->down, &r->response, &u->in, clean_end) < 0) {
                fg_exchange_abort(r, FG_R_BAD_RESPONSE);
                return -1;
            }
            if (u->eof && !r->response.whole && (got == FILL_FAILED || got == FILL_EOF)) {
                push_response(r, NULL, 0); /* what came goes on; then the cut */
                fg_exchange_abort(r, got == FILL_EOF ? FG_R_UPSTREAM_CLOSED : FG_R_UPSTREAM_RESET);
                return -1;
            }
        }
    }
    if (r->state == FG_REQ_RESPONDING && fg_filter_body_of(r, true)) {
        int moved = fg_filter_body_pump(r, true);
        if (moved < 0)
            return -1;
        progress |= moved;
    }
    if (r->state == FG_REQ_RESPONDING && r->down->io.writable && !r->response.sent)
        progress |= push_response(r, NULL, 0);
    else if (fg_buf_len(&r->down->io.out) && r->down->io.writable)
        progress |= push_response(r, NULL, 0);
    return progress;
}

/* --- both ----------------------------------------------------------------------------------------------------------------- */

void fg_exchange_timer(struct fg_req *r) {
    struct fg_down *d = r->down;
    const struct fg_img_limits *l = fg_down_limits(d);
    uint64_t least = (uint64_t)l->body_min_rate * l->body_rate_window / 1000;
    if (r->tunnel) {
        fg_exchange_abort(r, FG_R_IDLE_TIMEOUT);
        return;
    }
    bool reading = (r->state != FG_REQ_CONNECTING || fg_filter_buffers(r)) && !r->request.whole && !r->request.ready && !r->request_stopped &&
                   !r->continue_wanted;
    bool writing = (response_waits(r) || fg_buf_len(&d->io.out)) && !d->io.writable;
    if (reading && r->request.bytes - r->rate_received < least) {
        fg_exchange_fail(r, FG_R_BODY_TIMEOUT);
        return;
    }
    if (writing && r->sent - r->rate_sent < least) {
        fg_exchange_abort(r, FG_R_CLIENT_SLOW);
        return;
    }
    r->rate_received = r->request.bytes;
    r->rate_sent = r->sent;
    watch(r);
}

static bool is_over(const struct fg_req *r) {
    if (!response_is_passed(r))
        return false;
    return !r->tunnel || r->request_stopped || (r->request.sent && fg_buf_len(&r->up->io.out) == 0);
}

static void unpin_generation(struct fg_req *r) {
    if (r->state != FG_REQ_RESPONDING || r->gen == NULL)
        return;
    fg_generation_unref(r->down->e, r->gen); /* a long response may outlive many generations */
    r->gen = NULL;
}

void fg_exchange_run(struct fg_req *r) {
    struct fg_down *d = r->down;
    if (d->io.hup && (!r->tunnel || !d->io.readable)) {
        fg_exchange_abort(r, FG_R_CLIENT_RESET);
        return;
    }
    if (r->state == FG_REQ_CONNECTING) {
        if (fg_filter_buffers(r))
            fg_exchange_buffer(r);
        return;
    }
    uint64_t began = r->request.bytes + r->response.bytes;
    bool moved = false;
    for (;;) {
        int a = pump_request(r);
        if (a < 0)
            return;
        int b = pump_response(r);
        if (b < 0)
            return;
        if (r->tunnel && r->response.sent)
            fg_io_shutdown(&d->io);
        if (is_over(r)) {
            fg_exchange_finish(r);
            return;
        }
        if (d->io.hup) {
            fg_exchange_abort(r, FG_R_CLIENT_RESET);
            return;
        }
        if (a + b == 0)
            break;
        moved = true;
        if (r->request.bytes + r->response.bytes - began > TURN_BYTES) {
            fg_loop_again(&d->e->loop, &d->io);
            break;
        }
    }
    unpin_generation(r);
    if (moved)
        await_endpoint(r);
    bool stands = !r->request.whole || fg_buf_len(&d->io.out) || response_waits(r);
    if (r->tunnel || (stands && d->timer.deadline == 0))
        watch(r);
    else if (!stands && !r->tunnel)
        fg_timer_clear(&d->timer);
}
