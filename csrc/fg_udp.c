/* UDP listeners: from a client's datagram to its session, from an endpoint's answer to the client.
 *
 * A turn forwards what a batch brought session by session, so that what one source sent together leaves together. Answers of
 * all sessions are gathered until the end of the turn, or until their buffers are full, and leave by one call.
 */
#include "fg_udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    MOST_SESSIONS = 16384,  /* of a worker: each takes an ephemeral port, of which Linux has 28,232 */
    ANSWERS_AT_ONCE = 32,   /* of a session */
    GRO_FROM = 4,           /* answers in one call, from which on a session's socket takes runs */
    OVERHEAD = 28,          /* bytes of IPv4 and UDP headers: an empty datagram costs something, too */
    FACTOR = 3,             /* what a source may be sent for what it sent, until it is known to be there */
    FIRST_CREDIT = 3600     /* and at first: as for the smallest Initial of QUIC, so that an answer of DNS fits (RFC 9000 section 8.1) */
};

/* --- answers ---------------------------------------------------------------------------------------------------------------------- */

void fg_udp_flush(struct fg_engine *e) {
    struct fg_datagrams *d = e->datagrams;
    if (d->down.n) {
        struct fg_sent sent = fg_udp_send(d->down_of->listen->io.fd, &d->down);
        d->down_of->series->sent += sent.bytes;
        d->down_of->series->datagrams_sent += sent.datagrams;
        d->down_of->series->datagrams_dropped += sent.dropped;
    }
    d->answered = 0;
    d->down_to = NULL;
}

/* How many datagrams of an answer the source may be sent: all of them once it is proven. */
static uint32_t afford(struct fg_session *s, size_t bytes, uint32_t segment) {
    uint32_t count = fg_udp_count(bytes, segment), n = 0;
    if (s->proven)
        return count;
    size_t one = count > 1 ? segment : bytes;
    while (n < count && s->credit >= one + OVERHEAD) {
        s->credit -= one + OVERHEAD;
        n++;
    }
    return n;
}

static void name_client(struct fg_udp_out *out, const struct fg_session *s) {
    unsigned i = out->n - 1;
    struct msghdr *m = &out->msgs[i].msg_hdr;
    m->msg_name = &out->names[i];
    if (s->udp->v6) {
        out->names[i] = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = s->source.port, .sin6_scope_id = s->source.scope};
        memcpy(&out->names[i].sin6_addr, s->source.ip, sizeof out->names[i].sin6_addr);
        m->msg_namelen = sizeof(struct sockaddr_in6);
    } else {
        struct sockaddr_in *in = (void *)&out->names[i];
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = s->source.port};
        memcpy(&in->sin_addr, s->source.ip, sizeof in->sin_addr);
        m->msg_namelen = sizeof *in;
    }
    if (s->udp->any)
        fg_udp_add_local(out, &s->source, s->udp->v6);
}

/* Puts one buffer of answers on its way. */
static void return_answer(struct fg_session *s, unsigned i) {
    struct fg_datagrams *d = s->udp->listen->e->datagrams;
    struct iovec *bytes = &d->answers.iov[i];
    uint32_t segment = d->answers.segment[i], count = fg_udp_count(bytes->iov_len, segment);
    bool whole = !(d->answers.msgs[i].msg_hdr.msg_flags & MSG_TRUNC);
    uint32_t passing = whole ? afford(s, bytes->iov_len, segment) : 0;
    s->series->datagrams_dropped += count - passing;
    if (passing == 0)
        return;
    if (passing < count)
        bytes->iov_len = (size_t)passing * segment;
    s->sent += bytes->iov_len;
    s->datagrams_sent += passing;
    if (fg_udp_add(&d->down, bytes, segment, d->down_to == s))
        name_client(&d->down, s);
    d->down_to = s;
}

/* --- faults of endpoints ------------------------------------------------------------------------------------------------------------ */

/* What ICMP said of an earlier datagram, or the kernel of the way; not what this process is short of or may not do. */
static bool is_fault(int error) {
    return error && error != EAGAIN && error != EMSGSIZE && error != EPERM && !fg_is_shortage(error);
}

static void refused(struct fg_session *s) {
    fg_endpoint_failed(s->udp->listen->e, s->endpoint);
    fg_session_end(s, FG_R_CONNECT_FAILED);
}

static void heard(struct fg_session *s, unsigned n) {
    s->answered = true;
    s->bursts = n > 1;
    s->ran = s->udp->listen->e->loop.turns;
    fg_endpoint_works(s->udp->listen->e, s->endpoint);
    fg_session_touch(s);
    if (n >= GRO_FROM && !s->gro) {
        s->gro = true;
        setsockopt(s->io.fd, SOL_UDP, UDP_GRO, &(int){1}, sizeof(int));
    }
}

