#include "fg_head.h"

#include "fg_filter.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

/* --- what is dropped ------------------------------------------------------------------------------------------------------ */

static const uint8_t header_flags[FG_H_COUNT] = {
#define X(token, name, flags) [FG_H_##token] = (flags),
    FG_HEADERS(X)
#undef X
};

static bool separates(uint8_t c) {
    return c == ',' || c == ' ' || c == '\t';
}

/* The member of a list at or behind *at, which then is behind it; empty when there is none. */
static struct fg_bytes next_member(const uint8_t *list, size_t len, size_t *at) {
    size_t i = *at;
    while (i < len && separates(list[i]))
        i++;
    size_t from = i;
    while (i < len && !separates(list[i]))
        i++;
    *at = i;
    return (struct fg_bytes){list + from, i - from};
}

static bool list_names(const uint8_t *list, size_t len, const uint8_t *name, size_t name_len) {
    struct fg_bytes m;
    for (size_t at = 0; (m = next_member(list, len, &at)).len;)
        if (m.len == name_len && fg_same_name(m.p, name, name_len))
            return true;
    return false;
}

bool fg_head_has_token(const struct fg_h1_head *h, const uint8_t *base, int header, const char *token) {
    for (uint16_t i = h->first[header] ? h->first[header] - 1 : h->nfields; i < h->nfields; i++) {
        const struct fg_field *f = &h->fields[i];
        if (f->token == header && list_names(base + f->value, f->value_len, (const uint8_t *)token, strlen(token)))
            return true;
    }
    return false;
}

static bool begins_with(const uint8_t *base, const struct fg_field *f, const char *prefix, uint16_t len) {
    return f->name_len > len && fg_same_name(base + f->name, (const uint8_t *)prefix, len);
}

/* Flags of a name in the table, or of the families of names that are treated as those in it are. */
static uint8_t flags_of(const uint8_t *base, const struct fg_field *f) {
    if (f->token)
        return header_flags[f->token];
    if (begins_with(base, f, "x-forwarded-", 12))
        return FG_HDR_GUARDED | FG_HDR_CLIENT | FG_HDR_NO_TRAILER;
    return begins_with(base, f, "content-", 8) ? FG_HDR_GUARDED : 0;
}

static bool connection_names(const struct fg_h1_head *h, const uint8_t *base, const struct fg_field *f) {
    if (flags_of(base, f) & FG_HDR_GUARDED)
        return false;
    for (uint16_t i = h->first[FG_H_CONNECTION] - 1; i < h->nfields; i++) {
        const struct fg_field *c = &h->fields[i];
        if (c->token == FG_H_CONNECTION && list_names(base + c->value, c->value_len, base + f->name, f->name_len))
            return true;
    }
    return false;
}

void fg_head_mark(const struct fg_h1_head *h, const uint8_t *base, bool underscores, bool drop_client) {
    bool named = (h->connection & FG_CONN_NAMES) != 0;
    uint8_t drop = FG_HDR_HOP | FG_HDR_FRAMING | (drop_client ? FG_HDR_CLIENT : 0);
    for (uint16_t i = 0; i < h->nfields; i++) {
        struct fg_field *f = &h->fields[i];
        if (flags_of(base, f) & drop || (f->flags & FG_FIELD_UNDERSCORE && !underscores) ||
            (named && connection_names(h, base, f)))
            f->flags |= FG_FIELD_DROP;
    }
}

/* --- edits: a sequence of (set, add, remove), of filter plugins, of the rule and of the backend ----------------------------- */

struct edits {
    struct { const uint8_t *seg; const struct fg_img_edits *e; } at[FG_FILTER_STAGES + 2];
    int n;
};

static void edits_add(struct edits *x, const uint8_t *seg, const struct fg_img_edits *e) {
    if (e->set.len | e->add.len | e->remove.len) {
        x->at[x->n].seg = seg;
        x->at[x->n++].e = e;
    }
}

/* The filters of the rule, and those of the chosen backend. */
static const struct fg_img_filters *of_rule(const struct fg_req *r) {
    return fg_img_filters_at(r->match.seg, r->match.rule->filters);
}

