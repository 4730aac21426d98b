#include "fg_relay.h"

#include "fg_head.h"
#include "fg_proxy.h"
#include "fg_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SPLICE_FROM = 64 * 1024,  /* bytes of a direction after which it is spliced: a pipe costs more than short copies */
       TURN_BYTES = 4 << 20,     /* of a direction in a turn of the loop */
       MAX_TRIES = 3 };

/* --- one direction --------------------------------------------------------------------------------------------------------------- */

enum moved { MOVED_ALL, MOVED_ENOUGH, FROM_FAILED, TO_FAILED };

static void give_back(struct fg_engine *e, struct fg_way *w) {
    fg_pipes_return(&e->pipes, w->pipe, w->piped == 0);
    w->piped = 0;
}

/* From the socket into a pipe: bytes; 0: the end; -1: nothing there now; -2: failed. */
static ssize_t fill_pipe(struct fg_engine *e, struct fg_way *w) {
    ssize_t n;
    do
        n = splice(w->from->fd, NULL, w->pipe.in, NULL, FG_PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        w->piped = (uint32_t)n;
        return n;
    }
    int why = errno;
    give_back(e, w);
    if (n == 0)
        return 0;
    w->from->readable = false;
    return why == EAGAIN ? -1 : -2;
}

/* False: failed. */
static bool empty_pipe(struct fg_engine *e, struct fg_way *w) {
    ssize_t n;
    do
        n = splice(w->pipe.out, NULL, w->to->fd, NULL, w->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        w->to->writable = false;
        return errno == EAGAIN;
    }
    w->bytes += (uint64_t)n;
    w->piped -= (uint32_t)n;
    if (w->piped == 0)
        fg_pipes_return(&e->pipes, w->pipe, true);
    return true;
}

static bool write_buffer(struct fg_engine *e, struct fg_way *w) {
    struct iovec iov = {w->buf->p ? fg_buf_data(w->buf) : NULL, fg_buf_len(w->buf)};
    ssize_t n = fg_io_writev(w->to, &e->pool, &iov, iov.iov_len != 0);
    if (n < 0)
        return false;
    w->bytes += (uint64_t)n;
    fg_buf_consume(w->buf, (uint32_t)n);
    if (w->buf->p && fg_buf_len(w->buf) == 0)
        fg_buf_release(&e->pool, w->buf);
    return true;
}

/* As fill_pipe. */
static ssize_t fill_buffer(struct fg_engine *e, struct fg_way *w) {
    if (fg_buf_reserve(&e->pool, w->buf, FG_BUF_LARGE) < 0)
        return -2;
    ssize_t n = fg_io_read(w->from, w->buf);
    if (n <= 0)
        fg_buf_release(&e->pool, w->buf);
    return n;
}

static enum moved run_way(struct fg_engine *e, struct fg_way *w) {
    uint64_t until = w->bytes + TURN_BYTES;
    while (!w->over) {
        bool owes = fg_buf_len(w->buf) || fg_buf_len(&w->to->out);
        if ((w->piped || owes) && !w->to->writable)
            return MOVED_ALL;
        if (w->bytes >= until)
            return MOVED_ENOUGH;
        if (owes || w->piped) {
            if (!(owes ? write_buffer(e, w) : empty_pipe(e, w)))
                return TO_FAILED;
            continue;
        }
        if (w->eof) {
            fg_io_shutdown(w->to);
            w->over = true;
            continue;
        }
        if (!w->from->readable)
            return MOVED_ALL;
        bool splices = w->plain && w->bytes >= SPLICE_FROM && fg_pipes_borrow(&e->pipes, &w->pipe);
        ssize_t n = splices ? fill_pipe(e, w) : fill_buffer(e, w);
        if (n == -2)
            return FROM_FAILED;
        w->eof = n == 0;
    }
    return MOVED_ALL;
}

/* --- the end --------------------------------------------------------------------------------------------------------------------- */

/* Both sides see a reset rather than an end: what was sent is not all that there was. */
static bool is_abrupt(int reason) {
    return reason != FG_R_NONE && reason != FG_R_RELAY_IDLE && reason != FG_R_DRAIN_TIMEOUT;
}

static void make_abrupt(int fd) {
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
}

static void relay_free(struct fg_grave *g) {
    free(fg_container_of(g, struct fg_relay, grave));
}

/* Nothing more is sent to the endpoint or read from it; it stays known as the last that was tried. */
static void hang_up(struct fg_relay *r) {
    struct fg_engine *e = r->down->e;
    if (r->io.fd < 0)
        return;
    r->secure = false;
    fg_handshake_leave(&r->shaking);
    fg_timer_clear(&r->timer);
    fg_loop_close(&e->loop, &e->pool, &r->io);
    r->endpoint->connections--;
    r->endpoint->active--;
    e->stats->c.upstream_open--;
}

