/* Connections to endpoints: connecting, TLS handshakes, lending to an exchange, keeping idle ones until they are needed or end. */
#include "fg_tls.h"
#include "fg_worker.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void up_free(struct fg_grave *g) {
    free(fg_container_of(g, struct fg_up, grave));
}

void fg_up_close(struct fg_up *u) {
    if (u->state == FG_UP_CLOSED)
        return;
    struct fg_engine *e = u->e;
    if (u->io.tls && u->state == FG_UP_IDLE && !u->io.hup)
        fg_tls_shutdown(&u->io);
    e->stats->c.upstream_open--;
    e->stats->c.upstream_idle -= u->state == FG_UP_IDLE;
    u->state = FG_UP_CLOSED;
    u->req = NULL;
    fg_list_remove(&u->link);
    fg_handshake_leave(&u->shaking);
    fg_timer_stop(&e->loop.wheel, &u->timer);
    fg_loop_close(&e->loop, &e->pool, &u->io);
    fg_buf_release(&e->pool, &u->in);
    u->endpoint->connections--;
    fg_endpoint_unref(e, u->endpoint);
    fg_loop_bury(&e->loop, &u->grave);
}

static void failed(struct fg_up *u, int reason) {
    fg_endpoint_failed(u->e, u->endpoint);
    fg_exchange_up_failed(u->req, reason);
}

static void usable(struct fg_up *u) {
    fg_endpoint_works(u->e, u->endpoint);
    u->state = FG_UP_BUSY;
    fg_timer_clear(&u->timer);
    fg_exchange_connected(u->req);
}

/* Nothing of a request is handed over before the endpoint was verified. */
static void handshake(struct fg_io *io) {
    struct fg_up *u = fg_container_of(io, struct fg_up, io);
    struct fg_tls_result result;
    switch (fg_tls_handshake(io)) {
    case FG_TLS_WAIT:
        return;
    case FG_TLS_DONE:
        usable(u);
        return;
    default:
        fg_tls_result(io, &result);
        u->req->upstream_error = result.error;
        failed(u, result.reason);
    }
}

static void connect_done(struct fg_up *u) {
    struct fg_endpoint *ep = u->endpoint;
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(u->io.fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        failed(u, FG_R_CONNECT_FAILED);
    } else if (ep->tls_key == 0) {
        usable(u);
    } else if (fg_tls_client(&u->io, ep->tls, ep->sessions) < 0) {
        fg_exchange_up_failed(u->req, FG_R_OVERLOADED);
    } else {
        u->state = FG_UP_HANDSHAKE;
        fg_handshake_wait(u->e, &u->shaking);
    }
}

static void up_run(struct fg_io *io) {
    struct fg_up *u = fg_container_of(io, struct fg_up, io);
    switch (u->state) {
    case FG_UP_CONNECTING:
        if (io->writable)
            connect_done(u);
        break;
    case FG_UP_HANDSHAKE:
        fg_handshake_wait(u->e, &u->shaking);
        break;
    case FG_UP_BUSY:
        fg_exchange_run(u->req);
        break;
    case FG_UP_IDLE: /* FIN, reset or bytes that nobody asked for (RFC 9112 section 9.2) */
        if (!fg_io_quiet(io)) {
            u->e->stats->c.upstream_unsolicited += !io->rdhup && !io->hup;
            fg_up_close(u);
        }
        break;
    default:
        break;
    }
}

static void up_expired(struct fg_timer *t) {
    struct fg_up *u = fg_container_of(t, struct fg_up, timer);
    if (u->state == FG_UP_CONNECTING || u->state == FG_UP_HANDSHAKE) {
        failed(u, FG_R_CONNECT_TIMEOUT);
    } else if (u->state == FG_UP_IDLE) {
        fg_up_close(u);
    }
}

socklen_t fg_address_sockaddr(const struct fg_address *a, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (void *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a->port);
    memcpy(&in6->sin6_addr, a->ip, 16);
    return sizeof *in6;
}

