/* An engine on a thread between a small backend and small clients, all in one process. Nothing here allocates, so that what
 * is counted is the engine's. Every wait ends the program after RIG_SECONDS. */
#ifndef FG_RIG_H
#define FG_RIG_H

#include "fg_control.h"
#include "fg_engine.h"
#include "fg_stats.h"
#include "fg_test.h"

#include <pthread.h>

enum { RIG_SECONDS = 20, RIG_BYTES = 256 * 1024, RIG_CONNS = 64, RIG_CLUSTERS = 8 };

/* --- a backend: the request's path says what it answers ------------------------------------------------------------------ */

struct rig_peer {
    int fd;
    uint32_t len;
    uint8_t in[RIG_BYTES];
};

struct rig_backend {
    int listener, wake[2];
    uint16_t port;
    pthread_t thread;
    struct rig_peer peers[RIG_CONNS];
};

void rig_backend_start(struct rig_backend *b);
void rig_backend_stop(struct rig_backend *b);

/* --- a client ---------------------------------------------------------------------------------------------------------------- */

struct rig_client {
    int fd;
    uint32_t len; /* of the last response, once it is whole */
    uint8_t in[RIG_BYTES];
};

int rig_listen(uint16_t *port); /* a bound, listening socket on loopback */
void rig_connect(struct rig_client *c, uint16_t port);
bool rig_send(struct rig_client *c, const void *request, size_t n); /* false: the connection is cut */
int rig_receive(struct rig_client *c);                              /* status, or 0: the connection is cut */
void rig_close(struct rig_client *c);

/* --- an engine --------------------------------------------------------------------------------------------------------------- */

/* What an image is addressed by. */
struct rig_names {
    uint64_t socket;
    uint64_t clusters[RIG_CLUSTERS];
    uint32_t nclusters;
};

struct rig {
    const struct fg_functions *f;
    struct fg_engine_options options;
    int control;
    const struct fg_slab *stats; /* a mapping of its own, as a manager has it */
    pthread_t thread;
    bool made;                   /* set by the thread, valid after the join */
};

void rig_names_of(const struct fg_functions *f, const char *image, struct rig_names *names);
/* False when the engine could not be made. The log's descriptor becomes the engine's. */
bool rig_start(struct rig *rig, const struct fg_functions *f, int log_fd);
void rig_join(struct rig *rig); /* waits for the engine's end; its last statistics can still be read */
void rig_free(struct rig *rig);

/* Sends a message (the descriptor stays the caller's) and waits for its answer: false when that is FAILED. */
bool rig_ask(struct rig *rig, uint32_t type, uint64_t key, int fd, uint32_t answer);
void rig_tell(struct rig *rig, uint32_t type, uint64_t a, uint64_t b, int fd); /* for messages without an answer */
bool rig_await(struct rig *rig, uint32_t answer, uint64_t key);

int rig_endpoints(const struct rig_names *names, uint16_t port, uint64_t version); /* a memfd: every cluster has this one */

static inline uint64_t rig_counter(const uint64_t *word) {
    return fg_stats_load(word);
}

#endif
