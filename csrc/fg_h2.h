/* HTTP/2 on client connections, over nghttp2 (RFC 9113). docs/design/120-http2.md says why it is as it is.
 *
 * A stream is a fg_down: its exchange reads a request head of HTTP/1 and a body from it, and writes a response head of HTTP/1 and
 * a body to it, as it does with a connection. The layer of its fg_io is the session. So whatever is forwarded has passed the
 * grammar of HTTP/1 requests, and nothing that frames a message of HTTP/1 is a client's.
 *
 *   fg_h2_stream
 *     down.in       the head, pinned, and the part of the body that was read from `body`
 *     body          what came in DATA and was not read; the window that the client has is for both: it gets credit when the
 *                   exchange reads, and the exchange reads as the endpoint takes
 *     down.io.out   the part of the response's body that waits for the client's window
 *
 * A stream lives until nghttp2 closes it. Its exchange may end before, or be ended by that.
 */
#ifndef FG_H2_H
#define FG_H2_H

#include "fg_worker.h"

#include <nghttp2/nghttp2.h>

enum { FG_H2_STREAMS = 100,           /* at a time on a connection */
       FG_H2_WINDOW = 65535,          /* of a stream */
       FG_H2_CONNECTION_WINDOW = 1 << 20,
       FG_H2_STREAM_OUT = 65536,      /* bytes of a response that wait for the client's window */
       FG_H2_TRAILERS = 4096 };       /* bytes of a trailer section */

enum fg_h2_pseudo { FG_H2_METHOD, FG_H2_SCHEME, FG_H2_AUTHORITY, FG_H2_PATH, FG_H2_PSEUDO_COUNT };

/* What a peer may send for nothing: a bucket each, which fills by the second. */
enum fg_h2_nuisance { FG_H2_RESETS, FG_H2_PINGS, FG_H2_SETTINGS, FG_H2_EMPTY, FG_H2_CONTINUATIONS, FG_H2_PRIORITIES,
                      FG_H2_UPDATES, FG_H2_NUISANCE_COUNT };

struct fg_h2 {
    struct fg_down *d;
    nghttp2_session *session;
    struct fg_list link;                      /* engine->h2_touched, or alone */
    struct fg_list streams;
    struct fg_list pulled;                    /* of fg_h2_stream: the client took some of what it had to send */
    uint32_t nstreams;
    struct fg_buf out;                        /* frames that wait for the socket */
    nghttp2_rcbuf *pseudo[FG_H2_PSEUDO_COUNT];/* of the header block that is being read */
    uint32_t tokens[FG_H2_NUISANCE_COUNT];
    uint64_t filled_ms[FG_H2_NUISANCE_COUNT];
    uint8_t abuse;                            /* enum fg_reason; 0: none */
    bool leaving;                             /* no further stream is begun: GOAWAY is sent, or on its way */
    bool broken;                              /* the session cannot go on */
};

struct fg_h2_stream {
    struct fg_down down;
    struct fg_h2 *h2;
    struct fg_list link, pulled;
    struct fg_buf body, trailers; /* of the request, not read yet */
    struct fg_buf tail;      /* lines of the response's trailer fields, until its body has gone */
    int32_t id;
    uint32_t lines;          /* field lines of the head, Host included, so far */
    uint32_t cookies;        /* crumbs joined into one of them */
    uint32_t cookie_end;     /* in down.in: behind the value of Cookie; 0: there is none */
    uint32_t taken;          /* bytes of down.io.out that the client took since the timer's last look */
    int16_t error;           /* enum fg_parse_error of the head, found before it was parsed */
    bool stood;              /* something waited for the client at that look */
    bool head_begun;         /* the request line is written */
    bool remote_ended;       /* the client sent END_STREAM */
    bool responded;          /* the final response head is submitted */
    bool deferred;           /* nghttp2 waits to be told that there are data */
    bool ended;              /* its exchange is over: what it owes is in down.io.out */
    bool closed;             /* nghttp2 knows it no more */
};

/* fg_h2.c: the session */
bool fg_h2_is_preface(const struct fg_down *d);   /* may what came begin a connection of HTTP/2, and is that spoken here? */
void fg_h2_begin(struct fg_down *d);              /* with what is in d->in, and what comes */
void fg_h2_run(struct fg_down *d);
void fg_h2_expired(struct fg_down *d);
void fg_h2_leave(struct fg_down *d);              /* GOAWAY: streams that are begun go on (RFC 9113 section 6.8) */
void fg_h2_end_all(struct fg_down *d, int reason);/* every exchange, at once */
void fg_h2_free(struct fg_h2 *h);                 /* with its streams, and the exchanges of those */
void fg_h2_turn(struct fg_engine *e);             /* once a turn: sends what the sessions touched in it have to send */
void fg_h2_touch(struct fg_h2 *h);
void fg_h2_idle(struct fg_h2 *h);                 /* sets the timer of a connection that may have no stream any more */

/* fg_h2_stream.c: streams */
struct fg_h2_stream *fg_h2_stream_new(struct fg_h2 *h, int32_t id); /* NULL: no memory */
void fg_h2_stream_end(struct fg_h2_stream *s);    /* its exchange is over */
void fg_h2_stream_close(struct fg_h2_stream *s, bool cleanly); /* by nghttp2: and frees it */
void fg_h2_stream_drop(struct fg_h2_stream *s);   /* with whatever it has; says nothing to anybody */
int fg_h2_stream_data(struct fg_h2_stream *s, const uint8_t *p, size_t n); /* 0 or -1 */
void fg_h2_stream_arrived(struct fg_h2_stream *s);/* something that its exchange may read */
void fg_h2_stream_reset(struct fg_h2_stream *s, uint32_t code);
nghttp2_data_provider2 fg_h2_stream_source(struct fg_h2_stream *s);

/* fg_h2_head.c: heads */
int fg_h2_head_field(struct fg_h2_stream *s, nghttp2_rcbuf *name, nghttp2_rcbuf *value); /* 0 or -1: no memory */
int fg_h2_trailer_field(struct fg_h2_stream *s, struct fg_bytes name, struct fg_bytes value);
void fg_h2_head_forget(struct fg_h2 *h);          /* pseudo-header fields that were kept */
void fg_h2_head_end(struct fg_h2_stream *s);      /* the head is whole: the exchange begins */
/* Submits a response head of HTTP/1. Bytes of it, or -1. */
int64_t fg_h2_head_respond(struct fg_h2_stream *s, uint8_t *text, size_t len);
int fg_h2_trailers_respond(struct fg_h2_stream *s, const uint8_t *lines, size_t len);

#endif
