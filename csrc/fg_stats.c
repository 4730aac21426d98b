/* Counting: which series an exchange, a Filter or a listener belongs to, and what is added. */
#include "fg_hash.h"
#include "fg_worker.h"

static const uint32_t bounds[] = FG_LATENCY_BOUNDS;

static void copy_name(char *to, size_t cap, struct fg_bytes from) {
    size_t n = from.len < cap - 1 ? from.len : cap - 1;
    memcpy(to, from.p, n);
    to[n] = 0;
}

static struct fg_series *claim(struct fg_engine *e, const struct fg_req *r, uint64_t listener, uint64_t route) {
    struct fg_slab *slab = e->stats;
    struct fg_series *s = &slab->series[slab->nseries];
    s->listener_key = listener;
    s->route_key = route;
    if (r->match.listener)
        copy_name(s->listener, sizeof s->listener, fg_str(r->gen->image.sockets_seg, r->match.listener->key_name));
    if (r->match.rule)
        copy_name(s->route, sizeof s->route, fg_str(r->match.seg, r->match.rule->route));
    __atomic_store_n(&slab->nseries, slab->nseries + 1, __ATOMIC_RELEASE); /* names are complete before they count */
    return s;
}

/* The last series: it takes what does not fit, and no place in the table, so that looking others up stays short. */
static struct fg_series *others(struct fg_slab *slab) {
    struct fg_series *s = &slab->series[FG_SERIES_MAX - 1];
    if (slab->nseries < FG_SERIES_MAX) {
        copy_name(s->route, sizeof s->route, (struct fg_bytes){(const uint8_t *)"other", 5});
        __atomic_store_n(&slab->nseries, FG_SERIES_MAX, __ATOMIC_RELEASE);
    }
    return s;
}

struct fg_series *fg_series_of(struct fg_engine *e, const struct fg_req *r) {
    uint64_t listener = r->match.listener ? r->match.listener->key : 0;
    uint64_t route = r->match.rule ? r->match.rule->route_key : 0;
    uint64_t at = fg_mix(listener ^ (route << 1 | route >> 63));
    uint16_t tag = (uint16_t)(at >> 48);
    for (uint32_t i = 0; i < FG_COUNT_OF(e->series_at); i++, at++) {
        struct fg_series_slot *slot = &e->series_at[at % FG_COUNT_OF(e->series_at)];
        if (slot->at == 0) {
            if (e->stats->nseries >= FG_SERIES_MAX - 1)
                return others(e->stats);
            struct fg_series *s = claim(e, r, listener, route);
            *slot = (struct fg_series_slot){tag, (uint16_t)(s - e->stats->series + 1)};
            return s;
        }
        struct fg_series *s = &e->stats->series[slot->at - 1];
        if (slot->tag == tag && s->listener_key == listener && s->route_key == route)
            return s;
    }
    return others(e->stats);
}

static unsigned bucket_of(uint64_t us) {
    unsigned bucket = 0;
    while (bucket < FG_COUNT_OF(bounds) && us > bounds[bucket])
        bucket++;
    return bucket;
}

void fg_stats_exchange(struct fg_req *r, uint64_t took_us) {
    struct fg_engine *e = r->down->e;
    struct fg_series *s = r->series;
    e->stats->c.bytes_received += r->request.bytes;
    e->stats->c.bytes_sent += r->sent;
    if (s == NULL)
        return;
    s->status_class[r->status < 600 ? r->status / 100 : 0]++;
    s->latency[bucket_of(took_us)]++;
    s->latency_sum_us += took_us;
    s->received += r->request.bytes;
    s->sent += r->sent;
}

/* --- Filters ---------------------------------------------------------------------------------------------------------------- */

uint32_t fg_stats_filter(struct fg_engine *e, uint64_t key, struct fg_bytes name) {
    static const struct fg_bytes other = {(const uint8_t *)"other", 5};
    struct fg_slab *slab = e->stats;
    for (uint64_t at = key;; at++) {
        uint16_t *slot = &e->filters_at[at % FG_COUNT_OF(e->filters_at)];
        if (*slot && slab->filters[*slot - 1].key == key)
            return *slot - 1u;
        if (*slot)
            continue;
        bool fits = slab->nfilters < FG_FILTERS_MAX - 1;
        uint32_t i = fits ? (uint32_t)slab->nfilters : FG_FILTERS_MAX - 1;
        struct fg_filter_series *s = &slab->filters[i];
        copy_name(s->name, sizeof s->name, fits ? name : other);
        if (fits) { /* strangers take no place in the table: it never fills up */
            s->key = key;
            *slot = (uint16_t)(i + 1);
        }
        __atomic_store_n(&slab->nfilters, i + 1, __ATOMIC_RELEASE);
        return i;
    }
}

void fg_stats_spent(struct fg_filter_series *s, uint64_t took_ns) {
    s->latency[bucket_of(took_ns / 1000)]++;
    s->latency_sum_ns += took_ns;
}

void fg_stats_count(struct fg_filter_series *s, struct fg_bytes name, uint64_t n) {
    struct fg_filter_count *c = s->names;
    for (; c < s->names + s->nnames; c++)
        if (strnlen(c->name, sizeof c->name) == name.len && memcmp(c->name, name.p, name.len) == 0)
            break;
    if (c >= s->names + FG_FILTER_NAMES - 1) { /* the last one takes what does not fit */
        c = &s->names[FG_FILTER_NAMES - 1];
        name = (struct fg_bytes){(const uint8_t *)"other", 5};
    }
    if (c == s->names + s->nnames) {
        memcpy(c->name, name.p, name.len);
        __atomic_store_n(&s->nnames, s->nnames + 1, __ATOMIC_RELEASE);
    }
    c->n += n;
}

/* --- listeners ---------------------------------------------------------------------------------------------------------------- */

struct fg_listener_series *fg_stats_listener(struct fg_engine *e, const struct fg_image *image, const struct fg_img_listener *l) {
    struct fg_slab *slab = e->stats;
    uint64_t i = 0;
    while (i < slab->nlisteners && slab->listeners[i].key != l->key)
        i++;
    if (i >= FG_LISTENERS_MAX - 1) { /* the last one takes what does not fit */
        i = FG_LISTENERS_MAX - 1;
        copy_name(slab->listeners[i].name, sizeof slab->listeners[i].name, (struct fg_bytes){(const uint8_t *)"other", 5});
    } else if (i == slab->nlisteners) {
        slab->listeners[i].key = l->key;
        copy_name(slab->listeners[i].name, sizeof slab->listeners[i].name, fg_str(image->sockets_seg, l->key_name));
    }
    if (i == slab->nlisteners)
        __atomic_store_n(&slab->nlisteners, i + 1, __ATOMIC_RELEASE);
    return &slab->listeners[i];
}
