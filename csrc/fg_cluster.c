/* The two choices behind a rule: which of its backends, then which of the backend's endpoints. */
#include "fg_hash.h"
#include "fg_worker.h"

#include <stdlib.h>

/* --- choice of an endpoint: the less busy of two at random ---------------------------------------------------------------- */

struct fg_cluster *fg_cluster_find(const struct fg_endpoints *t, uint64_t key) {
    uint32_t lo = 0, hi = t ? t->n : 0;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (t->clusters[mid].key < key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return t && lo < t->n && t->clusters[lo].key == key ? &t->clusters[lo] : NULL;
}

static bool usable(const struct fg_choice *x) {
    return !x->endpoint->ejected && !(x->health && fg_health_down(x->health));
}

/* Lists what may be picked: the usable endpoints, or all when less than half are usable: better a doubtful endpoint than
 * the load of all on the few that are left. */
static void list_picks(struct fg_engine *e, struct fg_cluster *c) {
    uint32_t good = 0;
    for (uint32_t i = 0; i < c->n; i++)
        good += usable(&c->choices[i]);
    c->panic = 2 * (uint64_t)good < c->n;
    c->uneven = false;
    c->npicks = 0;
    uint64_t upto = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct fg_choice *x = &c->choices[i];
        if (!c->panic && !usable(x))
            continue;
        upto += x->weight;
        c->picks[c->npicks++] = (struct fg_pick){x->endpoint, upto, x->weight};
        c->uneven |= x->weight != c->picks[0].weight;
    }
    c->listed_at = e->usability;
}

