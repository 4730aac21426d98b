/* Series: claimed once, found again, and the last one takes, visibly, what does not fit. */
#include "fg_stats.c"

#include "fg_test.h"

static struct fg_engine *e;
static struct fg_down down;
static struct fg_generation generation;

/* A listener and a rule whose names are in one piece of memory, as in an image. */
static uint8_t names[] = "Gateway/ns/g/lHTTPRoute/ns/r";
static struct fg_img_listener listener = {.key_name = {0, 14}};
static struct fg_img_rule rule = {.route = {14, 14}};

static struct fg_req *request(uint64_t listener_key, uint64_t route_key) {
    static struct fg_req r;
    memset(&r, 0, sizeof r);
    listener.key = listener_key;
    rule.route_key = route_key;
    r.down = &down;
    r.gen = &generation;
    r.match.seg = names;
    r.match.listener = &listener;
    r.match.rule = &rule;
    return &r;
}

static void a_pair_has_one_series(void) {
    struct fg_series *a = fg_series_of(e, request(1, 2)), *b = fg_series_of(e, request(2, 1));
    CHECK(a != b);
    CHECK(fg_series_of(e, request(1, 2)) == a);
    CHECK(fg_series_of(e, request(2, 1)) == b);
    CHECK_EQ(e->stats->nseries, 2);
    CHECK_BYTES(a->listener, strlen(a->listener), "Gateway/ns/g/l");
    CHECK_BYTES(a->route, strlen(a->route), "HTTPRoute/ns/r");
}

static void a_bucket_ends_at_its_bound(void) {
    struct fg_req *r = request(1, 2);
    struct fg_series *s = r->series = fg_series_of(e, r);
    r->status = 204;
    r->sent = 10;
    r->request.bytes = 3;
    for (unsigned i = 0; i < FG_COUNT_OF(bounds); i++) {
        uint64_t at = s->latency[i], above = s->latency[i + 1];
        fg_stats_exchange(r, bounds[i]);
        CHECK_EQ(s->latency[i], at + 1);
        fg_stats_exchange(r, bounds[i] + 1);
        CHECK_EQ(s->latency[i + 1], above + 1);
    }
    uint64_t n = 2 * FG_COUNT_OF(bounds);
    CHECK_EQ(s->status_class[2], n);
    CHECK_EQ(s->sent, 10 * n);
    CHECK_EQ(s->received, 3 * n);
    CHECK_EQ(e->stats->c.bytes_sent, 10 * n);
    r->status = 999; /* a backend may say so */
    fg_stats_exchange(r, 1);
    CHECK_EQ(s->status_class[0], 1);
}

static void the_last_one_takes_what_does_not_fit(void) {
    for (uint64_t i = 0; i < 3 * FG_SERIES_MAX; i++)
        fg_series_of(e, request(7, 100 + i))->sent++;
    struct fg_series *last = &e->stats->series[FG_SERIES_MAX - 1];
    CHECK_EQ(e->stats->nseries, FG_SERIES_MAX); /* readers see it */
    CHECK_BYTES(last->route, strlen(last->route), "other");
    CHECK_EQ(last->sent, 3 * FG_SERIES_MAX - (FG_SERIES_MAX - 1 - 2));
    CHECK(fg_series_of(e, request(1, 2)) == &e->stats->series[0]);
    unsigned used = 0;
    for (unsigned i = 0; i < FG_COUNT_OF(e->series_at); i++)
        used += e->series_at[i].at != 0;
    CHECK_EQ(used, FG_SERIES_MAX - 1); /* strangers do not fill the table: looking them up stays short */
}

static uint64_t key_of(unsigned i) {
    return 1000 + (uint64_t)i * FG_COUNT_OF(e->filters_at); /* all begin at one slot */
}

static uint32_t filter(unsigned i) {
    char name[16];
    int n = snprintf(name, sizeof name, "ns/f%u", i);
    return fg_stats_filter(e, key_of(i), (struct fg_bytes){(const uint8_t *)name, (size_t)n});
}

