/* UDP: what fg_udp.c (listeners), fg_udp_session.c (sessions) and fg_udp_io.c (datagrams in and out) share.
 *
 *   fg_datagrams       of an engine, made with its first UDP listener: the table of sessions, buffers of one turn
 *   fg_udp             of a UDP listener; fg_listen owns it
 *     fg_session       a source and the local address that it sends to; owns a socket that is connected to its endpoint
 *
 * Sessions, bytes and system calls are bounded: there are at most `most` sessions in a worker, of which the ones that were
 * silent for the longest make room for others; a turn takes one batch from a listener, and from a session.
 */
#ifndef FG_UDP_H
#define FG_UDP_H

#include "fg_worker.h"

enum {
    FG_UDP_BATCH = 64,              /* datagrams, or runs of them, in one system call */
    FG_UDP_BYTES = 65536,           /* the largest datagram, and the largest run of them */
    FG_UDP_STRIDE = FG_UDP_BYTES + 192, /* between two buffers: not a multiple of a page, so that they share no cache set */
    FG_UDP_CONTROL = 96             /* bytes of ancillary data: an address and the size of segments */
};

/* Who sends, and where to; of whole words, without padding. */
struct fg_source {
    uint8_t ip[16], local[16];      /* as the listener's family has them; `local` is 0 where the socket is bound to one address */
    uint32_t scope;                 /* interface of a link-local address */
    uint16_t port;                  /* in network order */
    uint16_t zero;
};
_Static_assert(sizeof(struct fg_source) == 40, "a source is hashed as five words");

struct fg_session {
    struct fg_io io;                /* connected to the endpoint */
    struct fg_grave grave;
    struct fg_list recent;          /* udp->sessions[proven], the last used one first */
    struct fg_udp *udp;
    struct fg_listener_series *series; /* the listener's when it began */
    struct fg_endpoint *endpoint;
    struct fg_source source;
    uint64_t hash;                  /* of the source, keyed */
    uint64_t cluster, route_key;    /* of where it led to when it began */
    uint64_t usability;             /* the engine's when the endpoint was last found to be one that may be picked */
    uint64_t began_ms, used_ms;
    uint64_t credit;                /* bytes that it may be sent while it is not proven */
    uint64_t received, sent;        /* bytes from the client, to the client */
    uint64_t datagrams_received, datagrams_sent;
    uint8_t first, last;            /* of its datagrams in the batch that is being forwarded, if some are `waiting` there */
    bool waiting;
    bool answered;                  /* the endpoint sent something */
    bool proven;                    /* the source sent again after that: it does receive at this address */
    bool bursts;                    /* there were several answers at once lately */
    bool gro;                       /* its socket takes runs of datagrams as one */
    uint64_t ran;                   /* turn of the loop in which it last had an answer */
};

struct fg_udp {
    struct fg_listen *listen;
    struct fg_list sessions[2];     /* not proven, proven */
    struct fg_timer expiry;         /* of the session that was silent for the longest */
    uint64_t idle_ms;               /* of a session; 0: for ever */
    const struct fg_img_relay *relay; /* of the image that is served; NULL: datagrams go nowhere */
    struct fg_listener_series *series;
    bool v6;                        /* the socket's family */
    bool any;                       /* bound to all addresses: each datagram says which one it came to */
    bool ceased;                    /* no session begins any more */
    bool left;                      /* what comes is another worker's to read */
};

/* Messages for one sendmmsg. Datagrams of one size that follow one another to the same peer are one message (UDP_SEGMENT). */
struct fg_udp_out {
    unsigned n, niov;
    bool open;                      /* the last message takes more datagrams */
    uint32_t size[FG_UDP_BATCH];    /* of its datagrams, the last one of which may be shorter */
    uint32_t bytes[FG_UDP_BATCH];
    uint32_t datagrams[FG_UDP_BATCH];
    struct mmsghdr msgs[FG_UDP_BATCH];
    struct iovec iov[FG_UDP_BATCH];
    _Alignas(8) uint8_t control[FG_UDP_BATCH][FG_UDP_CONTROL];
    struct sockaddr_in6 names[FG_UDP_BATCH]; /* or sockaddr_in */
};

