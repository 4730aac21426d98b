/* Counting: which series an exchange belongs to, and what it adds. */
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

void fg_stats_exchange(struct fg_req *r, uint64_t took_us) {
    struct fg_engine *e = r->down->e;
    struct fg_series *s = r->series;
    e->stats->c.bytes_received += r->request.bytes;
    e->stats->c.bytes_sent += r->sent;
    if (s == NULL)
        return;
    unsigned bucket = 0;
    while (bucket < FG_COUNT_OF(bounds) && took_us > bounds[bucket])
        bucket++;
    s->status_class[r->status < 600 ? r->status / 100 : 0]++;
    s->latency[bucket]++;
    s->latency_sum_us += took_us;
    s->received += r->request.bytes;
    s->sent += r->sent;
}