static const struct fg_img_filters *of_backend(const struct fg_req *r) {
    return fg_img_filters_at(r->match.seg, r->backend->filters);
}

static void edits_add_kept(struct edits *x, const struct fg_req *r, bool response) {
    if (r->filtering)
        for (const struct fg_verdict *v = NULL; (v = fg_filter_kept(r, response, v)) != NULL;)
            edits_add(x, (const uint8_t *)v, &v->edits);
}

static bool in_pairs(const uint8_t *seg, struct fg_ref pairs, struct fg_bytes name) {
    const struct fg_img_pair *p = (const void *)(seg + pairs.off);
    for (uint32_t i = 0; i < pairs.len; i++)
        if (p[i].name.len == name.len && fg_same_name(seg + p[i].name.off, name.p, name.len))
            return true;
    return false;
}

static bool in_names(const uint8_t *seg, struct fg_ref names, struct fg_bytes name) {
    const struct fg_ref *p = (const void *)(seg + names.off);
    for (uint32_t i = 0; i < names.len; i++)
        if (p[i].len == name.len && fg_same_name(seg + p[i].off, name.p, name.len))
            return true;
    return false;
}

/* Does an edit from position `from` on overwrite or remove fields of this name? */
static bool edited_away(const struct edits *x, int from, struct fg_bytes name) {
    for (int i = from; i < x->n; i++)
        if (in_pairs(x->at[i].seg, x->at[i].e->set, name) || in_names(x->at[i].seg, x->at[i].e->remove, name))
            return true;
    return false;
}

static void put_line(struct fg_put *o, struct fg_bytes name, struct fg_bytes value) {
    fg_put_bytes(o, name);
    FG_PUT(o, ": ");
    fg_put_bytes(o, value);
    FG_PUT(o, "\r\n");
}

static void put_pairs(struct fg_put *o, const struct edits *x, int at, struct fg_ref pairs) {
    const uint8_t *seg = x->at[at].seg;
    const struct fg_img_pair *p = (const void *)(seg + pairs.off);
    for (uint32_t i = 0; i < pairs.len; i++) {
        struct fg_bytes name = fg_str(seg, p[i].name);
        if (!in_names(seg, x->at[at].e->remove, name) && !edited_away(x, at + 1, name))
            put_line(o, name, fg_str(seg, p[i].value));
    }
}

static void put_edits(struct fg_put *o, const struct edits *x) {
    for (int i = 0; i < x->n; i++) {
        put_pairs(o, x, i, x->at[i].e->set);
        put_pairs(o, x, i, x->at[i].e->add);
    }
}

/* --- trailers ----------------------------------------------------------------------------------------------------------------- */

bool fg_head_may_trail(const struct fg_down *d, const uint8_t *base, const struct fg_field *f) {
    const struct fg_img_socket *s = fg_down_socket(d);
    struct fg_bytes name = {base + f->name, f->name_len};
    return s && !(flags_of(base, f) & FG_HDR_NO_TRAILER) && in_names(d->e->gen->image.sockets_seg, s->trailers, name);
}

bool fg_head_takes_trailers(const struct fg_req *r) {
    return r->head.first[FG_H_TE] && r->head.minor_version == 1 && r->socket->trailers.len &&
           fg_head_has_token(&r->head, r->down->in.p, FG_H_TE, "trailers");
}

/* Trailer, reduced to the names of fields that go on (RFC 9110 section 6.6.2). */
static void put_announced(struct fg_put *o, const struct fg_req *r, const struct fg_h1_head *h, const uint8_t *base) {
    const uint8_t *seg = r->gen->image.sockets_seg;
    bool first = true;
    for (uint16_t i = h->first[FG_H_TRAILER] ? h->first[FG_H_TRAILER] - 1 : h->nfields; i < h->nfields; i++) {
        const struct fg_field *f = &h->fields[i];
        if (f->token != FG_H_TRAILER)
            continue;
        struct fg_bytes name;
        for (size_t at = 0; (name = next_member(base + f->value, f->value_len, &at)).len;) {
            if (!in_names(seg, r->socket->trailers, name))
                continue;
            if (first)
                FG_PUT(o, "trailer: ");
            else
                FG_PUT(o, ", ");
            fg_put_bytes(o, name);
            first = false;
        }
    }
    if (!first)
        FG_PUT(o, "\r\n");
}

