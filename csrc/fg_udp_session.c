/* Sessions: the table, who goes first when there is no room, silence. */
#include "fg_siphash.h"
#include "fg_udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXPIRE_AT_ONCE = 256, CLOSING_IDLE_MS = 5000, ROUTE_NAME = 180 /* of a line of the log, as elsewhere */ };

/* --- the table ------------------------------------------------------------------------------------------------------------------ */

/* Slots are allocated for all that there may ever be, and touched by those that there are. */
struct fg_datagrams *fg_datagrams_new(uint32_t most) {
    struct fg_datagrams *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    uint32_t slots = 4;
    while (slots < 2 * (uint64_t)most)
        slots *= 2;
    d->mask = slots - 1;
    d->most = most;
    d->slots = calloc(slots, sizeof *d->slots);
    if (d->slots == NULL || !fg_udp_in_init(&d->in, true) || !fg_udp_in_init(&d->answers, false) ||
        getrandom(d->secret, sizeof d->secret, 0) != sizeof d->secret) {
        fg_datagrams_free(d);
        return NULL;
    }
    return d;
}

void fg_datagrams_free(struct fg_datagrams *d) {
    if (d == NULL)
        return;
    free(d->in.bytes);
    free(d->answers.bytes);
    free(d->slots);
    free(d);
}

uint64_t fg_session_hash(const struct fg_datagrams *d, const struct fg_udp *udp, const struct fg_source *source) {
    uint64_t words[6];
    memcpy(words, source, sizeof *source);
    words[5] = (uintptr_t)udp;
    return fg_siphash(d->secret, words, FG_COUNT_OF(words));
}

struct fg_session *fg_session_find(const struct fg_datagrams *d, const struct fg_udp *udp, const struct fg_source *source,
                                   uint64_t hash) {
    for (uint64_t at = hash;; at++) {
        const struct fg_session_slot *slot = &d->slots[at & d->mask];
        if (slot->session == NULL)
            return NULL;
        if (slot->hash == hash && slot->session->udp == udp && memcmp(&slot->session->source, source, sizeof *source) == 0)
            return slot->session;
    }
}

static void put(struct fg_datagrams *d, struct fg_session *s) {
    uint64_t at = s->hash;
    while (d->slots[at & d->mask].session)
        at++;
    d->slots[at & d->mask] = (struct fg_session_slot){s->hash, s};
    d->sessions++;
}

/* What follows moves up, so that no search stops at the gap. */
static void take_out(struct fg_datagrams *d, const struct fg_session *s) {
    uint64_t gap = s->hash;
    while (d->slots[gap & d->mask].session != s)
        gap++;
    for (uint64_t at = gap + 1; d->slots[at & d->mask].session; at++) {
        uint64_t home = d->slots[at & d->mask].hash;
        if (((at - home) & d->mask) >= ((at - gap) & d->mask)) {
            d->slots[gap & d->mask] = d->slots[at & d->mask];
            gap = at;
        }
    }
    d->slots[gap & d->mask] = (struct fg_session_slot){0};
    d->sessions--;
}

/* --- silence ---------------------------------------------------------------------------------------------------------------------- */

static uint64_t idle_ms(const struct fg_udp *udp) {
    bool short_one = udp->ceased && (udp->idle_ms == 0 || udp->idle_ms > CLOSING_IDLE_MS);
    return short_one ? CLOSING_IDLE_MS : udp->idle_ms;
}

/* The session that was silent for the longest of those that are proven, or that are not. */
static struct fg_session *oldest(const struct fg_udp *udp, bool proven) {
    const struct fg_list *list = &udp->sessions[proven];
    return fg_list_empty(list) ? NULL : fg_container_of(list->prev, struct fg_session, recent);
}

void fg_session_await_expiry(struct fg_udp *udp) {
    uint64_t idle = idle_ms(udp), first = UINT64_MAX;
    for (int proven = 0; proven < 2; proven++) {
        const struct fg_session *s = oldest(udp, proven);
        if (s && s->used_ms + idle < first)
            first = s->used_ms + idle;
    }
    if (idle && first != UINT64_MAX)
        fg_timer_at(&udp->listen->e->loop.wheel, &udp->expiry, first);
    else
        fg_timer_clear(&udp->expiry);
}

