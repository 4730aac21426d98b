/* A session of HTTP/2: what nghttp2 reports of a client connection, what it has to send, and what a peer may not do. */
#include "fg_h2.h"
#include "fg_head.h"

#include <stdlib.h>

enum { TURN_BYTES = 65536, OUT_BYTES = 32768, LEAVING_MS = 2000, HEADER_TABLE = 4096 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; /* RFC 9113 section 3.4 */

/* --- nuisances: each kind may come in a burst, and then at a rate ------------------------------------------------------------ */

static const struct { uint32_t burst, per_second; uint8_t reason; } allowance[FG_H2_NUISANCE_COUNT] = {
    [FG_H2_RESETS] = {200, 20, FG_R_H2_RESETS},       /* CVE-2023-44487; CVE-2025-8671: those that we are made to send, too */
    [FG_H2_PINGS] = {100, 10, FG_R_H2_PINGS},         /* CVE-2019-9512 */
    [FG_H2_SETTINGS] = {50, 5, FG_R_H2_SETTINGS},     /* CVE-2019-9515 */
    [FG_H2_EMPTY] = {100, 50, FG_R_H2_EMPTY},         /* CVE-2019-9518 */
    [FG_H2_CONTINUATIONS] = {50, 20, FG_R_H2_CONTINUATIONS}, /* CVE-2024-28182 */
    [FG_H2_PRIORITIES] = {200, 100, FG_R_H2_PRIORITIES},     /* CVE-2019-9513 */
    [FG_H2_UPDATES] = {10000, 5000, FG_R_H2_UPDATES},
};

static bool is_too_much(struct fg_h2 *h, enum fg_h2_nuisance kind) {
    uint64_t now = fg_now_ms(&h->d->e->loop), gained = (now - h->filled_ms[kind]) * allowance[kind].per_second / 1000;
    if (gained) {
        uint64_t tokens = h->tokens[kind] + gained;
        h->tokens[kind] = tokens > allowance[kind].burst ? allowance[kind].burst : (uint32_t)tokens;
        h->filled_ms[kind] = now;
    }
    if (h->tokens[kind]) {
        h->tokens[kind]--;
        return false;
    }
    h->abuse = allowance[kind].reason;
    return true;
}

/* 0, or what stops the session. */
static int count(struct fg_h2 *h, enum fg_h2_nuisance kind) {
    return is_too_much(h, kind) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* --- what nghttp2 reports ------------------------------------------------------------------------------------------------------- */

static struct fg_h2_stream *stream_of(nghttp2_session *session, int32_t id) {
    return id > 0 ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user) {
    (void)session;
    struct fg_h2 *h = user;
    switch (hd->type) {
    case NGHTTP2_RST_STREAM:
        return count(h, FG_H2_RESETS);
    case NGHTTP2_PING:
        return count(h, FG_H2_PINGS);
    case NGHTTP2_SETTINGS:
        return count(h, FG_H2_SETTINGS);
    case NGHTTP2_CONTINUATION:
        return count(h, FG_H2_CONTINUATIONS);
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
        return count(h, FG_H2_PRIORITIES);
    case NGHTTP2_WINDOW_UPDATE:
        return count(h, FG_H2_UPDATES);
    case NGHTTP2_DATA:
        return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM) ? count(h, FG_H2_EMPTY) : 0;
    default:
        return 0;
    }
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct fg_h2 *h = user;
    struct fg_down *d = h->d;
    fg_down_deadline(d, fg_down_limits(d)->head_timeout);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    fg_h2_head_forget(h);
    struct fg_h2_stream *s = fg_h2_stream_new(h, frame->hd.stream_id);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    d->requests++;
    d->e->stats->c.http2_streams++;
    nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                     uint8_t flags, void *user) {
    struct fg_h2_stream *s = stream_of(session, frame->hd.stream_id);
    int failed = 0;
    (void)flags, (void)user;
    if (s == NULL || s->ended)
        return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        failed = fg_h2_head_field(s, name, value);
    } else {
        nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
        failed = fg_h2_trailer_field(s, (struct fg_bytes){n.base, n.len}, (struct fg_bytes){v.base, v.len});
    }
    return failed ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* nghttp2 would leave the field out: the request is malformed (RFC 9113 section 8.2.1). */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                             uint8_t flags, void *user) {
    (void)session, (void)frame, (void)name, (void)value, (void)flags, (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user) {
    struct fg_h2_stream *s = stream_of(session, id);
    (void)flags, (void)user;
    if (s == NULL) {
        nghttp2_session_consume(session, id, n);
        return 0;
    }
    return fg_h2_stream_data(s, p, n) < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_request_part(struct fg_h2 *h, struct fg_h2_stream *s, const nghttp2_frame *frame) {
    bool is_head = frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    s->remote_ended |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        fg_h2_idle(h); /* it was whole in time */
    if (is_head) {
        fg_h2_head_end(s);
        fg_h2_head_forget(h);
        return 0;
    }
    if (fg_buf_len(&s->trailers) && fg_buf_append(&h->d->e->pool, &s->trailers, "\r\n", 2) < 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (fg_buf_len(&s->body) || s->remote_ended)
        fg_h2_stream_arrived(s);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct fg_h2 *h = user;
    struct fg_h2_stream *s = stream_of(session, frame->hd.stream_id);
    const struct fg_down *d = h->d;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        if (s == NULL)
            return 0;
        const struct fg_img_limits *l = fg_down_limits(d);
        if (d->e->draining || d->listen->closing || (l->keepalive_requests && d->requests >= l->keepalive_requests))
            fg_h2_leave(h->d);
        return on_request_part(h, s, frame);
    case NGHTTP2_PING: /* ours is back: what the client sent before it knew is here (RFC 9113 section 6.8) */
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && h->leaving)
            nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
                                  NGHTTP2_NO_ERROR, NULL, 0);
        return 0;
    default:
        return 0;
    }
}

