#include "fg_call.h"

#include "fg_put.h"

#include <stdlib.h>

int fg_records_add(struct fg_records *a, const void *record, size_t size) {
    if (a->len + size > a->cap) {
        size_t cap = (a->len + size) * 2;
        uint8_t *p = realloc(a->p, cap);
        if (p == NULL)
            return -1;
        a->p = p;
        a->cap = cap;
    }
    memcpy(a->p + a->len, record, size);
    a->len += size;
    return 0;
}

static bool inside(const struct fg_verdict *v, struct fg_ref r, size_t record) {
    return r.off <= v->size && (uint64_t)r.len * record <= v->size - r.off && (record == 1 || r.off % 8 == 0);
}

static bool is_token(const uint8_t *p, size_t n) { /* RFC 9110 section 5.6.2 */
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++) {
        uint8_t c = p[i];
        bool alnum = (uint8_t)(c - '0') < 10 || (uint8_t)((c | 0x20) - 'a') < 26;
        if (!alnum && (c == 0 || strchr(others, c) == NULL))
            return false;
    }
    return n != 0;
}

static bool is_value(const uint8_t *p, size_t n) { /* RFC 9110 section 5.5 */
    for (size_t i = 0; i < n; i++)
        if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
            return false;
    return true;
}

static bool is_target(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] <= 0x20 || p[i] >= 0x7f)
            return false;
    return n == 0 || p[0] == '/' || (n == 1 && p[0] == '*');
}

static bool is_authority(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] <= 0x20 || p[i] >= 0x7f || strchr("/?#@\\\",", p[i]))
            return false;
    return true;
}

/* Fields that frame a message, belong to the connection, or decide where it goes. */
static bool is_ours(const uint8_t *p, size_t n) {
    static const char *const names[] = {"connection", "content-length", "host", "http2-settings", "keep-alive",
                                        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"};
    for (unsigned i = 0; i < FG_COUNT_OF(names); i++)
        if (strlen(names[i]) == n && fg_same_name(p, (const uint8_t *)names[i], n))
            return true;
    return false;
}

static bool name_ok(const struct fg_verdict *v, struct fg_ref name) {
    const uint8_t *p = (const uint8_t *)v + name.off;
    return inside(v, name, 1) && is_token(p, name.len) && !is_ours(p, name.len);
}

static bool pairs_ok(const struct fg_verdict *v, struct fg_ref pairs) {
    if (!inside(v, pairs, sizeof(struct fg_img_pair)))
        return false;
    const struct fg_img_pair *p = (const void *)((const uint8_t *)v + pairs.off);
    for (uint32_t i = 0; i < pairs.len; i++)
        if (!name_ok(v, p[i].name) || !inside(v, p[i].value, 1) ||
            !is_value((const uint8_t *)v + p[i].value.off, p[i].value.len))
            return false;
    return true;
}

static bool names_ok(const struct fg_verdict *v, struct fg_ref names) {
    if (!inside(v, names, sizeof(struct fg_ref)))
        return false;
    const struct fg_ref *p = (const void *)((const uint8_t *)v + names.off);
    for (uint32_t i = 0; i < names.len; i++)
        if (!name_ok(v, p[i]))
            return false;
    return true;
}

static bool is_name(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)(p[i] - '0') >= 10 && (uint8_t)((p[i] | 0x20) - 'a') >= 26 && p[i] != '_')
            return false;
    return n != 0 && n <= FG_NAME_MAX;
}

static size_t digits(const uint8_t *p, const uint8_t *end) {
    const uint8_t *at = p;
    while (at < end && (uint8_t)(*at - '0') < 10)
        at++;
    return (size_t)(at - p);
}

static bool is_number(const uint8_t *p, const uint8_t *end) { /* RFC 8259 section 6 */
    p += p < end && *p == '-';
    size_t n = digits(p, end);
    if (n == 0 || (n > 1 && *p == '0'))
        return false;
    p += n;
    if (p < end && *p == '.') {
        if ((n = digits(++p, end)) == 0)
            return false;
        p += n;
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        if ((n = digits(p, end)) == 0)
            return false;
        p += n;
    }
    return p == end;
}

static bool is_string(const uint8_t *p, const uint8_t *end) { /* RFC 8259 section 7, of ASCII */
    if (end - p < 2 || *p++ != '"' || *--end != '"')
        return false;
    while (p < end) {
        uint8_t c = *p++;
        if (c < 0x20 || c > 0x7e || c == '"')
            return false;
        if (c != '\\')
            continue;
        if (p == end)
            return false;
        c = *p++;
        if (c != 'u') {
            if (c == 0 || strchr("\"\\/bfnrt", c) == NULL)
                return false;
            continue;
        }
        if (end - p < 4)
            return false;
        for (const uint8_t *hex = p + 4; p < hex; p++)
            if ((uint8_t)(*p - '0') >= 10 && (uint8_t)((*p | 0x20) - 'a') >= 6)
                return false;
    }
    return true;
}

static bool is_json(const uint8_t *p, size_t n) {
    return (n == 4 && memcmp(p, "true", 4) == 0) || (n == 5 && memcmp(p, "false", 5) == 0) || is_number(p, p + n) ||
           is_string(p, p + n);
}

static bool fields_ok(const struct fg_verdict *v) {
    if (!inside(v, v->fields, sizeof(struct fg_img_pair)))
        return false;
    const struct fg_img_pair *p = (const void *)((const uint8_t *)v + v->fields.off);
    for (uint32_t i = 0; i < v->fields.len; i++) {
        if (!inside(v, p[i].name, 1) || !inside(v, p[i].value, 1) || !is_name((const uint8_t *)v + p[i].name.off, p[i].name.len))
            return false;
        if (p[i].value.len && !is_json((const uint8_t *)v + p[i].value.off, p[i].value.len))
            return false;
    }
    return true;
}

static bool counts_ok(const struct fg_verdict *v) {
    if (!inside(v, v->spent, sizeof(struct fg_spent)) || !inside(v, v->counts, sizeof(struct fg_count)))
        return false;
    const struct fg_count *c = (const void *)((const uint8_t *)v + v->counts.off);
    for (uint32_t i = 0; i < v->counts.len; i++)
        if (!inside(v, c[i].name, 1) || !is_name((const uint8_t *)v + c[i].name.off, c[i].name.len))
            return false;
    return true;
}

bool fg_verdict_ok(const uint8_t *record, size_t size) {
    const struct fg_verdict *v = (const void *)record;
    if (size < sizeof *v || v->size != size || v->size % 8 || v->kind != FG_RECORD_VERDICT)
        return false;
    if (v->phase >= FG_PHASE_COUNT || v->outcome > FG_OUTCOME_NONE)
        return false;
    if (v->outcome == FG_OUTCOME_REPLY ? v->status < 200 || v->status > 599 : v->status && (v->status < 200 || v->status > 599))
        return false;
    if (!pairs_ok(v, v->edits.set) || !pairs_ok(v, v->edits.add) || !names_ok(v, v->edits.remove))
        return false;
    if (!inside(v, v->target, 1) || !inside(v, v->authority, 1) || !inside(v, v->body, 1))
        return false;
    if (!counts_ok(v) || !fields_ok(v))
        return false;
    return is_target(record + v->target.off, v->target.len) && is_authority(record + v->authority.off, v->authority.len);
}