/* --- fields: runs of lines that stay as they are are copied in one piece --------------------------------------------------- */

static void put_fields(struct fg_put *o, const struct fg_h1_head *h, const uint8_t *base, const struct edits *x,
                       const uint8_t skip[FG_H_COUNT]) {
    uint16_t n = h->nfields, i = 0;
    while (i < n) {
        const struct fg_field *f = &h->fields[i];
        if (f->flags & FG_FIELD_DROP || skip[f->token] ||
            (x->n && edited_away(x, 0, (struct fg_bytes){base + f->name, f->name_len}))) {
            i++;
            continue;
        }
        uint32_t from = f->name, to = f->value + f->value_len;
        while (++i < n) {
            f = &h->fields[i];
            if (f->flags & FG_FIELD_DROP || skip[f->token] || x->n)
                break;
            to = f->value + f->value_len;
        }
        fg_put(o, base + from, to - from);
        FG_PUT(o, "\r\n");
    }
}

static void put_length(struct fg_put *o, int framing, uint64_t length) {
    if (framing == FG_FRAMING_CHUNKED) {
        FG_PUT(o, "transfer-encoding: chunked\r\n");
    } else if (framing == FG_FRAMING_LENGTH) {
        FG_PUT(o, "content-length: ");
        fg_put_uint(o, length);
        FG_PUT(o, "\r\n");
    }
}

static void put_via(struct fg_put *o, const struct fg_h1_head *h, bool http2, struct fg_bytes pseudonym) {
    if (pseudonym.len == 0)
        return;
    if (http2)
        FG_PUT(o, "via: 2.0 ");
    else if (h->minor_version == 0)
        FG_PUT(o, "via: 1.0 ");
    else
        FG_PUT(o, "via: 1.1 ");
    fg_put_bytes(o, pseudonym);
    FG_PUT(o, "\r\n");
}

unsigned fg_head_via_count(const struct fg_h1_head *h, const uint8_t *base, struct fg_bytes pseudonym) {
    unsigned count = 0;
    if (h->first[FG_H_VIA] == 0 || pseudonym.len == 0)
        return 0;
    for (uint16_t i = h->first[FG_H_VIA] - 1; i < h->nfields; i++) {
        const struct fg_field *f = &h->fields[i];
        if (f->token != FG_H_VIA)
            continue;
        const uint8_t *p = base + f->value, *end = p + f->value_len;
        while ((p = memmem(p, (size_t)(end - p), pseudonym.p, pseudonym.len)) != NULL) {
            bool starts = p > base + f->value && p[-1] == ' ';
            p += pseudonym.len;
            count += starts && (p == end || *p == ',' || *p == ' ');
        }
    }
    return count;
}

/* --- who the client is ------------------------------------------------------------------------------------------------------ */

void fg_put_address(struct fg_put *o, const struct fg_address *a, bool brackets) {
    char text[INET6_ADDRSTRLEN];
    if (a->family == 4) {
        for (int i = 0; i < 4; i++) {
            if (i)
                FG_PUT(o, ".");
            fg_put_uint(o, a->ip[i]);
        }
        return;
    }
    inet_ntop(AF_INET6, a->ip, text, sizeof text);
    if (brackets)
        FG_PUT(o, "[");
    fg_put(o, text, strlen(text));
    if (brackets)
        FG_PUT(o, "]");
}

static bool came_trusted(const struct fg_req *r, int token) {
    return r->socket->trusted_hops && r->head.first[token];
}

/* What the proxies before us said: all fields of this name as the beginning of one list. */
static void put_earlier(struct fg_put *o, const struct fg_req *r, const uint8_t *base, int token) {
    for (uint16_t i = r->head.first[token] - 1; i < r->head.nfields; i++) {
        const struct fg_field *f = &r->head.fields[i];
        if (f->token != token)
            continue;
        fg_put(o, base + f->value, f->value_len);
        FG_PUT(o, ", ");
    }
}

