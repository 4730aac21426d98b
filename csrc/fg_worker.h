/* What a worker is made of, and who owns what.
 *
 *   fg_engine            one worker: loop, pools, image, endpoints, listeners, statistics
 *     fg_listen          a bound socket; lives from LISTEN to UNLISTEN, and on until its last connection or session is gone
 *       fg_udp           what makes it one for datagrams, with its sessions (fg_udp.h)
 *     fg_down            where exchanges come from, one at a time: a client connection of HTTP/1, or a stream of HTTP/2
 *       fg_h2            HTTP/2 on a client connection (fg_h2.h), with its streams
 *       fg_req           one exchange; from the complete request head to the end of the response
 *     fg_health          what a check says of an endpoint, and its probes; as long as the configuration asks for it
 *     fg_endpoint        an address and what TLS it speaks, which clusters of any generation share; owns its idle connections
 *       fg_up            a connection to it; lent to an exchange, or idle
 *
 * Everything here is touched by the loop's thread only.
 */
#ifndef FG_WORKER_H
#define FG_WORKER_H

#include "fg_engine.h"
#include "fg_identity.h"
#include "fg_loop.h"
#include "fg_pipes.h"
#include "fg_reasons.h"
#include "fg_req.h"
#include "fg_stats.h"

#include <netinet/in.h>

struct fg_list { struct fg_list *prev, *next; };

static inline void fg_list_init(struct fg_list *l) { l->prev = l->next = l; }
static inline bool fg_list_empty(const struct fg_list *l) { return l->next == l; }
static inline void fg_list_push(struct fg_list *head, struct fg_list *n) {
    n->next = head->next;
    n->prev = head;
    head->next->prev = n;
    head->next = n;
}
static inline void fg_list_remove(struct fg_list *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = n;
}

struct fg_shaking { /* who shakes hands, in TLS */
    struct fg_list link;             /* engine->handshakes while it waits for its turn; or alone */
    struct fg_io *io;
    void (*step)(struct fg_io *io);  /* its turn */
};

struct fg_address { /* IPv4 is kept as IPv4, also when it came over a dual-stack socket */
    uint8_t ip[16];
    uint16_t port;
    uint8_t family; /* 4 or 6 */
};

/* An image that is mapped, and who still needs it: the worker itself, and exchanges before their response head. */
struct fg_generation {
    struct fg_image image;
    struct fg_tls_set *tls;             /* contexts for it */
    uint32_t refs;
    uint32_t keeps;                     /* of its stages: one of the image, and one of each exchange that may call them */
    bool runs_inline;                   /* some of them run here */
    uint64_t number;
    struct fg_generation *next_ended;   /* without image and exchanges, until the calls of this turn have run */
};

struct fg_listen {
    struct fg_io io;
    struct fg_grave grave;
    struct fg_timer resume; /* of accepting, while that pauses */
    struct fg_engine *e;
    struct fg_list all;
    uint64_t key;
    uint32_t slot;
    int socket;           /* position in the current image, -1: not known to it */
    uint32_t connections; /* open ones that were accepted here, or sessions */
    struct fg_udp *udp;   /* NULL: TCP */
    struct fg_address bound;
    int lock_fd;          /* held as long as the socket; -1: none */
    char name[72];        /* the manager's, for its successor */
    bool closing;         /* no longer accepting, or beginning sessions; freed with the last of them */
};

enum fg_down_state {
    FG_DOWN_FIRST,  /* nothing received yet */
    FG_DOWN_HEAD,   /* a part of a head received */
    FG_DOWN_IDLE,   /* between two requests */
    FG_DOWN_BUSY,   /* an exchange is on */
    FG_DOWN_TUNNEL,
    FG_DOWN_HELLO,     /* what the connection begins with decides what becomes of it */
    FG_DOWN_HANDSHAKE, /* of TLS */
    FG_DOWN_RELAY,     /* of TCP, or of what TLS brings */
    FG_DOWN_HTTP2,     /* its streams have the exchanges */
    FG_DOWN_LINGER, /* everything sent, write side shut: reading until the peer closes (RFC 9112 section 9.6) */
    FG_DOWN_CLOSED
};

