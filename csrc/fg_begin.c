/* The beginning of an exchange: from a complete request head to a connection that it is sent on, or to a local answer. */
#include "fg_hash.h"
#include "fg_filter.h"
#include "fg_head.h"

#include <errno.h>
#include <stdlib.h>

static void req_expired(struct fg_timer *t) {
    struct fg_req *r = fg_container_of(t, struct fg_req, timer);
    uint64_t now = fg_now_ms(&r->down->e->loop);
    if (r->request_deadline && r->request_deadline <= now)
        fg_exchange_up_failed(r, FG_R_REQUEST_TIMEOUT);
    else if (r->backend_deadline && r->backend_deadline <= now)
        fg_exchange_up_failed(r, FG_R_BACKEND_TIMEOUT);
    else if (fg_filter_waits(r))
        fg_filter_expired(r);
    else
        fg_exchange_up_failed(r, r->state == FG_REQ_RESPONDING ? FG_R_STREAM_IDLE : FG_R_RESPONSE_TIMEOUT);
}

struct fg_req *fg_req_new(struct fg_down *d) {
    struct fg_engine *e = d->e;
    struct fg_req *r = e->free_reqs;
    if (r)
        e->free_reqs = r->next_free;
    else if ((r = malloc(sizeof *r + FG_MAX_FIELDS * sizeof(struct fg_field))) == NULL)
        return NULL;
    memset(r, 0, sizeof *r);
    r->down = d;
    r->timer.fire = req_expired;
    r->began_ns = e->loop.now_ns;
    return r;
}

void fg_req_free(struct fg_req *r) {
    struct fg_engine *e = r->down->e;
    r->down->req = NULL;
    fg_timer_stop(&e->loop.wheel, &r->timer);
    if (r->filtering)
        fg_filter_end(r);
    if (r->gen)
        fg_generation_unref(e, r->gen);
    if (r->last_endpoint)
        fg_endpoint_unref(e, r->last_endpoint);
    r->next_free = e->free_reqs;
    e->free_reqs = r;
}

static void copy_host(struct fg_req *r, const uint8_t *base) {
    uint32_t len = r->head.host.len;
    const uint8_t *p = base + r->head.host.off;
    if (len && p[len - 1] == '.')
        len--;
    if (len > sizeof r->host)
        len = sizeof r->host;
    for (uint32_t i = 0; i < len; i++)
        r->host[i] = p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i];
    r->host_len = (uint8_t)len;
}

static void make_request_id(struct fg_engine *e, struct fg_req *r) { /* RFC 9562 version 4, from a fast generator */
    static const char hex[] = "0123456789abcdef";
    uint64_t bits[2] = {fg_random(e), fg_random(e)};
    uint8_t *o = r->request_id;
    for (unsigned i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *o++ = '-';
        unsigned v = bits[i / 16] >> (4 * (i % 16)) & 15;
        *o++ = (uint8_t)hex[i == 12 ? 4 : i == 16 ? 8 | (v & 3) : v];
    }
    r->request_id_len = sizeof r->request_id;
}

static void settle_request_id(struct fg_engine *e, struct fg_req *r) {
    uint16_t at = r->head.first[FG_H_X_REQUEST_ID];
    if (!r->socket->request_id || (at && r->socket->trusted_hops))
        return;
    for (uint16_t i = at ? at - 1 : r->head.nfields; i < r->head.nfields; i++)
        if (r->fields[i].token == FG_H_X_REQUEST_ID)
            r->fields[i].flags |= FG_FIELD_DROP;
    make_request_id(e, r);
}

/* What a websocket's opening consists of: GET without a body, Upgrade with this one protocol, HTTP/1.1 (RFC 6455 section 4.1). */
static bool asks_websocket(const struct fg_req *r, const uint8_t *base) {
    uint16_t at = r->head.first[FG_H_UPGRADE];
    if (!at || !(r->head.connection & FG_CONN_UPGRADE) || r->head.minor_version == 0)
        return false;
    if (r->head.method_token != FG_METHOD_GET || !r->request.whole)
        return false;
    const struct fg_field *f = &r->fields[at - 1];
    return f->value_len == 9 && fg_same_name(base + f->value, (const uint8_t *)"websocket", 9);
}

/* RFC 9110 section 10.1.1. An expectation of HTTP/1.0 is ignored, and goes no further. */
static int expectation(struct fg_req *r, const uint8_t *base) {
    uint16_t at = r->head.first[FG_H_EXPECT];
    if (!at)
        return 0;
    for (uint16_t i = at - 1; i < r->head.nfields; i++) {
        struct fg_field *f = &r->fields[i];
        if (f->token != FG_H_EXPECT)
            continue;
        if (r->head.minor_version == 0)
            f->flags |= FG_FIELD_DROP;
        else if (f->value_len != 12 || !fg_same_name(base + f->value, (const uint8_t *)"100-continue", 12))
            return FG_R_BAD_EXPECT;
    }
    r->continue_wanted = r->head.minor_version == 1 && r->head.framing != FG_FRAMING_NONE;
    return 0;
}