void fg_session_expire(struct fg_timer *t) {
    struct fg_udp *udp = fg_container_of(t, struct fg_udp, expiry);
    uint64_t now = fg_now_ms(&udp->listen->e->loop), idle = idle_ms(udp);
    unsigned left = EXPIRE_AT_ONCE; /* the others in the next turn */
    for (int proven = 0; proven < 2; proven++) {
        struct fg_session *s;
        while (left && (s = oldest(udp, proven)) && s->used_ms + idle <= now) {
            fg_session_end(s, FG_R_RELAY_IDLE);
            left--;
        }
    }
    fg_session_await_expiry(udp);
}

void fg_session_touch(struct fg_session *s) {
    uint64_t now = fg_now_ms(&s->udp->listen->e->loop);
    if (s->used_ms == now) /* the order within a millisecond is nobody's concern */
        return;
    s->used_ms = now;
    fg_list_remove(&s->recent);
    fg_list_push(&s->udp->sessions[s->proven], &s->recent);
}

void fg_session_prove(struct fg_session *s) {
    s->proven = true;
    fg_list_remove(&s->recent);
    fg_list_push(&s->udp->sessions[true], &s->recent);
}

/* --- room -------------------------------------------------------------------------------------------------------------------------- */

/* Sources that are not proven may be invented: one that is gives way only when there is no other. */
static bool make_room(struct fg_udp *udp) {
    struct fg_session *s = oldest(udp, false);
    if (s == NULL)
        s = oldest(udp, true);
    if (s == NULL)
        return false;
    fg_session_end(s, FG_R_SESSIONS_FULL);
    return true;
}

/* Who has the most sessions: a flood of one listener takes nothing from another. */
static struct fg_udp *largest(struct fg_engine *e) {
    struct fg_listen *most = NULL;
    for (struct fg_list *at = e->listens.next; at != &e->listens; at = at->next) {
        struct fg_listen *l = fg_container_of(at, struct fg_listen, all);
        if (l->udp && (most == NULL || l->connections > most->connections))
            most = l;
    }
    return most->udp;
}

static bool find_room(struct fg_udp *udp) {
    struct fg_engine *e = udp->listen->e;
    uint32_t own = fg_share(e, e->gen->image.sockets[udp->listen->socket].limits.connections);
    if (own && udp->listen->connections >= own)
        return make_room(udp);
    return e->datagrams->sessions < e->datagrams->most || make_room(largest(e));
}

/* --- life -------------------------------------------------------------------------------------------------------------------------- */

static struct fg_address address_of(const uint8_t ip[16], uint16_t port, bool v6) {
    struct sockaddr_storage sa = {0};
    struct fg_address a;
    if (v6) {
        struct sockaddr_in6 *in6 = (void *)&sa;
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&in6->sin6_addr, ip, sizeof in6->sin6_addr);
    } else {
        struct sockaddr_in *in = (void *)&sa;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&in->sin_addr, ip, sizeof in->sin_addr);
    }
    fg_address_read(&a, &sa);
    return a;
}

/* The same whoever asks: a worker's successor, and another worker, send a source to the same endpoint. */
static uint64_t affinity(const struct fg_source *source, bool v6) {
    struct fg_address a = address_of(source->ip, ntohs(source->port), v6);
    return fg_address_key(&a);
}