struct fg_down {
    struct fg_io io;
    struct fg_timer timer;
    struct fg_grave grave;
    struct fg_list all;
    struct fg_engine *e;
    struct fg_listen *listen;
    struct fg_req *req;
    struct fg_relay *relay;
    struct fg_h2 *h2;      /* of the connection; NULL: it speaks no HTTP/2, or this is a stream */
    struct fg_h2_stream *stream; /* this is its; NULL: this is a connection */
    struct fg_buf in;
    uint32_t scanned;      /* the parser's resume hint */
    uint32_t requests;
    uint32_t lingered;     /* bytes thrown away so far */
    uint8_t state;         /* enum fg_down_state */
    bool introduced;       /* the PROXY protocol header was read */
    bool ending;           /* close, or linger, when everything owed is sent */
    bool unread;           /* and the client may still be sending */
    bool eof;              /* the client's FIN was read, or the stream's end */
    bool other_scheme;     /* the stream's request is for another one than the connection's */
    uint32_t trailers;     /* bytes of the stream's trailer section, the last ones of `in` */
    uint8_t protocol;      /* of the listener that the server name led to: enum fg_listener_protocol; this and what follows: TLS */
    uint64_t listener_key; /* of that listener */
    uint64_t policy;       /* what the client had to show: fg_img_tls */
    struct fg_listener_series *series;
    struct fg_shaking shaking;
    struct fg_signing *signing; /* its handshake is made apart; NULL: it is not */
    struct fg_address peer;
    struct fg_identity *identity; /* NULL: no TLS, or not yet; a stream's is the connection's */
};

static inline struct fg_bytes fg_down_scheme(const struct fg_down *d) { /* RFC 9110 section 4.2 */
    return d->identity ? (struct fg_bytes){(const uint8_t *)"https", 5} : (struct fg_bytes){(const uint8_t *)"http", 4};
}

enum fg_up_state { FG_UP_CONNECTING, FG_UP_HANDSHAKE, FG_UP_BUSY, FG_UP_IDLE, FG_UP_CLOSED };

struct fg_up {
    struct fg_io io;
    struct fg_timer timer; /* connecting and handshake, idle */
    struct fg_grave grave;
    struct fg_list link;   /* endpoint->idle, or alone */
    struct fg_shaking shaking;
    struct fg_engine *e;
    struct fg_endpoint *endpoint;
    struct fg_req *req;
    struct fg_buf in;
    uint32_t scanned;
    uint32_t requests;     /* sent on it, this one included */
    uint32_t idle_timeout; /* ms, from the peer's Keep-Alive; 0: not said */
    uint8_t state;         /* enum fg_up_state */
    bool eof;
};

/* Two that differ in their TLS share nothing: neither connections, nor sessions, nor what is held against one of them. What
 * TLS one speaks never changes; a cluster whose TLS changes gets others (fg_endpoints_bind). */
struct fg_endpoint {
    struct fg_endpoint *next; /* hash chain */
    struct fg_address address;
    uint64_t tls_key;         /* of fg_img_upstream_tls; 0: plaintext */
    struct fg_tls_context *tls;
    uint64_t sessions;        /* what its TLS sessions are kept by: a number that no other endpoint ever has */
    uint64_t key;             /* hash of address and TLS */
    struct fg_list idle;      /* of fg_up, most recently used first */
    uint32_t refs;            /* tables that name it, connections to it */
    uint32_t listed;          /* tables that name it: 0 stops pooling */
    uint32_t active;          /* exchanges on it */
    uint32_t connections;
    uint32_t failures;        /* connects, with their handshakes, that failed in a row */
    bool ejected;             /* until `ejection` fires, or a connect succeeds */
    struct fg_timer ejection;
    struct fg_engine *e;
};

struct fg_choice {
    struct fg_endpoint *endpoint;
    struct fg_health *health; /* NULL: not checked */
    uint32_t weight;          /* never 0 */
};

struct fg_pick { struct fg_endpoint *endpoint; uint64_t upto; /* sum of the weights so far */ uint32_t weight; };

struct fg_cluster {
    uint64_t key;
    uint64_t tls_key;         /* of its endpoints */
    struct fg_choice *choices;
    uint32_t n;
    /* Derived from the choices when `listed_at` differs from the engine's `usability`. */
    uint32_t npicks;
    struct fg_pick *picks;    /* room for n */
    uint64_t listed_at;
    bool uneven;              /* weights differ */
    bool checked;             /* choices may have a health */
    bool panic;               /* less than half are usable: all are picked */
};

struct fg_endpoints {         /* one endpoint table, in the order of the keys */
    uint64_t version;
    struct fg_cluster *clusters;
    uint32_t n;
    uint32_t ntls;            /* clusters that speak TLS */
};