/* A response may be whole before its request: the rest of that is not wanted (RFC 9113 section 8.1). */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct fg_h2 *h = user;
    struct fg_h2_stream *s = stream_of(session, frame->hd.stream_id);
    bool last = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
                (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    if (last && s && !s->remote_ended)
        fg_h2_stream_reset(s, NGHTTP2_NO_ERROR);
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
        is_too_much(h, FG_H2_RESETS); /* flush() looks at it: the frame is as good as sent */
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct fg_h2 *h = user;
    struct fg_h2_stream *s = stream_of(session, id);
    if (s) {
        nghttp2_session_set_stream_user_data(session, id, NULL);
        fg_h2_stream_close(s, code == NGHTTP2_NO_ERROR);
        fg_h2_idle(h);
    }
    return 0;
}

/* --- life --------------------------------------------------------------------------------------------------------------------------- */

bool fg_h2_is_preface(const struct fg_down *d) {
    uint32_t n = fg_buf_len(&d->in), whole = sizeof preface - 1;
    return d->e->o.http2 && d->requests == 0 && d->identity == NULL &&
           memcmp(fg_buf_data(&d->in), preface, n < whole ? n : whole) == 0;
}

static nghttp2_session *session_new(struct fg_h2 *h) {
    nghttp2_session_callbacks *c = NULL;
    nghttp2_option *o = NULL;
    nghttp2_session *session = NULL;
    if (nghttp2_session_callbacks_new(&c) == 0 && nghttp2_option_new(&o) == 0) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
        nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback2(c, on_invalid_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
        nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
        nghttp2_option_set_no_auto_window_update(o, 1);
        nghttp2_option_set_no_closed_streams(o, 1);
        nghttp2_option_set_server_fallback_rfc7540_priorities(o, 0);
        if (nghttp2_session_server_new2(&session, c, h, o) != 0)
            session = NULL;
    }
    nghttp2_session_callbacks_del(c);
    nghttp2_option_del(o);
    return session;
}

static int introduce(struct fg_h2 *h) {
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, FG_H2_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, FG_H2_WINDOW},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, HEADER_TABLE},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, fg_down_limits(h->d)->head_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, FG_COUNT_OF(settings)) != 0)
        return -1;
    return nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, FG_H2_CONNECTION_WINDOW);
}