static void set_rule(struct fg_req *r, const struct fg_img_rule *rule) {
    r->match.rule = rule;
    r->rule = rule ? rule->index : 0;
}

static void find_rule(struct fg_engine *e, struct fg_req *r, const uint8_t *base) {
    const struct fg_h1_head *h = &r->head;
    const struct fg_match_query q = {.host = r->host, .host_len = r->host_len, .path = base + h->path.off,
        .path_len = r->path_len, .query = base + h->query.off, .query_len = h->query.len,
        .method = base + h->method.off, .method_len = h->method.len, .base = base, .fields = r->fields,
        .nfields = h->nfields};
    e->f.match(&r->gen->image, (uint32_t)r->down->listen->socket, &q, &r->match);
    set_rule(r, r->match.rule);
}

/* A target whose scheme is not the connection's: misdirected (RFC 9110 section 7.4), unless a proxy before us that is trusted
 * took the TLS off. */
static bool is_misdirected(const struct fg_req *r, const uint8_t *base) {
    bool https = (base[r->head.target.off + 4] | 0x20) == 's';
    bool other = r->head.target_form == FG_TARGET_ABSOLUTE ? https != (r->down->identity != NULL) : r->down->other_scheme;
    return other && r->socket->trusted_hops == 0;
}

/* Everything that may be wrong with a request whose head is well-formed: a reason, or 0. */
static int check(struct fg_engine *e, struct fg_req *r, const uint8_t *base) {
    const struct fg_img_limits *l = &r->socket->limits;
    if (r->head.method_token == FG_METHOD_CONNECT)
        return FG_R_BAD_CONNECT;
    if (is_misdirected(r, base))
        return FG_R_MISDIRECTED;
    int reason = expectation(r, base);
    if (reason)
        return reason;
    if (l->body_bytes && r->head.framing == FG_FRAMING_LENGTH && r->head.content_length > l->body_bytes)
        return FG_R_BODY_TOO_LARGE;
    if (fg_head_via_count(&r->head, base, fg_str(r->gen->image.sockets_seg, r->socket->via)) >= 3)
        return FG_R_LOOP;
    return fg_pool_full(&e->pool) ? FG_R_OVERLOADED : 0;
}

/* A connection, and the request on its way when the connection is an old one. */
void fg_exchange_try(struct fg_req *r, bool fresh) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    uint64_t key = r->gen->image.clusters[r->backend->cluster - 1].key;
    struct fg_endpoint *ep = NULL;
    if (r->filtering && r->filtering->chosen.family && r->tries == 0)
        ep = fg_cluster_at(e, key, &r->filtering->chosen);
    if (ep == NULL)
        ep = fg_cluster_pick(e, key, fresh ? NULL : r->last_endpoint);
    if (ep == NULL) {
        fg_reply_reason(r, FG_R_NO_ENDPOINTS);
        return;
    }
    const struct fg_img_limits *l = &r->socket->limits;
    if (l->upstream_connections && ep->connections >= fg_share(e, l->upstream_connections) && fg_list_empty(&ep->idle)) {
        fg_reply_reason(r, FG_R_UPSTREAM_LIMIT);
        return;
    }
    ep->refs++;
    if (r->last_endpoint)
        fg_endpoint_unref(e, r->last_endpoint);
    r->last_endpoint = ep;
    r->tries++;
    r->request_stopped = r->up_keep_alive = false;
    r->up = fg_up_take(e, ep, r, fresh, l->connect_timeout);
    if (r->up == NULL && (fg_is_shortage(errno) || errno == EADDRNOTAVAIL)) {
        fg_reply_reason(r, FG_R_OVERLOADED); /* no fault of the endpoint's */
        return;
    }
    if (r->up == NULL) {
        fg_endpoint_failed(e, ep);
        fg_exchange_up_failed(r, FG_R_CONNECT_FAILED);
        return;
    }
    ep->active++;
    r->state = FG_REQ_CONNECTING;
    r->reused = r->up->state == FG_UP_BUSY;
    if (r->reused)
        fg_exchange_connected(r);
}

static void choose_backend(struct fg_engine *e, struct fg_req *r) {
    r->backend = fg_rule_backend(e, &r->match);
    if (r->backend == NULL) {
        fg_reply_reason(r, FG_R_NO_BACKENDS);
        return;
    }
    if (r->backend->cluster == 0) {
        fg_reply_status(r, r->backend->reason, r->backend->status);
        return;
    }
    if (!fg_filter_request(r, r->match.seg, r->backend->filters, FG_THEN_FORWARD))
        fg_exchange_forward(r);
}

void fg_exchange_forward(struct fg_req *r) {
    uint8_t framing = r->head.framing, out = framing == FG_FRAMING_FRAMES ? FG_FRAMING_CHUNKED : framing;
    bool chunked = out == FG_FRAMING_CHUNKED;
    bool seen = fg_filter_body_start(r, false, framing, FG_FRAMING_CHUNKED, chunked); /* by stages that may change its length */
    if (r->filtering && r->filtering->buffered) { /* decoded already, and of a length that is known by now */
        r->request.out = seen || r->request.trailers ? FG_FRAMING_CHUNKED : FG_FRAMING_LENGTH;
        r->request.sent = r->request.ready == 0 && r->request.out == FG_FRAMING_LENGTH;
        r->request.pass_trailers = r->request.trailers != 0;
        r->head.content_length = r->request.ready;
    } else {
        fg_flow_start(&r->request, framing, seen ? FG_FRAMING_CHUNKED : out, r->head.content_length);
        r->request.pass_trailers = chunked;
    }
    if (fg_filter_upstream(r) == FG_FILTER_PASSED)
        fg_exchange_try(r, false);
}

