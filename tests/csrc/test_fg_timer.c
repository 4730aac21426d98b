/* The wheel against a list of deadlines: nothing early, nothing more than a tick late, whatever moves meanwhile. */
#include "fg_timer.c"

#include "fg_test.h"

enum { TICK = 1 << FG_TICK_SHIFT, MANY = 300 };

static struct fg_wheel wheel;

struct watched {
    struct fg_timer t;
    uint64_t wanted; /* ms, 0: not armed */
    unsigned fired;
};

static void note(struct fg_timer *t) {
    struct watched *w = fg_container_of(t, struct watched, t);
    CHECK(w->wanted != 0);
    CHECK(wheel.now >= w->wanted);
    w->wanted = 0;
    w->fired++;
}

static void set(struct watched *w, uint64_t deadline) {
    w->t.fire = note;
    w->wanted = deadline;
    fg_timer_at(&wheel, &w->t, deadline);
}

static void a_timer_fires_once_within_a_tick(void) {
    for (uint64_t after = 1; after < 40000; after += 37) {
        struct watched w = {0};
        fg_wheel_init(&wheel, 1000003);
        set(&w, wheel.now + after);
        uint64_t deadline = w.wanted;
        for (uint64_t now = wheel.now; now < deadline + TICK; now++)
            fg_wheel_run(&wheel, now);
        fg_wheel_run(&wheel, deadline + TICK);
        CHECK_EQ(w.fired, 1);
        fg_wheel_run(&wheel, deadline + 100000);
        CHECK_EQ(w.fired, 1);
        CHECK_EQ(wheel.armed, 0);
    }
}

static void timers_that_are_moved_cleared_and_stopped(void) {
    static struct watched w[MANY];
    fg_wheel_init(&wheel, 5);
    for (int step = 0; step < 20000; step++) {
        struct watched *x = &w[fg_test_random() % MANY];
        switch (fg_test_random() % 8) {
        case 0:
            fg_timer_clear(&x->t);
            x->wanted = 0;
            break;
        case 1:
            fg_timer_stop(&wheel, &x->t);
            x->wanted = 0;
            CHECK(x->t.link == NULL);
            break;
        default:
            set(x, wheel.now + 1 + fg_test_random() % (1ull << (fg_test_random() % 22)));
        }
        uint64_t earliest = UINT64_MAX;
        for (int i = 0; i < MANY; i++)
            if (w[i].wanted && w[i].wanted < earliest)
                earliest = w[i].wanted;
        uint64_t wait = (uint64_t)fg_wheel_wait(&wheel, 1000);
        CHECK(earliest == UINT64_MAX || wheel.now + wait <= earliest + TICK); /* sleeping so long makes nothing late */
        fg_wheel_run(&wheel, wheel.now + fg_test_random() % (step % 100 ? wait + 1 : 3000));
        for (int i = 0; i < MANY; i++)
            CHECK(w[i].wanted == 0 || w[i].wanted + TICK > wheel.now);
    }
    for (int i = 0; i < MANY; i++)
        fg_timer_stop(&wheel, &w[i].t);
    CHECK_EQ(wheel.armed, 0);
}

static void deadlines_beyond_the_wheel(void) {
    struct watched w = {0};
    uint64_t hour = 3600 * 1000, deadline = 100 * hour;
    fg_wheel_init(&wheel, 0);
    set(&w, deadline);
    for (uint64_t now = 0; now < deadline; now += hour / 7)
        fg_wheel_run(&wheel, now);
    CHECK_EQ(w.fired, 0);
    fg_wheel_run(&wheel, deadline + TICK);
    CHECK_EQ(w.fired, 1);
}

static void an_empty_wheel_waits_as_long_as_allowed(void) {
    struct watched w = {0};
    fg_wheel_init(&wheel, 77);
    CHECK_EQ(fg_wheel_wait(&wheel, 500), 500);
    set(&w, wheel.now + 20);
    CHECK(fg_wheel_wait(&wheel, 500) <= 20 + TICK);
    CHECK_EQ(fg_wheel_wait(&wheel, 3), 3);
    fg_timer_stop(&wheel, &w.t);
    CHECK_EQ(fg_wheel_wait(&wheel, 500), 500);
}

/* Callbacks may do anything to other timers, also free them. */
static struct watched *victim;
static struct watched again;

static void kill_victim(struct fg_timer *t) {
    (void)t;
    if (victim) {
        fg_timer_stop(&wheel, &victim->t);
        free(victim);
        victim = NULL;
    }
    set(&again, wheel.now + 1);
}

static void a_callback_frees_the_timer_behind_it(void) {
    for (int order = 0; order < 2; order++) {
        struct fg_timer killer = {.fire = kill_victim};
        fg_wheel_init(&wheel, 0);
        memset(&again, 0, sizeof again);
        victim = calloc(1, sizeof *victim);
        if (order)
            fg_timer_at(&wheel, &killer, 50);
        victim->t.fire = kill_victim;
        fg_timer_at(&wheel, &victim->t, 50);
        if (!order)
            fg_timer_at(&wheel, &killer, 50);
        fg_wheel_run(&wheel, 100);
        CHECK(victim == NULL);
        fg_wheel_run(&wheel, 200);
        CHECK_EQ(again.fired, 1);
    }
}

int main(void) {
    RUN(a_timer_fires_once_within_a_tick);
    RUN(timers_that_are_moved_cleared_and_stopped);
    RUN(deadlines_beyond_the_wheel);
    RUN(an_empty_wheel_waits_as_long_as_allowed);
    RUN(a_callback_frees_the_timer_behind_it);
    return 0;
}
