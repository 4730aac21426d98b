/* Heads between HTTP/2 and HTTP/1 (RFC 9113 section 8): requests become heads of HTTP/1 in the stream's buffer, which the parser
 * of those judges; responses are written as those, and taken apart here. nghttp2 has refused upper-case names, fields of
 * connections, and pseudo-header fields that are out of place or missing. */
#include "fg_h2.h"
#include "fg_head.h"

/* --- requests ---------------------------------------------------------------------------------------------------------------------- */

static struct fg_bytes bytes_of(nghttp2_rcbuf *b) {
    if (b == NULL)
        return (struct fg_bytes){NULL, 0};
    nghttp2_vec v = nghttp2_rcbuf_get_buf(b);
    return (struct fg_bytes){v.base, v.len};
}

static bool is(struct fg_bytes b, const char *text) {
    return b.len == strlen(text) && memcmp(b.p, text, b.len) == 0;
}

/* nghttp2 has looked, too: what splits a line would be another request's. */
static bool is_one_line(struct fg_bytes b) {
    for (size_t i = 0; i < b.len; i++)
        if (b.p[i] == '\r' || b.p[i] == '\n' || b.p[i] == 0)
            return false;
    return true;
}

static void fail(struct fg_h2_stream *s, int error) {
    if (s->error == 0)
        s->error = (int16_t)error;
}

/* Room for `n` bytes of the head; NULL: there is none, and s->error says why. */
static uint8_t *room(struct fg_h2_stream *s, size_t n) {
    struct fg_buf *in = &s->down.in;
    if (s->error)
        return NULL;
    if (in->end + n > fg_down_limits(&s->down)->head_bytes ||
        fg_buf_reserve(&s->down.e->pool, in, in->end + (uint32_t)n) < 0) {
        fail(s, FG_E_HEAD_TOO_LARGE);
        return NULL;
    }
    in->end += (uint32_t)n;
    return in->p + in->end - n;
}

static uint8_t *copy(uint8_t *to, struct fg_bytes b) {
    memcpy(to, b.p, b.len);
    return to + b.len;
}

static uint32_t put_line(struct fg_h2_stream *s, struct fg_bytes name, struct fg_bytes value) {
    if (!is_one_line(value)) {
        fail(s, FG_E_BAD_FIELD_VALUE);
        return 0;
    }
    if (++s->lines + s->cookies > fg_down_limits(&s->down)->head_fields) {
        fail(s, FG_E_TOO_MANY_FIELDS);
        return 0;
    }
    uint8_t *o = room(s, name.len + value.len + 4);
    if (o == NULL)
        return 0;
    o = copy(o, name);
    o = copy(o, (struct fg_bytes){(const uint8_t *)": ", 2});
    o = copy(o, value);
    copy(o, (struct fg_bytes){(const uint8_t *)"\r\n", 2});
    return s->down.in.end - 2;
}

static void begin(struct fg_h2_stream *s) {
    static const struct fg_bytes host = {(const uint8_t *)"host", 4};
    nghttp2_rcbuf **pseudo = s->h2->pseudo;
    struct fg_bytes method = bytes_of(pseudo[FG_H2_METHOD]), path = bytes_of(pseudo[FG_H2_PATH]);
    struct fg_bytes authority = bytes_of(pseudo[FG_H2_AUTHORITY]), scheme = bytes_of(pseudo[FG_H2_SCHEME]);
    s->head_begun = true;
    if (path.len == 0) /* CONNECT names an authority (RFC 9113 section 8.5) */
        path = authority;
    struct fg_bytes ours = fg_down_scheme(&s->down);
    s->down.other_scheme = scheme.len && (scheme.len != ours.len || !fg_same_name(scheme.p, ours.p, ours.len));
    if (!is_one_line(method) || !is_one_line(path)) {
        fail(s, FG_E_BAD_TARGET);
        return;
    }
    uint8_t *o = room(s, method.len + 1 + path.len + 11);
    if (o == NULL)
        return;
    o = copy(o, method);
    *o++ = ' ';
    o = copy(o, path);
    copy(o, (struct fg_bytes){(const uint8_t *)" HTTP/1.1\r\n", 11});
    if (authority.len)
        put_line(s, host, authority);
}

