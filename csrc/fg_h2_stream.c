/* Streams of HTTP/2: what an exchange reads from and writes to in the place of a connection. */
#include "fg_filter.h"
#include "fg_h2.h"

#include <stdlib.h>

static struct fg_h2_stream *of_io(struct fg_io *io) {
    return fg_container_of(fg_container_of(io, struct fg_down, io), struct fg_h2_stream, down);
}

static struct fg_pool *pool_of(const struct fg_h2_stream *s) {
    return &s->down.e->pool;
}

/* --- the request's way --------------------------------------------------------------------------------------------------------- */

/* The client gets credit for what the exchange took. */
static void credit(struct fg_h2_stream *s, size_t n) {
    if (s->closed)
        nghttp2_session_consume_connection(s->h2->session, n);
    else
        nghttp2_session_consume(s->h2->session, s->id, n);
    fg_h2_touch(s->h2);
}

static ssize_t take_body(struct fg_h2_stream *s, struct fg_buf *in) {
    uint32_t n = fg_buf_len(&s->body), room = fg_buf_room(in);
    in->filled = n > room;
    if (n > room)
        n = room;
    memcpy(in->p + in->end, fg_buf_data(&s->body), n);
    in->end += n;
    fg_buf_consume(&s->body, n);
    if (fg_buf_len(&s->body) == 0)
        fg_buf_release(pool_of(s), &s->body);
    credit(s, n);
    return n;
}

/* In one piece, so that fg_flow knows where it begins. */
static ssize_t take_trailers(struct fg_h2_stream *s, struct fg_buf *in) {
    uint32_t n = fg_buf_len(&s->trailers);
    if (fg_buf_reserve(pool_of(s), in, in->end + n) < 0)
        return -2;
    memcpy(in->p + in->end, fg_buf_data(&s->trailers), n);
    in->end += n;
    s->down.trailers = n;
    fg_buf_release(pool_of(s), &s->trailers);
    return n;
}

static ssize_t stream_read(struct fg_io *io, struct fg_buf *in) {
    struct fg_h2_stream *s = of_io(io);
    if (fg_buf_len(&s->body))
        return take_body(s, in);
    if (!s->remote_ended) {
        io->readable = false;
        return -1;
    }
    return fg_buf_len(&s->trailers) ? take_trailers(s, in) : 0;
}

int fg_h2_stream_data(struct fg_h2_stream *s, const uint8_t *p, size_t n) {
    if (s->ended || s->down.req == NULL) { /* nobody will read it */
        credit(s, n);
        return 0;
    }
    return fg_buf_append(pool_of(s), &s->body, p, n);
}

void fg_h2_stream_arrived(struct fg_h2_stream *s) {
    s->down.io.readable = true;
    if (s->down.req)
        fg_exchange_run(s->down.req);
}

/* --- the response's way -------------------------------------------------------------------------------------------------------- */

/* The flow whose bytes the exchange writes now. */
static const struct fg_flow *outgoing(const struct fg_req *r) {
    const struct fg_filter_body *b = fg_filter_body_of(r, true);
    return b ? &b->flow : &r->response;
}

static bool is_whole(const struct fg_h2_stream *s) {
    const struct fg_req *r = s->down.req;
    return s->ended || (r && r->state == FG_REQ_RESPONDING && r->response.sent);
}

static void resume(struct fg_h2_stream *s) {
    if (s->deferred && nghttp2_session_resume_data(s->h2->session, s->id) == 0)
        s->deferred = false;
    fg_h2_touch(s->h2);
}

/* What there is room for. -2: the stream cannot go on. */
static ssize_t put(struct fg_h2_stream *s, const uint8_t *p, size_t len) {
    struct fg_io *io = &s->down.io;
    const struct fg_req *r = s->down.req;
    if (r && r->state == FG_REQ_RESPONDING && outgoing(r)->last)
        return fg_buf_append(pool_of(s), &s->tail, p, len) < 0 ? -2 : (ssize_t)len;
    size_t room = FG_H2_STREAM_OUT - fg_buf_len(&io->out), n = len < room ? len : room;
    if (n < len)
        io->writable = false;
    if (n && fg_buf_append(pool_of(s), &io->out, p, n) < 0)
        return -2;
    return (ssize_t)n;
}