/* One of the picks with probability weight / sum of weights. */
static const struct fg_pick *draw(struct fg_engine *e, const struct fg_cluster *c) {
    if (!c->uneven)
        return &c->picks[fg_random(e) % c->npicks];
    uint64_t at = fg_random(e) % c->picks[c->npicks - 1].upto;
    uint32_t lo = 0, hi = c->npicks - 1;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (c->picks[mid].upto <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return &c->picks[lo];
}

static const struct fg_pick *draw_other(struct fg_engine *e, const struct fg_cluster *c, const struct fg_pick *a) {
    if (c->uneven)
        return draw(e, c); /* the heavier one may come twice: it is meant to get more */
    return &c->picks[((uint64_t)(a - c->picks) + 1 + fg_random(e) % (c->npicks - 1)) % c->npicks];
}

static struct fg_endpoint *any_but(struct fg_engine *e, const struct fg_cluster *c, const struct fg_endpoint *not_this) {
    uint64_t from = fg_random(e);
    for (uint32_t i = 0; i < c->npicks; i++) {
        struct fg_endpoint *ep = c->picks[(from + i) % c->npicks].endpoint;
        if (ep != not_this)
            return ep;
    }
    return c->picks[0].endpoint;
}

/* A cluster that has endpoints, with its picks up to date; or NULL. */
static struct fg_cluster *listed(struct fg_engine *e, uint64_t key) {
    struct fg_cluster *c = fg_cluster_find(e->endpoints, key);
    if (c == NULL || c->n == 0)
        return NULL;
    if (c->listed_at != e->usability)
        list_picks(e, c);
    return c;
}

bool fg_cluster_list(struct fg_engine *e, uint64_t key, uint32_t at, struct fg_ep_endpoint *out) {
    const struct fg_cluster *c = listed(e, key);
    if (c == NULL || at >= c->npicks)
        return false;
    const struct fg_address *a = &c->picks[at].endpoint->address;
    *out = (struct fg_ep_endpoint){.port = a->port, .family = a->family, .weight = c->picks[at].weight};
    memcpy(out->address, a->ip, sizeof out->address);
    return true;
}

struct fg_endpoint *fg_cluster_at(struct fg_engine *e, uint64_t key, const struct fg_address *a) {
    const struct fg_cluster *c = listed(e, key);
    for (uint32_t i = 0; c && i < c->npicks; i++) {
        const struct fg_address *b = &c->picks[i].endpoint->address;
        if (b->port == a->port && b->family == a->family && memcmp(b->ip, a->ip, sizeof b->ip) == 0)
            return c->picks[i].endpoint;
    }
    return NULL;
}

struct fg_endpoint *fg_cluster_pick(struct fg_engine *e, uint64_t key, const struct fg_endpoint *not_this) {
    struct fg_cluster *c = listed(e, key);
    if (c == NULL)
        return NULL;
    e->stats->c.upstream_panics += c->panic;
    if (c->npicks == 1)
        return c->picks[0].endpoint;
    const struct fg_pick *a = draw(e, c), *b = draw_other(e, c, a);
    if (a->endpoint == not_this || b->endpoint == not_this)
        return any_but(e, c, not_this);
    return (uint64_t)a->endpoint->active * b->weight <= (uint64_t)b->endpoint->active * a->weight ? a->endpoint : b->endpoint;
}

bool fg_cluster_may_retry(struct fg_engine *e, uint64_t key, const struct fg_endpoint *last, int reason) {
    if (reason != FG_R_UPSTREAM_HANDSHAKE && reason != FG_R_UPSTREAM_UNVERIFIED)
        return true;
    const struct fg_cluster *c = listed(e, key);
    return c && any_but(e, c, last) != last;
}

/* --- both choices for a source: rendezvous hashing, by weight ------------------------------------------------------------ */

/* -log2(u / 2^64) in units of 2^-32, in integers: all machines find the same. */
static uint64_t minus_log2(uint64_t u) {
    enum { FRACTION = 32 };
    u |= 1;
    uint64_t whole = 63 - (uint64_t)__builtin_clzll(u), fraction = 0;
    unsigned __int128 m = (unsigned __int128)u << (63 - whole); /* [1, 2) in units of 2^-63 */
    for (int bit = 0; bit < FRACTION; bit++) {
        m = m * m >> 63;
        fraction <<= 1;
        if (m >> 64) { /* 2 or more */
            m >>= 1;
            fraction |= 1;
        }
    }
    return ((uint64_t)64 << FRACTION) - (whole << FRACTION | fraction);
}

/* What draws for one source, best so far: the smallest -log(hash) / weight wins, each in proportion to its weight. */
struct draw { uint64_t distance; uint32_t weight; };

static bool wins(struct draw *best, uint64_t hash, uint32_t weight) {
    uint64_t distance = minus_log2(hash);
    if (best->weight && (unsigned __int128)distance * best->weight >= (unsigned __int128)best->distance * weight)
        return false;
    *best = (struct draw){distance, weight};
    return true;
}

struct fg_endpoint *fg_cluster_rendezvous(struct fg_engine *e, uint64_t key, uint64_t hash) {
    const struct fg_cluster *c = listed(e, key);
    struct fg_endpoint *found = NULL;
    struct draw best = {0};
    e->stats->c.upstream_panics += c && c->panic;
    for (uint32_t i = 0; c && i < c->npicks; i++)
        if (wins(&best, fg_mix(hash ^ c->picks[i].endpoint->key), c->picks[i].weight))
            found = c->picks[i].endpoint;
    return found;
}

/* A backend is known by its cluster, wherever in the list it is; of several that name one cluster each draws for itself. */
static uint64_t backend_key(const struct fg_engine *e, const struct fg_img_backend *b, uint32_t at) {
    uint64_t same = 0;
    for (uint32_t i = 0; i < at; i++)
        same += b[i].cluster == b[at].cluster;
    return fg_mix((b[at].cluster ? e->gen->image.clusters[b[at].cluster - 1].key : 0) + same);
}

const struct fg_img_backend *fg_relay_rendezvous(struct fg_engine *e, const struct fg_img_relay *relay, uint64_t hash) {
    const struct fg_img_backend *b = (const void *)(e->gen->image.sockets_seg + relay->backends.off), *found = NULL;
    struct draw best = {0};
    for (uint32_t i = 0; i < relay->backends.len; i++)
        if (b[i].weight && wins(&best, fg_mix(hash ^ backend_key(e, b, i)), b[i].weight))
            found = &b[i];
    return found;
}

/* --- choice of a backend: smooth weighted round robin ---------------------------------------------------------------------- */

enum { SWRR_MAX_LEAD = 1000 };

static struct fg_swrr *swrr_of(struct fg_engine *e, uint64_t key, const struct fg_img_backend *b, uint32_t n,
                               uint32_t total) {
    struct fg_swrr **bucket = &e->swrr[key % FG_SWRR_BUCKETS];
    for (struct fg_swrr *s = *bucket; s; s = s->next)
        if (s->key == key && s->n == n)
            return s;
    struct fg_swrr *s = calloc(1, sizeof *s + n * sizeof s->current[0]);
    if (s == NULL)
        return NULL;
    s->key = key;
    s->n = n;
    uint64_t lead = e->o.workers ? (uint64_t)total * e->o.worker / e->o.workers : 0;
    for (uint64_t turn = lead < SWRR_MAX_LEAD ? lead : SWRR_MAX_LEAD; turn; turn--) {
        uint32_t best = 0; /* workers start at different places of the cycle */
        for (uint32_t i = 0; i < n; i++)
            if ((s->current[i] += b[i].weight) > s->current[best])
                best = i;
        s->current[best] -= total;
    }
    s->next = *bucket;
    *bucket = s;
    return s;
}

static const struct fg_img_backend *next_backend(struct fg_engine *e, uint64_t key, const struct fg_img_backend *b, uint32_t n,
                                                 uint32_t total) {
    if (n == 0 || total == 0)
        return NULL;
    if (n == 1)
        return b;
    for (uint32_t i = 0; i < n; i++)
        key = fg_mix(key ^ b[i].weight ^ fg_mix(b[i].cluster ? e->gen->image.clusters[b[i].cluster - 1].key : i));
    struct fg_swrr *s = swrr_of(e, key, b, n, total);
    if (s == NULL)
        return b;
    s->used_in = e->gen->image.generation;
    uint32_t best = n;
    for (uint32_t i = 0; i < n; i++) {
        if (b[i].weight == 0)
            continue;
        s->current[i] += b[i].weight;
        if (best == n || s->current[i] > s->current[best])
            best = i;
    }
    s->current[best] -= total;
    return &b[best];
}

const struct fg_img_backend *fg_rule_backend(struct fg_engine *e, const struct fg_match_result *m) {
    const struct fg_img_rule *rule = m->rule;
    return next_backend(e, rule->key, (const void *)(m->seg + rule->to.off), rule->to.len, rule->total_weight);
}

const struct fg_img_backend *fg_relay_backend(struct fg_engine *e, const struct fg_img_relay *relay) {
    const struct fg_img_backend *b = (const void *)(e->gen->image.sockets_seg + relay->backends.off);
    return next_backend(e, relay->key, b, relay->backends.len, relay->total_weight);
}
