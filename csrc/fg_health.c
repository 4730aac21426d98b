/* Active health checks: `GET path` on a connection of its own, again and again, to each endpoint of a cluster with a check.
 *
 * One worker probes an endpoint, the one that the key chooses, so that N workers cause no more load than one. It tells the
 * manager when its verdict changes, and the manager tells the others. An endpoint is healthy until `unhealthy` probes in a
 * row failed, and unhealthy until `healthy` ones succeeded. What is known hangs on the key (check and address): it survives
 * reloads, and clusters with equal checks share it. */
#include "fg_hash.h"
#include "fg_tls.h"
#include "fg_worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_STATUSES = 16, MAX_INTERIM = 16, MAX_HEAD = FG_BUF_MEDIUM };

enum probe_state { PROBE_NONE, PROBE_CONNECTING, PROBE_HANDSHAKE, PROBE_READING };

struct fg_health {
    struct fg_health *next;  /* hash chain */
    uint64_t key;
    struct fg_engine *e;
    struct fg_endpoint *endpoint;
    bool down;
    bool ours;               /* this worker probes */
    bool known;              /* it finished a probe, and no longer believes others */
    bool turned;             /* its verdict changed here, at least once */
    bool wanted;             /* by the configuration: mark of fg_health_sync */
    uint32_t against;        /* results in a row that contradict `down` */
    uint32_t interval, timeout, healthy, unhealthy;
    struct fg_img_statuses statuses[MAX_STATUSES];
    uint32_t nstatuses;
    /* The probe that is on, and when the next one is due: `timer` serves both. */
    uint8_t state;           /* enum probe_state */
    uint32_t scanned, interim;
    uint64_t next_at;        /* ms */
    struct fg_timer timer;
    struct fg_io io;
    struct fg_shaking shaking;
    struct fg_buf in;
    struct fg_grave grave;
    uint32_t name_len;       /* "127.0.0.1:80 GET /path", for the log; the request follows it */
    uint32_t request_len;
    char text[];
};

bool fg_health_down(const struct fg_health *h) {
    return h->down;
}

/* --- probes ---------------------------------------------------------------------------------------------------------------- */

static void probe_close(struct fg_health *h) {
    if (h->state == PROBE_NONE)
        return;
    h->state = PROBE_NONE;
    fg_handshake_leave(&h->shaking);
    fg_loop_close(&h->e->loop, &h->e->pool, &h->io);
    fg_buf_release(&h->e->pool, &h->in);
}

static void turn(struct fg_health *h, bool healthy, const char *why) {
    char text[224];
    h->down = !healthy;
    h->turned = true;
    h->against = 0;
    h->e->usability++;
    snprintf(text, sizeof text, "%.*s: %s", (int)h->name_len, h->text, why);
    fg_control_health(h->e, h->key, healthy, text);
}

static void finished(struct fg_health *h, bool good, const char *why) {
    struct fg_engine *e = h->e;
    probe_close(h);
    h->known = true;
    e->stats->c.health_failures += !good;
    if (good != h->down)
        h->against = 0;
    else if (++h->against >= (good ? h->healthy : h->unhealthy))
        turn(h, good, why);
    uint64_t now = fg_now_ms(&e->loop);
    fg_timer_at(&e->loop.wheel, &h->timer, h->next_at > now ? h->next_at : now + 1);
}

static bool expected(const struct fg_health *h, uint16_t status) {
    for (uint32_t i = 0; i < h->nstatuses; i++)
        if (h->statuses[i].first <= status && status <= h->statuses[i].last)
            return true;
    return false;
}

/* Looks for a final response head in what was read. True when the probe is over. */
static bool judge(struct fg_health *h) {
    static const struct fg_h1_limits limits = {MAX_HEAD, MAX_HEAD, FG_MAX_FIELDS};
    struct fg_engine *e = h->e;
    struct fg_h1_head *head = &e->response;
    for (;;) {
        memset(head, 0, sizeof *head);
        head->fields = e->response_fields;
        head->scanned = h->scanned;
        int64_t n = e->f.parse_response(fg_buf_data(&h->in), fg_buf_len(&h->in), &limits, head);
        h->scanned = head->scanned;
        if (n == FG_MORE)
            return false;
        char why[32];
        snprintf(why, sizeof why, "status %u", head->status);
        if (n < 0 || (head->status < 200 && ++h->interim > MAX_INTERIM))
            finished(h, false, "malformed response");
        else if (head->status >= 200)
            finished(h, expected(h, head->status), why);
        else {
            fg_buf_consume(&h->in, (uint32_t)n);
            h->scanned = 0;
            continue;
        }
        return true;
    }
}

