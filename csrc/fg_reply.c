/* The gateway's own answers: one function turns a reason into status, text, log label and counter. */
#include "fg_filter.h"
#include "fg_head.h"

#include <stdio.h>

const struct fg_reason_info fg_reasons[FG_R_COUNT] = {
#define X(name, label, status, side, retryable, text) [FG_R_##name] = {label, text, status, FG_SIDE_##side, retryable},
    FG_REASONS(X)
#undef X
};

uint16_t fg_parse_status(int64_t error) {
    switch (error) {
#define X(name, code, status, text) \
    case code:                      \
        return status;
        FG_PARSE_ERRORS(X)
#undef X
    default:
        return 400;
    }
}

const char *fg_parse_name(int64_t error) {
    switch (error) {
#define X(name, code, status, text) \
    case code:                      \
        return #name;
        FG_PARSE_ERRORS(X)
#undef X
    default:
        return "";
    }
}

/* RFC 9110 section 15, RFC 6585. Empty: a client needs none (RFC 9112 section 4). */
static const char *phrase(unsigned status) {
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 508: return "Loop Detected";
    default: return "";
    }
}

/* Is the rest of this request's body already here, so that the connection can go on behind it? */
static bool body_is_here(struct fg_req *r) {
    struct fg_down *d = r->down;
    if (r->state == FG_REQ_CONNECTING && fg_flow_decode(d, &r->request, &d->in, false) < 0)
        return false;
    if (!r->request.whole)
        return false;
    fg_flow_discard(&r->request, &d->in);
    return true;
}

static void put_extra_lines(struct fg_put *o, struct fg_engine *e, struct fg_req *r) {
    fg_head_date(e);
    FG_PUT(o, "date: ");
    fg_put(o, e->date, strlen(e->date));
    FG_PUT(o, "\r\n");
    if (r->status == 503)
        FG_PUT(o, "retry-after: 1\r\n");
    if (!r->keep_alive)
        FG_PUT(o, "connection: close\r\n");
    else if (r->head.minor_version == 0)
        FG_PUT(o, "connection: keep-alive\r\n");
}

static void send_reply(struct fg_req *r, struct fg_put *o) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    size_t len = (size_t)(o->at - e->scratch);
    struct iovec iov = {e->scratch, len};
    ssize_t n = fg_io_writev(&d->io, &e->pool, &iov, 1);
    if (n == -2 || (n >= 0 && (size_t)n < len && fg_io_owe(&d->io, &e->pool, e->scratch + n, len - (size_t)n) < 0)) {
        r->keep_alive = false;
        d->io.hup = true;
    }
    r->sent += len;
    r->state = FG_REQ_LOCAL;
    r->response.whole = r->response.sent = true;
    fg_exchange_finish(r);
}

static void begin_reply(struct fg_req *r, struct fg_put *o, int reason, unsigned status) {
    struct fg_engine *e = r->down->e;
    r->reason = (uint8_t)reason;
    r->status = (uint16_t)status;
    r->keep_alive = r->keep_alive && body_is_here(r);
    *o = (struct fg_put){e->scratch, e->scratch + FG_SCRATCH, false};
    FG_PUT(o, "HTTP/1.1 ");
    fg_put_uint(o, status);
    FG_PUT(o, " ");
    fg_put(o, phrase(status), strlen(phrase(status)));
    FG_PUT(o, "\r\n");
}

size_t fg_reply_text(char out[FG_REPLY_TEXT], unsigned status) {
    return (size_t)snprintf(out, FG_REPLY_TEXT, "%u %s\n", status, phrase(status));
}

void fg_reply_status(struct fg_req *r, int reason, uint16_t status) {
    struct fg_put o;
    char text[FG_REPLY_TEXT];
    if (fg_filter_local_reply(r, reason, status) != FG_FILTER_PASSED)
        return;
    begin_reply(r, &o, reason, status);
    size_t len = fg_reply_text(text, status);
    FG_PUT(&o, "content-type: text/plain\r\ncontent-length: ");
    fg_put_uint(&o, len);
    FG_PUT(&o, "\r\n");
    put_extra_lines(&o, r->down->e, r);
    FG_PUT(&o, "\r\n");
    if (r->head.method_token != FG_METHOD_HEAD)
        fg_put(&o, text, len);
    send_reply(r, &o);
}