void fg_relay_free(struct fg_relay *r) {
    struct fg_engine *e = r->down->e;
    r->down->relay = NULL;
    r->down->series->active--;
    hang_up(r);
    fg_timer_stop(&e->loop.wheel, &r->timer);
    if (r->endpoint)
        fg_endpoint_unref(e, r->endpoint);
    if (r->up.piped)
        give_back(e, &r->up);
    if (r->back.piped)
        give_back(e, &r->back);
    fg_buf_release(&e->pool, &r->in);
    fg_loop_bury(&e->loop, &r->grave);
}

void fg_relay_end(struct fg_relay *r, int reason) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    if (reason)
        e->stats->reasons[reason]++;
    if (is_abrupt(reason)) {
        make_abrupt(d->io.fd);
        make_abrupt(r->io.fd);
    }
    const struct fg_relayed line = {.protocol = r->protocol, .client = &d->peer, .local = &d->listen->bound,
        .upstream = r->endpoint ? &r->endpoint->address : NULL, .identity = d->identity, .listener = d->series->name,
        .route = r->route, .reason = reason, .tries = r->tries, .upstream_error = r->upstream_error, .received = r->up.bytes, .sent = r->back.bytes,
        .took_us = (e->loop.now_ns - r->began_ns) / 1000, .form = r->log, .socket = fg_down_socket(d)};
    fg_log_relay(e, &line);
    fg_down_close(d);
}

/* --- bytes ----------------------------------------------------------------------------------------------------------------------- */

static void relay_bytes(struct fg_relay *r) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    uint64_t up = r->up.bytes, back = r->back.bytes;
    enum moved a = run_way(e, &r->up), b = run_way(e, &r->back);
    d->series->received += r->up.bytes - up;
    d->series->sent += r->back.bytes - back;
    if (r->up.bytes - up || r->back.bytes - back)
        r->moved_ms = fg_now_ms(&e->loop);
    if (a == FROM_FAILED || b == TO_FAILED)
        fg_relay_end(r, FG_R_CLIENT_RESET);
    else if (a == TO_FAILED || b == FROM_FAILED)
        fg_relay_end(r, FG_R_UPSTREAM_RESET);
    else if (r->up.over && r->back.over && fg_buf_len(&d->io.out) == 0)
        fg_relay_end(r, FG_R_NONE);
    else if (a == MOVED_ENOUGH || b == MOVED_ENOUGH)
        fg_loop_again(&e->loop, &d->io);
}

void fg_relay_run(struct fg_relay *r) {
    if (r->connected)
        relay_bytes(r);
    else if (r->down->io.hup) /* what it sent waits in its socket until somebody takes it; but it has gone */
        fg_relay_end(r, FG_R_CLIENT_RESET);
}

void fg_relay_expired(struct fg_relay *r) {
    struct fg_down *d = r->down;
    uint64_t now = fg_now_ms(&d->e->loop), silent = now - r->moved_ms;
    if (!r->connected || silent < r->idle_ms)
        fg_down_deadline(d, r->idle_ms - (r->connected ? (uint32_t)silent : 0));
    else
        fg_relay_end(r, FG_R_RELAY_IDLE);
}

/* --- the connection to an endpoint ----------------------------------------------------------------------------------------------- */

static void try_endpoint(struct fg_relay *r);

static void connect_failed(struct fg_relay *r, int reason) {
    fg_endpoint_failed(r->down->e, r->endpoint);
    r->down->e->stats->upstream_errors[reason]++;
    hang_up(r);
    if (r->tries < MAX_TRIES && fg_cluster_may_retry(r->down->e, r->cluster, r->endpoint, reason))
        try_endpoint(r);
    else
        fg_relay_end(r, reason);
}

static bool introduce(struct fg_relay *r) {
    struct fg_down *d = r->down;
    uint8_t header[FG_PROXY_HEADER];
    size_t n = fg_proxy_write(header, r->send_proxy, &d->peer, &d->listen->bound, d->identity);
    return fg_io_owe(&r->io, &d->e->pool, header, n) == 0;
}

static void usable(struct fg_relay *r) {
    struct fg_engine *e = r->down->e;
    fg_endpoint_works(e, r->endpoint);
    fg_timer_clear(&r->timer);
    r->connected = true;
    r->moved_ms = fg_now_ms(&e->loop);
    r->up.plain = r->back.plain = r->down->io.tls == NULL && r->io.tls == NULL;
    relay_bytes(r);
}

/* Nothing of the client's goes to the endpoint before that was verified. */
static void handshake(struct fg_io *io) {
    struct fg_relay *r = fg_container_of(io, struct fg_relay, io);
    struct fg_tls_result result;
    switch (fg_tls_handshake(io)) {
    case FG_TLS_WAIT:
        break;
    case FG_TLS_DONE:
        usable(r);
        break;
    default:
        fg_tls_result(io, &result);
        r->upstream_error = result.error;
        connect_failed(r, result.reason);
    }
}