static int connect_to(const struct fg_endpoint *ep) {
    struct sockaddr_storage sa;
    socklen_t len = fg_address_sockaddr(&ep->address, &sa);
    int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

/* connect has no ephemeral port left: EAGAIN. */
static bool is_short(int error) {
    return fg_is_shortage(error) || error == EAGAIN || error == EADDRINUSE;
}

static void session_free(struct fg_grave *g) {
    free(fg_container_of(g, struct fg_session, grave));
}

static struct fg_session *make(struct fg_udp *udp, struct fg_endpoint *ep, int fd) {
    struct fg_engine *e = udp->listen->e;
    struct fg_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->io.fd = fd;
    s->io.run = fg_udp_answer;
    if (fg_loop_add(&e->loop, &s->io, EPOLLIN) < 0) {
        free(s);
        return NULL;
    }
    s->grave.free = session_free;
    s->udp = udp;
    s->series = udp->series;
    s->endpoint = ep;
    s->endpoint->refs++;
    s->usability = e->usability;
    return s;
}

struct fg_session *fg_session_begin(struct fg_udp *udp, const struct fg_source *source, uint64_t hash) {
    struct fg_engine *e = udp->listen->e;
    uint64_t affine = affinity(source, udp->v6);
    const struct fg_img_backend *b = udp->relay && !udp->ceased ? fg_relay_rendezvous(e, udp->relay, affine) : NULL;
    if (b == NULL || b->cluster == 0 || fg_pool_full(&e->pool))
        return NULL;
    uint64_t cluster = e->gen->image.clusters[b->cluster - 1].key;
    struct fg_endpoint *ep = fg_cluster_rendezvous(e, cluster, affine);
    if (ep == NULL || !find_room(udp))
        return NULL;
    int fd = connect_to(ep);
    if (fd < 0 && is_short(errno) && make_room(udp))
        fd = connect_to(ep);
    if (fd < 0) {
        if (!is_short(errno))
            fg_endpoint_failed(e, ep); /* there is no way to it */
        return NULL;
    }
    struct fg_session *s = make(udp, ep, fd);
    if (s == NULL) {
        close(fd);
        return NULL;
    }
    s->source = *source;
    s->hash = hash;
    s->cluster = cluster;
    s->route_key = udp->relay->route_key;
    s->began_ms = s->used_ms = fg_now_ms(&e->loop);
    fg_list_push(&udp->sessions[false], &s->recent);
    put(e->datagrams, s);
    udp->listen->connections++;
    s->series->connections++;
    s->series->active++;
    if (udp->expiry.deadline == 0)
        fg_session_await_expiry(udp);
    return s;
}

bool fg_session_stays(struct fg_session *s) {
    struct fg_udp *udp = s->udp;
    struct fg_engine *e = udp->listen->e;
    if (s->usability == e->usability)
        return true;
    const struct fg_img_backend *b = udp->relay ? (const void *)(e->gen->image.sockets_seg + udp->relay->backends.off) : NULL;
    for (uint32_t i = 0; b && i < udp->relay->backends.len; i++) {
        if (b[i].weight == 0 || b[i].cluster == 0 || e->gen->image.clusters[b[i].cluster - 1].key != s->cluster)
            continue;
        if (fg_cluster_at(e, s->cluster, &s->endpoint->address) != s->endpoint)
            return false;
        s->usability = e->usability;
        return true;
    }
    return false;
}

/* Its datagrams of the batch that is being forwarded go nowhere. */
static void drop_waiting(struct fg_session *s) {
    const struct fg_udp_in *in = &s->udp->listen->e->datagrams->in;
    for (unsigned i = s->first;; i = in->next[i]) {
        s->series->datagrams_dropped += fg_udp_count(in->iov[i].iov_len, in->segment[i]);
        if (i == s->last)
            break;
    }
    s->waiting = false;
}

static void log_session(const struct fg_session *s, int reason) {
    const struct fg_udp *udp = s->udp;
    const struct fg_image *image = &udp->listen->e->gen->image;
    if (udp->listen->socket < 0)
        return; /* nothing says how, any more */
    const struct fg_img_socket *socket = &image->sockets[udp->listen->socket];
    struct fg_address client = address_of(s->source.ip, ntohs(s->source.port), udp->v6), local = udp->listen->bound;
    char route[ROUTE_NAME] = "";
    if (udp->any)
        local = address_of(s->source.local, local.port, udp->v6);
    if (udp->relay && udp->relay->route_key == s->route_key) {
        struct fg_bytes name = fg_str(image->sockets_seg, udp->relay->route);
        memcpy(route, name.p, name.len < sizeof route ? name.len : sizeof route - 1);
    }
    const struct fg_relayed line = {.protocol = FG_LISTENER_UDP, .form = socket->access_log, .socket = socket, .client = &client,
        .local = &local, .upstream = &s->endpoint->address, .listener = s->series->name, .route = route, .reason = reason,
        .received = s->received, .sent = s->sent, .took_us = (s->used_ms - s->began_ms) * 1000, .tries = 1};
    fg_log_relay(udp->listen->e, &line);
}

void fg_session_end(struct fg_session *s, int reason) {
    struct fg_udp *udp = s->udp;
    struct fg_engine *e = udp->listen->e;
    if (s->waiting)
        drop_waiting(s);
    if (reason)
        e->stats->reasons[reason]++;
    log_session(s, reason);
    s->series->active--;
    take_out(e->datagrams, s);
    fg_list_remove(&s->recent);
    fg_loop_close(&e->loop, &e->pool, &s->io);
    fg_endpoint_unref(e, s->endpoint);
    fg_loop_bury(&e->loop, &s->grave);
    if (--udp->listen->connections == 0)
        fg_udp_empty(udp);
}

void fg_session_end_all(struct fg_udp *udp, int reason) {
    for (uint32_t left = udp->listen->connections; left; left--) {
        struct fg_session *s = oldest(udp, false);
        fg_session_end(s ? s : oldest(udp, true), reason);
    }
}
