/* One exchange, whatever the protocol: a request, its response, and what becomes of both.
 *
 * Spans of the request head point into the client connection's buffer, where the head is pinned until the exchange ends.
 */
#ifndef FG_REQ_H
#define FG_REQ_H

#include "fg_buf.h"
#include "fg_http1.h"
#include "fg_image.h"
#include "fg_timer.h"

struct fg_down;
struct fg_up;
struct fg_generation;
struct fg_endpoint;
struct fg_series;
struct fg_filtering;

/* One direction of a body: takes framing off on one side and puts it on at the other.
 *
 * The source's window is [ready | trailers | gap | raw]: `ready` decoded bytes that are to be sent, the lines of trailer fields
 * that go behind all of them, `gap` bytes of framing that are done with, then bytes as they came. */
struct fg_flow {
    uint64_t left;              /* FG_FRAMING_LENGTH: raw bytes still to come */
    uint64_t bytes;             /* body bytes decoded so far */
    struct fg_h1_chunked chunked;
    uint32_t ready, trailers, gap;
    uint32_t trailers_scanned;  /* the parser's resume hint */
    uint32_t chunk_left;        /* bytes left of the chunk that is being written */
    uint8_t in, out;            /* enum fg_framing */
    bool pass_trailers;         /* those on the allow-list go on: to a sink where `out` is chunked, or to filters */
    bool last;                  /* the last chunk is being written; its data are the trailer fields */
    bool whole;                 /* the source's message is complete */
    bool sent;                  /* and everything of it is handed to the socket */
    uint8_t line[20];           /* chunk-size line in the course of being written */
    uint8_t line_len, line_off;
    uint8_t crlf;               /* bytes of the CR LF behind chunk data still to be written */
};

enum fg_req_state {
    FG_REQ_CONNECTING,  /* waits for a filter, or for a connection */
    FG_REQ_SENDING,     /* request head is handed over; its body may be on the way; no response head yet */
    FG_REQ_RESPONDING,  /* response head is handed over */
    FG_REQ_LOCAL        /* the gateway answers itself */
};

enum { FG_REQ_MAX_TRIES = 3 };

struct fg_req {
    struct fg_req *next_free;
    struct fg_down *down;
    struct fg_up *up;
    struct fg_generation *gen;      /* pinned until the response head is sent */
    const struct fg_img_socket *socket; /* this and what follows: valid while gen is */
    struct fg_match_result match;
    const struct fg_img_backend *backend;
    struct fg_endpoint *last_endpoint;
    const char *upstream_error;     /* static: in what a TLS handshake for it ended, the last that failed; NULL: none did */
    struct fg_series *series;
    struct fg_filtering *filtering; /* NULL: no filter plugin was called; see fg_filter.h */
    struct fg_timer timer;          /* a filter's verdict; response head, backend and request timeouts: the next one due */
    uint64_t began_ns, responded_ns; /* the request's head, and the backend's final one; 0: none */
    uint64_t request_deadline, backend_deadline; /* ms; 0: none */
    uint32_t head_len;
    uint32_t interims;
    uint32_t tries;
    uint32_t rule;                  /* its index in the route, if one matched */
    uint16_t status;                /* of the response */
    uint8_t log;                    /* form of the access log's line: enum fg_log_form */
    uint8_t reason;                 /* enum fg_reason */
    int16_t parse_error;            /* 0, or why the message was malformed */
    uint8_t state;                  /* enum fg_req_state */
    bool keep_alive;                /* the client connection may go on */
    bool up_keep_alive;
    bool upgrade;                   /* asked for, and forwarded */
    bool continue_wanted;           /* Expect: 100-continue not yet answered */
    bool body_begun;                /* bytes of the request body were sent: no replay */
    bool reused;                    /* sent on a connection from the pool */
    bool response_begun;            /* a byte of the response came */
    bool tunnel;                    /* after 101: bytes both ways */
    bool request_stopped;           /* the endpoint takes no more of the request body */
    uint64_t rate_received, rate_sent; /* body bytes at the last look at the rate */
    uint64_t sent;                  /* bytes handed to the client's socket */
    struct fg_flow request, response;
    uint32_t path_len;              /* of the normalised path, at head.path.off */
    uint8_t request_id[36];
    uint8_t request_id_len;
    uint8_t host_len;
    uint8_t host[255];              /* lower-case, no port, no trailing dot */
    struct fg_h1_head head;
    struct fg_field fields[];       /* FG_MAX_FIELDS */
};

/* fg_flow.c */
void fg_flow_start(struct fg_flow *f, int in, int out, uint64_t length);
/* Takes framing off as far as there are bytes. 0, or a parse error. `d`: the client connection of the exchange, whose socket
 * says which trailer fields go on. `eof`: the source has ended. */
int64_t fg_flow_decode(struct fg_down *d, struct fg_flow *f, struct fg_buf *src, bool eof);
/* Is the source's message complete, and nothing of it left in the window? */
static inline bool fg_flow_is_empty(const struct fg_flow *f) {
    return f->whole && f->ready == 0 && f->trailers == 0;
}
/* Is the end of the source what ends the body? */
static inline bool fg_flow_ends_with_source(const struct fg_flow *f) {
    return f->in >= FG_FRAMING_UNTIL_CLOSE;
}
struct iovec;
int fg_flow_vectors(struct fg_flow *f, const struct fg_buf *src, struct iovec iov[3]);
void fg_flow_advance(struct fg_flow *f, struct fg_buf *src, size_t n);
void fg_flow_take(struct fg_flow *f, struct fg_buf *src, uint32_t n); /* n of the ready bytes have gone elsewhere */
void fg_flow_discard(struct fg_flow *f, struct fg_buf *src); /* throws away what is ready */

#endif
