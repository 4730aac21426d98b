/* Endpoint tables, and the two choices behind a rule: which of its backends, then which of the backend's endpoints. */
#include "fg_hash.h"
#include "fg_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t address_key(const struct fg_address *a) {
    return fg_hash(a, offsetof(struct fg_address, family) + 1);
}

struct fg_endpoint *fg_endpoint_get(struct fg_engine *e, const struct fg_address *a) {
    uint64_t key = address_key(a);
    struct fg_endpoint **bucket = &e->buckets[key % FG_ENDPOINT_BUCKETS];
    for (struct fg_endpoint *ep = *bucket; ep; ep = ep->next) {
        if (ep->key == key && memcmp(&ep->address, a, offsetof(struct fg_address, family) + 1) == 0) {
            ep->refs++;
            return ep;
        }
    }
    struct fg_endpoint *ep = calloc(1, sizeof *ep);
    if (ep == NULL)
        return NULL;
    ep->address = *a;
    ep->key = key;
    ep->refs = 1;
    fg_list_init(&ep->idle);
    ep->next = *bucket;
    *bucket = ep;
    return ep;
}

void fg_endpoint_unref(struct fg_engine *e, struct fg_endpoint *ep) {
    if (--ep->refs)
        return;
    struct fg_endpoint **at = &e->buckets[ep->key % FG_ENDPOINT_BUCKETS];
    while (*at != ep)
        at = &(*at)->next;
    *at = ep->next;
    free(ep);
}

/* --- tables ------------------------------------------------------------------------------------------------------------ */

static void close_idle(struct fg_endpoint *ep) {
    while (!fg_list_empty(&ep->idle))
        fg_up_close(fg_container_of(ep->idle.next, struct fg_up, link));
}

void fg_endpoints_free(struct fg_engine *e, struct fg_endpoints *t) {
    if (t == NULL)
        return;
    for (uint32_t c = 0; c < t->n; c++) {
        for (uint32_t i = 0; i < t->clusters[c].n; i++) {
            struct fg_endpoint *ep = t->clusters[c].choices[i].endpoint;
            if (--ep->listed == 0)
                close_idle(ep);
            fg_endpoint_unref(e, ep);
        }
        free(t->clusters[c].choices);
    }
    free(t->clusters);
    free(t);
}

static int load_cluster(struct fg_engine *e, struct fg_cluster *c, const struct fg_ep_cluster *from,
                        const struct fg_ep_endpoint *all) {
    c->key = from->key;
    c->choices = calloc(from->count ? from->count : 1, sizeof *c->choices);
    if (c->choices == NULL)
        return -1;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct fg_ep_endpoint *x = &all[from->first + i];
        struct fg_address a = {.port = x->port, .family = x->family};
        memcpy(a.ip, x->address, sizeof a.ip);
        struct fg_endpoint *ep = fg_endpoint_get(e, &a);
        if (ep == NULL)
            return -1;
        ep->listed++;
        c->choices[c->n++] = (struct fg_choice){ep, x->weight};
        if (x->weight > c->max_weight)
            c->max_weight = x->weight;
        c->uneven |= x->weight != c->choices[0].weight;
    }
    return 0;
}

static bool table_is_sound(const struct fg_ep_header *h, size_t size) {
    if (size < sizeof *h || h->magic != FG_ENDPOINTS_MAGIC || h->size != size)
        return false;
    uint64_t need = sizeof *h + (uint64_t)h->nclusters * sizeof(struct fg_ep_cluster) +
                    (uint64_t)h->nendpoints * sizeof(struct fg_ep_endpoint);
    if (need > size)
        return false;
    const struct fg_ep_cluster *c = (const void *)(h + 1);
    for (uint32_t i = 0; i < h->nclusters; i++) {
        if ((uint64_t)c[i].first + c[i].count > h->nendpoints || (i && c[i - 1].key >= c[i].key))
            return false;
    }
    const struct fg_ep_endpoint *x = (const void *)(c + h->nclusters);
    for (uint32_t i = 0; i < h->nendpoints; i++) {
        if ((x[i].family != 4 && x[i].family != 6) || x[i].port == 0)
            return false;
    }
    return true;
}

