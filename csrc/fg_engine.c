/* A worker: what it is made of, its loop, and its two ways to end. */
#include "fg_filter.h"
#include "fg_h2.h"
#include "fg_relay.h"
#include "fg_signer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TURN_MS = 500, TRIM_TURNS = 65536, FD_RESERVE = 64, DRAIN_FIRST_MS = 2000,
       PIPE_SHARE = 16 /* one of so many connections may have a pipe */ };

_Noreturn void fg_fatal(const char *file, int line, const char *what) {
    fprintf(stderr, "fastgate: broken invariant at %s:%d: %s\n", file, line, what);
    abort();
}

void fg_generation_unref(struct fg_engine *e, struct fg_generation *g) {
    if (--g->refs)
        return;
    e->f.close_image(&g->image);
    fg_tls_set_unref(g->tls);
    e->stats->c.generations_live--;
    fg_filter_unkeep(e, g);
}

/* Half of the descriptors for clients, for each may need one upstream. */
static uint32_t connection_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 400;
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    getrlimit(RLIMIT_NOFILE, &r);
    uint64_t n = r.rlim_cur > 2 * FD_RESERVE ? (r.rlim_cur - FD_RESERVE) / 2 : 16;
    return n > 1000000 ? 1000000 : (uint32_t)n;
}