/* The one answer that most have; several where that was so before, or where the one of the last turn left others behind. */
static int receive_answers(struct fg_session *s) {
    struct fg_engine *e = s->udp->listen->e;
    struct fg_datagrams *d = e->datagrams;
    bool several = s->gro || s->bursts || s->ran + 1 == e->loop.turns;
    unsigned most = several ? ANSWERS_AT_ONCE : 1;
    if (d->down_of != s->udp || d->answered + most > FG_UDP_BATCH) {
        fg_udp_flush(e);
        d->down_of = s->udp;
    }
    if (several)
        return fg_udp_receive(s->io.fd, &d->answers, d->answered, most);
    return fg_udp_receive_one(s->io.fd, &d->answers, d->answered) ? 1 : -1;
}

/* Level-triggered: what is left behind is for the next turn. */
void fg_udp_answer(struct fg_io *io) {
    struct fg_session *s = fg_container_of(io, struct fg_session, io);
    struct fg_datagrams *d = s->udp->listen->e->datagrams;
    int n = receive_answers(s);
    if (n < 0) {
        if (is_fault(errno))
            refused(s);
        return;
    }
    heard(s, (unsigned)n);
    for (int i = 0; i < n; i++)
        return_answer(s, d->answered++);
}

/* --- datagrams of clients ----------------------------------------------------------------------------------------------------------- */

static void source_of(const struct fg_udp *udp, struct fg_udp_in *in, unsigned i, struct fg_source *source) {
    *source = (struct fg_source){0};
    if (udp->v6) {
        const struct sockaddr_in6 *in6 = &in->names[i];
        memcpy(source->ip, &in6->sin6_addr, sizeof in6->sin6_addr);
        source->port = in6->sin6_port;
        source->scope = in6->sin6_scope_id;
    } else {
        const struct sockaddr_in *in4 = (const void *)&in->names[i];
        memcpy(source->ip, &in4->sin_addr, sizeof in4->sin_addr);
        source->port = in4->sin_port;
    }
    if (udp->any)
        fg_udp_local(in, i, source);
}

/* The session that goes on with this source, or a new one. */
static struct fg_session *session_of(struct fg_udp *udp, const struct fg_source *source) {
    const struct fg_datagrams *d = udp->listen->e->datagrams;
    uint64_t hash = fg_session_hash(d, udp, source);
    struct fg_session *s = fg_session_find(d, udp, source, hash);
    if (s && (udp->ceased || fg_session_stays(s)))
        return s;
    if (s)
        fg_session_end(s, FG_R_NONE);
    return fg_session_begin(udp, source, hash);
}

static void note_received(struct fg_session *s, size_t bytes, uint32_t datagrams) {
    s->received += bytes;
    s->datagrams_received += datagrams;
    if (s->proven)
        return;
    if (s->answered) {
        fg_session_prove(s);
        return;
    }
    if (s->datagrams_received == datagrams)
        s->credit = FIRST_CREDIT;
    s->credit += FACTOR * (bytes + (uint64_t)datagrams * OVERHEAD);
}

/* Sends a session's datagrams of the batch. */
static void forward(struct fg_session *s) {
    struct fg_datagrams *d = s->udp->listen->e->datagrams;
    struct fg_sent sent;
    s->waiting = false;
    if (s->first == s->last && fg_udp_count(d->in.iov[s->first].iov_len, d->in.segment[s->first]) == 1) {
        sent = fg_udp_send_one(s->io.fd, &d->in.iov[s->first]);
    } else {
        for (unsigned i = s->first;; i = d->in.next[i]) {
            fg_udp_add(&d->up, &d->in.iov[i], d->in.segment[i], i != s->first);
            if (i == s->last)
                break;
        }
        sent = fg_udp_send(s->io.fd, &d->up);
    }
    s->series->datagrams_dropped += sent.dropped;
    if (is_fault(sent.error))
        refused(s);
}

