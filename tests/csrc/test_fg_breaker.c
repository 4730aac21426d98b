/* Breakers: three strikes in a row open, a pause doubles, one call probes, doing well closes. */
#include "fg_breaker.c"

#include "fg_test.h"

static struct fg_breakers b;
static uint64_t event;

static void strike(uint64_t key, uint64_t now) { fg_breaker_strike(&b, key, ++event, now); }

static void begin(void) { b = (struct fg_breakers){0}; }

static void three_strikes_in_a_row_open(void) {
    begin();
    strike(1, 100);
    strike(1, 100);
    CHECK(fg_breaker_lets(&b, 1, 100));
    fg_breaker_clear(&b, 1);
    strike(1, 100);
    strike(1, 100);
    CHECK(fg_breaker_lets(&b, 1, 100));
    strike(1, 100);
    CHECK(!fg_breaker_lets(&b, 1, 100));
    CHECK(fg_breaker_lets(&b, 2, 100));
}

static void what_one_death_takes_along_is_one_strike(void) {
    begin();
    for (int i = 0; i < 10; i++)
        fg_breaker_strike(&b, 1, 77, 100);
    CHECK(fg_breaker_lets(&b, 1, 100));
    CHECK_EQ(b.of[0].strikes, 1);
}

static void one_call_probes_and_the_pause_doubles(void) {
    begin();
    for (int i = 0; i < FG_BREAKER_STRIKES; i++)
        strike(1, 0);
    uint64_t now = 0;
    for (uint32_t pause = FG_BREAKER_MIN_MS; pause < 10 * FG_BREAKER_MAX_MS; pause *= 2) {
        uint32_t waits = pause < FG_BREAKER_MAX_MS ? pause : FG_BREAKER_MAX_MS;
        CHECK(!fg_breaker_lets(&b, 1, now + waits - 1));
        now += waits;
        CHECK(fg_breaker_lets(&b, 1, now));
        CHECK(!fg_breaker_lets(&b, 1, now));
        CHECK(!fg_breaker_lets(&b, 1, now + waits - 1)); /* nor when nothing is heard of the first */
        strike(1, now);
    }
    fg_breaker_clear(&b, 1);
    CHECK(fg_breaker_lets(&b, 1, now));
    CHECK_EQ(b.n, 0);
}

static void more_than_fit_are_not_watched(void) {
    begin();
    for (uint64_t key = 1; key <= FG_BREAKERS + 1; key++)
        for (int i = 0; i < FG_BREAKER_STRIKES; i++)
            strike(key, 0);
    CHECK(!fg_breaker_lets(&b, 1, 0));
    CHECK(!fg_breaker_lets(&b, FG_BREAKERS, 0));
    CHECK(fg_breaker_lets(&b, FG_BREAKERS + 1, 0));
    fg_breaker_clear(&b, 1); /* the last one takes its place */
    CHECK(fg_breaker_lets(&b, 1, 0));
    CHECK(!fg_breaker_lets(&b, FG_BREAKERS, 0));
}

int main(void) {
    RUN(three_strikes_in_a_row_open);
    RUN(what_one_death_takes_along_is_one_strike);
    RUN(one_call_probes_and_the_pause_doubles);
    RUN(more_than_fit_are_not_watched);
    return 0;
}