void fg_h2_begin(struct fg_down *d) {
    struct fg_engine *e = d->e;
    struct fg_h2 *h = calloc(1, sizeof *h);
    if (h == NULL || (h->session = session_new(h)) == NULL) {
        free(h);
        fg_down_refuse(d, FG_R_OVERLOADED);
        return;
    }
    h->d = d;
    fg_list_init(&h->link);
    fg_list_init(&h->streams);
    fg_list_init(&h->pulled);
    for (int i = 0; i < FG_H2_NUISANCE_COUNT; i++) {
        h->tokens[i] = allowance[i].burst;
        h->filled_ms[i] = fg_now_ms(&e->loop);
    }
    d->h2 = h;
    d->state = FG_DOWN_HTTP2;
    e->stats->c.http2_connections++;
    if (introduce(h) != 0) {
        fg_down_refuse(d, FG_R_OVERLOADED);
        return;
    }
    fg_down_deadline(d, fg_down_limits(d)->first_byte_timeout);
    fg_h2_touch(h);
    fg_h2_run(d);
}

void fg_h2_free(struct fg_h2 *h) {
    h->d->h2 = NULL;
    while (!fg_list_empty(&h->streams))
        fg_h2_stream_drop(fg_container_of(h->streams.next, struct fg_h2_stream, link));
    fg_list_remove(&h->link);
    fg_h2_head_forget(h);
    nghttp2_session_del(h->session);
    fg_buf_release(&h->d->e->pool, &h->out);
    free(h);
}

void fg_h2_touch(struct fg_h2 *h) {
    if (fg_list_empty(&h->link))
        fg_list_push(&h->d->e->h2_touched, &h->link);
}

/* Every exchange ends; the connection is closed by the caller. */
static void abort_streams(struct fg_h2 *h, int reason) {
    h->broken = true;
    for (struct fg_list *at = h->streams.next, *next; at != &h->streams; at = next) {
        struct fg_h2_stream *s = fg_container_of(at, struct fg_h2_stream, link);
        next = at->next;
        s->closed = true;
        if (s->down.req)
            fg_exchange_abort(s->down.req, reason);
    }
}

static void fail(struct fg_h2 *h, int reason) {
    struct fg_down *d = h->d;
    abort_streams(h, reason);
    fg_down_close(d);
}

void fg_h2_idle(struct fg_h2 *h) {
    struct fg_down *d = h->d;
    if (h->nstreams)
        fg_timer_clear(&d->timer);
    else
        fg_down_deadline(d, h->leaving ? LEAVING_MS : fg_down_limits(d)->idle_timeout);
}

void fg_h2_leave(struct fg_down *d) {
    struct fg_h2 *h = d->h2;
    if (h == NULL || h->leaving)
        return;
    h->leaving = true;
    nghttp2_submit_shutdown_notice(h->session);
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
    fg_h2_idle(h);
    fg_h2_touch(h);
}

/* --- what is sent -------------------------------------------------------------------------------------------------------------------- */

/* 1: the socket took all there is; 0: it takes no more now; -1: the connection is gone. */
static int flush(struct fg_h2 *h) {
    struct fg_down *d = h->d;
    struct fg_pool *pool = &d->e->pool;
    for (;;) {
        while (fg_buf_len(&h->out) < OUT_BYTES) {
            const uint8_t *p;
            nghttp2_ssize n = nghttp2_session_mem_send2(h->session, &p);
            if (n == 0)
                break;
            if (n < 0 || fg_buf_append(pool, &h->out, p, (size_t)n) < 0) {
                h->broken = true;
                break;
            }
        }
        if (fg_buf_len(&h->out) == 0 && fg_buf_len(&d->io.out) == 0)
            return h->broken ? -1 : 1;
        struct iovec iov = {h->out.p ? fg_buf_data(&h->out) : NULL, fg_buf_len(&h->out)};
        ssize_t sent = fg_io_writev(&d->io, pool, &iov, iov.iov_len != 0);
        if (sent == -2)
            return -1;
        if (sent)
            fg_buf_consume(&h->out, (uint32_t)sent);
        if (fg_buf_len(&h->out)) {
            fg_buf_compact(&h->out);
            return 0;
        }
        fg_buf_release(pool, &h->out);
        if (h->broken)
            return -1;
        if (fg_buf_len(&d->io.out))
            return 0;
    }
}

/* Exchanges go on whose client took something. True: there may be more to send now. */
static bool run_pulled(struct fg_h2 *h) {
    struct fg_list todo;
    if (fg_list_empty(&h->pulled))
        return false;
    fg_list_init(&todo);
    while (!fg_list_empty(&h->pulled)) {
        struct fg_list *at = h->pulled.next;
        fg_list_remove(at);
        fg_list_push(&todo, at);
    }
    while (!fg_list_empty(&todo)) {
        struct fg_h2_stream *s = fg_container_of(todo.next, struct fg_h2_stream, pulled);
        fg_list_remove(&s->pulled);
        if (s->down.req)
            fg_exchange_run(s->down.req);
    }
    return true;
}