/* Crumbs become one field (RFC 9113 section 8.2.3). */
static void put_cookie(struct fg_h2_stream *s, struct fg_bytes name, struct fg_bytes value) {
    struct fg_buf *in = &s->down.in;
    if (s->cookie_end == 0) {
        s->cookie_end = put_line(s, name, value);
        return;
    }
    if (!is_one_line(value))
        fail(s, FG_E_BAD_FIELD_VALUE);
    else if (s->lines + ++s->cookies > fg_down_limits(&s->down)->head_fields)
        fail(s, FG_E_TOO_MANY_FIELDS);
    uint32_t behind = in->end - s->cookie_end, n = (uint32_t)value.len + 2;
    if (room(s, n) == NULL)
        return;
    uint8_t *o = in->p + s->cookie_end;
    memmove(o + n, o, behind);
    o = copy(o, (struct fg_bytes){(const uint8_t *)"; ", 2});
    copy(o, value);
    s->cookie_end += n;
}

static int keep_pseudo(struct fg_h2 *h, struct fg_bytes name, nghttp2_rcbuf *value) {
    static const char *const names[FG_H2_PSEUDO_COUNT] = {
        [FG_H2_METHOD] = ":method", [FG_H2_SCHEME] = ":scheme", [FG_H2_AUTHORITY] = ":authority", [FG_H2_PATH] = ":path"};
    for (int i = 0; i < FG_H2_PSEUDO_COUNT; i++) {
        if (is(name, names[i]) && h->pseudo[i] == NULL) {
            nghttp2_rcbuf_incref(value);
            h->pseudo[i] = value;
            return 0;
        }
    }
    return -1; /* which nghttp2 has refused already: there is no other */
}

void fg_h2_head_forget(struct fg_h2 *h) {
    for (int i = 0; i < FG_H2_PSEUDO_COUNT; i++) {
        if (h->pseudo[i])
            nghttp2_rcbuf_decref(h->pseudo[i]);
        h->pseudo[i] = NULL;
    }
}

int fg_h2_head_field(struct fg_h2_stream *s, nghttp2_rcbuf *name_buf, nghttp2_rcbuf *value_buf) {
    struct fg_bytes name = bytes_of(name_buf), value = bytes_of(value_buf);
    if (name.len && name.p[0] == ':')
        return keep_pseudo(s->h2, name, value_buf);
    if (!s->head_begun)
        begin(s);
    struct fg_bytes authority = bytes_of(s->h2->pseudo[FG_H2_AUTHORITY]);
    if (is(name, "host") && authority.len) { /* one and the same (RFC 9113 section 8.3.1) */
        if (authority.len != value.len || !fg_same_name(authority.p, value.p, value.len))
            fail(s, FG_E_DUPLICATE_HOST);
    } else if (is(name, "cookie")) {
        put_cookie(s, name, value);
    } else {
        put_line(s, name, value);
    }
    return 0;
}

int fg_h2_trailer_field(struct fg_h2_stream *s, struct fg_bytes name, struct fg_bytes value) {
    struct fg_pool *pool = &s->down.e->pool;
    if (name.len + value.len + 6 + fg_buf_len(&s->trailers) > FG_H2_TRAILERS || !is_one_line(value))
        return -1;
    int failed = fg_buf_append(pool, &s->trailers, name.p, name.len) | fg_buf_append(pool, &s->trailers, ": ", 2);
    failed |= value.len ? fg_buf_append(pool, &s->trailers, value.p, value.len) : 0;
    return failed | fg_buf_append(pool, &s->trailers, "\r\n", 2);
}

/* 0, or a parse error: the head is that of one request, and of all of what was written. */
static int64_t parse(struct fg_h2_stream *s, struct fg_req *r) {
    struct fg_down *d = &s->down;
    const struct fg_img_limits *l = fg_down_limits(d);
    const struct fg_h1_limits limits = {.max_head = l->head_bytes, .max_line = l->request_line,
        .max_fields = (uint16_t)l->head_fields};
    uint8_t *o = room(s, 2);
    if (s->error)
        return s->error;
    memcpy(o, "\r\n", 2);
    int64_t n = d->e->f.parse_request(d->in.p, d->in.end, &limits, &r->head);
    if (n < 0)
        return n == FG_MORE ? FG_E_HEAD_TOO_LARGE : n;
    if (n != (int64_t)d->in.end || r->head.nfields != s->lines)
        return FG_E_BAD_FIELD_NAME;
    if (r->head.first[FG_H_TRANSFER_ENCODING])
        return FG_E_BAD_TRANSFER_ENCODING;
    return 0;
}

