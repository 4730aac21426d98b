/* HTTP/1 heads as RFC 9112 tells them: line by line, byte by byte, without a table, a kernel or a limit. What the parsers say
 * is compared with this; limits are looked at afterwards. */
#ifndef HTTP_ORACLE_H
#define HTTP_ORACLE_H

#include <arpa/inet.h>
#include <strings.h>

#include "fg_http1.h"
#include "fuzz.h"

enum { ORACLE_MORE = -1, ORACLE_BAD = -2, ORACLE_FIELDS = 1 << 14 };

struct oracle_text { size_t off, len; };
struct oracle {
    size_t first_line; /* bytes up to the end of the start line, a preceding empty line included; 0: not complete */
    size_t nfields;    /* complete lines, whatever their faults */
    struct oracle_text name[ORACLE_FIELDS], value[ORACLE_FIELDS];
};

static inline bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static inline bool is_alnum(uint8_t c) { return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z'); }
static inline bool is_tchar(uint8_t c) { return is_alnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c)); }
static inline bool is_vchar(uint8_t c) { return c == '\t' || (c >= 0x20 && c != 0x7f); }
static inline bool is_white(uint8_t c) { return c == ' ' || c == '\t'; }
static inline bool is_target(uint8_t c) { return c > 0x20 && c < 0x7f && c != '#'; }
static inline bool is_host(uint8_t c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; }
static inline bool is_text(const uint8_t *p, size_t n, const char *text) {
    return n == strlen(text) && strncasecmp((const char *)p, text, n) == 0;
}

/* Bytes of the line at p, its CR LF included. */
static inline int64_t oracle_line(const uint8_t *p, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (p[i] == '\n')
            return i && p[i - 1] == '\r' ? (int64_t)i + 1 : ORACLE_BAD;
        if (p[i] == '\r' && i + 1 < size && p[i + 1] != '\n')
            return memchr(p + i, '\n', size - i) ? ORACLE_BAD : ORACLE_MORE;
    }
    return ORACLE_MORE;
}

/* The field section at `at`. Bytes up to and including its empty line. */
static inline int64_t oracle_fields(const uint8_t *buf, size_t at, size_t size, struct oracle *o) {
    for (o->nfields = 0;; o->nfields++) {
        int64_t n = oracle_line(buf + at, size - at);
        if (n < 0)
            return n;
        if (n == 2)
            return (int64_t)at + 2;
        FUZZ_CHECK(o->nfields < ORACLE_FIELDS);
        size_t colon = at, end = at + (size_t)n - 2, start;
        while (colon < end && is_tchar(buf[colon]))
            colon++;
        if (colon == at || colon == end || buf[colon] != ':' || colon - at > 0xffff)
            return ORACLE_BAD;
        for (start = colon + 1; start < end && is_white(buf[start]); start++)
            ;
        for (size_t i = start; i < end; i++)
            if (!is_vchar(buf[i]))
                return ORACLE_BAD;
        for (; end > start && is_white(buf[end - 1]); end--)
            ;
        o->name[o->nfields] = (struct oracle_text){at, colon - at};
        o->value[o->nfields] = (struct oracle_text){start, end - start};
        at += (size_t)n;
    }
}

/* `HTTP/1.x` and the minor version that counts; -1 when it is something else. */
static inline int oracle_version(const uint8_t *p, size_t n) {
    return n == 8 && memcmp(p, "HTTP/1.", 7) == 0 && is_digit(p[7]) ? p[7] != '0' : -1;
}

