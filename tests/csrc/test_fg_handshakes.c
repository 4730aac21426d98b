/* Who waits for a turn to shake hands gets it in the order of coming, and nobody more than a turn has time for. */
#include "fg_handshakes.c"

#include "fg_test.h"

#include <stdlib.h>

enum { MANY = 4 };

static struct fg_engine *e;
static struct fg_io ios[MANY];
static struct fg_shaking all[MANY];
static int order[2 * MANY], steps;
static bool slow, again;

static void step(struct fg_io *io) {
    order[steps++] = (int)(io - ios);
    for (uint64_t until = clock_ns() + (slow ? TURN_NS : 0); clock_ns() < until;)
        ;
    if (again)
        fg_handshake_wait(e, &all[io - ios]);
    again = false;
}

static void begin(void) {
    steps = 0;
    e->loop.ready = NULL;
    for (int i = 0; i < MANY; i++) {
        ios[i] = (struct fg_io){.fd = -1};
        fg_handshake_init(&all[i], &ios[i], step);
    }
}

static void all_are_served_in_the_order_of_coming(void) {
    begin();
    fg_handshake_wait(e, &all[2]);
    fg_handshake_wait(e, &all[0]);
    fg_handshake_wait(e, &all[2]); /* it waits already */
    again = true;                  /* whoever waits again does so behind the others */
    fg_handshakes_turn(e);
    CHECK_EQ(steps, 3);
    CHECK(order[0] == 2 && order[1] == 0 && order[2] == 2);
    CHECK(e->loop.ready == NULL);
    fg_handshakes_turn(e);
    CHECK_EQ(steps, 3);
}

static void what_a_turn_has_no_time_for_waits_for_the_next(void) {
    begin();
    slow = true;
    for (int i = 0; i < MANY; i++)
        fg_handshake_wait(e, &all[i]);
    fg_handshakes_turn(e);
    CHECK_EQ(steps, 1);
    CHECK(e->loop.ready == &ios[1]); /* the loop does not sleep */
    slow = false;
    fg_handshakes_turn(e);
    CHECK_EQ(steps, MANY);
}

static void who_leaves_gets_no_turn(void) {
    begin();
    fg_handshake_wait(e, &all[0]);
    fg_handshake_wait(e, &all[1]);
    fg_handshake_leave(&all[0]);
    fg_handshake_leave(&all[3]);
    fg_handshakes_turn(e);
    CHECK_EQ(steps, 1);
    CHECK_EQ(order[0], 1);
}

int main(void) {
    e = calloc(1, sizeof *e);
    fg_list_init(&e->handshakes);
    RUN(all_are_served_in_the_order_of_coming);
    RUN(what_a_turn_has_no_time_for_waits_for_the_next);
    RUN(who_leaves_gets_no_turn);
    free(e);
    return 0;
}