static void probe_read(struct fg_health *h) {
    for (;;) {
        if (fg_buf_room(&h->in) == 0 && fg_buf_reserve(&h->e->pool, &h->in, h->in.cap ? MAX_HEAD : FG_BUF_SMALL) < 0) {
            finished(h, false, "no memory");
            return;
        }
        ssize_t n = fg_io_read(&h->io, &h->in);
        if (n == -1 && fg_buf_room(&h->in))
            return;
        if (n <= 0) {
            finished(h, false, n == 0 ? "closed before its response" : n == -1 ? "malformed response" : strerror(errno));
            return;
        }
        if (judge(h))
            return;
    }
}

static void probe_ask(struct fg_health *h) {
    struct fg_engine *e = h->e;
    h->state = PROBE_READING;
    if (fg_io_owe(&h->io, &e->pool, h->text + h->name_len, h->request_len) < 0)
        finished(h, false, "no memory");
    else if (fg_io_writev(&h->io, &e->pool, NULL, 0) == -2)
        finished(h, false, strerror(errno));
    else
        probe_read(h);
}

static void probe_shake(struct fg_io *io) {
    struct fg_health *h = fg_container_of(io, struct fg_health, io);
    struct fg_tls_result result;
    char why[160];
    switch (fg_tls_handshake(io)) {
    case FG_TLS_WAIT:
        break;
    case FG_TLS_DONE:
        probe_ask(h);
        break;
    default:
        fg_tls_result(io, &result);
        snprintf(why, sizeof why, "TLS: %s", result.error);
        finished(h, false, why);
    }
}

static void probe_connected(struct fg_health *h) {
    const struct fg_endpoint *ep = h->endpoint;
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(h->io.fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        finished(h, false, strerror(error));
    } else if (ep->tls_key == 0) {
        probe_ask(h);
    } else if (fg_tls_client(&h->io, ep->tls, ep->sessions) < 0) {
        finished(h, false, "no memory");
    } else {
        h->state = PROBE_HANDSHAKE;
        fg_handshake_wait(h->e, &h->shaking);
    }
}

static void probe_run(struct fg_io *io) {
    struct fg_health *h = fg_container_of(io, struct fg_health, io);
    switch (h->state) {
    case PROBE_CONNECTING:
        if (io->writable)
            probe_connected(h);
        break;
    case PROBE_HANDSHAKE:
        fg_handshake_wait(h->e, &h->shaking);
        break;
    default:
        if (fg_io_writev(io, &h->e->pool, NULL, 0) == -2)
            finished(h, false, strerror(errno));
        else
            probe_read(h);
    }
}