/* GOAWAY says why, and is the last frame. */
static void stop(struct fg_h2 *h, int reason, uint32_t code) {
    struct fg_down *d = h->d;
    d->e->stats->reasons[reason]++;
    nghttp2_session_terminate_session(h->session, code);
    flush(h);
    abort_streams(h, FG_R_CLIENT_RESET);
    fg_down_end(d, true);
}

static void send_all(struct fg_h2 *h) {
    struct fg_down *d = h->d;
    for (int round = 0; round < 8; round++) {
        int flushed = flush(h);
        if (h->abuse) {
            stop(h, h->abuse, NGHTTP2_ENHANCE_YOUR_CALM);
            return;
        }
        if (flushed < 0) {
            fail(h, FG_R_CLIENT_RESET);
            return;
        }
        bool more = run_pulled(h);
        if (flushed == 0)
            return;
        if (!more) {
            if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
                fg_down_end(d, true);
            return;
        }
    }
    fg_h2_touch(h); /* others first */
    fg_loop_again(&d->e->loop, &d->io);
}

void fg_h2_turn(struct fg_engine *e) {
    struct fg_list todo;
    fg_list_init(&todo);
    while (!fg_list_empty(&e->h2_touched)) {
        struct fg_list *at = e->h2_touched.next;
        fg_list_remove(at);
        fg_list_push(&todo, at);
    }
    while (!fg_list_empty(&todo)) {
        struct fg_h2 *h = fg_container_of(todo.next, struct fg_h2, link);
        fg_list_remove(&h->link);
        if (h->d->state == FG_DOWN_HTTP2)
            send_all(h);
    }
}

/* --- what arrives -------------------------------------------------------------------------------------------------------------------- */

/* False: the connection is gone. */
static bool take(struct fg_h2 *h) {
    struct fg_down *d = h->d;
    nghttp2_ssize n = nghttp2_session_mem_recv2(h->session, fg_buf_data(&d->in), fg_buf_len(&d->in));
    if (n == NGHTTP2_ERR_FLOODED)
        h->abuse = FG_R_H2_FLOOD;
    if (h->abuse) {
        stop(h, h->abuse, NGHTTP2_ENHANCE_YOUR_CALM);
        return false;
    }
    if (n < 0) {
        stop(h, FG_R_H2_ERROR, n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
        return false;
    }
    fg_buf_consume(&d->in, (uint32_t)n);
    return true;
}

void fg_h2_run(struct fg_down *d) {
    struct fg_engine *e = d->e;
    struct fg_h2 *h = d->h2;
    uint32_t read = 0;
    fg_h2_touch(h);
    for (;;) {
        if (fg_buf_len(&d->in) && !take(h))
            return;
        if (read >= TURN_BYTES) {
            fg_loop_again(&e->loop, &d->io);
            return;
        }
        if (fg_buf_reserve(&e->pool, &d->in, FG_BUF_MEDIUM) < 0) {
            fail(h, FG_R_OVERLOADED);
            return;
        }
        ssize_t n = fg_io_read(&d->io, &d->in);
        if (n == -1) {
            fg_buf_release(&e->pool, &d->in);
            return;
        }
        if (n <= 0) {
            fail(h, n == 0 ? FG_R_CLIENT_CLOSED : FG_R_CLIENT_RESET);
            return;
        }
        read += (uint32_t)n;
    }
}

void fg_h2_expired(struct fg_down *d) {
    struct fg_h2 *h = d->h2;
    stop(h, h->nstreams == 0 ? FG_R_IDLE_TIMEOUT : FG_R_HEAD_TIMEOUT, NGHTTP2_NO_ERROR);
}

void fg_h2_end_all(struct fg_down *d, int reason) {
    struct fg_h2 *h = d->h2;
    for (struct fg_list *at = h->streams.next, *next; at != &h->streams; at = next) {
        struct fg_h2_stream *s = fg_container_of(at, struct fg_h2_stream, link);
        next = at->next;
        if (s->down.req)
            fg_exchange_fail(s->down.req, reason);
    }
    nghttp2_session_terminate_session(h->session, NGHTTP2_NO_ERROR);
    flush(h);
}