/* host [":" port]; -1, or the port, 0 for none. `host` gets the length of the first part. */
static inline int oracle_authority(const uint8_t *p, size_t n, size_t *host) {
    size_t h = 0;
    if (n && p[0] == '[') {
        char text[64] = "";
        struct in6_addr address;
        while (h < n && p[h] != ']')
            h++;
        if (h == n || h > 60 || memchr(p, 0, h))
            return -1;
        memcpy(text, p + 1, h - 1);
        h++;
        if (inet_pton(AF_INET6, text, &address) != 1)
            return -1;
    } else {
        while (h < n && is_host(p[h]))
            h++;
    }
    *host = h;
    if (h == 0 || (h < n && p[h] != ':') || n > h + 6)
        return -1;
    int port = 0;
    for (size_t i = h + 1; i < n; i++) {
        if (!is_digit(p[i]))
            return -1;
        port = port * 10 + p[i] - '0';
    }
    return port > 65535 ? -1 : port;
}

/* Framing of a field section as the RFC's section 6 decides it: enum fg_framing (for a request), or ORACLE_BAD. */
static inline int oracle_framing(const uint8_t *buf, const struct oracle *o, int minor, bool request, uint64_t *length) {
    size_t codings = 0, lengths = 0;
    bool chunked = false;
    *length = FG_NO_LENGTH;
    for (size_t i = 0; i < o->nfields; i++) {
        const uint8_t *v = buf + o->value[i].off;
        size_t n = o->value[i].len;
        if (is_text(buf + o->name[i].off, o->name[i].len, "transfer-encoding")) {
            codings++;
            chunked = is_text(v, n, "chunked");
        } else if (is_text(buf + o->name[i].off, o->name[i].len, "content-length")) {
            uint64_t value = 0;
            if (n == 0 || n > 18)
                return ORACLE_BAD;
            for (size_t j = 0; j < n; j++) {
                if (!is_digit(v[j]))
                    return ORACLE_BAD;
                value = value * 10 + v[j] - '0';
            }
            if (lengths && (request || value != *length))
                return ORACLE_BAD;
            lengths++;
            *length = value;
        }
    }
    if (codings)
        return codings == 1 && chunked && !lengths && minor == 1 ? FG_FRAMING_CHUNKED : ORACLE_BAD;
    return lengths ? FG_FRAMING_LENGTH : FG_FRAMING_NONE;
}

/* Options of all Connection fields: FG_CONN_*. */
static inline unsigned oracle_connection(const uint8_t *buf, const struct oracle *o) {
    unsigned options = 0;
    for (size_t i = 0; i < o->nfields; i++) {
        if (!is_text(buf + o->name[i].off, o->name[i].len, "connection"))
            continue;
        const uint8_t *p = buf + o->value[i].off, *end = p + o->value[i].len;
        while (p < end) {
            const uint8_t *start = p;
            while (p < end && *p != ',' && !is_white(*p))
                p++;
            size_t n = (size_t)(p - start);
            if (n)
                options |= is_text(start, n, "close")        ? FG_CONN_CLOSE
                           : is_text(start, n, "keep-alive") ? FG_CONN_KEEP_ALIVE
                           : is_text(start, n, "upgrade")    ? FG_CONN_UPGRADE
                                                             : FG_CONN_NAMES;
            p += p < end;
        }
    }
    return options;
}

static inline uint8_t oracle_token(const uint8_t *name, size_t n) {
#define X(token, text, flags) if (is_text(name, n, text)) return FG_H_##token;
    FG_HEADERS(X)
#undef X
    return FG_HDR_OTHER;
}

/* The fields that a parser produced are these. */
static inline void oracle_compare(const uint8_t *buf, const struct oracle *o, const struct fg_h1_head *head) {
    uint16_t first[FG_H_COUNT] = {0};
    FUZZ_CHECK(head->nfields == o->nfields);
    for (uint16_t i = 0; i < head->nfields; i++) {
        const struct fg_field *f = &head->fields[i];
        const uint8_t *name = buf + f->name;
        FUZZ_CHECK(f->name == o->name[i].off && f->name_len == o->name[i].len);
        FUZZ_CHECK(f->value_len == o->value[i].len && (!f->value_len || f->value == o->value[i].off));
        FUZZ_CHECK(f->token == oracle_token(name, f->name_len));
        FUZZ_CHECK(f->flags == (memchr(name, '_', f->name_len) ? FG_FIELD_UNDERSCORE : 0));
        if (f->token && !first[f->token])
            first[f->token] = (uint16_t)(i + 1);
    }
    FUZZ_CHECK(!memcmp(first, head->first, sizeof first));
}

