/* Hierarchical timer wheel: 4 levels of 64 slots, one tick is 8 ms, so that 37 hours fit.
 *
 * Arming and disarming cost a list operation. A timer that moves later is not relinked: `fg_timer_at` stores the new
 * deadline and the wheel notices when the old slot comes up, so that the deadline of a busy connection costs one store.
 * Invariant: a linked timer's slot never lies after its deadline.
 */
#ifndef FG_TIMER_H
#define FG_TIMER_H

#include "fg_base.h"

enum { FG_TICK_SHIFT = 3, FG_WHEEL_BITS = 6, FG_WHEEL_SLOTS = 1 << FG_WHEEL_BITS, FG_WHEEL_LEVELS = 4 };

struct fg_timer {
    struct fg_timer *next, **link; /* link NULL: not in the wheel */
    uint64_t deadline;             /* ms; 0: disarmed */
    uint64_t slot_time;            /* ms at which the slot comes up */
    void (*fire)(struct fg_timer *t);
};

struct fg_wheel {
    uint64_t now;  /* ms */
    uint64_t tick; /* the last tick that was run */
    uint32_t armed;
    struct fg_timer *slots[FG_WHEEL_LEVELS][FG_WHEEL_SLOTS];
};

void fg_wheel_init(struct fg_wheel *w, uint64_t now_ms);
void fg_wheel_run(struct fg_wheel *w, uint64_t now_ms); /* fires what is due */
int fg_wheel_wait(const struct fg_wheel *w, int at_most_ms); /* ms until something may be due */

void fg_timer_link(struct fg_wheel *w, struct fg_timer *t);
void fg_timer_stop(struct fg_wheel *w, struct fg_timer *t);

/* Fires once at `deadline` (ms on the wheel's clock) or up to one tick later; replaces an earlier setting. */
static inline void fg_timer_at(struct fg_wheel *w, struct fg_timer *t, uint64_t deadline) {
    t->deadline = deadline;
    if (t->link == NULL || deadline < t->slot_time)
        fg_timer_link(w, t);
}

/* Will not fire; it may stay linked until its slot comes up. Before the memory is freed: fg_timer_stop. */
static inline void fg_timer_clear(struct fg_timer *t) {
    t->deadline = 0;
}

#endif