static void a_filter_has_one_number(void) {
    CHECK_EQ(filter(0), 0);
    CHECK_EQ(filter(1), 1);
    CHECK_EQ(filter(0), 0);
    CHECK_EQ(e->stats->nfilters, 2);
    CHECK_BYTES(e->stats->filters[1].name, strlen(e->stats->filters[1].name), "ns/f1");
    static const uint8_t longest[300] = "long";
    CHECK_EQ(fg_stats_filter(e, 7, (struct fg_bytes){longest, sizeof longest}), 2);
    CHECK_BYTES(e->stats->filters[2].name, strlen(e->stats->filters[2].name), "long");
}

static void the_last_filter_takes_what_does_not_fit(void) {
    for (unsigned i = 0; i < 2 * FG_FILTERS_MAX; i++)
        CHECK_EQ(filter(i), i < 2 ? i : i + 1 < FG_FILTERS_MAX - 1 ? i + 1 : FG_FILTERS_MAX - 1);
    CHECK_EQ(e->stats->nfilters, FG_FILTERS_MAX);
    CHECK_BYTES(e->stats->filters[FG_FILTERS_MAX - 1].name, 6, "other\0");
    CHECK_EQ(filter(1), 1);
}

static void names_that_a_filter_counts_by(void) {
    struct fg_filter_series *s = &e->stats->filters[0];
    char name[65];
    for (unsigned i = 0; i < 2 * FG_FILTER_NAMES; i++) {
        snprintf(name, sizeof name, "%064u", i); /* fills its place */
        fg_stats_count(s, (struct fg_bytes){(const uint8_t *)name, 64}, 2);
        fg_stats_count(s, (struct fg_bytes){(const uint8_t *)name, 64}, 1);
    }
    CHECK_EQ(s->nnames, FG_FILTER_NAMES);
    CHECK_EQ(s->names[FG_FILTER_NAMES - 2].n, 3);
    CHECK_EQ(s->names[FG_FILTER_NAMES - 1].n, 3 * (FG_FILTER_NAMES + 1));
    CHECK_BYTES(s->names[FG_FILTER_NAMES - 1].name, 6, "other\0");
    CHECK_BYTES(s->names[0].name, 64, "0000000000000000000000000000000000000000000000000000000000000000");
}

static void a_listener_is_claimed_once_and_the_last_one_takes_the_rest(void) {
    const struct fg_image image = {.sockets_seg = names};
    struct fg_img_listener l = listener;
    l.key = 1;
    struct fg_listener_series *first = fg_stats_listener(e, &image, &l);
    CHECK_BYTES(first->name, strlen(first->name), "Gateway/ns/g/l");
    for (l.key = 2; l.key < FG_LISTENERS_MAX; l.key++)
        CHECK(fg_stats_listener(e, &image, &l) == first + l.key - 1);
    struct fg_listener_series *last = fg_stats_listener(e, &image, &l);
    CHECK_BYTES(last->name, strlen(last->name), "other");
    l.key++;
    CHECK(fg_stats_listener(e, &image, &l) == last);
    CHECK_EQ(e->stats->nlisteners, FG_LISTENERS_MAX);
    l.key = 1;
    CHECK(fg_stats_listener(e, &image, &l) == first);
}

int main(void) {
    e = calloc(1, sizeof *e);
    e->stats = calloc(1, sizeof *e->stats);
    down.e = e;
    generation.image.sockets_seg = names;
    RUN(a_pair_has_one_series);
    RUN(a_bucket_ends_at_its_bound);
    RUN(the_last_one_takes_what_does_not_fit);
    RUN(a_filter_has_one_number);
    RUN(the_last_filter_takes_what_does_not_fit);
    RUN(names_that_a_filter_counts_by);
    RUN(a_listener_is_claimed_once_and_the_last_one_takes_the_rest);
    free(e->stats);
    free(e);
    return 0;
}
