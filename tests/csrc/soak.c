/* Several engines in one process under ThreadSanitizer: `soak IMAGE OTHER-IMAGE LOG`.
 *
 * Clients keep connections busy while images and endpoint tables are swapped, the log is reopened and the statistics are
 * read; then everything drains. No request may fail before the drain begins. */
#include "fg_host.h"
#include "fg_mix.h"
#include "fg_rig.h"

#include <fcntl.h>

enum { ENGINES = 2, CLIENTS = 3, SWAPS = 1000, ENDPOINTS_EVERY = 10, REOPEN_EVERY = 25 };

struct client {
    struct rig_client c;
    pthread_t thread;
    uint16_t port;
    unsigned first;
};

static struct rig rigs[ENGINES];
static struct rig_backend backends[2];
static struct client clients[ENGINES][CLIENTS];
static struct rig_names names;
static bool draining, over;

static bool is_set(const bool *flag) {
    return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

static void *client_thread(void *arg) {
    struct client *c = arg;
    rig_connect(&c->c, c->port);
    for (unsigned n = c->first;; n++) {
        const struct mix_request *m = &mix[n % MIX];
        bool may_end = is_set(&draining);
        int status = rig_send(&c->c, m->bytes, m->len) ? rig_receive(&c->c) : 0;
        may_end |= is_set(&draining);
        if (status == 0 && may_end)
            break;
        CHECK_EQ(status, m->status);
        if (memmem(c->c.in, c->c.len, "connection: close", 17)) {
            CHECK(may_end);
            break;
        }
    }
    rig_close(&c->c);
    return NULL;
}

static void *reader_thread(void *arg) { /* what a manager does for /metrics */
    uint64_t last[ENGINES] = {0};
    (void)arg;
    while (!is_set(&over)) {
        for (int i = 0; i < ENGINES; i++) {
            const struct fg_slab *s = rigs[i].stats;
            uint64_t now = rig_counter(&s->c.requests), in_series = 0, n = fg_stats_load_acquire(&s->nseries);
            CHECK(now >= last[i]);
            last[i] = now;
            for (uint64_t k = 0; k < n; k++)
                for (int x = 0; x < FG_LATENCY_BUCKETS; x++)
                    in_series += rig_counter(&s->series[k].latency[x]);
            CHECK(in_series <= rig_counter(&s->c.requests));
        }
    }
    return NULL;
}

static void swap(struct rig *rig, uint64_t number, const int images[2], const char *log) {
    CHECK(rig_ask(rig, FG_CTL_PREPARE, number, images[number % 2], FG_CTL_PREPARED));
    CHECK(rig_ask(rig, FG_CTL_COMMIT, number, -1, FG_CTL_COMMITTED));
    if (number % ENDPOINTS_EVERY == 0) {
        int fd = rig_endpoints(&names, backends[number / ENDPOINTS_EVERY % 2].port, number);
        CHECK(rig_ask(rig, FG_CTL_ENDPOINTS, number, fd, FG_CTL_ENDPOINTS_SET));
        close(fd);
    }
    if (number % REOPEN_EVERY == 0) {
        int fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        rig_tell(rig, FG_CTL_LOG, 0, 0, fd);
        close(fd);
    }
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 4);
    const struct fg_functions *f = fg_host_functions();
    const int images[2] = {open(argv[1], O_RDONLY | O_CLOEXEC), open(argv[2], O_RDONLY | O_CLOEXEC)};
    pthread_t reader;
    rig_names_of(f, argv[1], &names);
    rig_backend_start(&backends[0]);
    rig_backend_start(&backends[1]);
    for (int i = 0; i < ENGINES; i++) {
        uint16_t port;
        int listener = rig_listen(&port);
        CHECK(rig_start(&rigs[i], f, open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)));
        CHECK(rig_ask(&rigs[i], FG_CTL_LISTEN, names.socket, listener, FG_CTL_LISTENING));
        close(listener);
        swap(&rigs[i], 0, images, argv[3]);
        for (unsigned k = 0; k < CLIENTS; k++) {
            clients[i][k].port = port;
            clients[i][k].first = k;
            CHECK_EQ(pthread_create(&clients[i][k].thread, NULL, client_thread, &clients[i][k]), 0);
        }
    }
    CHECK_EQ(pthread_create(&reader, NULL, reader_thread, NULL), 0);
    for (uint64_t n = 1; n <= SWAPS; n++)
        for (int i = 0; i < ENGINES; i++)
            swap(&rigs[i], n, images, argv[3]);

    __atomic_store_n(&draining, true, __ATOMIC_SEQ_CST);
    for (int i = 0; i < ENGINES; i++)
        rig_tell(&rigs[i], FG_CTL_DRAIN, 0, 5000, -1);
    for (int i = 0; i < ENGINES; i++) {
        CHECK(rig_await(&rigs[i], FG_CTL_DRAINED, 0));
        for (int k = 0; k < CLIENTS; k++)
            pthread_join(clients[i][k].thread, NULL);
    }
    __atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
    pthread_join(reader, NULL);
    for (int i = 0; i < ENGINES; i++) {
        const struct fg_counters *c = &rigs[i].stats->c;
        rig_join(&rigs[i]);
        fprintf(stderr, "engine %d: %llu requests\n", i, (unsigned long long)rig_counter(&c->requests));
        CHECK(rig_counter(&c->requests) > SWAPS / 4);
        CHECK_EQ(rig_counter(&c->log_lines) + rig_counter(&c->log_dropped), rig_counter(&c->requests));
        CHECK_EQ(rig_counter(&c->connections_open), 0);
        CHECK_EQ(rig_counter(&c->requests_active), 0);
        CHECK_EQ(rig_counter(&c->generations_live), 0);
        rig_free(&rigs[i]);
    }
    rig_backend_stop(&backends[0]);
    rig_backend_stop(&backends[1]);
    return 0;
}