static struct fg_endpoints *build_table(struct fg_engine *e, const struct fg_ep_header *h) {
    struct fg_endpoints *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->version = h->version;
    t->clusters = calloc(h->nclusters ? h->nclusters : 1, sizeof *t->clusters);
    if (t->clusters == NULL) {
        free(t);
        return NULL;
    }
    const struct fg_ep_cluster *c = (const void *)(h + 1);
    const struct fg_ep_endpoint *x = (const void *)(c + h->nclusters);
    for (uint32_t i = 0; i < h->nclusters; i++) {
        t->n++;
        if (load_cluster(e, &t->clusters[i], &c[i], x) < 0) {
            fg_endpoints_free(e, t);
            return NULL;
        }
    }
    return t;
}

struct fg_endpoints *fg_endpoints_load(struct fg_engine *e, int fd, char *why, size_t why_size) {
    struct stat st;
    struct fg_endpoints *t = NULL;
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(struct fg_ep_header)) {
        snprintf(why, why_size, "the endpoint table is too short");
        return NULL;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        snprintf(why, why_size, "the endpoint table cannot be mapped");
        return NULL;
    }
    if (!table_is_sound(p, (size_t)st.st_size))
        snprintf(why, why_size, "the endpoint table is damaged");
    else if ((t = build_table(e, p)) == NULL)
        snprintf(why, why_size, "no memory for the endpoint table");
    munmap(p, (size_t)st.st_size);
    return t;
}

/* --- choice of an endpoint: the less busy of two at random ---------------------------------------------------------------- */

static const struct fg_cluster *find_cluster(const struct fg_endpoints *t, uint64_t key) {
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

static const struct fg_choice *at_random(struct fg_engine *e, const struct fg_cluster *c) {
    const struct fg_choice *x = &c->choices[fg_random(e) % c->n];
    for (int i = 0; c->uneven && i < 64; i++) { /* accept with probability weight / max_weight */
        if (fg_random(e) % c->max_weight < x->weight)
            break;
        x = &c->choices[fg_random(e) % c->n];
    }
    return x;
}

static bool usable(const struct fg_engine *e, const struct fg_choice *x) {
    return x->weight && x->endpoint->ejected_until <= fg_now_ms(&e->loop);
}

struct fg_endpoint *fg_cluster_pick(struct fg_engine *e, uint64_t key, const struct fg_endpoint *not_this) {
    const struct fg_cluster *c = find_cluster(e->endpoints, key);
    if (c == NULL || c->n == 0 || c->max_weight == 0)
        return NULL;
    if (c->n == 1)
        return c->choices[0].endpoint;
    const struct fg_choice *a = at_random(e, c), *b = at_random(e, c);
    bool a_good = usable(e, a) && a->endpoint != not_this;
    bool b_good = usable(e, b) && b->endpoint != not_this;
    if (a_good && b_good)
        return a->endpoint->active <= b->endpoint->active ? a->endpoint : b->endpoint;
    if (a_good || b_good)
        return a_good ? a->endpoint : b->endpoint;
    uint32_t from = (uint32_t)(fg_random(e) % c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct fg_choice *x = &c->choices[(from + i) % c->n];
        if (usable(e, x) && x->endpoint != not_this)
            return x->endpoint;
    }
    return a->endpoint; /* all are ejected: better a doubtful endpoint than none */
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

const struct fg_img_backend *fg_rule_backend(struct fg_engine *e, const struct fg_match_result *m) {
    const struct fg_img_rule *rule = m->rule;
    const struct fg_img_backend *b = (const void *)(m->seg + rule->backends.off);
    uint32_t n = rule->backends.len;
    if (n == 0 || rule->total_weight == 0)
        return NULL;
    if (n == 1)
        return b;
    uint64_t key = rule->key;
    for (uint32_t i = 0; i < n; i++)
        key = fg_mix(key ^ b[i].weight ^ fg_mix(b[i].cluster ? e->gen->image.clusters[b[i].cluster - 1].key : i));
    struct fg_swrr *s = swrr_of(e, key, b, n, rule->total_weight);
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
    s->current[best] -= rule->total_weight;
    return &b[best];
}