static void listener_run(struct fg_io *io) {
    struct fg_listen *l = fg_container_of(io, struct fg_listen, io);
    struct fg_udp *udp = l->udp;
    struct fg_udp_in *in = &l->e->datagrams->in;
    struct fg_session *touched[FG_UDP_BATCH];
    unsigned ntouched = 0;
    int n = udp->left ? 0 : fg_udp_receive(io->fd, in, 0, FG_UDP_BATCH);
    for (unsigned i = 0; n > 0 && i < (unsigned)n; i++) {
        struct fg_source source;
        size_t bytes = in->iov[i].iov_len;
        uint32_t datagrams = fg_udp_count(bytes, in->segment[i]);
        udp->series->received += bytes;
        udp->series->datagrams_received += datagrams;
        source_of(udp, in, i, &source);
        bool whole = !(in->msgs[i].msg_hdr.msg_flags & MSG_TRUNC);
        struct fg_session *s = whole ? session_of(udp, &source) : NULL;
        if (s == NULL) {
            udp->series->datagrams_dropped += datagrams;
            continue;
        }
        fg_session_touch(s);
        note_received(s, bytes, datagrams);
        if (s->waiting) {
            in->next[s->last] = (uint8_t)i;
        } else {
            s->waiting = true;
            s->first = (uint8_t)i;
            touched[ntouched++] = s;
        }
        s->last = (uint8_t)i;
    }
    for (unsigned i = 0; i < ntouched; i++)
        if (touched[i]->waiting) /* those that ended meanwhile are freed after the turn */
            forward(touched[i]);
}

/* --- life of a listener -------------------------------------------------------------------------------------------------------------- */

/* A descriptor for every session, of those that clients and endpoints of HTTP share. */
static struct fg_datagrams *datagrams_of(struct fg_engine *e) {
    uint32_t most = e->max_connections / 2;
    if (e->datagrams == NULL)
        e->datagrams = fg_datagrams_new(most < MOST_SESSIONS ? most : MOST_SESSIONS);
    return e->datagrams;
}

bool fg_udp_add_listener(struct fg_listen *l) {
    struct fg_udp *udp = datagrams_of(l->e) ? calloc(1, sizeof *udp) : NULL;
    if (udp == NULL)
        return false;
    static const uint8_t none[16];
    int family = AF_INET;
    getsockopt(l->io.fd, SOL_SOCKET, SO_DOMAIN, &family, &(socklen_t){sizeof family});
    setsockopt(l->io.fd, SOL_UDP, UDP_GRO, &(int){1}, sizeof(int));
    udp->listen = l;
    udp->v6 = family == AF_INET6;
    udp->any = memcmp(l->bound.ip, none, sizeof none) == 0;
    udp->expiry.fire = fg_session_expire;
    fg_list_init(&udp->sessions[false]);
    fg_list_init(&udp->sessions[true]);
    l->udp = udp;
    l->io.run = listener_run;
    return true;
}

void fg_udp_resolve(struct fg_listen *l) {
    struct fg_udp *udp = l->udp;
    udp->relay = NULL;
    if (l->socket < 0)
        return;
    const struct fg_image *image = &l->e->gen->image;
    const struct fg_img_socket *socket = &image->sockets[l->socket];
    const struct fg_img_listener *listener = (const void *)(image->sockets_seg + socket->listeners.off);
    udp->series = fg_stats_listener(l->e, image, listener);
    if (listener->relays.len)
        udp->relay = (const void *)(image->sockets_seg + listener->relays.off);
    udp->idle_ms = socket->limits.idle_timeout;
    fg_session_await_expiry(udp);
}

/* Nothing more is read from it; its sessions end with their answers. */
static void stop_reading(struct fg_listen *l) {
    l->udp->left = true; /* it may be ready in this very turn */
    if (l->socket >= 0)
        fg_loop_remove(&l->e->loop, &l->io);
}

static void close_listener(struct fg_listen *l) {
    struct fg_datagrams *d = l->e->datagrams;
    if (d->down_of == l->udp) {
        fg_udp_flush(l->e);
        d->down_of = NULL;
    }
    fg_timer_stop(&l->e->loop.wheel, &l->udp->expiry);
    fg_listen_close(l);
}

void fg_udp_empty(struct fg_udp *udp) {
    if (udp->ceased)
        close_listener(udp->listen);
}

/* No session begins any more; those that there are end after some silence, and the socket is closed with the last one. */
static void cease(struct fg_listen *l) {
    l->closing = l->udp->ceased = true;
    if (l->connections == 0)
        close_listener(l);
    else
        fg_session_await_expiry(l->udp);
}

void fg_udp_remove(struct fg_listen *l) {
    stop_reading(l);
    if (l->socket < 0) /* nobody serves it now: left open, it would take datagrams from who binds the address next */
        fg_session_end_all(l->udp, FG_R_DRAIN_TIMEOUT);
    cease(l);
}

void fg_udp_drain(struct fg_listen *l) {
    if (!l->closing)
        cease(l);
}

void fg_udp_end_all(struct fg_engine *e) {
    for (struct fg_list *at = e->listens.next, *next; at != &e->listens; at = next) {
        struct fg_listen *l = fg_container_of(at, struct fg_listen, all);
        next = at->next;
        if (l->udp)
            fg_session_end_all(l->udp, FG_R_DRAIN_TIMEOUT);
    }
}
