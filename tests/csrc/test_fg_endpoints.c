/* Tables from outside are believed only when they are sound; endpoints outlive them, and are ejected for a while when
 * connections fail. */
#include "fg_endpoints.c"

#include "fg_tables.h"

static void damaged_tables_are_refused(void) {
    struct table t = sound();
    for (size_t n = 0; n < sizeof t; n++)
        CHECK(load(&t, n) == NULL);
#define REFUSED(change)                    \
    do {                                   \
        t = sound();                       \
        change;                            \
        CHECK(load(&t, sizeof t) == NULL); \
    } while (0)
    REFUSED(t.h.magic++);
    REFUSED(t.h.size++);
    REFUSED(t.h.nclusters = 1000);
    REFUSED(t.h.nendpoints = UINT32_MAX);
    REFUSED(t.c[0].count++);
    REFUSED(t.c[0].first = UINT32_MAX);
    REFUSED(t.c[1].key = 21); /* not ascending: a search would miss it */
    REFUSED(t.x[3].family = 5);
    REFUSED(t.x[0].port = 0);
}

static void an_endpoint_outlives_its_table_when_the_next_one_lists_it(void) {
    struct fg_endpoint *first = e->endpoints->clusters[0].choices[0].endpoint;
    first->failures = 2;
    struct table t = sound();
    t.c[0].count = 1;
    serve(t);
    CHECK(e->endpoints->clusters[0].choices[0].endpoint == first);
    CHECK_EQ(first->failures, 2);
    CHECK_EQ(first->listed, 1);
    unsigned left = 0;
    for (unsigned i = 0; i < FG_ENDPOINT_BUCKETS; i++)
        for (struct fg_endpoint *ep = e->buckets[i]; ep; ep = ep->next)
            left++;
    CHECK_EQ(left, 1); /* those of the old table alone are gone */
}

static void three_failures_in_a_row_eject_until_the_time_is_over(void) {
    serve(sound());
    struct fg_endpoint *ep = e->endpoints->clusters[0].choices[0].endpoint;
    ep->failures = 0;
    for (int i = 0; i < EJECT_AFTER; i++) {
        CHECK(!ep->ejected);
        fg_endpoint_failed(e, ep);
    }
    CHECK(ep->ejected);
    CHECK_EQ(e->stats->c.upstream_ejected, 1);
    CHECK_EQ(e->stats->c.upstream_ejections, 1);
    CHECK(ep->ejection.deadline >= EJECT_BASE_MS && ep->ejection.deadline <= EJECT_BASE_MS * 5 / 4);
    fg_endpoint_failed(e, ep); /* while it is ejected, as the panic rule allows: longer, not twice */
    CHECK_EQ(e->stats->c.upstream_ejections, 1);
    CHECK(ep->ejection.deadline >= 2 * EJECT_BASE_MS);
    fg_wheel_run(&e->loop.wheel, 4 * EJECT_BASE_MS);
    CHECK(!ep->ejected);
    CHECK_EQ(e->stats->c.upstream_ejected, 0);
}

static void an_ejected_endpoint_that_is_gone_is_not_counted(void) {
    serve(sound());
    struct fg_endpoint *ep = e->endpoints->clusters[0].choices[3].endpoint;
    for (int i = 0; i < EJECT_AFTER; i++)
        fg_endpoint_failed(e, ep);
    CHECK_EQ(e->stats->c.upstream_ejected, 1);
    struct table t = sound();
    t.c[0].count = 1;
    serve(t);
    CHECK_EQ(e->stats->c.upstream_ejected, 0);
}

int main(void) {
    e = calloc(1, sizeof *e);
    e->stats = calloc(1, sizeof *e->stats);
    e->random = 88172645463325252ull;
    fg_wheel_init(&e->loop.wheel, 0);
    RUN(damaged_tables_are_refused);
    serve(sound());
    RUN(an_endpoint_outlives_its_table_when_the_next_one_lists_it);
    RUN(three_failures_in_a_row_eject_until_the_time_is_over);
    RUN(an_ejected_endpoint_that_is_gone_is_not_counted);
    fg_endpoints_free(e, e->endpoints);
    free(e->stats);
    free(e);
    return 0;
}
