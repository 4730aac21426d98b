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

/* A verdict that is read, and how many bytes its texts may still have together. */
struct reader {
    const struct fg_verdict *v;
    size_t left;
};

static bool inside(const struct reader *x, struct fg_ref r, size_t record) {
    return r.off <= x->v->size && (uint64_t)r.len * record <= x->v->size - r.off && (record == 1 || r.off % 8 == 0);
}

static bool text(struct reader *x, struct fg_ref r, struct fg_bytes *out) {
    if (!inside(x, r, 1) || r.len > x->left)
        return false;
    x->left -= r.len;
    *out = fg_str((const uint8_t *)x->v, r);
    return true;
}

/* The first of an array; NULL: it is not one, or has more than anybody has a use for. */
static const void *array(const struct reader *x, struct fg_ref r, size_t record) {
    return r.len <= FG_MAX_FIELDS && inside(x, r, record) ? (const uint8_t *)x->v + r.off : NULL;
}

static bool is_token(struct fg_bytes s) { /* RFC 9110 section 5.6.2 */
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        bool alnum = (uint8_t)(c - '0') < 10 || (uint8_t)((c | 0x20) - 'a') < 26;
        if (!alnum && (c == 0 || strchr(others, c) == NULL))
            return false;
    }
    return s.len != 0;
}

static bool is_value(struct fg_bytes s) { /* RFC 9110 section 5.5 */
    for (size_t i = 0; i < s.len; i++)
        if ((s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool is_target(struct fg_bytes s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return s.len == 0 || s.p[0] == '/' || (s.len == 1 && s.p[0] == '*');
}

static bool is_authority(struct fg_bytes s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("/?#@\\\",", s.p[i]))
            return false;
    return true;
}

/* Fields that frame a message, belong to the connection, or decide where it goes. */
static bool is_ours(struct fg_bytes s) {
    static const char *const names[] = {"connection", "content-length", "host", "http2-settings", "keep-alive",
                                        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"};
    for (unsigned i = 0; i < FG_COUNT_OF(names); i++)
        if (strlen(names[i]) == s.len && fg_same_name(s.p, (const uint8_t *)names[i], s.len))
            return true;
    return false;
}

static bool name_ok(struct reader *x, struct fg_ref name) {
    struct fg_bytes s;
    return text(x, name, &s) && is_token(s) && !is_ours(s);
}

static bool pairs_ok(struct reader *x, struct fg_ref pairs) {
    const struct fg_img_pair *p = array(x, pairs, sizeof *p);
    struct fg_bytes value;
    for (uint32_t i = 0; p && i < pairs.len; i++)
        if (!name_ok(x, p[i].name) || !text(x, p[i].value, &value) || !is_value(value))
            return false;
    return p != NULL;
}

static bool names_ok(struct reader *x, struct fg_ref names) {
    const struct fg_ref *p = array(x, names, sizeof *p);
    for (uint32_t i = 0; p && i < names.len; i++)
        if (!name_ok(x, p[i]))
            return false;
    return p != NULL;
}

static bool status_ok(const struct fg_verdict *v) {
    bool kept = v->status == 0 && v->outcome != FG_OUTCOME_REPLY;
    return kept || (v->status >= 200 && v->status <= 599);
}

static bool is_name(struct fg_bytes s) {
    for (size_t i = 0; i < s.len; i++)
        if ((uint8_t)(s.p[i] - '0') >= 10 && (uint8_t)((s.p[i] | 0x20) - 'a') >= 26 && s.p[i] != '_')
            return false;
    return s.len != 0 && s.len <= FG_NAME_MAX;
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

static bool is_json(struct fg_bytes s) {
    return (s.len == 4 && memcmp(s.p, "true", 4) == 0) || (s.len == 5 && memcmp(s.p, "false", 5) == 0) ||
           is_number(s.p, s.p + s.len) || is_string(s.p, s.p + s.len);
}

static bool fields_ok(struct reader *x, struct fg_ref fields) {
    const struct fg_img_pair *p = array(x, fields, sizeof *p);
    struct fg_bytes name, value;
    for (uint32_t i = 0; p && i < fields.len; i++)
        if (!text(x, p[i].name, &name) || !is_name(name) || !text(x, p[i].value, &value) || (value.len && !is_json(value)))
            return false;
    return p != NULL;
}

static bool counts_ok(struct reader *x, struct fg_ref counts) {
    const struct fg_count *c = array(x, counts, sizeof *c);
    struct fg_bytes name;
    for (uint32_t i = 0; c && i < counts.len; i++)
        if (!text(x, c[i].name, &name) || !is_name(name))
            return false;
    return c != NULL;
}

bool fg_verdict_ok(const uint8_t *record, size_t size) {
    struct reader x = {(const void *)record, size};
    const struct fg_verdict *v = x.v;
    struct fg_bytes target, authority, body;
    if (size < sizeof *v || v->size != size || v->size % 8 || v->kind != FG_RECORD_VERDICT)
        return false;
    if (v->phase >= FG_PHASE_COUNT || v->outcome > FG_OUTCOME_NONE || !status_ok(v))
        return false;
    if (!pairs_ok(&x, v->edits.set) || !pairs_ok(&x, v->edits.add) || !names_ok(&x, v->edits.remove))
        return false;
    if (!array(&x, v->spent, sizeof(struct fg_spent)) || !counts_ok(&x, v->counts) || !fields_ok(&x, v->fields))
        return false;
    return text(&x, v->target, &target) && is_target(target) && text(&x, v->authority, &authority) &&
           is_authority(authority) && text(&x, v->body, &body);
}