enum { FG_SCRATCH = FG_BUF_HUGE, FG_ENDPOINT_BUCKETS = 4096, FG_SWRR_BUCKETS = 4096, FG_HEALTH_BUCKETS = 1024 };

struct fg_swrr { /* smooth weighted round robin of one rule; outlives reloads */
    struct fg_swrr *next;
    uint64_t key;
    uint32_t n;
    uint64_t used_in; /* generation */
    int64_t current[];
};

struct fg_engine {
    struct fg_functions f;
    struct fg_engine_options o;
    struct fg_loop loop;
    struct fg_pool pool;
    struct fg_slab *stats;
    struct fg_generation *gen;         /* served now; NULL before the first COMMIT */
    struct fg_endpoints *endpoints;    /* served now */
    struct fg_endpoint *buckets[FG_ENDPOINT_BUCKETS];
    struct fg_swrr *swrr[FG_SWRR_BUCKETS];
    struct fg_health *healths[FG_HEALTH_BUCKETS];
    uint64_t endpoints_made;
    uint64_t usability;                /* grows when an endpoint is ejected, readmitted, found healthy or not, and with each
                                          image and endpoint table; never 0 */
    struct fg_list listens, downs, ups;
    struct fg_list h2_touched;         /* of fg_h2: who has something to send, or to look at, at the end of the turn */
    struct fg_list handshakes;         /* of fg_shaking: who is to be served first comes first */
    struct fg_req *free_reqs;
    struct fg_control *control;
    struct fg_orphan *orphan;
    struct fg_log *log;
    struct fg_pipes pipes;
    struct fg_tls_common *tls;
    struct fg_datagrams *datagrams;    /* NULL until there is a UDP listener */
    struct fg_signer *signer;          /* NULL until a handshake takes long */
    struct fg_filters *filters;        /* NULL until a filter plugin is called or attached */
    uint32_t filters_waiting;          /* calls that wait for the plugin process */
    struct fg_timer drain;
    uint32_t max_connections;
    uint8_t draining;                  /* 0 no, 1 announced (readiness gone), 2 listeners closed */
    uint64_t drain_timeout;
    uint64_t random;
    char date[32];                     /* IMF-fixdate of date_second */
    int64_t date_second;
    /* Scratch of one call: nothing in it survives a return to the loop. */
    struct fg_h1_head response;
    struct fg_field response_fields[FG_MAX_FIELDS];
    struct fg_series_slot {
        uint16_t tag; /* of the hash, so that other series are not read on the way */
        uint16_t at;  /* 1 + position in the slab; 0: free */
    } series_at[2 * FG_SERIES_MAX];
    uint16_t filters_at[2 * FG_FILTERS_MAX]; /* hash table: 1 + position in the slab; 0: free */
    uint8_t scratch[FG_SCRATCH];
};

/* A limit of all workers together, as each enforces it: its share, rounded up. */
static inline uint32_t fg_share(const struct fg_engine *e, uint32_t limit) {
    return e->o.workers > 1 && limit ? (limit - 1) / e->o.workers + 1 : limit;
}

static inline uint64_t fg_random(struct fg_engine *e) { /* xorshift64*: spreading load, nothing secret */
    e->random ^= e->random >> 12;
    e->random ^= e->random << 25;
    e->random ^= e->random >> 27;
    return e->random * 0x2545f4914f6cdd1dull;
}

/* fg_listen.c */
int fg_listen_add(struct fg_engine *e, uint64_t key, uint32_t slot, int fd, int lock_fd, const char *name);
bool fg_listen_remove(struct fg_engine *e, uint64_t key, uint32_t slot);
void fg_listen_resolve(struct fg_engine *e); /* after a COMMIT: which socket of the image each one is */
void fg_listen_close_all(struct fg_engine *e);
void fg_listen_close(struct fg_listen *l); /* gives back the socket and its lock */
void fg_listen_bury(struct fg_listen *l); /* closed, and its last connection is gone */

/* fg_udp.c: datagrams */
bool fg_udp_add_listener(struct fg_listen *l);
void fg_udp_resolve(struct fg_listen *l);   /* the image knows the socket, or no more */
void fg_udp_remove(struct fg_listen *l);    /* another worker has the socket, or nobody serves it */
void fg_udp_drain(struct fg_listen *l);     /* no new session; the others go on */
void fg_udp_end_all(struct fg_engine *e);   /* every session */
void fg_udp_flush(struct fg_engine *e);     /* once a turn: sends what endpoints answered in it */
void fg_datagrams_free(struct fg_datagrams *d); /* or NULL */

