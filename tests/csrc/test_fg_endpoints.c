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

/* Of the image, as far as it concerns TLS: a cluster, and its own. */
static struct { struct fg_img_upstream_tls tls; struct fg_img_cluster c; } clusters;

static void image_says(uint64_t tls_key) {
    static struct fg_generation gen;
    clusters.c = (struct fg_img_cluster){.key = 21, .tls = {0, tls_key != 0}};
    clusters.tls.key = tls_key;
    gen.image = (struct fg_image){.clusters_seg = (const uint8_t *)&clusters, .clusters = &clusters.c, .nclusters = 1};
    e->gen = &gen;
    fg_endpoints_bind(e);
}

static const struct fg_cluster *bound_cluster(uint64_t tls_key) {
    const struct fg_cluster *c = fg_cluster_find(e->endpoints, 21);
    CHECK_EQ(c->tls_key, tls_key);
    CHECK_EQ(c->n, ENDPOINTS);
    for (uint32_t i = 0; i < c->n; i++) {
        CHECK_EQ(c->choices[i].endpoint->tls_key, tls_key);
        CHECK_EQ(c->choices[i].endpoint->address.port, i + 1);
        CHECK_EQ(c->choices[i].endpoint->listed, 1);
        CHECK_EQ(c->choices[i].endpoint->refs, 1);
    }
    return c;
}

static void endpoints_differ_by_their_tls(void) {
    struct fg_address a = {.ip = {127, 0, 0, 1}, .port = 1, .family = 4};
    struct fg_endpoint *plain = fg_endpoint_get(e, &a, 0, NULL), *one = fg_endpoint_get(e, &a, 1, NULL),
                       *two = fg_endpoint_get(e, &a, 2, NULL), *again = fg_endpoint_get(e, &a, 1, NULL);
    CHECK(plain != one && one != two && plain != two && again == one);
    CHECK(plain->sessions != one->sessions && one->sessions != two->sessions);
    struct fg_endpoint *all[] = {plain, one, two, again};
    for (unsigned i = 0; i < FG_COUNT_OF(all); i++)
        fg_endpoint_unref(e, all[i]);
}

static void clusters_have_endpoints_of_the_tls_that_the_image_says(void) {
    serve(sound());
    image_says(0);
    uint64_t plain = bound_cluster(0)->choices[0].endpoint->sessions;
    image_says(7);
    uint64_t first = bound_cluster(7)->choices[0].endpoint->sessions;
    CHECK(first != plain);
    CHECK_EQ(e->endpoints->ntls, 1);
    struct fg_endpoint *same = bound_cluster(7)->choices[0].endpoint;
    image_says(7);
    CHECK(bound_cluster(7)->choices[0].endpoint == same);
    struct fg_endpoints *old = e->endpoints; /* a new table is bound while the one before is still there */
    struct table t = sound();
    e->endpoints = load(&t, sizeof t);
    fg_endpoints_bind(e);
    fg_endpoints_free(e, old);
    CHECK(bound_cluster(7)->choices[0].endpoint == same);
    image_says(8);
    CHECK(bound_cluster(8)->choices[0].endpoint->sessions > first);
    image_says(0);
    bound_cluster(0);
    CHECK_EQ(e->endpoints->ntls, 0);
}

static void a_cluster_that_the_image_does_not_have_keeps_its_endpoints(void) {
    serve(sound());
    image_says(7);
    clusters.c.key = 22;
    fg_endpoints_bind(e);
    bound_cluster(7);
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
    RUN(endpoints_differ_by_their_tls);
    RUN(clusters_have_endpoints_of_the_tls_that_the_image_says);
    RUN(a_cluster_that_the_image_does_not_have_keeps_its_endpoints);
    fg_endpoints_free(e, e->endpoints);
    free(e->stats);
    free(e);
    return 0;
}