void fg_exchange_act(struct fg_req *r) {
    switch (r->match.rule->action) {
    case FG_ACTION_REDIRECT:
        fg_reply_redirect(r);
        break;
    case FG_ACTION_RESPOND:
        fg_reply_status(r, r->match.rule->reason, r->match.rule->status);
        break;
    default:
        choose_backend(r->down->e, r);
    }
}

static void follow_rule(struct fg_req *r) {
    r->series = fg_series_of(r->down->e, r);
    if (r->match.rule == NULL) {
        fg_reply_reason(r, r->match.listener ? FG_R_NO_ROUTE : FG_R_NO_LISTENER);
        return;
    }
    if (r->match.rule->request_timeout) {
        r->request_deadline = fg_now_ms(&r->down->e->loop) + r->match.rule->request_timeout;
        fg_exchange_due(r, 0);
    }
    if (!fg_filter_request(r, r->match.seg, r->match.rule->filters, FG_THEN_ACT))
        fg_exchange_act(r);
}

void fg_exchange_route(struct fg_req *r) {
    struct fg_engine *e = r->down->e;
    const struct fg_img_listener *listener = r->match.listener;
    if (fg_filter_kept(r, false, NULL)) {
        if (fg_head_take_edits(e, r) < 0) {
            fg_filter_error(r, r->filtering->nstages - 1u, FG_PHASE_REQUEST, FG_R_FILTER_FAILED);
            fg_reply_reason(r, FG_R_FILTER_FAILED);
            return;
        }
        fg_filter_forget(r);
        copy_host(r, r->down->in.p);
    }
    find_rule(e, r, r->down->in.p);
    if (r->match.listener != listener) { /* whose own filters it has not passed */
        r->match.listener = listener;
        set_rule(r, NULL);
    }
    follow_rule(r);
}

bool fg_exchange_admit(struct fg_req *r) {
    struct fg_down *d = r->down;
    struct fg_engine *e = d->e;
    e->stats->c.requests_active++;
    r->began_ns = r->began_ns < e->loop.now_ns ? r->began_ns : e->loop.now_ns;
    if (e->gen == NULL || d->listen->socket < 0)
        return false;
    r->gen = e->gen;
    r->gen->refs++;
    r->socket = &r->gen->image.sockets[d->listen->socket];
    r->log = r->socket->access_log;
    return true;
}

void fg_exchange_begin(struct fg_down *d, struct fg_req *r) {
    struct fg_engine *e = d->e;
    uint8_t *base = d->in.p;
    e->stats->c.requests++;
    bool served = fg_exchange_admit(r);
    bool asked_to_close = (r->head.connection & FG_CONN_CLOSE) != 0;
    r->keep_alive = !asked_to_close && !e->draining && !d->listen->closing &&
                    (r->head.minor_version == 1 || (r->head.connection & FG_CONN_KEEP_ALIVE));
    fg_flow_start(&r->request, r->head.framing, FG_FRAMING_UNTIL_CLOSE, r->head.content_length);
    r->path_len = r->head.path.len;
    copy_host(r, base);
    if (!served) {
        fg_reply_reason(r, FG_R_NO_LISTENER);
        return;
    }
    if (r->socket->limits.keepalive_requests && d->requests >= r->socket->limits.keepalive_requests)
        r->keep_alive = false;
    int reason = check(e, r, base);
    if (reason) {
        if (reason == FG_R_BAD_CONNECT || reason == FG_R_BAD_EXPECT)
            r->keep_alive = false; /* what follows may be a tunnel's bytes, or a body that is or is not sent */
        fg_reply_reason(r, reason);
        return;
    }
    if (!r->head.path_clean) {
        int64_t len = e->f.normalize_path(base + r->head.path.off, r->head.path.len);
        if (len < 0) {
            fg_reply_parse_error(r, len);
            return;
        }
        r->path_len = (uint32_t)len;
    }
    r->upgrade = asks_websocket(r, base);
    fg_head_mark(&r->head, base, r->socket->underscores, r->socket->trusted_hops == 0);
    settle_request_id(e, r);
    find_rule(e, r, base);
    if (fg_secure_misdirected(r)) {
        set_rule(r, NULL);
        fg_reply_reason(r, FG_R_MISDIRECTED);
        return;
    }
    const struct fg_img_listener *listener = r->match.listener;
    if (listener && listener->filters) {
        set_rule(r, NULL);
        r->series = fg_series_of(e, r);
        if (fg_filter_request(r, r->gen->image.sockets_seg, listener->filters, FG_THEN_ROUTE) == FG_FILTER_PASSED)
            fg_exchange_route(r);
        return;
    }
    follow_rule(r);
}