/* The PROXY protocol header precedes TLS, in plaintext. */
static void connected(struct fg_relay *r) {
    const struct fg_endpoint *ep = r->endpoint;
    if ((r->send_proxy && !introduce(r)) || (ep->tls_key && fg_tls_client(&r->io, ep->tls, ep->sessions) < 0)) {
        fg_relay_end(r, FG_R_OVERLOADED);
        return;
    }
    r->secure = ep->tls_key != 0;
    if (r->secure)
        fg_handshake_wait(r->down->e, &r->shaking);
    else
        usable(r);
}

static void up_run(struct fg_io *io) {
    struct fg_relay *r = fg_container_of(io, struct fg_relay, io);
    if (r->connected) {
        relay_bytes(r);
    } else if (r->secure) {
        fg_handshake_wait(r->down->e, &r->shaking);
    } else if (io->writable) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error)
            connect_failed(r, FG_R_CONNECT_FAILED);
        else
            connected(r);
    }
}

static void connect_expired(struct fg_timer *t) {
    connect_failed(fg_container_of(t, struct fg_relay, timer), FG_R_CONNECT_TIMEOUT);
}

static void try_endpoint(struct fg_relay *r) {
    struct fg_engine *e = r->down->e;
    const struct fg_img_limits *l = fg_down_limits(r->down);
    struct fg_endpoint *ep = fg_cluster_pick(e, r->cluster, r->endpoint);
    if (ep == NULL) {
        fg_relay_end(r, FG_R_NO_ENDPOINTS);
        return;
    }
    if (l->upstream_connections && ep->connections >= fg_share(e, l->upstream_connections)) {
        fg_relay_end(r, FG_R_UPSTREAM_LIMIT);
        return;
    }
    ep->refs++;
    if (r->endpoint)
        fg_endpoint_unref(e, r->endpoint);
    r->endpoint = ep;
    r->tries++;
    int fd = fg_address_connect(&ep->address);
    if (fd < 0 && !fg_is_shortage(errno) && errno != EADDRNOTAVAIL) {
        connect_failed(r, FG_R_CONNECT_FAILED);
        return;
    }
    if (fd < 0) {
        fg_relay_end(r, FG_R_OVERLOADED); /* no fault of the endpoint's */
        return;
    }
    r->io = (struct fg_io){.fd = fd, .run = up_run};
    ep->connections++;
    ep->active++;
    e->stats->c.upstream_connects++;
    e->stats->c.upstream_open++;
    if (fg_loop_add(&e->loop, &r->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0)
        fg_relay_end(r, FG_R_OVERLOADED);
    else if (l->connect_timeout)
        fg_timer_at(&e->loop.wheel, &r->timer, fg_now_ms(&e->loop) + l->connect_timeout);
}

/* --- the beginning --------------------------------------------------------------------------------------------------------------- */

/* What the route says: 0, or the reason why nobody is connected. */
static int choose(struct fg_relay *r, const struct fg_img_relay *route) {
    struct fg_engine *e = r->down->e;
    const struct fg_image *image = &e->gen->image;
    if (route == NULL)
        return FG_R_NO_ROUTE;
    struct fg_bytes name = fg_str(image->sockets_seg, route->route);
    memcpy(r->route, name.p, name.len < sizeof r->route ? name.len : sizeof r->route - 1);
    const struct fg_img_backend *b = fg_relay_backend(e, route);
    if (b == NULL)
        return FG_R_NO_BACKENDS;
    if (b->cluster == 0)
        return b->reason ? b->reason : FG_R_INVALID_BACKEND;
    const struct fg_img_cluster *c = &image->clusters[b->cluster - 1];
    r->cluster = c->key;
    r->send_proxy = (uint8_t)c->send_proxy;
    return 0;
}

void fg_relay_begin(struct fg_down *d, const struct fg_img_listener *l, const struct fg_img_relay *route) {
    struct fg_engine *e = d->e;
    struct fg_relay *r = calloc(1, sizeof *r);
    if (r == NULL) {
        fg_down_refuse(d, FG_R_OVERLOADED);
        return;
    }
    d->relay = r;
    d->state = FG_DOWN_RELAY;
    if (d->series == NULL) { /* else TLS was ended here, and it is counted */
        d->series = fg_stats_listener(e, &e->gen->image, l);
        d->series->connections++;
    }
    d->series->active++;
    r->down = d;
    r->io.fd = -1;
    fg_handshake_init(&r->shaking, &r->io, handshake);
    r->timer.fire = connect_expired;
    r->grave.free = relay_free;
    r->protocol = (uint8_t)l->protocol;
    r->log = fg_down_socket(d) ? fg_down_socket(d)->access_log : 0;
    r->began_ns = e->loop.now_ns;
    r->up = (struct fg_way){.from = &d->io, .to = &r->io, .buf = &d->in};
    r->back = (struct fg_way){.from = &r->io, .to = &d->io, .buf = &r->in};
    r->idle_ms = fg_down_limits(d)->tunnel_idle_timeout;
    fg_down_deadline(d, r->idle_ms);
    int reason = choose(r, route);
    if (reason)
        fg_relay_end(r, reason);
    else
        try_endpoint(r);
}