static ssize_t stream_writev(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n) {
    struct fg_h2_stream *s = of_io(io);
    size_t taken = 0;
    (void)pool;
    if (s->closed || s->h2->broken)
        return -2;
    for (int i = 0; i < n && io->writable; i++) {
        uint8_t *p = iov[i].iov_base;
        size_t len = iov[i].iov_len;
        if (!s->responded) {
            int64_t used = fg_h2_head_respond(s, p, len);
            if (used < 0)
                return -2;
            p += used;
            len -= (size_t)used;
            taken += (size_t)used;
        }
        ssize_t put_now = len ? put(s, p, len) : 0;
        if (put_now < 0)
            return -2;
        taken += (size_t)put_now;
        if ((size_t)put_now < len)
            break;
    }
    resume(s);
    return (ssize_t)taken;
}

/* Local answers: whatever their length. */
static int stream_owe(struct fg_io *io, const void *p, size_t len) {
    struct fg_h2_stream *s = of_io(io);
    if (s->closed)
        return -1;
    if (!s->responded) { /* an interim response, or what could not be written */
        int64_t used = fg_h2_head_respond(s, (uint8_t *)(uintptr_t)p, len);
        if (used < 0)
            return -1;
        p = (const uint8_t *)p + used;
        len -= (size_t)used;
    }
    resume(s);
    return len ? fg_buf_append(pool_of(s), &io->out, p, len) : 0;
}

static const struct fg_layer layer = {stream_read, stream_writev, stream_owe};

/* nghttp2 wants bytes of a response's body. */
static nghttp2_ssize pull(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                          nghttp2_data_source *source, void *user) {
    struct fg_h2_stream *s = source->ptr;
    struct fg_io *io = &s->down.io;
    uint32_t n = fg_buf_len(&io->out);
    (void)session, (void)id, (void)user;
    if (n > room)
        n = (uint32_t)room;
    if (n == 0 && !is_whole(s)) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n) {
        memcpy(to, fg_buf_data(&io->out), n);
        fg_buf_consume(&io->out, n);
        s->taken += n;
        io->writable = true;
    }
    if (fg_buf_len(&io->out) == 0) {
        fg_buf_release(pool_of(s), &io->out);
        if (is_whole(s))
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (is_whole(s) && fg_buf_len(&s->tail)) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (fg_h2_trailers_respond(s, fg_buf_data(&s->tail), fg_buf_len(&s->tail)) < 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
            fg_buf_release(pool_of(s), &s->tail);
        }
    }
    if (s->down.req && fg_list_empty(&s->pulled))
        fg_list_push(&s->h2->pulled, &s->pulled);
    return (nghttp2_ssize)n;
}

