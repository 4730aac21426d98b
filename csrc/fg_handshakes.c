/* Handshakes, with clients and endpoints, wait in a queue that is served behind everything else of a turn, for so long and no
 * longer: requests of others do not wait for them, and none of them is passed over. */
#include "fg_worker.h"

#include <time.h>

enum { TURN_NS = 2000000 };

static uint64_t clock_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct fg_shaking *first(struct fg_engine *e) {
    return fg_container_of(e->handshakes.next, struct fg_shaking, link);
}

void fg_handshake_init(struct fg_shaking *s, struct fg_io *io, void (*step)(struct fg_io *io)) {
    *s = (struct fg_shaking){.io = io, .step = step};
    fg_list_init(&s->link);
}

void fg_handshake_wait(struct fg_engine *e, struct fg_shaking *s) {
    if (fg_list_empty(&s->link))
        fg_list_push(e->handshakes.prev, &s->link);
}

void fg_handshake_leave(struct fg_shaking *s) {
    fg_list_remove(&s->link);
}

void fg_handshakes_turn(struct fg_engine *e) {
    if (fg_list_empty(&e->handshakes))
        return;
    uint64_t until = clock_ns() + TURN_NS;
    do {
        struct fg_shaking *s = first(e);
        fg_list_remove(&s->link);
        s->step(s->io);
    } while (!fg_list_empty(&e->handshakes) && clock_ns() < until);
    if (!fg_list_empty(&e->handshakes)) /* the next turn does not wait for events */
        fg_loop_again(&e->loop, first(e)->io);
}
