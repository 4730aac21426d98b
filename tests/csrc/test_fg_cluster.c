/* The two choices behind a rule: weighted round robin over backends is exact, two random choices of endpoints follow
 * weights, load and health. */
#include "fg_cluster.c"

#include "fg_tables.h"

enum { BACKENDS = 3 };

static struct fg_generation generation;
static struct fg_img_cluster clusters[BACKENDS] = {{.key = 11}, {.key = 12}, {.key = 13}};

/* --- backends ---------------------------------------------------------------------------------------------------------- */

static struct { struct fg_img_rule rule; struct fg_img_backend b[BACKENDS]; } seg;

static struct fg_match_result rule_of(uint64_t key, const uint32_t weights[BACKENDS]) {
    memset(&seg, 0, sizeof seg);
    seg.rule = (struct fg_img_rule){.key = key, .to = {offsetof(__typeof__(seg), b), BACKENDS}};
    for (uint32_t i = 0; i < BACKENDS; i++) {
        seg.b[i] = (struct fg_img_backend){.cluster = i + 1, .weight = weights[i]};
        seg.rule.total_weight += weights[i];
    }
    return (struct fg_match_result){.rule = &seg.rule, .seg = (const uint8_t *)&seg};
}

static void every_full_cycle_is_exact(void) {
    static const uint32_t weights[][BACKENDS] = {{1, 1, 1}, {5, 1, 1}, {90, 9, 1}, {0, 3, 2}, {7, 0, 0}};
    for (unsigned w = 0; w < FG_COUNT_OF(weights); w++) {
        for (uint32_t worker = 0; worker < 4; worker++) {
            struct fg_match_result m = rule_of(1000 + 10 * w + worker, weights[w]);
            e->o.worker = worker;
            e->o.workers = 4;
            for (int cycle = 0; cycle < 3; cycle++) {
                uint32_t taken[BACKENDS] = {0};
                for (uint32_t i = 0; i < seg.rule.total_weight; i++)
                    taken[fg_rule_backend(e, &m) - seg.b]++;
                for (int i = 0; i < BACKENDS; i++)
                    CHECK_EQ(taken[i], weights[w][i]);
            }
        }
    }
}

static void the_cycle_goes_on_over_a_reload(void) {
    static const uint32_t weights[BACKENDS] = {2, 1, 0};
    uint32_t taken[BACKENDS] = {0};
    for (int i = 0; i < 3; i++) { /* each time another image with an equal rule */
        struct fg_match_result m = rule_of(5, weights);
        generation.image.generation++;
        taken[fg_rule_backend(e, &m) - seg.b]++;
    }
    CHECK_EQ(taken[0], 2);
    CHECK_EQ(taken[1], 1);
}

static void a_rule_without_weight_has_no_backend(void) {
    struct fg_match_result m = rule_of(6, (const uint32_t[BACKENDS]){0});
    CHECK(fg_rule_backend(e, &m) == NULL);
}

/* --- endpoints ------------------------------------------------------------------------------------------------------------ */

static void count_picks(unsigned picks[ENDPOINTS], unsigned n, const struct fg_endpoint *not_this) {
    memset(picks, 0, ENDPOINTS * sizeof picks[0]);
    for (unsigned i = 0; i < n; i++)
        picks[fg_cluster_pick(e, 21, not_this)->address.port - 1]++;
}

static void equal_endpoints_share_equally(void) {
    unsigned picks[ENDPOINTS];
    serve(sound());
    count_picks(picks, 8000, NULL);
    for (int i = 0; i < ENDPOINTS; i++)
        CHECK(picks[i] > 1700 && picks[i] < 2300);
    CHECK(fg_cluster_pick(e, 22, NULL) == NULL);
    CHECK(fg_cluster_pick(e, 23, NULL) == NULL);
}

static void the_busy_one_of_two_is_left_alone(void) {
    unsigned picks[ENDPOINTS];
    struct fg_endpoint *busy = e->endpoints->clusters[0].choices[2].endpoint;
    busy->active = 50;
    count_picks(picks, 8000, NULL);
    busy->active = 0;
    CHECK_EQ(picks[2], 0); /* the two are never the same one */
}

static void eject(struct fg_cluster *c, int n) {
    for (int i = 0; i < ENDPOINTS; i++)
        c->choices[i].endpoint->ejected = i < n;
    e->usability++;
}

static void failed_ones_are_avoided_while_others_are_there(void) {
    unsigned picks[ENDPOINTS];
    struct fg_cluster *c = &e->endpoints->clusters[0];
    count_picks(picks, 1000, c->choices[1].endpoint);
    CHECK_EQ(picks[1], 0);
    eject(c, 2);
    count_picks(picks, 1000, NULL);
    CHECK(picks[0] == 0 && picks[1] == 0 && picks[2] && picks[3]);
    eject(c, 3);
    count_picks(picks, 1000, NULL); /* less than half are left: better a doubtful one than the load of all on one */
    CHECK(picks[0] && picks[1] && picks[2] && picks[3]);
    eject(c, 0);
}

int main(void) {
    e = calloc(1, sizeof *e);
    e->stats = calloc(1, sizeof *e->stats);
    e->random = 88172645463325252ull;
    e->usability = 1; /* as the engine begins */
    e->gen = &generation;
    generation.image.clusters = clusters;
    RUN(every_full_cycle_is_exact);
    RUN(the_cycle_goes_on_over_a_reload);
    RUN(a_rule_without_weight_has_no_backend);
    RUN(equal_endpoints_share_equally);
    RUN(the_busy_one_of_two_is_left_alone);
    RUN(failed_ones_are_avoided_while_others_are_there);
    fg_endpoints_free(e, e->endpoints);
    for (unsigned i = 0; i < FG_SWRR_BUCKETS; i++) {
        for (struct fg_swrr *s = e->swrr[i], *next; s; s = next) {
            next = s->next;
            free(s);
        }
    }
    free(e->stats);
    free(e);
    return 0;
}