nghttp2_data_provider2 fg_h2_stream_source(struct fg_h2_stream *s) {
    return (nghttp2_data_provider2){.source = {.ptr = s}, .read_callback = pull};
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

static void stream_run(struct fg_io *io) {
    struct fg_h2_stream *s = of_io(io);
    if (s->down.req)
        fg_exchange_run(s->down.req);
}

/* What the exchange left in `out` is the client's to take. */
static void watch(struct fg_h2_stream *s) {
    const struct fg_img_limits *l = fg_down_limits(&s->down);
    fg_down_deadline(&s->down, fg_buf_len(&s->down.io.out) && l->body_min_rate ? l->body_rate_window : 0);
}

/* Does a client that has something to take, take it more slowly than the minimum rate? A window that is small leaves room in
 * `out`, so that the exchange, which looks for a write that does not go on, would see nothing of it. */
static bool is_slow(struct fg_h2_stream *s) {
    const struct fg_img_limits *l = fg_down_limits(&s->down);
    uint64_t least = (uint64_t)l->body_min_rate * l->body_rate_window / 1000;
    bool stands = fg_buf_len(&s->down.io.out) != 0, slow = stands && s->stood && s->taken < least;
    s->stood = stands;
    s->taken = 0;
    return slow;
}

static void stream_expired(struct fg_timer *t) {
    struct fg_h2_stream *s = fg_container_of(fg_container_of(t, struct fg_down, timer), struct fg_h2_stream, down);
    bool slow = is_slow(s);
    if (s->down.req && slow) {
        fg_exchange_abort(s->down.req, FG_R_CLIENT_SLOW);
    } else if (s->down.req) {
        fg_exchange_timer(s->down.req);
    } else if (slow) {
        s->down.e->stats->reasons[FG_R_CLIENT_SLOW]++;
        fg_h2_stream_reset(s, NGHTTP2_CANCEL);
    } else {
        watch(s);
    }
}

static void stream_free(struct fg_grave *g) {
    free(fg_container_of(fg_container_of(g, struct fg_down, grave), struct fg_h2_stream, down));
}

struct fg_h2_stream *fg_h2_stream_new(struct fg_h2 *h, int32_t id) {
    const struct fg_down *c = h->d;
    struct fg_h2_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->h2 = h;
    s->id = id;
    s->down = (struct fg_down){
        .io = {.fd = c->io.fd, .writable = true, .run = stream_run, .layer = &layer},
        .timer = {.fire = stream_expired}, .grave = {.free = stream_free}, .e = c->e, .listen = c->listen, .stream = s,
        .state = FG_DOWN_BUSY, .introduced = true, .protocol = c->protocol, .listener_key = c->listener_key, .policy = c->policy,
        .series = c->series, .peer = c->peer, .identity = c->identity};
    fg_list_init(&s->down.all);
    fg_list_init(&s->pulled);
    fg_list_push(&h->streams, &s->link);
    h->nstreams++;
    return s;
}

void fg_h2_stream_reset(struct fg_h2_stream *s, uint32_t code) {
    if (s->closed)
        return;
    nghttp2_submit_rst_stream(s->h2->session, NGHTTP2_FLAG_NONE, s->id, code);
    fg_h2_touch(s->h2);
}

void fg_h2_stream_end(struct fg_h2_stream *s) {
    struct fg_down *d = &s->down;
    s->ended = true;
    fg_timer_clear(&d->timer);
    if (fg_buf_len(&s->body))
        credit(s, fg_buf_len(&s->body));
    fg_buf_release(pool_of(s), &s->body);
    fg_buf_release(pool_of(s), &s->trailers);
    fg_buf_release(pool_of(s), &d->in);
    if (s->closed)
        return;
    if (d->io.hup || !s->responded) {
        fg_h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    watch(s);
    resume(s);
}

static void free_stream(struct fg_h2_stream *s) {
    struct fg_down *d = &s->down;
    fg_list_remove(&s->link);
    fg_list_remove(&s->pulled);
    s->h2->nstreams--;
    fg_timer_stop(&d->e->loop.wheel, &d->timer);
    d->io.fd = -1; /* which is the connection's */
    fg_loop_close(&d->e->loop, pool_of(s), &d->io);
    fg_buf_release(pool_of(s), &d->in);
    fg_buf_release(pool_of(s), &s->body);
    fg_buf_release(pool_of(s), &s->trailers);
    fg_buf_release(pool_of(s), &s->tail);
    fg_loop_bury(&d->e->loop, &d->grave);
}

void fg_h2_stream_close(struct fg_h2_stream *s, bool cleanly) {
    struct fg_down *d = &s->down;
    s->closed = true;
    if (d->req && cleanly)
        fg_exchange_run(d->req); /* whose response has gone as a whole */
    if (d->req)
        fg_exchange_abort(d->req, FG_R_CLIENT_RESET);
    if (fg_buf_len(&s->body))
        credit(s, fg_buf_len(&s->body));
    free_stream(s);
}

void fg_h2_stream_drop(struct fg_h2_stream *s) {
    struct fg_req *r = s->down.req;
    s->closed = true;
    if (r) {
        fg_exchange_drop_up(r);
        fg_req_free(r);
    }
    free_stream(s);
}