static void put_client(struct fg_put *o, const struct fg_req *r, const uint8_t *base) {
    const struct fg_down *d = r->down;
    struct fg_bytes authority = {base + r->head.authority.off, r->head.authority.len};
    FG_PUT(o, "x-forwarded-for: ");
    if (came_trusted(r, FG_H_X_FORWARDED_FOR))
        put_earlier(o, r, base, FG_H_X_FORWARDED_FOR);
    struct fg_bytes peer = {o->at, 0};
    fg_put_address(o, &d->peer, false);
    peer.len = (size_t)(o->at - peer.p);
    FG_PUT(o, "\r\n");
    if (r->socket->trusted_hops == 0) /* else the connection is a proxy's, and X-Real-IP is as that one said */
        put_line(o, (struct fg_bytes){(const uint8_t *)"x-real-ip", 9}, peer);
    if (!came_trusted(r, FG_H_X_FORWARDED_PROTO))
        put_line(o, (struct fg_bytes){(const uint8_t *)"x-forwarded-proto", 17}, fg_down_scheme(d));
    if (!came_trusted(r, FG_H_X_FORWARDED_HOST) && authority.len)
        put_line(o, (struct fg_bytes){(const uint8_t *)"x-forwarded-host", 16}, authority);
    if (!came_trusted(r, FG_H_X_FORWARDED_PORT)) {
        FG_PUT(o, "x-forwarded-port: ");
        fg_put_uint(o, d->listen->bound.port);
        FG_PUT(o, "\r\n");
    }
    FG_PUT(o, "forwarded: ");
    if (came_trusted(r, FG_H_FORWARDED))
        put_earlier(o, r, base, FG_H_FORWARDED);
    if (d->peer.family == 4)
        FG_PUT(o, "for=");
    else
        FG_PUT(o, "for=\"[");
    fg_put_bytes(o, peer);
    if (d->peer.family != 4)
        FG_PUT(o, "]\"");
    FG_PUT(o, ";proto=");
    fg_put_bytes(o, fg_down_scheme(d));
    if (authority.len) {
        FG_PUT(o, ";host=\"");
        fg_put_bytes(o, authority);
        FG_PUT(o, "\"");
    }
    FG_PUT(o, "\r\n");
}

/* The client's certificate, which only we may name (RFC 9440 section 2.4); behind trusted proxies it is theirs to say. */
static bool tells_certificate(const struct fg_req *r) {
    return r->socket->client_cert && r->socket->trusted_hops == 0;
}

static void put_certificate(struct fg_put *o, const struct fg_req *r) {
    const struct fg_identity *x = r->down->identity;
    if (x && x->client_cert.len)
        put_line(o, (struct fg_bytes){(const uint8_t *)"client-cert", 11}, x->client_cert);
}

/* --- requests ----------------------------------------------------------------------------------------------------------------- */

void fg_put_path(struct fg_put *o, int kind, struct fg_bytes value, struct fg_bytes path, uint32_t prefix_len) {
    if (kind == FG_REWRITE_NONE) {
        fg_put_bytes(o, path);
        return;
    }
    if (kind == FG_REWRITE_FULL) {
        fg_put_bytes(o, value);
        if (value.len == 0)
            FG_PUT(o, "/");
        return;
    }
    struct fg_bytes rest = {path.p + prefix_len, path.len - prefix_len};
    if (value.len && value.p[value.len - 1] == '/' && (rest.len == 0 || rest.p[0] == '/'))
        value.len -= rest.len != 0 || value.len > 1;
    bool slash = rest.len == 0 ? value.len == 0 : value.len == 0 && rest.p[0] != '/';
    fg_put_bytes(o, value);
    if (slash)
        FG_PUT(o, "/");
    else if (rest.len && rest.p[0] != '/' && value.len && value.p[value.len - 1] != '/')
        FG_PUT(o, "/");
    fg_put_bytes(o, rest);
}

/* What the last filter plugin that changed it made of the target or of the authority; empty: nobody did. */
static struct fg_bytes replaced(const struct fg_req *r, bool authority) {
    struct fg_bytes value = {NULL, 0};
    if (r->filtering == NULL)
        return value;
    for (const struct fg_verdict *v = NULL; (v = fg_filter_kept(r, false, v)) != NULL;) {
        struct fg_ref ref = authority ? v->authority : v->target;
        if (ref.len)
            value = fg_str((const uint8_t *)v, ref);
    }
    return value;
}