/* fg_down.c: client connections */
void fg_down_accept(struct fg_listen *l, int fd, const struct sockaddr_storage *peer);
void fg_down_close(struct fg_down *d);           /* at once */
void fg_down_next(struct fg_down *d);            /* the exchange is over and the connection goes on */
void fg_down_end(struct fg_down *d, bool unread);/* close after what is owed; lingers when the client may still send */
const struct fg_img_limits *fg_down_limits(const struct fg_down *d);
void fg_down_deadline(struct fg_down *d, uint32_t ms); /* its timer; 0: none */
void fg_down_refuse(struct fg_down *d, int reason);    /* closes at once, and counts why */
void fg_down_speak(struct fg_down *d);                 /* HTTP begins: with what was read already, or what comes */
struct fg_req *fg_down_give_up(struct fg_down *d);     /* the exchange of a head that is not whole, or no head: to be answered */

/* fg_hello.c: what connections of a socket begin with, before the protocol of a listener is spoken */
bool fg_hello_wanted(const struct fg_down *d);
void fg_hello_run(struct fg_down *d);
void fg_hello_relay(struct fg_down *d, const struct fg_img_listener *l); /* by the server name, which is known by now */

/* fg_handshakes.c: at most 2 ms of them a turn */
void fg_handshake_init(struct fg_shaking *s, struct fg_io *io, void (*step)(struct fg_io *io));
void fg_handshake_wait(struct fg_engine *e, struct fg_shaking *s); /* nothing, if it waits already */
void fg_handshake_leave(struct fg_shaking *s);                     /* nothing, if it does not wait */
void fg_handshakes_turn(struct fg_engine *e);                      /* once a turn of the loop, behind everything else */

/* fg_secure.c: TLS of client connections */
/* `hello` was peeked of d->in, whose bytes the handshake gets; the name led to `l`, which ends TLS. */
void fg_down_secure(struct fg_down *d, const struct fg_img_listener *l, const struct fg_client_hello *hello);
void fg_secure_run(struct fg_down *d);       /* something is ready: the handshake goes on when it is its turn */
void fg_secure_step(struct fg_io *io);       /* of the client connection: its turn */
void fg_secure_expired(struct fg_down *d);
void fg_secure_close(struct fg_down *d);     /* says goodbye, if it can */
bool fg_secure_is_elsewhere(const struct fg_req *r); /* for a connection with TLS: its listener or policy is another one */

/* RFC 9110 section 15.5.20: the authority belongs to another listener than the server name, or the listener has come to want
 * something else of clients since: TLS, or another certificate. What belongs to no listener is not found, as without TLS. */
static inline bool fg_secure_misdirected(const struct fg_req *r) {
    const struct fg_img_listener *l = r->match.listener;
    return l && (r->down->identity ? fg_secure_is_elsewhere(r) : l->tls.len != 0);
}

/* fg_up.c: connections to endpoints */
/* NULL with errno when there is none: of this process, or of the way to the endpoint. */
struct fg_up *fg_up_take(struct fg_engine *e, struct fg_endpoint *ep, struct fg_req *r, bool fresh, uint32_t connect_ms);
void fg_up_release(struct fg_up *u, uint32_t idle_ms); /* back to the pool, for so long; 0: for ever */
void fg_up_close(struct fg_up *u);
socklen_t fg_address_sockaddr(const struct fg_address *a, struct sockaddr_storage *out);
int fg_address_connect(const struct fg_address *a); /* a socket that is being connected, or -1 with errno */
void fg_address_read(struct fg_address *a, const struct sockaddr_storage *sa);

/* fg_endpoints.c: endpoints, their ejection, the tables that list them */
/* NULL without memory. `tls` is the context of `tls_key`, and unused if that is 0. */
struct fg_endpoint *fg_endpoint_get(struct fg_engine *e, const struct fg_address *a, uint64_t tls_key, struct fg_tls_context *tls);
void fg_endpoint_unref(struct fg_engine *e, struct fg_endpoint *ep);
void fg_endpoint_failed(struct fg_engine *e, struct fg_endpoint *ep); /* a connect or handshake did; ejects after several */
void fg_endpoint_works(struct fg_engine *e, struct fg_endpoint *ep); /* it was connected, or answered */
void fg_endpoint_readmit(struct fg_engine *e, struct fg_endpoint *ep);
uint64_t fg_address_key(const struct fg_address *a);
struct fg_endpoints *fg_endpoints_load(struct fg_engine *e, int fd, char *why, size_t why_size);
void fg_endpoints_free(struct fg_engine *e, struct fg_endpoints *t);
/* After another image or endpoint table is served: clusters get endpoints of the TLS that the image says. */
void fg_endpoints_bind(struct fg_engine *e);

