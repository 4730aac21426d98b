/* Endpoints, which clusters of every generation share; their ejection; the tables that list them. */
#include "fg_hash.h"
#include "fg_tls.h"
#include "fg_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EJECT_AFTER = 3, EJECT_BASE_MS = 5000, EJECT_MAX_MS = 60000 };

static void eject_over(struct fg_timer *t);

uint64_t fg_address_key(const struct fg_address *a) {
    return fg_hash(a, offsetof(struct fg_address, family) + 1);
}

struct fg_endpoint *fg_endpoint_get(struct fg_engine *e, const struct fg_address *a, uint64_t tls_key, struct fg_tls_context *tls) {
    uint64_t key = tls_key ? fg_mix(fg_address_key(a) ^ tls_key) : fg_address_key(a);
    struct fg_endpoint **bucket = &e->buckets[key % FG_ENDPOINT_BUCKETS];
    for (struct fg_endpoint *ep = *bucket; ep; ep = ep->next) {
        if (ep->key == key && ep->tls_key == tls_key && memcmp(&ep->address, a, offsetof(struct fg_address, family) + 1) == 0) {
            ep->refs++;
            return ep;
        }
    }
    struct fg_endpoint *ep = calloc(1, sizeof *ep);
    if (ep == NULL)
        return NULL;
    ep->e = e;
    ep->address = *a;
    ep->tls_key = tls_key;
    ep->tls = tls_key && tls ? fg_tls_context_ref(tls) : NULL;
    ep->sessions = ++e->endpoints_made;
    ep->key = key;
    ep->refs = 1;
    ep->ejection.fire = eject_over;
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
    if (ep->ejected)
        fg_endpoint_readmit(e, ep);
    fg_timer_stop(&e->loop.wheel, &ep->ejection);
    fg_tls_context_unref(ep->tls);
    free(ep);
}

/* --- ejection: of this worker, in every cluster that names the endpoint ------------------------------------------------- */

static void eject_over(struct fg_timer *t) {
    struct fg_endpoint *ep = fg_container_of(t, struct fg_endpoint, ejection);
    fg_endpoint_readmit(ep->e, ep);
}

void fg_endpoint_readmit(struct fg_engine *e, struct fg_endpoint *ep) {
    ep->ejected = false;
    fg_timer_clear(&ep->ejection);
    e->usability++;
    e->stats->c.upstream_ejected--;
}

void fg_endpoint_works(struct fg_engine *e, struct fg_endpoint *ep) {
    ep->failures = 0;
    if (ep->ejected)
        fg_endpoint_readmit(e, ep);
}

void fg_endpoint_failed(struct fg_engine *e, struct fg_endpoint *ep) {
    e->stats->c.upstream_connect_errors++;
    if (++ep->failures < EJECT_AFTER)
        return;
    uint32_t times = ep->failures - EJECT_AFTER;
    uint64_t pause = (uint64_t)EJECT_BASE_MS << (times < 4 ? times : 4);
    if (pause > EJECT_MAX_MS)
        pause = EJECT_MAX_MS;
    pause += fg_random(e) % (pause / 4); /* endpoints that failed together do not come back together */
    fg_timer_at(&e->loop.wheel, &ep->ejection, fg_now_ms(&e->loop) + pause);
    if (ep->ejected)
        return;
    ep->ejected = true;
    e->usability++;
    e->stats->c.upstream_ejected++;
    e->stats->c.upstream_ejections++;
}

/* --- tables ------------------------------------------------------------------------------------------------------------ */

static void close_idle(struct fg_endpoint *ep) {
    while (!fg_list_empty(&ep->idle))
        fg_up_close(fg_container_of(ep->idle.next, struct fg_up, link));
}

static void unlist(struct fg_engine *e, struct fg_endpoint *ep) {
    if (--ep->listed == 0)
        close_idle(ep);
    fg_endpoint_unref(e, ep);
}

void fg_endpoints_free(struct fg_engine *e, struct fg_endpoints *t) {
    if (t == NULL)
        return;
    for (uint32_t c = 0; c < t->n; c++) {
        for (uint32_t i = 0; i < t->clusters[c].n; i++)
            unlist(e, t->clusters[c].choices[i].endpoint);
        free(t->clusters[c].choices);
        free(t->clusters[c].picks);
    }
    free(t->clusters);
    free(t);
}

static int load_cluster(struct fg_engine *e, struct fg_cluster *c, const struct fg_ep_cluster *from,
                        const struct fg_ep_endpoint *all) {
    c->key = from->key;
    c->choices = calloc(from->count ? from->count : 1, sizeof *c->choices);
    c->picks = calloc(from->count ? from->count : 1, sizeof *c->picks);
    if (c->choices == NULL || c->picks == NULL)
        return -1;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct fg_ep_endpoint *x = &all[from->first + i];
        if (x->weight == 0)
            continue;
        struct fg_address a = {.port = x->port, .family = x->family};
        memcpy(a.ip, x->address, sizeof a.ip);
        struct fg_endpoint *ep = fg_endpoint_get(e, &a, 0, NULL);
        if (ep == NULL)
            return -1;
        ep->listed++;
        c->choices[c->n++] = (struct fg_choice){.endpoint = ep, .weight = x->weight};
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

/* --- the TLS of clusters: the image says which, the tables, which come on their own, say where --------------------------- */

/* Without memory a cluster has no endpoints left: none of them is ever spoken to in other words than the image's. */
static void rebind(struct fg_engine *e, struct fg_cluster *c, uint64_t tls_key, struct fg_tls_context *tls) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        struct fg_choice *x = &c->choices[i];
        struct fg_endpoint *old = x->endpoint, *ep = fg_endpoint_get(e, &old->address, tls_key, tls);
        if (ep) {
            ep->listed++;
            c->choices[kept++] = (struct fg_choice){.endpoint = ep, .weight = x->weight};
        }
        unlist(e, old);
    }
    c->n = kept;
    c->tls_key = tls_key;
}

void fg_endpoints_bind(struct fg_engine *e) {
    struct fg_endpoints *t = e->endpoints;
    if (e->gen == NULL || t == NULL)
        return;
    for (uint32_t i = 0; i < e->gen->image.nclusters; i++) {
        const struct fg_img_cluster *ic = &e->gen->image.clusters[i];
        uint64_t tls_key = fg_img_tls_key(&e->gen->image, ic);
        if (tls_key == 0 && t->ntls == 0)
            continue;
        struct fg_cluster *c = fg_cluster_find(t, ic->key);
        if (c == NULL || c->tls_key == tls_key)
            continue;
        t->ntls += (tls_key != 0) - (c->tls_key != 0);
        rebind(e, c, tls_key, fg_tls_of_cluster(e->gen, i));
    }
}