/* --- what holds for every head parser --------------------------------------------------------------------------------------- */

typedef int64_t (*head_fn)(const uint8_t *, size_t, const struct fg_h1_limits *, struct fg_h1_head *);

static const struct fg_h1_limits head_limits[] = {{32768, 8192, 100}, {96, 40, 3}, {200, 200, 8}, {40, 96, 0}};

/* Parses a growing buffer of which no byte behind `n` may be read; `step` bytes more at a time, the first time `cut`. The
 * fields belong to the caller. */
static inline int64_t head_in_parts(head_fn parse, const uint8_t *data, size_t size, size_t cut, size_t step,
                             const struct fg_h1_limits *limits, struct fg_h1_head *head) {
    uint8_t *buf = fuzz_copy(data, size);
    int64_t verdict = FG_MORE;
    size_t n = cut < size ? cut : size;
    head->scanned = 0;
    for (;;) {
        ASAN_POISON_MEMORY_REGION(buf, size);
        ASAN_UNPOISON_MEMORY_REGION(buf, n);
        verdict = parse(buf, n, limits, head);
        if (verdict != FG_MORE || n == size)
            break;
        n = size - n < step ? size : n + step;
    }
    ASAN_UNPOISON_MEMORY_REGION(buf, size);
    fuzz_drop(buf);
    return verdict;
}

static inline bool same_head(const struct fg_h1_head *a, const struct fg_h1_head *b) {
    struct fg_h1_head x = *a, y = *b;
    x.fields = y.fields = NULL;
    x.scanned = y.scanned = 0;
    return !memcmp(&x, &y, sizeof x) && !memcmp(a->fields, b->fields, a->nfields * sizeof a->fields[0]);
}

/* The verdict on the whole, which is the same however the bytes are cut. */
static inline int64_t head_parse(head_fn parse, const uint8_t *data, size_t size, uint8_t cut, const struct fg_h1_limits *limits,
                          struct fg_h1_head *head) {
    struct fg_h1_head parts = {.fields = calloc(limits->max_fields, sizeof(struct fg_field))};
    memset(head, 0, sizeof *head);
    head->fields = calloc(limits->max_fields, sizeof(struct fg_field));
    int64_t verdict = head_in_parts(parse, data, size, size, 1, limits, head);
    size_t cuts[][2] = {{0, 1}, {size * cut >> 8, size}, {cut, 16}};
    for (size_t i = 0; i < FG_COUNT_OF(cuts); i++) {
        struct fg_field *fields = parts.fields;
        memset(&parts, 0, sizeof parts);
        parts.fields = fields;
        FUZZ_CHECK(head_in_parts(parse, data, size, cuts[i][0], cuts[i][1], limits, &parts) == verdict);
        FUZZ_CHECK(verdict < 0 || same_head(head, &parts));
    }
    free(parts.fields);
    return verdict;
}

/* The verdict is the oracle's, or that of a limit which is indeed passed. `too_large` is this parser's name for the limit on
 * the head. */
static inline void head_check(const uint8_t *buf, size_t size, int64_t verdict, int64_t expected, int64_t too_large,
                       const struct fg_h1_limits *limits, const struct oracle *o) {
    (void)buf;
    if (verdict == too_large)
        FUZZ_CHECK(size >= limits->max_head && expected < 0);
    else if (verdict == FG_E_TOO_MANY_FIELDS)
        FUZZ_CHECK(o->nfields > limits->max_fields || (expected < 0 && o->nfields == limits->max_fields));
    else if (verdict >= 0 || verdict == FG_MORE)
        FUZZ_CHECK(verdict == expected && (verdict >= 0 || size < limits->max_head));
    else
        FUZZ_CHECK(expected == ORACLE_BAD);
}

#endif