/* fg_cluster.c: choice of an endpoint, choice of a weighted backend */
struct fg_cluster *fg_cluster_find(const struct fg_endpoints *t, uint64_t key);
struct fg_endpoint *fg_cluster_pick(struct fg_engine *e, uint64_t key, const struct fg_endpoint *not_this);
/* Can another try at the cluster end otherwise than the last? Whom a handshake failed with will not be another. */
bool fg_cluster_may_retry(struct fg_engine *e, uint64_t key, const struct fg_endpoint *last, int reason);
/* The endpoint of a cluster that may be picked at this position; false behind the last one. */
bool fg_cluster_list(struct fg_engine *e, uint64_t key, uint32_t at, struct fg_ep_endpoint *out);
/* The endpoint with this address, if it may be picked. */
struct fg_endpoint *fg_cluster_at(struct fg_engine *e, uint64_t key, const struct fg_address *a);
/* The choices of rendezvous hashing, by weight: everybody makes the same for a hash, and few change with what is chosen from. */
const struct fg_img_backend *fg_relay_rendezvous(struct fg_engine *e, const struct fg_img_relay *relay, uint64_t hash);
struct fg_endpoint *fg_cluster_rendezvous(struct fg_engine *e, uint64_t key, uint64_t hash);
const struct fg_img_backend *fg_rule_backend(struct fg_engine *e, const struct fg_match_result *m);
const struct fg_img_backend *fg_relay_backend(struct fg_engine *e, const struct fg_img_relay *relay);

/* fg_health.c: active checks */
bool fg_health_down(const struct fg_health *h);
void fg_health_sync(struct fg_engine *e);  /* after another image or endpoint table is served */
void fg_health_told(struct fg_engine *e, uint64_t key, bool healthy); /* what the worker that probes it found */
void fg_health_report(struct fg_engine *e); /* to a new manager: every verdict of this worker that ever changed */
void fg_health_stop(struct fg_engine *e);  /* no further probe; what is known stays */
void fg_health_free(struct fg_engine *e);

/* fg_exchange.c */
/* Counts a request and ties it to the generation that is served; false when there is none for its socket. */
bool fg_exchange_admit(struct fg_req *r);
void fg_exchange_begin(struct fg_down *d, struct fg_req *r);
void fg_exchange_route(struct fg_req *r);   /* to a rule: the filters of its listener have seen it */
void fg_exchange_act(struct fg_req *r);     /* what the rule says */
void fg_exchange_buffer(struct fg_req *r);  /* reads the body for filters that want it whole */
void fg_exchange_forward(struct fg_req *r); /* to the backend that was chosen */
void fg_exchange_try(struct fg_req *r, bool fresh);
void fg_exchange_run(struct fg_req *r);
void fg_exchange_timer(struct fg_req *r);        /* the client connection's timer: is the body moving? */
void fg_exchange_due(struct fg_req *r, uint64_t next); /* sets its own timer to `next` (ms; 0: none) or a rule's deadline */
void fg_exchange_connected(struct fg_req *r);
void fg_exchange_up_failed(struct fg_req *r, int reason);
void fg_exchange_abort(struct fg_req *r, int reason); /* the client is gone, or sees its response cut */
void fg_exchange_fail(struct fg_req *r, int reason);  /* no fault of the endpoint's: answered if that is still possible */

void fg_exchange_drop_up(struct fg_req *r);      /* nothing more is sent to the endpoint or read from it */
void fg_exchange_finish(struct fg_req *r);       /* logs, counts, gives everything back; the client connection goes on */
struct fg_req *fg_req_new(struct fg_down *d);    /* NULL: no memory */
void fg_req_free(struct fg_req *r);              /* with whatever it still holds; counts and logs nothing */

/* fg_reply.c: the gateway's own answers. Each finishes the exchange. */
void fg_reply_reason(struct fg_req *r, int reason);                 /* status and text from the table */
void fg_reply_status(struct fg_req *r, int reason, uint16_t status);
void fg_reply_redirect(struct fg_req *r);
void fg_reply_parse_error(struct fg_req *r, int64_t error);
uint16_t fg_parse_status(int64_t error);
const char *fg_parse_name(int64_t error);

