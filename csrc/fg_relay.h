/* Relays of TCP: what a client connection sends goes to an endpoint as it is, and what that sends to the client.
 *
 * A relay is of one client connection, as a request is, and has one connection to an endpoint. It keeps what it needs of the
 * image, so that reloads do not concern it. Bytes pass through buffers at first; a direction that has moved much is spliced
 * through a pipe, unless one of the ends speaks TLS here. A side that ends is ended on the other side when
 * everything before it was delivered; a reset is passed on as one.
 */
#ifndef FG_RELAY_H
#define FG_RELAY_H

#include "fg_pipes.h"
#include "fg_worker.h"

struct fg_way {            /* one direction */
    struct fg_io *from, *to;
    struct fg_buf *buf;    /* read, and not written yet */
    struct fg_pipe pipe;
    uint32_t piped;        /* bytes in the pipe; 0: there is none */
    bool plain;            /* may be spliced */
    bool eof;              /* `from` has ended */
    bool over;             /* and `to` was told */
    uint64_t bytes;        /* written */
};

struct fg_relay {
    struct fg_io io;              /* to the endpoint */
    struct fg_timer timer;        /* of connecting */
    struct fg_grave grave;
    struct fg_down *down;
    struct fg_endpoint *endpoint; /* the last that was tried; NULL: none */
    struct fg_buf in;             /* from the endpoint */
    struct fg_way up, back;       /* to the endpoint, to the client */
    uint64_t cluster;             /* key */
    uint64_t began_ns;            /* when the connection was accepted, or its server name was known */
    uint64_t moved_ms;            /* when something moved last */
    uint32_t idle_ms;             /* 0: for ever */
    uint32_t tries;
    struct fg_shaking shaking;
    bool secure;                  /* the handshake with the endpoint is on, or over */
    bool connected;
    uint8_t send_proxy;           /* version of the PROXY protocol header that comes first; 0: none */
    uint8_t protocol;             /* enum fg_listener_protocol */
    uint8_t log;                  /* enum fg_log_form */
    const char *upstream_error;   /* static: in what the last handshake that failed ended; NULL: none did */
    char route[180];              /* NUL-terminated, cut */
};

/* Connects and relays. The connection is taken as it is: with bytes that were peeked at, with TLS that ended here. `route`: NULL
 * when the listener has none for it. */
void fg_relay_begin(struct fg_down *d, const struct fg_img_listener *l, const struct fg_img_relay *route);
void fg_relay_run(struct fg_relay *r);
void fg_relay_expired(struct fg_relay *r);         /* the client connection's timer */
void fg_relay_end(struct fg_relay *r, int reason); /* and the client connection */
void fg_relay_free(struct fg_relay *r);            /* fg_down_close does */

#endif