static void put_query(struct fg_put *o, const struct fg_req *r, const uint8_t *base) {
    if (r->head.query.off) {
        FG_PUT(o, "?");
        fg_put(o, base + r->head.query.off, r->head.query.len);
    }
}

static void put_request_line(struct fg_put *o, const struct fg_req *r, const uint8_t *base) {
    const struct fg_h1_head *h = &r->head;
    const struct fg_img_filters *rule = of_rule(r), *own = of_backend(r);
    const struct fg_img_filters *f = own->path_kind ? own : rule;
    fg_put(o, base + h->method.off, h->method.len);
    FG_PUT(o, " ");
    struct fg_bytes target = replaced(r, false), path = {base + h->path.off, r->path_len};
    if (target.len) {
        fg_put_bytes(o, target);
        FG_PUT(o, " HTTP/1.1\r\n");
        return;
    }
    fg_put_path(o, (int)f->path_kind, fg_str(r->match.seg, f->path), path, r->match.prefix_len);
    put_query(o, r, base);
    FG_PUT(o, " HTTP/1.1\r\n");
}

static void put_host(struct fg_put *o, const struct fg_req *r, const uint8_t *base, const struct edits *x) {
    static const struct fg_bytes host = {(const uint8_t *)"host", 4};
    if (x->n && edited_away(x, 0, host))
        return;
    const struct fg_img_filters *rule = of_rule(r), *own = of_backend(r);
    struct fg_ref name = own->hostname.len ? own->hostname : rule->hostname;
    struct fg_bytes authority = replaced(r, true);
    if (authority.len)
        put_line(o, host, authority);
    else if (name.len)
        put_line(o, host, fg_str(r->match.seg, name));
    else
        put_line(o, host, (struct fg_bytes){base + r->head.authority.off, r->head.authority.len});
}