/* fg_stats.c */
struct fg_series *fg_series_of(struct fg_engine *e, const struct fg_req *r);
void fg_stats_exchange(struct fg_req *r, uint64_t took_us);
uint32_t fg_stats_filter(struct fg_engine *e, uint64_t key, struct fg_bytes name); /* its number in the slab */
void fg_stats_spent(struct fg_filter_series *s, uint64_t took_ns);                 /* a call of its methods did */
void fg_stats_count(struct fg_filter_series *s, struct fg_bytes name, uint64_t n); /* `name` has at most FG_NAME_MAX bytes */

/* Looked up by its key among a few: once a connection, which keeps it. */
struct fg_listener_series *fg_stats_listener(struct fg_engine *e, const struct fg_image *image, const struct fg_img_listener *l);

/* fg_log.c */
enum fg_log_form { FG_LOG_OFF, FG_LOG_JSON, FG_LOG_TEXT };
struct fg_log *fg_log_new(struct fg_engine *e, int fd); /* takes the descriptor */
void fg_log_reopen(struct fg_log *log, int fd); /* takes the descriptor */
void fg_log_sink(struct fg_log *log, int fd);   /* takes a SOCK_SEQPACKET socket; its messages are whole lines */
void fg_log_free(struct fg_log *log);           /* waits for the writer at most 1 s */
void fg_log_kick(struct fg_log *log);           /* once a turn: wakes the writer when there is work */
void fg_log_exchange(struct fg_req *r, uint64_t took_us);

/* What was relayed below HTTP: a connection, or a session of UDP. */
struct fg_relayed {
    uint8_t protocol, form;               /* enum fg_listener_protocol, enum fg_log_form */
    const struct fg_address *client, *local, *upstream; /* upstream: NULL when none was tried */
    const struct fg_identity *identity;   /* NULL: no TLS */
    const struct fg_img_socket *socket;   /* of the image that is served now; NULL: it has it no more */
    const char *listener, *route;
    const char *upstream_error;          /* static: in what the last handshake with an endpoint that failed ended; NULL: none did */
    uint64_t received, sent, took_us;
    int reason;
    uint32_t tries;
};
void fg_log_relay(struct fg_engine *e, const struct fg_relayed *x);

/* fg_control.c */
struct fg_control *fg_control_new(struct fg_engine *e, int fd); /* takes the descriptor */
void fg_control_free(struct fg_control *c);
void fg_control_drained(struct fg_engine *e);
void fg_control_ended(struct fg_engine *e, uint64_t generation);
void fg_control_health(struct fg_engine *e, uint64_t key, bool healthy, const char *why);
int fg_control_attach(struct fg_control *c, int fd); /* a connected socket is the manager's from now on */
struct fg_control_message fg_control_hello(const struct fg_engine *e);

/* fg_tls.c: the contexts of an image, by the keys of fg_img_choice and fg_img_upstream_tls */
/* Makes those that `base` has not, on a helper thread. NULL with a sentence in `why`. `base` may be NULL. */
struct fg_tls_set *fg_tls_set_new(struct fg_tls_common *c, const struct fg_image *image, int secrets_fd,
                                  const struct fg_tls_set *base, char *why, size_t why_size);
struct fg_tls_set *fg_tls_set_ref(struct fg_tls_set *s);
void fg_tls_set_unref(struct fg_tls_set *s); /* NULL does nothing */
struct fg_tls_context *fg_tls_find(const struct fg_tls_set *s, uint64_t key); /* stays the set's; NULL: there is none */
/* For a connection to an endpoint of this cluster; NULL: it speaks plaintext. */
struct fg_tls_context *fg_tls_of_cluster(const struct fg_generation *g, uint32_t cluster);

/* fg_orphan.c */
struct fg_orphan *fg_orphan_new(struct fg_engine *e, int fd); /* takes the descriptor */
void fg_orphan_free(struct fg_orphan *o);
void fg_orphan_begin(struct fg_orphan *o);          /* the manager is gone */
void fg_orphan_keep(struct fg_orphan *o, int fd);   /* takes the descriptor: what a successor will want */

/* fg_engine.c */
void fg_generation_unref(struct fg_engine *e, struct fg_generation *g);
void fg_engine_drain(struct fg_engine *e, uint64_t delay_ms, uint64_t timeout_ms);

#endif