static struct fg_slab *map_stats(int fd) {
    struct fg_slab *s = mmap(NULL, fg_stats_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->size = fg_stats_size();
    s->pid = (uint64_t)getpid();
    s->magic = FG_STATS_MAGIC;
    return s;
}

/* --- drain ---------------------------------------------------------------------------------------------------------------- */

/* The drain's time is over. */
static void end_exchanges(struct fg_engine *e) {
    for (struct fg_list *at = e->downs.next, *next; at != &e->downs; at = next) {
        struct fg_down *d = fg_container_of(at, struct fg_down, all);
        next = at->next;
        if (d->state == FG_DOWN_BUSY || d->state == FG_DOWN_TUNNEL)
            fg_exchange_fail(d->req, FG_R_DRAIN_TIMEOUT);
        else if (d->state == FG_DOWN_RELAY)
            fg_relay_end(d->relay, FG_R_DRAIN_TIMEOUT);
        else if (d->state == FG_DOWN_HTTP2)
            fg_h2_end_all(d, FG_R_DRAIN_TIMEOUT);
    }
    fg_udp_end_all(e);
}

static void drain_step(struct fg_timer *t) {
    struct fg_engine *e = fg_container_of(t, struct fg_engine, drain);
    if (e->draining == 2) {
        end_exchanges(e);
        e->loop.stop = true;
        return;
    }
    e->draining = 2;
    fg_health_stop(e);
    fg_listen_close_all(e);
    for (struct fg_list *at = e->downs.next, *next; at != &e->downs; at = next) {
        struct fg_down *d = fg_container_of(at, struct fg_down, all);
        next = at->next;
        if (d->state == FG_DOWN_HTTP2)
            fg_h2_leave(d);
        if (d->ending || d->in.p || d->io.readable)
            continue;
        if (d->state == FG_DOWN_IDLE)
            fg_down_end(d, true);
        else if (d->state == FG_DOWN_FIRST) /* its first request may be on its way */
            fg_timer_at(&e->loop.wheel, &d->timer, fg_now_ms(&e->loop) + DRAIN_FIRST_MS);
    }
    fg_timer_at(&e->loop.wheel, &e->drain, fg_now_ms(&e->loop) + e->drain_timeout);
}

void fg_engine_drain(struct fg_engine *e, uint64_t delay_ms, uint64_t timeout_ms) {
    if (e->draining)
        return;
    e->draining = 1;
    e->drain_timeout = timeout_ms;
    e->drain.fire = drain_step;
    if (delay_ms)
        fg_timer_at(&e->loop.wheel, &e->drain, fg_now_ms(&e->loop) + delay_ms);
    else
        drain_step(&e->drain);
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

static int take(int *fd) {
    int taken = *fd;
    *fd = -1;
    return taken;
}

static void close_descriptors(const struct fg_engine_options *o) {
    const int fds[] = {o->control_fd, o->stats_fd, o->log_fd, o->adopt_fd};
    for (unsigned i = 0; i < FG_COUNT_OF(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* Each part takes its descriptor, also when it cannot be made; `left` keeps the others. Control is the last: its HELLO says
 * that the worker can work. */
static int make_parts(struct fg_engine *e, struct fg_engine_options *left) {
    if (fg_loop_init(&e->loop) < 0 || (e->stats = map_stats(left->stats_fd)) == NULL)
        return -1;
    e->o.stats_fd = take(&left->stats_fd); /* a successor of the manager maps it too */
    if ((e->tls = fg_tls_common_new(&e->pool)) == NULL)
        return -1;
    if ((e->orphan = fg_orphan_new(e, take(&left->adopt_fd))) == NULL || (e->log = fg_log_new(e, take(&left->log_fd))) == NULL)
        return -1;
    return (e->control = fg_control_new(e, take(&left->control_fd))) ? 0 : -1;
}

struct fg_engine *fg_engine_new(const struct fg_functions *functions, const struct fg_engine_options *options) {
    struct fg_engine *e = calloc(1, sizeof *e);
    struct fg_engine_options left = *options;
    if (e == NULL) {
        close_descriptors(&left);
        return NULL;
    }
    e->f = *functions;
    e->o = *options;
    e->o.stats_fd = -1;
    e->usability = 1;
    fg_list_init(&e->listens);
    fg_list_init(&e->downs);
    fg_list_init(&e->handshakes);
    fg_list_init(&e->h2_touched);
    fg_list_init(&e->ups);
    fg_pool_init(&e->pool, options->memory_limit);
    e->max_connections = connection_limit();
    e->pipes.most = e->max_connections / PIPE_SHARE;
    e->max_connections -= e->pipes.most; /* a pipe has two descriptors, as a connection with its endpoint's has */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    e->random = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^ (uint64_t)getpid() << 16 ^ options->worker ^ 1;
    if (make_parts(e, &left) < 0) {
        fg_engine_free(e);
        close_descriptors(&left);
        return NULL;
    }
    return e;
}

int fg_engine_run(struct fg_engine *e) {
    struct fg_counters *c = &e->stats->c;
    while (!e->loop.stop) {
        fg_loop_turn(&e->loop, TURN_MS);
        fg_handshakes_turn(e);
        c->heartbeat_ms = fg_now_ms(&e->loop);
        c->turns = e->loop.turns;
        c->slow_turns = e->loop.slow_turns;
        c->longest_turn_ns = e->loop.longest_turn_ns;
        c->buffer_bytes = e->pool.used;
        if (e->filters)
            fg_filter_run_inline(e);
        if (e->datagrams)
            fg_udp_flush(e);
        if (!fg_list_empty(&e->h2_touched))
            fg_h2_turn(e);
        fg_log_kick(e->log);
        if (e->loop.turns % TRIM_TURNS == 0)
            fg_pool_trim(&e->pool);
        if (e->draining == 2 && fg_list_empty(&e->downs) && fg_list_empty(&e->listens)) {
            fg_control_drained(e);
            break;
        }
    }
    return 0;
}

/* Closing a connection may free its endpoint: the chain is looked at afresh after every one. */
static void close_upstreams(struct fg_engine *e) {
    for (unsigned i = 0; i < FG_ENDPOINT_BUCKETS; i++) {
        struct fg_endpoint *ep = e->buckets[i];
        while (ep) {
            if (fg_list_empty(&ep->idle)) {
                ep = ep->next;
                continue;
            }
            fg_up_close(fg_container_of(ep->idle.next, struct fg_up, link));
            ep = e->buckets[i];
        }
    }
}

void fg_engine_free(struct fg_engine *e) {
    if (e == NULL)
        return;
    fg_timer_stop(&e->loop.wheel, &e->drain);
    while (!fg_list_empty(&e->downs)) {
        struct fg_down *d = fg_container_of(e->downs.next, struct fg_down, all);
        if (d->req && d->req->up)
            fg_up_close(d->req->up);
        fg_down_close(d);
    }
    fg_signer_free(e->signer);
    if (e->stats) {
        fg_udp_end_all(e);
        fg_listen_close_all(e);
        close_upstreams(e);
        fg_health_free(e);
        fg_endpoints_free(e, e->endpoints);
        if (e->gen)
            fg_generation_unref(e, e->gen);
    }
    fg_datagrams_free(e->datagrams);
    fg_filter_free(e);
    if (e->log)
        fg_log_free(e->log);
    if (e->control)
        fg_control_free(e->control);
    if (e->orphan)
        fg_orphan_free(e->orphan);
    fg_pipes_fini(&e->pipes);
    fg_tls_common_free(e->tls);
    fg_loop_fini(&e->loop);
    for (unsigned i = 0; i < FG_SWRR_BUCKETS; i++) {
        for (struct fg_swrr *s = e->swrr[i], *next; s; s = next) {
            next = s->next;
            free(s);
        }
    }
    for (struct fg_req *r = e->free_reqs, *next; r; r = next) {
        next = r->next_free;
        free(r);
    }
    fg_pool_fini(&e->pool);
    if (e->stats)
        munmap(e->stats, fg_stats_size());
    if (e->o.stats_fd >= 0)
        close(e->o.stats_fd);
    free(e);
}