/* The answer of a verdict; false when it does not fit. */
static bool reply_of(struct fg_req *r, const struct fg_verdict *v, int reason) {
    const uint8_t *record = (const uint8_t *)v;
    const struct fg_img_pair *fields = (const void *)(record + v->edits.add.off);
    struct fg_put o;
    begin_reply(r, &o, reason, v->status);
    for (uint32_t i = 0; i < v->edits.add.len; i++) {
        fg_put_bytes(&o, fg_str(record, fields[i].name));
        FG_PUT(&o, ": ");
        fg_put_bytes(&o, fg_str(record, fields[i].value));
        FG_PUT(&o, "\r\n");
    }
    if (v->status != 204 && v->status != 304) {
        FG_PUT(&o, "content-length: ");
        fg_put_uint(&o, v->body.len);
        FG_PUT(&o, "\r\n");
    }
    put_extra_lines(&o, r->down->e, r);
    FG_PUT(&o, "\r\n");
    if (r->head.method_token != FG_METHOD_HEAD && v->status != 204 && v->status != 304)
        fg_put_bytes(&o, fg_str(record, v->body));
    if (o.full)
        return false;
    send_reply(r, &o);
    return true;
}

void fg_reply_filter(struct fg_req *r, const struct fg_verdict *v) {
    if (!reply_of(r, v, FG_R_FILTER_REPLY))
        fg_reply_reason(r, FG_R_FILTER_FAILED);
}

void fg_reply_local(struct fg_req *r) {
    struct fg_filtering *x = r->filtering;
    const struct fg_verdict *v = fg_filter_kept(r, true, NULL);
    if (v == NULL || !reply_of(r, v, x->reply_reason))
        fg_reply_status(r, x->reply_reason, x->reply_status); /* which asks nobody a second time */
}

void fg_reply_reason(struct fg_req *r, int reason) {
    fg_reply_status(r, reason, fg_reasons[reason].status);
}

void fg_reply_parse_error(struct fg_req *r, int64_t error) {
    r->parse_error = (int16_t)error;
    r->keep_alive = false;
    fg_reply_status(r, FG_R_BAD_REQUEST, fg_parse_status(error));
}

/* --- redirects (HTTPRequestRedirectFilter) --------------------------------------------------------------------------------- */

static bool is(struct fg_bytes b, const char *text) {
    return b.len == strlen(text) && memcmp(b.p, text, b.len) == 0;
}

/* Where the client reaches the listener of `port`. Under a port map that is the port really bound, if the client came that way,
 * which its Host tells; behind one more map (a container's, a Service's) it names another port, and the configured one holds. */
static unsigned reachable_port(const struct fg_req *r, unsigned port) {
    const struct fg_engine *e = r->down->e;
    const struct fg_listen *own = r->down->listen;
    if (r->head.port != own->bound.port || own->bound.port == r->socket->port)
        return port;
    if (port == r->socket->port)
        return own->bound.port;
    for (const struct fg_list *at = e->listens.next; at != &e->listens; at = at->next) {
        const struct fg_listen *l = fg_container_of(at, struct fg_listen, all);
        if (l->socket >= 0 && !l->closing && e->gen->image.sockets[l->socket].port == port)
            return l->bound.port;
    }
    return port;
}

/* The port of Location: the configured one; else the well-known port of a configured scheme; else the listener's. The
 * well-known port of the scheme is not printed. */
static unsigned redirect_port(const struct fg_req *r, const struct fg_img_redirect *to, struct fg_bytes scheme) {
    unsigned port = to->port;
    if (!port && to->scheme.len)
        port = is(scheme, "https") ? 443 : is(scheme, "http") ? 80 : 0;
    if (!port)
        port = r->socket->port;
    if (!to->port)
        port = reachable_port(r, port);
    bool well_known = (port == 80 && is(scheme, "http")) || (port == 443 && is(scheme, "https"));
    return well_known ? 0 : port;
}

void fg_reply_redirect(struct fg_req *r) {
    const struct fg_img_redirect *to = (const void *)(r->match.seg + r->match.rule->to.off);
    const uint8_t *seg = r->match.seg, *base = r->down->in.p;
    struct fg_put o;
    begin_reply(r, &o, FG_R_NONE, to->status);
    FG_PUT(&o, "location: ");
    struct fg_bytes scheme = to->scheme.len ? fg_str(seg, to->scheme) : fg_down_scheme(r->down);
    fg_put_bytes(&o, scheme);
    FG_PUT(&o, "://");
    if (to->hostname.len)
        fg_put_bytes(&o, fg_str(seg, to->hostname));
    else
        fg_put(&o, base + r->head.host.off, r->head.host.len);
    unsigned port = redirect_port(r, to, scheme);
    if (port) {
        FG_PUT(&o, ":");
        fg_put_uint(&o, port);
    }
    fg_put_path(&o, to->path_kind, fg_str(seg, to->path), (struct fg_bytes){base + r->head.path.off, r->path_len},
                r->match.prefix_len);
    if (r->head.query.off) {
        FG_PUT(&o, "?");
        fg_put(&o, base + r->head.query.off, r->head.query.len);
    }
    FG_PUT(&o, "\r\ncontent-length: 0\r\n");
    fg_head_put_edits(&o, r);
    put_extra_lines(&o, r->down->e, r);
    FG_PUT(&o, "\r\n");
    send_reply(r, &o);
}
