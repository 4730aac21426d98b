/* What can be seen of filters: counters by Filter in the statistics, log fields on their way to the access log. */
#include "fg_filter.h"

static struct fg_filter_series *series_of(const struct fg_req *r, const struct fg_filter_member *m) {
    return &r->down->e->stats->filters[m->number];
}

void fg_filter_meet(struct fg_req *r, unsigned stage, const uint8_t *seg) {
    struct fg_filtering *x = r->filtering;
    const struct fg_ref members = x->stages[stage].members;
    const struct fg_img_member *from = (const void *)(seg + members.off);
    unsigned n = stage ? x->members_end[stage - 1] : 0;
    for (uint32_t i = 0; i < members.len && n < FG_COUNT_OF(x->members); i++)
        x->members[n++] = (struct fg_filter_member){
            fg_stats_filter(r->down->e, from[i].key, fg_str(seg, from[i].name)), from[i].phases};
    x->members_end[stage] = (uint8_t)n;
}

struct fg_filter_members fg_filter_members(const struct fg_filtering *x, unsigned stage) {
    unsigned first = stage ? x->members_end[stage - 1] : 0;
    return (struct fg_filter_members){x->members + first, x->members_end[stage] - first};
}

void fg_filter_called(struct fg_req *r, unsigned stage, int phase) {
    struct fg_filter_members all = fg_filter_members(r->filtering, stage);
    r->down->e->stats->c.filter_calls++;
    for (unsigned i = 0; i < all.n; i++)
        series_of(r, &all.p[i])->calls += all.p[i].phases >> phase & 1;
}

void fg_filter_waiting(struct fg_req *r, unsigned stage, int phase, int64_t more) {
    struct fg_filter_members all = fg_filter_members(r->filtering, stage);
    r->down->e->stats->c.filter_waiting += (uint64_t)more;
    if (!r->filtering->stages[stage].runs_inline)
        r->down->e->filters_waiting += (uint32_t)more;
    for (unsigned i = 0; i < all.n; i++)
        series_of(r, &all.p[i])->waiting += all.p[i].phases >> phase & 1 ? (uint64_t)more : 0;
}

static enum fg_filter_error error_of(int reason) {
    switch (reason) {
    case FG_R_FILTER_TIMEOUT: return FG_ERROR_FILTER_TIMEOUT;
    case FG_R_FILTER_OVERLOADED: return FG_ERROR_FILTER_OVERLOADED;
    case FG_R_FILTER_OPEN: return FG_ERROR_FILTER_OPEN;
    default: return FG_ERROR_FILTER_FAILED;
    }
}

static void count_error(struct fg_counters *c, enum fg_filter_error error) {
    c->filter_failures += error == FG_ERROR_FILTER_FAILED;
    c->filter_timeouts += error == FG_ERROR_FILTER_TIMEOUT;
    c->filter_overloads += error == FG_ERROR_FILTER_OVERLOADED;
}

void fg_filter_error(struct fg_req *r, unsigned stage, int phase, int reason) {
    struct fg_filter_members all = fg_filter_members(r->filtering, stage);
    enum fg_filter_error error = error_of(reason);
    count_error(&r->down->e->stats->c, error);
    for (unsigned i = 0; i < all.n; i++)
        series_of(r, &all.p[i])->errors[error] += all.p[i].phases >> phase & 1;
}

bool fg_filter_reported(struct fg_engine *e, const struct fg_verdict *v) {
    const uint8_t *record = (const uint8_t *)v;
    const struct fg_spent *s = (const void *)(record + v->spent.off);
    const struct fg_count *c = (const void *)(record + v->counts.off);
    bool failed = false;
    for (uint32_t i = 0; i < v->spent.len; i++) {
        if (s[i].member >= e->stats->nfilters)
            continue;
        struct fg_filter_series *of = &e->stats->filters[s[i].member];
        fg_stats_spent(of, s[i].took_ns);
        of->errors[FG_ERROR_FILTER_FAILED] += s[i].failed != 0;
        failed |= s[i].failed != 0;
    }
    for (uint32_t i = 0; i < v->counts.len; i++)
        if (c[i].member < e->stats->nfilters)
            fg_stats_count(&e->stats->filters[c[i].member], fg_str(record, c[i].name), c[i].n);
    if (failed)
        count_error(&e->stats->c, FG_ERROR_FILTER_FAILED);
    return failed;
}

/* --- log fields ------------------------------------------------------------------------------------------------------------------- */

struct said { uint16_t name, value; }; /* bytes of a field's name and of its JSON, which follow */

bool fg_filter_field(const struct fg_req *r, uint32_t *at, struct fg_bytes *name, struct fg_bytes *value) {
    const struct fg_filtering *x = r->filtering;
    struct said f;
    if (x == NULL || *at >= fg_buf_len(&x->said))
        return false;
    const uint8_t *p = fg_buf_data(&x->said) + *at;
    memcpy(&f, p, sizeof f);
    *name = (struct fg_bytes){p + sizeof f, f.name};
    *value = (struct fg_bytes){name->p + f.name, f.value};
    *at += (uint32_t)sizeof f + f.name + f.value;
    return true;
}

static void forget(struct fg_filtering *x, struct fg_bytes name) {
    struct fg_bytes other, value;
    for (uint32_t at = 0, from = 0; fg_filter_field(x->r, &at, &other, &value); from = at) {
        if (other.len != name.len || memcmp(other.p, name.p, name.len))
            continue;
        memmove(x->said.p + from, x->said.p + at, x->said.end - at);
        x->said.end -= at - from;
        return;
    }
}

void fg_filter_said(struct fg_filtering *x, const struct fg_verdict *v) {
    const uint8_t *record = (const uint8_t *)v;
    const struct fg_img_pair *pairs = (const void *)(record + v->fields.off);
    for (uint32_t i = 0; i < v->fields.len; i++) {
        struct fg_bytes name = fg_str(record, pairs[i].name), value = fg_str(record, pairs[i].value);
        forget(x, name);
        uint64_t end = x->said.end + sizeof(struct said) + name.len + value.len;
        if (value.len == 0 || end > FG_FILTER_SAID || fg_buf_reserve(&x->r->down->e->pool, &x->said, (uint32_t)end) < 0)
            continue;
        uint8_t *p = x->said.p + x->said.end;
        memcpy(p, &(struct said){(uint16_t)name.len, (uint16_t)value.len}, sizeof(struct said));
        memcpy(p + sizeof(struct said), name.p, name.len);
        memcpy(p + sizeof(struct said) + name.len, value.p, value.len);
        x->said.end = (uint32_t)end;
    }
}
