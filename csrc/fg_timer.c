#include "fg_timer.h"

#include <string.h>

void fg_wheel_init(struct fg_wheel *w, uint64_t now_ms) {
    memset(w, 0, sizeof *w);
    w->now = now_ms;
    w->tick = now_ms >> FG_TICK_SHIFT;
}

static void unlink_timer(struct fg_wheel *w, struct fg_timer *t) {
    if (t->link == NULL)
        return;
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->link = NULL;
    w->armed--;
}

void fg_timer_link(struct fg_wheel *w, struct fg_timer *t) {
    unlink_timer(w, t);
    uint64_t due = (t->deadline + (1u << FG_TICK_SHIFT) - 1) >> FG_TICK_SHIFT;
    if (due <= w->tick)
        due = w->tick + 1;
    uint64_t left = due - w->tick;
    unsigned level = 0;
    while (level < FG_WHEEL_LEVELS - 1 && left >= (uint64_t)1 << (FG_WHEEL_BITS * (level + 1)))
        level++;
    uint64_t top = (uint64_t)1 << (FG_WHEEL_BITS * FG_WHEEL_LEVELS);
    if (left >= top)
        due = w->tick + top - 1; /* further than the wheel: looked at again when it comes up */
    uint64_t coarse = due >> (FG_WHEEL_BITS * level); /* rounds down: never after the deadline */
    struct fg_timer **slot = &w->slots[level][coarse & (FG_WHEEL_SLOTS - 1)];
    t->slot_time = (coarse << (FG_WHEEL_BITS * level)) << FG_TICK_SHIFT;
    t->next = *slot;
    if (t->next)
        t->next->link = &t->next;
    *slot = t;
    t->link = slot;
    w->armed++;
}

void fg_timer_stop(struct fg_wheel *w, struct fg_timer *t) {
    t->deadline = 0;
    unlink_timer(w, t);
}

/* Takes a slot's timers one by one: a callback may stop or free any other timer. */
static void run_slot(struct fg_wheel *w, struct fg_timer **slot) {
    struct fg_timer *list = *slot;
    *slot = NULL;
    if (list)
        list->link = &list;
    while (list) {
        struct fg_timer *t = list;
        unlink_timer(w, t);
        if (t->deadline == 0)
            continue;
        if (t->deadline > w->now) {
            fg_timer_link(w, t);
            continue;
        }
        t->deadline = 0;
        t->fire(t);
    }
}

void fg_wheel_run(struct fg_wheel *w, uint64_t now_ms) {
    uint64_t target = now_ms >> FG_TICK_SHIFT;
    w->now = now_ms;
    if (w->armed == 0) {
        w->tick = target;
        return;
    }
    while (w->tick < target) {
        uint64_t tick = ++w->tick;
        for (unsigned level = FG_WHEEL_LEVELS - 1; level > 0; level--) {
            if ((tick & (((uint64_t)1 << (FG_WHEEL_BITS * level)) - 1)) == 0)
                run_slot(w, &w->slots[level][(tick >> (FG_WHEEL_BITS * level)) & (FG_WHEEL_SLOTS - 1)]);
        }
        run_slot(w, &w->slots[0][tick & (FG_WHEEL_SLOTS - 1)]);
    }
}

int fg_wheel_wait(const struct fg_wheel *w, int at_most_ms) {
    if (w->armed == 0)
        return at_most_ms;
    /* The next non-empty slot of the lowest level, or the next cascade, whichever comes first. */
    uint64_t tick = w->tick + 1;
    while ((tick & (FG_WHEEL_SLOTS - 1)) != 0 && w->slots[0][tick & (FG_WHEEL_SLOTS - 1)] == NULL)
        tick++;
    uint64_t at = tick << FG_TICK_SHIFT;
    uint64_t wait = at > w->now ? at - w->now : 0;
    return wait < (uint64_t)at_most_ms ? (int)wait : at_most_ms;
}
