/* The beginning of a connection of TLS: the ClientHello is peeked at, its server name leads to a listener of the socket, and the
 * listener says what becomes of the connection. Nothing is consumed: what was read is the connection's still. */
#include "fg_head.h"

enum { HELLO_BYTES = 16384 };

bool fg_hello_wanted(const struct fg_down *d) {
    const struct fg_img_socket *s = fg_down_socket(d);
    if (s == NULL || s->listeners.len == 0)
        return false;
    const struct fg_img_listener *first = (const void *)(d->e->gen->image.sockets_seg + s->listeners.off);
    return first->protocol == FG_LISTENER_HTTPS || first->protocol == FG_LISTENER_TLS;
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

/* RFC 8446 section 6.2: unrecognized_name, fatal. */
static void refuse_name(struct fg_down *d) {
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 112};
    d->e->stats->reasons[FG_R_UNKNOWN_SERVER_NAME]++;
    if (fg_io_owe(&d->io, &d->e->pool, alert, sizeof alert) < 0)
        fg_down_close(d);
    else
        fg_down_end(d, true);
}

static void dispatch(struct fg_down *d, const struct fg_client_hello *hello) {
    const struct fg_img_listener *l = find_listener(d, hello);
    if (l && l->tls.len)
        fg_down_secure(d, l, hello);
    else
        refuse_name(d);
}

void fg_hello_run(struct fg_down *d) {
    struct fg_engine *e = d->e;
    struct fg_client_hello hello;
    bool begun = fg_buf_len(&d->in) != 0;
    if (fg_buf_reserve(&e->pool, &d->in, FG_BUF_SMALL) < 0 ||
        (fg_buf_room(&d->in) == 0 && fg_buf_reserve(&e->pool, &d->in, d->in.cap + 1) < 0)) {
        fg_down_refuse(d, FG_R_OVERLOADED);
        return;
    }
    ssize_t n = fg_io_read(&d->io, &d->in);
    if (n == -1) {
        if (!begun)
            fg_buf_release(&e->pool, &d->in);
        return;
    }
    if (n <= 0) {
        if (begun)
            fg_down_refuse(d, n == 0 ? FG_R_CLIENT_CLOSED : FG_R_CLIENT_RESET);
        else
            fg_down_close(d);
        return;
    }
    int64_t used = e->f.peek_client_hello(fg_buf_data(&d->in), fg_buf_len(&d->in), HELLO_BYTES, &hello);
    if (used >= 0)
        dispatch(d, &hello);
    else if (used != FG_MORE)
        fg_down_refuse(d, FG_R_BAD_HELLO);
    else if (!begun)
        fg_down_deadline(d, fg_down_limits(d)->head_timeout);
    if (d->state == FG_DOWN_HELLO && d->io.readable)
        fg_loop_again(&e->loop, &d->io);
}
