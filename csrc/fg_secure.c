/* TLS of client connections: from the peeked ClientHello to a connection that speaks its listener's protocol. */
#include "fg_h2.h"
#include "fg_hash.h"
#include "fg_head.h"
#include "fg_signer.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

static const struct fg_img_tls *tls_of(const struct fg_image *image, const struct fg_img_listener *l) {
    return (const void *)(image->sockets_seg + l->tls.off);
}

/* The certificates for this name; those of the first choice for names that none has. */
static struct fg_tls_context *context_for(const struct fg_engine *e, const struct fg_img_tls *tls, const struct fg_client_hello *hello) {
    const struct fg_image *image = &e->gen->image;
    const struct fg_img_choice *choices = (const void *)(image->sockets_seg + tls->choices.off);
    uint32_t at = e->f.find_host(image, tls->hosts_segment, hello->server_name, hello->server_name_len);
    return fg_tls_find(e->gen->tls, choices[at ? at - 1 : 0].key);
}

void fg_down_secure(struct fg_down *d, const struct fg_img_listener *l, const struct fg_client_hello *hello) {
    struct fg_engine *e = d->e;
    const struct fg_img_tls *tls = tls_of(&e->gen->image, l);
    d->protocol = (uint8_t)l->protocol;
    d->listener_key = l->key;
    d->policy = tls->policy;
    d->series = fg_stats_listener(e, &e->gen->image, l);
    d->series->connections++;
    /* A session is good for what the client had to show, and to whom (CVE-2025-23419). */
    if (fg_tls_server(&d->io, context_for(e, tls, hello), hello, &d->in, fg_mix(l->key) ^ tls->policy) < 0) {
        fg_down_refuse(d, FG_R_OVERLOADED);
        return;
    }
    d->state = FG_DOWN_HANDSHAKE;
    fg_down_deadline(d, fg_down_limits(d)->head_timeout);
    fg_handshake_wait(e, &d->shaking);
}

void fg_secure_run(struct fg_down *d) {
    if (d->signing == NULL && (d->io.readable || fg_buf_len(&d->io.out)))
        fg_handshake_wait(d->e, &d->shaking);
}

static void count(struct fg_down *d, const struct fg_tls_result *r, enum fg_handshake how) {
    d->series->handshakes[r->version >= 0x0304][how]++;
}

/* By the listener, as the image has it now. */
static void relay(struct fg_down *d) {
    const struct fg_img_socket *s = fg_down_socket(d);
    const struct fg_img_listener *l = s ? (const void *)(d->e->gen->image.sockets_seg + s->listeners.off) : NULL;
    for (uint32_t i = 0; s && i < s->listeners.len; i++) {
        if (l[i].key == d->listener_key && l[i].protocol == FG_LISTENER_TLS) {
            fg_hello_relay(d, &l[i]);
            return;
        }
    }
    fg_down_refuse(d, FG_R_NO_LISTENER);
}

static void secured(struct fg_down *d) {
    struct fg_tls_result r;
    fg_tls_result(&d->io, &r);
    count(d, &r, r.resumed ? FG_HANDSHAKE_RESUMED : FG_HANDSHAKE_FULL);
    const struct fg_img_socket *socket = fg_down_socket(d);
    d->identity = fg_identity_of(&d->io, fg_tls_hello(&d->io), socket && socket->client_cert);
    if (d->identity == NULL) {
        fg_down_refuse(d, FG_R_OVERLOADED);
        return;
    }
    fg_tls_settle(&d->io);
    /* The tickets wait for the first response, and nothing else is sent now: a client that waits for an acknowledgement before it
     * sends its request (Nagle) would wait for as long as acknowledgements are delayed. */
    setsockopt(d->io.fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
    if (d->protocol == FG_LISTENER_TLS)
        relay(d);
    else if (d->e->o.http2 && r.alpn.len == 2 && memcmp(r.alpn.p, "h2", 2) == 0)
        fg_h2_begin(d);
    else
        fg_down_speak(d);
}

static void failed(struct fg_down *d) {
    struct fg_tls_result r;
    fg_tls_result(&d->io, &r);
    count(d, &r, FG_HANDSHAKE_FAILED);
    d->e->stats->reasons[r.reason]++;
    fg_down_end(d, true); /* an alert may be on its way */
}

static void go_on(struct fg_down *d, enum fg_tls_step step) {
    switch (step) {
    case FG_TLS_DONE:
        secured(d);
        break;
    case FG_TLS_FAILED:
        failed(d);
        break;
    default:
        fg_secure_run(d);
        break;
    }
}

/* A handshake that was made apart is back. */
static void landed(void *owner) {
    struct fg_down *d = owner;
    d->signing = NULL;
    go_on(d, fg_tls_land(&d->io));
}

static void step_apart(struct fg_down *d) {
    struct fg_engine *e = d->e;
    if (!fg_tls_fetch(&d->io))
        return;
    if (e->signer == NULL)
        e->signer = fg_signer_new(&e->loop, landed);
    if (e->signer == NULL || fg_signer_give(e->signer, &d->io, d, &d->signing) < 0)
        fg_down_refuse(d, FG_R_OVERLOADED);
}

void fg_secure_close(struct fg_down *d) {
    fg_handshake_leave(&d->shaking);
    if (d->signing)
        fg_signer_leave(d->signing, &d->io);
    else if (d->io.tls && !d->req && !d->relay && !d->io.hup && !d->io.fin) /* RFC 8446 section 6.1; what is cut must look like it */
        fg_tls_shutdown(&d->io);
    d->signing = NULL;
}

void fg_secure_expired(struct fg_down *d) {
    struct fg_tls_result r = {0};
    if (d->signing == NULL)
        fg_tls_result(&d->io, &r);
    count(d, &r, FG_HANDSHAKE_FAILED);
    fg_down_refuse(d, FG_R_HANDSHAKE_TIMEOUT);
}

void fg_secure_step(struct fg_io *io) {
    struct fg_down *d = fg_container_of(io, struct fg_down, io);
    if (fg_tls_slow(io))
        step_apart(d);
    else
        go_on(d, fg_tls_handshake(io));
}

bool fg_secure_is_elsewhere(const struct fg_req *r) {
    const struct fg_img_listener *l = r->match.listener;
    return l->key != r->down->listener_key || l->tls.len == 0 || tls_of(&r->gen->image, l)->policy != r->down->policy;
}