void fg_address_read(struct fg_address *a, const struct sockaddr_storage *sa) {
    memset(a, 0, sizeof *a);
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        a->family = 4;
        a->port = ntohs(in->sin_port);
        memcpy(a->ip, &in->sin_addr, 4);
        return;
    }
    const struct sockaddr_in6 *in6 = (const void *)sa;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
    a->family = mapped ? 4 : 6;
    a->port = ntohs(in6->sin6_port);
    memcpy(a->ip, in6->sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
}

int fg_address_connect(const struct fg_address *a) {
    struct sockaddr_storage sa;
    socklen_t len = fg_address_sockaddr(a, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static struct fg_up *give_up(int fd, struct fg_up *u) {
    int why = errno;
    close(fd);
    free(u);
    errno = why;
    return NULL;
}

static struct fg_up *up_connect(struct fg_engine *e, struct fg_endpoint *ep, uint32_t connect_ms) {
    int fd = fg_address_connect(&ep->address);
    if (fd < 0)
        return NULL;
    struct fg_up *u = calloc(1, sizeof *u);
    if (u == NULL)
        return give_up(fd, u);
    u->e = e;
    u->endpoint = ep;
    u->io.fd = fd;
    u->io.run = up_run;
    fg_handshake_init(&u->shaking, &u->io, handshake);
    u->timer.fire = up_expired;
    u->grave.free = up_free;
    u->state = FG_UP_CONNECTING;
    fg_list_init(&u->link);
    if (fg_loop_add(&e->loop, &u->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0)
        return give_up(fd, u);
    ep->refs++;
    ep->connections++;
    e->stats->c.upstream_connects++;
    e->stats->c.upstream_open++;
    if (connect_ms)
        fg_timer_at(&e->loop.wheel, &u->timer, fg_now_ms(&e->loop) + connect_ms);
    return u;
}

/* An idle connection of which nothing is known against its reuse. */
static struct fg_up *take_idle(struct fg_engine *e, struct fg_endpoint *ep) {
    while (!fg_list_empty(&ep->idle)) {
        struct fg_up *u = fg_container_of(ep->idle.next, struct fg_up, link);
        if (u->io.hup || !fg_io_quiet(&u->io)) {
            fg_up_close(u);
            continue;
        }
        fg_list_remove(&u->link);
        fg_timer_clear(&u->timer);
        u->state = FG_UP_BUSY;
        e->stats->c.upstream_idle--;
        e->stats->c.upstream_reused++;
        return u;
    }
    return NULL;
}

struct fg_up *fg_up_take(struct fg_engine *e, struct fg_endpoint *ep, struct fg_req *r, bool fresh, uint32_t connect_ms) {
    struct fg_up *u = fresh ? NULL : take_idle(e, ep);
    if (u == NULL && (u = up_connect(e, ep, connect_ms)) == NULL)
        return NULL;
    u->req = r;
    u->requests++;
    u->eof = false;
    u->scanned = 0;
    return u;
}

void fg_up_release(struct fg_up *u, uint32_t idle_ms) {
    struct fg_engine *e = u->e;
    u->req = NULL;
    if (u->endpoint->listed == 0 || fg_buf_len(&u->in) || fg_buf_len(&u->io.out) || u->io.rdhup || u->io.hup || u->eof ||
        !fg_io_quiet(&u->io)) { /* a full read leaves open whether there is anything behind the response */
        fg_up_close(u);
        return;
    }
    fg_buf_release(&e->pool, &u->in);
    u->state = FG_UP_IDLE;
    e->stats->c.upstream_idle++;
    fg_list_push(&u->endpoint->idle, &u->link);
    if (u->idle_timeout && (idle_ms == 0 || u->idle_timeout < idle_ms))
        idle_ms = u->idle_timeout;
    if (idle_ms)
        fg_timer_at(&e->loop.wheel, &u->timer, fg_now_ms(&e->loop) + idle_ms);
}
