/* The beginning of a connection whose first bytes are not HTTP: a PROXY protocol header, a ClientHello, or none at all, as the
 * socket's listeners say. The header is taken off. The ClientHello is peeked at, its server name leads to a listener of the socket
 * and, where TLS passes through, to a route; nothing of it is consumed. */
#include "fg_head.h"
#include "fg_proxy.h"
#include "fg_relay.h"

enum { HELLO_BYTES = 16384 };

static const struct fg_img_listener *first_listener(const struct fg_down *d) {
    const struct fg_img_socket *s = fg_down_socket(d);
    return s && s->listeners.len ? (const void *)(d->e->gen->image.sockets_seg + s->listeners.off) : NULL;
}

static bool awaits_header(const struct fg_down *d) {
    const struct fg_img_socket *s = fg_down_socket(d);
    return s && s->proxy_protocol && !d->introduced;
}

bool fg_hello_wanted(const struct fg_down *d) {
    const struct fg_img_listener *first = first_listener(d);
    return awaits_header(d) || (first && first->protocol != FG_LISTENER_HTTP);
}

/* The listener of the socket that the server name leads to; NULL: none. */
static const struct fg_img_listener *find_listener(const struct fg_down *d, const struct fg_client_hello *hello) {
    const struct fg_img_socket *s = fg_down_socket(d);
    if (s == NULL)
        return NULL;
    const struct fg_image *image = &d->e->gen->image;
    uint32_t at = d->e->f.find_host(image, s->hosts_segment, hello->server_name, hello->server_name_len);
    return at ? (const struct fg_img_listener *)(const void *)(image->sockets_seg + s->listeners.off) + (at - 1) : NULL;
}

/* Whether TLS ends at the socket for its own sake, and not only on its way to TLSRoutes. */
static bool serves_https(const struct fg_down *d) {
    const struct fg_img_socket *s = fg_down_socket(d);
    const struct fg_img_listener *l = first_listener(d);
    for (uint32_t i = 0; l && i < s->listeners.len; i++)
        if (l[i].protocol == FG_LISTENER_HTTPS)
            return true;
    return false;
}

/* RFC 8446 section 6.2: unrecognized_name, fatal. Where nothing but TLSRoutes is, the name has no server here that could speak
 * TLS: the connection is closed as by a port where nobody listens, which Gateway API's suite takes for the only rejection. */
static void refuse_name(struct fg_down *d) {
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 112};
    if (!serves_https(d)) {
        fg_down_refuse(d, FG_R_UNKNOWN_SERVER_NAME);
        return;
    }
    d->e->stats->reasons[FG_R_UNKNOWN_SERVER_NAME]++;
    if (fg_io_owe(&d->io, &d->e->pool, alert, sizeof alert) < 0)
        fg_down_close(d);
    else
        fg_down_end(d, true);
}

/* The route of a listener of TLS that this server name leads to; NULL: none. */
static const struct fg_img_relay *find_route(const struct fg_down *d, const struct fg_img_listener *l, struct fg_bytes name) {
    const struct fg_image *image = &d->e->gen->image;
    uint32_t at = d->e->f.find_host(image, l->hosts_segment, name.p, (uint32_t)name.len);
    return at ? (const struct fg_img_relay *)(const void *)(image->sockets_seg + l->relays.off) + (at - 1) : NULL;
}

void fg_hello_relay(struct fg_down *d, const struct fg_img_listener *l) {
    static const struct fg_bytes none = {(const uint8_t *)"", 0};
    const struct fg_img_relay *route = find_route(d, l, d->identity ? d->identity->server_name : none);
    if (route == NULL) /* no more: it was there when the handshake began */
        fg_down_refuse(d, FG_R_UNKNOWN_SERVER_NAME);
    else
        fg_relay_begin(d, l, route);
}

static void dispatch(struct fg_down *d, const struct fg_client_hello *hello) {
    const struct fg_img_listener *l = find_listener(d, hello);
    if (l == NULL) {
        refuse_name(d);
    } else if (l->protocol == FG_LISTENER_TLS &&
               find_route(d, l, (struct fg_bytes){hello->server_name, hello->server_name_len}) == NULL) {
        fg_stats_listener(d->e, &d->e->gen->image, l)->unknown_names++;
        refuse_name(d);
    } else if (l->tls.len) {
        fg_down_secure(d, l, hello);
    } else if (l->protocol == FG_LISTENER_TLS && (d->identity = fg_identity_peeked(hello)) != NULL) {
        fg_hello_relay(d, l);
    } else {
        fg_down_refuse(d, FG_R_OVERLOADED);
    }
}

/* --- what arrives ---------------------------------------------------------------------------------------------------------------- */

/* False: there is nothing more for now, or no connection any more. */
static bool read_more(struct fg_down *d) {
    struct fg_engine *e = d->e;
    bool begun = fg_buf_len(&d->in) != 0;
    if (fg_buf_reserve(&e->pool, &d->in, FG_BUF_SMALL) < 0 ||
        (fg_buf_room(&d->in) == 0 && fg_buf_reserve(&e->pool, &d->in, d->in.cap + 1) < 0)) {
        fg_down_refuse(d, FG_R_OVERLOADED);
        return false;
    }
    ssize_t n = fg_io_read(&d->io, &d->in);
    if (n > 0) {
        if (!begun)
            fg_down_deadline(d, fg_down_limits(d)->head_timeout);
        return true;
    }
    if (n == -1 && !begun)
        fg_buf_release(&e->pool, &d->in);
    else if (n != -1 && begun)
        fg_down_refuse(d, n == 0 ? FG_R_CLIENT_CLOSED : FG_R_CLIENT_RESET);
    else if (n != -1)
        fg_down_close(d);
    return false;
}

/* True: it was there, and is taken off. */
static bool take_header(struct fg_down *d) {
    for (;;) {
        int64_t n = fg_buf_len(&d->in) ? fg_proxy_read(fg_buf_data(&d->in), fg_buf_len(&d->in), &d->peer) : FG_MORE;
        if (n > 0) {
            fg_buf_consume(&d->in, (uint32_t)n);
            d->introduced = true;
            return true;
        }
        if (n != FG_MORE) {
            fg_down_refuse(d, FG_R_BAD_PROXY_HEADER);
            return false;
        }
        if (!read_more(d))
            return false;
    }
}

static void peek_hello(struct fg_down *d) {
    struct fg_client_hello hello;
    for (;;) {
        int64_t used = fg_buf_len(&d->in) ?
            d->e->f.peek_client_hello(fg_buf_data(&d->in), fg_buf_len(&d->in), HELLO_BYTES, &hello) : FG_MORE;
        if (used >= 0) {
            dispatch(d, &hello);
            return;
        }
        if (used != FG_MORE) {
            fg_down_refuse(d, FG_R_BAD_HELLO);
            return;
        }
        if (!read_more(d))
            return;
    }
}

void fg_hello_run(struct fg_down *d) {
    if (awaits_header(d) && !take_header(d))
        return;
    const struct fg_img_listener *first = first_listener(d);
    if (first == NULL) { /* the socket is served no more */
        fg_down_refuse(d, FG_R_NO_LISTENER);
    } else if (first->protocol == FG_LISTENER_TCP) {
        const struct fg_img_relay *routes = (const void *)(d->e->gen->image.sockets_seg + first->relays.off);
        fg_relay_begin(d, first, first->relays.len ? routes : NULL);
    } else if (first->protocol == FG_LISTENER_HTTP) {
        fg_down_speak(d);
    } else {
        peek_hello(d);
    }
}