/* What came and goes on or frames the message, as filters left it. */
static void put_edited(struct fg_put *o, const struct fg_req *r, const uint8_t *base) {
    const struct fg_h1_head *h = &r->head;
    struct fg_bytes target = replaced(r, false), authority = replaced(r, true);
    struct edits x;
    x.n = 0;
    edits_add_kept(&x, r, false);
    fg_put(o, base + h->method.off, h->method.len);
    FG_PUT(o, " ");
    if (target.len) {
        fg_put_bytes(o, target);
    } else {
        fg_put(o, base + h->path.off, r->path_len);
        put_query(o, r, base);
    }
    fg_put(o, h->minor_version ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n", 11);
    if (authority.len == 0)
        authority = (struct fg_bytes){base + h->authority.off, h->authority.len};
    if (authority.len || h->first[FG_H_HOST])
        put_line(o, (struct fg_bytes){(const uint8_t *)"host", 4}, authority);
    for (uint16_t i = 0; i < h->nfields; i++) {
        const struct fg_field *f = &h->fields[i];
        struct fg_bytes name = {base + f->name, f->name_len};
        bool frames = flags_of(base, f) & (FG_HDR_HOP | FG_HDR_FRAMING); /* dropped, and beyond the reach of edits */
        if (f->token != FG_H_HOST && (frames || (!(f->flags & FG_FIELD_DROP) && !edited_away(&x, 0, name))))
            put_line(o, name, (struct fg_bytes){base + f->value, f->value_len});
    }
    put_edits(o, &x);
    FG_PUT(o, "\r\n");
}

int fg_head_take_edits(struct fg_engine *e, struct fg_req *r) {
    struct fg_buf *in = &r->down->in;
    struct fg_put o = {e->scratch, e->scratch + FG_SCRATCH, false};
    put_edited(&o, r, in->p);
    uint32_t len = (uint32_t)(o.at - e->scratch), head_len = r->head_len;
    fg_put(&o, in->p + r->head.target.off, r->head.target.len);
    const struct fg_h1_limits limits = {.max_head = len, .max_line = len, .max_fields = FG_MAX_FIELDS};
    struct fg_h1_head h = {.fields = e->response_fields};
    if (o.full || e->f.parse_request(e->scratch, len, &limits, &h) != (int64_t)len)
        return -1;
    int64_t path_len = h.path_clean ? h.path.len : e->f.normalize_path(e->scratch + h.path.off, h.path.len);
    if (path_len < 0)
        return -1;
    fg_buf_compact(in);
    in->start = in->pin = 0;
    int kept = fg_buf_replace(&e->pool, in, head_len, e->scratch, (uint32_t)(o.at - e->scratch));
    if (kept == 0)
        head_len = (uint32_t)(o.at - e->scratch);
    in->start = in->pin = head_len;
    if (kept < 0)
        return -1;
    memcpy(r->fields, h.fields, h.nfields * sizeof *h.fields);
    h.fields = r->fields;
    h.target = (struct fg_span){len, r->head.target.len};
    h.target_form = r->head.target_form;
    h.framing = r->head.framing; /* which HTTP/2 says in no field */
    r->head = h;
    r->head_len = head_len;
    r->path_len = (uint32_t)path_len;
    for (uint16_t i = 0; i < h.nfields; i++) /* no others: Connection has no say in what filters added */
        if (flags_of(in->p, &r->fields[i]) & (FG_HDR_HOP | FG_HDR_FRAMING))
            r->fields[i].flags |= FG_FIELD_DROP;
    return 0;
}

size_t fg_head_request(struct fg_engine *e, struct fg_req *r, uint8_t *out, size_t cap) {
    static const uint8_t ours[FG_H_COUNT] = {[FG_H_HOST] = 1, [FG_H_X_FORWARDED_FOR] = 1, [FG_H_FORWARDED] = 1};
    static const uint8_t ours_with_certificate[FG_H_COUNT] = {[FG_H_HOST] = 1, [FG_H_X_FORWARDED_FOR] = 1, [FG_H_FORWARDED] = 1,
        [FG_H_CLIENT_CERT] = 1, [FG_H_CLIENT_CERT_CHAIN] = 1};
    const uint8_t *base = r->down->in.p;
    struct fg_put o = {out, out + cap, false};
    struct edits x;
    x.n = 0;
    (void)e;
    edits_add_kept(&x, r, false);
    edits_add(&x, r->match.seg, &of_rule(r)->request);
    edits_add(&x, r->match.seg, &of_backend(r)->request);
    put_request_line(&o, r, base);
    put_host(&o, r, base, &x);
    put_fields(&o, &r->head, base, &x, tells_certificate(r) ? ours_with_certificate : ours);
    put_client(&o, r, base);
    if (tells_certificate(r))
        put_certificate(&o, r);
    if (r->request_id_len)
        put_line(&o, (struct fg_bytes){(const uint8_t *)"x-request-id", 12},
                 (struct fg_bytes){r->request_id, r->request_id_len});
    put_via(&o, &r->head, r->down->stream != NULL, fg_str(r->gen->image.sockets_seg, r->socket->via));
    if (x.n)
        put_edits(&o, &x);
    put_length(&o, r->request.out, r->head.content_length);
    if (fg_filter_passes_trailers(r, false))
        put_announced(&o, r, &r->head, base);
    if (r->upgrade)
        FG_PUT(&o, "connection: upgrade\r\nupgrade: websocket\r\n");
    else if (fg_head_takes_trailers(r))
        FG_PUT(&o, "te: trailers\r\nconnection: te\r\n");
    FG_PUT(&o, "\r\n");
    return o.full ? 0 : (size_t)(o.at - out);
}

/* --- responses ----------------------------------------------------------------------------------------------------------------- */

void fg_head_date(struct fg_engine *e) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec == e->date_second)
        return;
    struct tm tm;
    gmtime_r(&now.tv_sec, &tm);
    strftime(e->date, sizeof e->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    e->date_second = now.tv_sec;
}

static void put_status_line(struct fg_put *o, const struct fg_h1_head *h, const uint8_t *base) {
    FG_PUT(o, "HTTP/1.1 ");
    fg_put_uint(o, h->status);
    FG_PUT(o, " ");
    fg_put(o, base + h->reason.off, h->reason.len);
    FG_PUT(o, "\r\n");
}