/* Buffers for one recvmmsg. */
struct fg_udp_in {
    uint8_t *bytes;                 /* FG_UDP_BATCH buffers, FG_UDP_STRIDE apart */
    unsigned used;                  /* those from here on are ready to be received into */
    struct mmsghdr msgs[FG_UDP_BATCH];
    struct iovec iov[FG_UDP_BATCH];
    _Alignas(8) uint8_t control[FG_UDP_BATCH][FG_UDP_CONTROL];
    struct sockaddr_in6 names[FG_UDP_BATCH];
    uint32_t segment[FG_UDP_BATCH]; /* size of the datagrams that a buffer holds; 0: it is one */
    uint8_t next[FG_UDP_BATCH];     /* of the same session */
};

struct fg_sent { uint64_t datagrams, bytes, dropped; int error; /* of the last one that was dropped; 0: none */ };

struct fg_datagrams {
    uint64_t secret[2];
    struct fg_session_slot { uint64_t hash; struct fg_session *session; } *slots; /* open addressing, half of it empty at least */
    uint32_t mask, sessions, most;
    struct fg_udp_in in;            /* from clients */
    struct fg_udp_out up;           /* of one session, to its endpoint */
    struct fg_udp_in answers;       /* from endpoints; what is not sent yet stays */
    unsigned answered;              /* buffers of `answers` that are taken */
    struct fg_udp_out down;         /* to clients of `down_of` */
    struct fg_udp *down_of;
    const struct fg_session *down_to; /* whose datagrams are the last message; compared, never looked at */
};

/* fg_udp_session.c */
struct fg_datagrams *fg_datagrams_new(uint32_t most);
struct fg_session *fg_session_find(const struct fg_datagrams *d, const struct fg_udp *udp, const struct fg_source *source,
                                   uint64_t hash);
uint64_t fg_session_hash(const struct fg_datagrams *d, const struct fg_udp *udp, const struct fg_source *source);
/* NULL: no backend, no endpoint, or no room. */
struct fg_session *fg_session_begin(struct fg_udp *udp, const struct fg_source *source, uint64_t hash);
/* May it go on with its endpoint under the configuration and the health of now? */
bool fg_session_stays(struct fg_session *s);
void fg_session_touch(struct fg_session *s);    /* a datagram passed */
void fg_session_prove(struct fg_session *s);
void fg_session_end(struct fg_session *s, int reason);
void fg_session_end_all(struct fg_udp *udp, int reason);
void fg_session_await_expiry(struct fg_udp *udp); /* sets its timer */
void fg_session_expire(struct fg_timer *expiry);

/* fg_udp.c */
void fg_udp_answer(struct fg_io *io);   /* runs a session's socket */
void fg_udp_empty(struct fg_udp *udp);  /* its last session has ended */

/* fg_udp_io.c */
bool fg_udp_in_init(struct fg_udp_in *in, bool names);
/* Receives into the buffers from `first` on, at most `most`; number of messages, or -1 with errno. */
int fg_udp_receive(int fd, struct fg_udp_in *in, unsigned first, unsigned most);
/* Into one buffer, without name and ancillary data: half the price. False with errno. */
bool fg_udp_receive_one(int fd, struct fg_udp_in *in, unsigned i);
void fg_udp_local(struct fg_udp_in *in, unsigned i, struct fg_source *source); /* the address that it was sent to */
/* Adds a buffer; to the last message where `same` peer and the sizes allow it. True: a new message, whose name and first
 * ancillary data the caller fills in. */
bool fg_udp_add(struct fg_udp_out *out, const struct iovec *bytes, uint32_t segment, bool same);
void fg_udp_add_local(struct fg_udp_out *out, const struct fg_source *source, bool v6); /* the address that it is sent from */
struct fg_sent fg_udp_send(int fd, struct fg_udp_out *out); /* empties it */
struct fg_sent fg_udp_send_one(int fd, const struct iovec *bytes); /* on a connected socket, at half the price */

static inline uint32_t fg_udp_count(size_t bytes, uint32_t segment) {
    return segment && bytes > segment ? (uint32_t)((bytes + segment - 1) / segment) : 1;
}

#endif