void fg_h2_head_end(struct fg_h2_stream *s) {
    struct fg_down *d = &s->down;
    struct fg_req *r = fg_req_new(d);
    if (r == NULL) {
        fg_h2_stream_reset(s, NGHTTP2_REFUSED_STREAM);
        return;
    }
    d->req = r;
    r->head.fields = r->fields;
    if (!s->head_begun)
        begin(s);
    int64_t error = parse(s, r);
    if (error) {
        fg_reply_parse_error(fg_down_give_up(d), error);
        return;
    }
    r->head_len = d->in.pin = d->in.start = d->in.end;
    r->head.connection = FG_CONN_CLOSE; /* the stream ends with its exchange */
    if (r->head.framing == FG_FRAMING_NONE && !s->remote_ended)
        r->head.framing = FG_FRAMING_FRAMES;
    d->io.readable = s->remote_ended;
    fg_exchange_begin(d, r);
}

/* --- responses --------------------------------------------------------------------------------------------------------------------- */

static nghttp2_nv pair(struct fg_bytes name, struct fg_bytes value) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.len, value.len, NGHTTP2_NV_FLAG_NONE};
}

static void lower(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)(p[i] - 'A') < 26)
            p[i] |= 0x20;
}

/* Fields without those of a connection of HTTP/1, with names in lower case, which is done where they are. */
static size_t put_fields(nghttp2_nv *nv, uint8_t *base, const struct fg_h1_head *h) {
    size_t n = 0;
    for (uint16_t i = 0; i < h->nfields; i++) {
        const struct fg_field *f = &h->fields[i];
        if (f->token == FG_H_CONNECTION || f->token == FG_H_TRANSFER_ENCODING || f->token == FG_H_UPGRADE)
            continue;
        lower(base + f->name, f->name_len);
        nv[n++] = pair((struct fg_bytes){base + f->name, f->name_len}, (struct fg_bytes){base + f->value, f->value_len});
    }
    return n;
}

int64_t fg_h2_head_respond(struct fg_h2_stream *s, uint8_t *text, size_t len) {
    struct fg_engine *e = s->down.e;
    const struct fg_h1_limits limits = {.max_head = FG_SCRATCH, .max_line = FG_SCRATCH, .max_fields = FG_MAX_FIELDS};
    struct fg_field fields[FG_MAX_FIELDS];
    struct fg_h1_head h = {.fields = fields};
    nghttp2_nv nv[1 + FG_MAX_FIELDS];
    int64_t n = e->f.parse_response(text, len, &limits, &h);
    if (n < 0)
        return -1;
    uint8_t status[3] = {(uint8_t)('0' + h.status / 100), (uint8_t)('0' + h.status / 10 % 10), (uint8_t)('0' + h.status % 10)};
    nv[0] = pair((struct fg_bytes){(const uint8_t *)":status", 7}, (struct fg_bytes){status, 3});
    size_t count = 1 + put_fields(nv + 1, text, &h);
    if (h.status < 200)
        return nghttp2_submit_headers(s->h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, nv, count, NULL) < 0 ? -1 : n;
    nghttp2_data_provider2 source = fg_h2_stream_source(s);
    if (nghttp2_submit_response2(s->h2->session, s->id, nv, count, &source) < 0)
        return -1;
    s->responded = true;
    return n;
}

int fg_h2_trailers_respond(struct fg_h2_stream *s, const uint8_t *lines, size_t len) {
    struct fg_engine *e = s->down.e;
    const struct fg_h1_limits limits = {.max_head = (uint32_t)len + 2, .max_fields = FG_MAX_FIELDS};
    struct fg_field fields[FG_MAX_FIELDS];
    struct fg_h1_head h = {.fields = fields};
    nghttp2_nv nv[FG_MAX_FIELDS];
    uint8_t text[FG_H2_TRAILERS + 2];
    if (len > FG_H2_TRAILERS)
        return -1;
    memcpy(text, lines, len);
    memcpy(text + len, "\r\n", 2);
    if (e->f.parse_trailers(text, len + 2, &limits, &h) < 0)
        return -1;
    size_t count = put_fields(nv, text, &h);
    return nghttp2_submit_trailer(s->h2->session, s->id, nv, count) < 0 ? -1 : 0;
}