void fg_head_continue(struct fg_req *r) {
    static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct fg_down *d = r->down;
    if (!r->continue_wanted)
        return;
    r->continue_wanted = false;
    for (uint16_t i = r->head.first[FG_H_EXPECT] - 1; i < r->head.nfields; i++)
        if (r->fields[i].token == FG_H_EXPECT)
            r->fields[i].flags |= FG_FIELD_DROP; /* it is fulfilled */
    if (fg_io_owe(&d->io, &d->e->pool, answer, sizeof answer - 1) < 0 || fg_io_writev(&d->io, &d->e->pool, NULL, 0) == -2)
        d->io.hup = true;
}

static bool has_body(unsigned status) {
    return status >= 200 && status != 204 && status != 304;
}

void fg_head_edit_status(const struct fg_req *r, struct fg_h1_head *h) {
    if (r->filtering == NULL)
        return;
    for (const struct fg_verdict *v = NULL; (v = fg_filter_kept(r, true, v)) != NULL;)
        if (v->status && has_body(v->status) && has_body(h->status)) {
            h->status = v->status;
            h->reason.len = 0;
        }
}

size_t fg_head_interim(struct fg_engine *e, const uint8_t *base, uint8_t *out, size_t cap) {
    static const uint8_t none[FG_H_COUNT];
    struct edits x;
    x.n = 0;
    struct fg_put o = {out, out + cap, false};
    put_status_line(&o, &e->response, base);
    put_fields(&o, &e->response, base, &x, none);
    FG_PUT(&o, "\r\n");
    return o.full ? 0 : (size_t)(o.at - out);
}

void fg_head_put_edits(struct fg_put *o, const struct fg_req *r) {
    struct edits x;
    x.n = 0;
    edits_add(&x, r->match.seg, &of_rule(r)->response);
    put_edits(o, &x);
}

size_t fg_head_response(struct fg_engine *e, struct fg_req *r, const uint8_t *base, uint8_t *out, size_t cap) {
    const struct fg_h1_head *h = &e->response;
    struct fg_bytes server = fg_str(r->gen->image.sockets_seg, r->socket->server);
    uint8_t skip[FG_H_COUNT] = {[FG_H_SERVER] = server.len != 0};
    struct fg_put o = {out, out + cap, false};
    struct edits x;
    x.n = 0;
    edits_add_kept(&x, r, true);
    edits_add(&x, r->match.seg, &of_rule(r)->response);
    edits_add(&x, r->match.seg, &of_backend(r)->response);
    put_status_line(&o, h, base);
    put_fields(&o, h, base, &x, skip);
    if (server.len)
        put_line(&o, (struct fg_bytes){(const uint8_t *)"server", 6}, server);
    if (h->first[FG_H_DATE] == 0) {
        fg_head_date(e);
        put_line(&o, (struct fg_bytes){(const uint8_t *)"date", 4},
                 (struct fg_bytes){(const uint8_t *)e->date, strlen(e->date)});
    }
    put_via(&o, h, false, fg_str(r->gen->image.sockets_seg, r->socket->via));
    if (x.n)
        put_edits(&o, &x);
    bool describes = r->head.method_token == FG_METHOD_HEAD || h->status == 304;
    if (describes && h->content_length != FG_NO_LENGTH)
        put_length(&o, FG_FRAMING_LENGTH, h->content_length); /* of the body that is not sent */
    else if (h->status != 101)
        put_length(&o, r->response.out, h->content_length);
    if (fg_filter_passes_trailers(r, true))
        put_announced(&o, r, h, base);
    if (h->status == 101)
        FG_PUT(&o, "connection: upgrade\r\nupgrade: websocket\r\n");
    else if (!r->keep_alive)
        FG_PUT(&o, "connection: close\r\n");
    else if (r->head.minor_version == 0)
        FG_PUT(&o, "connection: keep-alive\r\n");
    FG_PUT(&o, "\r\n");
    return o.full ? 0 : (size_t)(o.at - out);
}
