/* Steady traffic allocates nothing: `allocations IMAGE` counts, at the linker, over the engine and the parsers. */
#include "fg_alloc.h"
#include "fg_host.h"
#include "fg_mix.h"
#include "fg_rig.h"

#include <fcntl.h>

enum { CLIENTS = 8, WARM_UP = 2000, COUNTED = 10000 };

static struct rig rig;
static struct rig_backend backend;
static struct rig_client clients[CLIENTS];

/* One request on every connection at once, each of another kind than its neighbour's. */
static void round_of(unsigned n) {
    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct mix_request *m = &mix[(n + i) % MIX];
        CHECK(rig_send(&clients[i], m->bytes, m->len));
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        CHECK_EQ(rig_receive(&clients[i]), mix[(n + i) % MIX].status);
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 2);
    const struct fg_functions *f = fg_host_functions();
    struct rig_names names;
    uint16_t port;
    rig_names_of(f, argv[1], &names);
    rig_backend_start(&backend);
    int listener = rig_listen(&port), image = open(argv[1], O_RDONLY), endpoints = rig_endpoints(&names, backend.port, 1);
    CHECK(rig_start(&rig, f, open("/dev/null", O_WRONLY)));
    CHECK(rig_ask(&rig, FG_CTL_LISTEN, names.socket, listener, FG_CTL_LISTENING));
    CHECK(rig_ask(&rig, FG_CTL_ENDPOINTS, 1, endpoints, FG_CTL_ENDPOINTS_SET));
    CHECK(rig_ask(&rig, FG_CTL_PREPARE, 1, image, FG_CTL_PREPARED));
    CHECK(rig_ask(&rig, FG_CTL_COMMIT, 1, -1, FG_CTL_COMMITTED));
    for (unsigned i = 0; i < CLIENTS; i++)
        rig_connect(&clients[i], port);

    unsigned n = 0;
    for (; n < WARM_UP / CLIENTS; n++)
        round_of(n);
    uint64_t before = fg_alloc_count();
    CHECK(before > CLIENTS); /* connections were: the count works */
    for (; n < (WARM_UP + COUNTED) / CLIENTS; n++)
        round_of(n);
    CHECK_EQ(fg_alloc_count() - before, 0);

    CHECK(rig_counter(&rig.stats->c.requests) >= WARM_UP + COUNTED - CLIENTS);
    CHECK_EQ(rig_counter(&rig.stats->c.py_enter), 0);
    rig_tell(&rig, FG_CTL_STOP, 0, 0, -1);
    rig_join(&rig);
    rig_free(&rig);
    rig_backend_stop(&backend);
    return 0;
}