static void probe_start(struct fg_health *h) {
    struct fg_engine *e = h->e;
    uint64_t now = fg_now_ms(&e->loop), spread = h->interval / 5 + 1;
    h->next_at = now + h->interval - spread / 2 + fg_random(e) % spread; /* checks that began together drift apart */
    h->scanned = h->interim = 0;
    e->stats->c.health_probes++;
    struct sockaddr_storage sa;
    socklen_t len = fg_address_sockaddr(&h->endpoint->address, &sa);
    h->io = (struct fg_io){.fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .run = probe_run};
    h->state = PROBE_CONNECTING;
    if (h->io.fd < 0 || (connect(h->io.fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) ||
        fg_loop_add(&e->loop, &h->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
        finished(h, false, strerror(errno));
        return;
    }
    setsockopt(h->io.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    fg_timer_at(&e->loop.wheel, &h->timer, now + h->timeout);
}

static void health_expired(struct fg_timer *t) {
    struct fg_health *h = fg_container_of(t, struct fg_health, timer);
    if (h->state == PROBE_NONE)
        probe_start(h);
    else
        finished(h, false, "timeout");
}

/* --- what the configuration asks for ------------------------------------------------------------------------------------------ */

static struct fg_health *find(const struct fg_engine *e, uint64_t key) {
    struct fg_health *h = e->healths[key % FG_HEALTH_BUCKETS];
    while (h && h->key != key)
        h = h->next;
    return h;
}

static int print_authority(char *out, size_t cap, const struct fg_address *a) {
    char ip[INET6_ADDRSTRLEN];
    inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, ip, sizeof ip);
    return snprintf(out, cap, a->family == 4 ? "%s:%u" : "[%s]:%u", ip, a->port);
}

static void health_free(struct fg_grave *g) {
    free(fg_container_of(g, struct fg_health, grave));
}

static struct fg_health *health_new(struct fg_engine *e, const struct fg_img_cluster *c, struct fg_endpoint *ep,
                                    uint64_t key) {
    const uint8_t *seg = e->gen->image.clusters_seg;
    struct fg_bytes path = fg_str(seg, c->health_path), host = fg_str(seg, c->health_host);
    char authority[INET6_ADDRSTRLEN + 16];
    int authority_len = print_authority(authority, sizeof authority, &ep->address);
    if (host.len == 0)
        host = (struct fg_bytes){(const uint8_t *)authority, (size_t)authority_len};
    size_t room = 160 + (size_t)authority_len + 2 * path.len + host.len;
    struct fg_health *h = calloc(1, sizeof *h + room);
    if (h == NULL)
        return NULL;
    h->name_len = (uint32_t)snprintf(h->text, room, "%s GET %.*s", authority, (int)path.len, path.p);
    h->request_len = (uint32_t)snprintf(h->text + h->name_len, room - h->name_len,
                                        "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: fastgate-health\r\n"
                                        "Accept: */*\r\nConnection: close\r\n\r\n",
                                        (int)path.len, path.p, (int)host.len, host.p);
    h->e = e;
    h->key = key;
    h->endpoint = ep;
    ep->refs++;
    h->io.fd = -1;
    fg_handshake_init(&h->shaking, &h->io, probe_shake);
    h->ours = e->o.workers == 0 || key % e->o.workers == e->o.worker;
    h->interval = c->health_interval;
    h->timeout = c->health_timeout;
    h->healthy = c->health_healthy;
    h->unhealthy = c->health_unhealthy;
    h->nstatuses = c->health_statuses.len < MAX_STATUSES ? c->health_statuses.len : MAX_STATUSES;
    memcpy(h->statuses, seg + c->health_statuses.off, h->nstatuses * sizeof h->statuses[0]);
    h->timer.fire = health_expired;
    h->grave.free = health_free;
    h->next = e->healths[key % FG_HEALTH_BUCKETS];
    e->healths[key % FG_HEALTH_BUCKETS] = h;
    if (h->ours && e->draining < 2) /* anywhere in the first interval: endpoints are added by the hundred */
        fg_timer_at(&e->loop.wheel, &h->timer, fg_now_ms(&e->loop) + 1 + fg_random(e) % h->interval);
    return h;
}

static void drop(struct fg_health *h) {
    struct fg_engine *e = h->e;
    probe_close(h);
    fg_timer_stop(&e->loop.wheel, &h->timer);
    fg_endpoint_unref(e, h->endpoint);
    fg_loop_bury(&e->loop, &h->grave);
}

/* Drops what is not wanted. */
static void sweep(struct fg_engine *e) {
    for (unsigned i = 0; i < FG_HEALTH_BUCKETS; i++) {
        for (struct fg_health **at = &e->healths[i], *h; (h = *at);) {
            if (h->wanted) {
                h->wanted = false;
                at = &h->next;
            } else {
                *at = h->next;
                drop(h);
            }
        }
    }
}

void fg_health_sync(struct fg_engine *e) {
    struct fg_endpoints *t = e->endpoints;
    if (e->gen == NULL || t == NULL)
        return;
    e->usability++;
    for (uint32_t i = 0; i < t->n; i++)
        for (uint32_t j = 0; t->clusters[i].checked && j < t->clusters[i].n; j++)
            t->clusters[i].choices[j].health = NULL;
    for (uint32_t i = 0; i < e->gen->image.nclusters; i++) {
        const struct fg_img_cluster *ic = &e->gen->image.clusters[i];
        struct fg_cluster *c = ic->health_key ? fg_cluster_find(t, ic->key) : NULL;
        for (uint32_t j = 0; c && j < c->n; j++) {
            struct fg_choice *x = &c->choices[j];
            const struct fg_address *a = &x->endpoint->address;
            uint64_t key = fg_health_key(ic->health_key, a->ip, a->port, a->family);
            struct fg_health *h = find(e, key);
            if (h == NULL && (h = health_new(e, ic, x->endpoint, key)) == NULL)
                continue; /* no memory: as if it were not checked */
            h->wanted = true;
            x->health = h;
            c->checked = true;
        }
    }
    sweep(e);
}

void fg_health_told(struct fg_engine *e, uint64_t key, bool healthy) {
    struct fg_health *h = find(e, key);
    if (h == NULL || h->known || h->down != healthy)
        return;
    h->down = !healthy;
    e->usability++;
}

void fg_health_report(struct fg_engine *e) {
    for (unsigned i = 0; i < FG_HEALTH_BUCKETS; i++) {
        for (struct fg_health *h = e->healths[i]; h; h = h->next) {
            char text[224];
            if (!h->turned)
                continue;
            snprintf(text, sizeof text, "%.*s: since before this manager", (int)h->name_len, h->text);
            fg_control_health(e, h->key, !h->down, text);
        }
    }
}

void fg_health_stop(struct fg_engine *e) {
    for (unsigned i = 0; i < FG_HEALTH_BUCKETS; i++) {
        for (struct fg_health *h = e->healths[i]; h; h = h->next) {
            probe_close(h);
            fg_timer_clear(&h->timer);
        }
    }
}

void fg_health_free(struct fg_engine *e) {
    sweep(e);
}
