/* The image: what a worker knows of the configuration. Written by core/snapshot.pyx and core/layer4.pyx, validated by
 * core/image.pyx, read by core/router.pyx (the tables of fg_table.h) and the engine.
 *
 * One flat, position-independent buffer in a sealed memfd:
 *
 *   +--------+-----------+-----------+-----------+-- - - --+
 *   | header | directory | segment 0 | segment 1 |         |
 *   +--------+-----------+-----------+-----------+-- - - --+
 *
 * Segments are content-addressed: a change rewrites the segments it touches, the builder copies the others, and a loader
 * skips the validation of content that it validated before. Inside a segment every reference is a `struct fg_ref`,
 * relative to the segment's first byte; between segments, the directory's position. All integers are little-endian in
 * the order of this machine (both supported architectures agree); all records are 8-byte aligned.
 *
 * core/image.pyx validates every offset once, before the first use. After that readers trust it.
 */
#ifndef FG_IMAGE_H
#define FG_IMAGE_H

#include "fg_base.h"
#include "fg_hash.h"
#include "fg_http1.h"
#include "fg_phases.h"

#define FG_IMAGE_MAGIC 0x31474d4945544146ull /* "FATEIMG1" */
#define FG_IMAGE_VERSION 3                   /* a loader takes its own and no other */

struct fg_ref {      /* a run of bytes, or of records, in the same segment */
    uint32_t off;
    uint32_t len;    /* bytes of a string; number of records of an array */
};

enum fg_segment_kind { FG_SEG_SOCKETS = 1, FG_SEG_CLUSTERS, FG_SEG_HOSTS, FG_SEG_GROUP };

struct fg_img_header {
    uint64_t magic;
    uint32_t version;
    uint32_t nsegments;
    uint64_t size;         /* of the whole image */
    uint64_t checksum;     /* of everything behind this header */
    uint64_t generation;
    uint64_t reserved[3];
};

struct fg_img_segment {    /* a directory entry */
    uint64_t hash[2];      /* of kind and content */
    uint64_t offset;       /* from the image's first byte, 64-byte aligned, in the order of the directory */
    uint32_t size;
    uint32_t kind;
};

/* --- rules and what they do; they live in FG_SEG_GROUP segments, next to the tries that lead to them ------------------ */

struct fg_img_pair { struct fg_ref name, value; };  /* name in lower case for matching; as spelt for edits */

struct fg_img_edits {      /* set, then add, then remove */
    struct fg_ref set;     /* of fg_img_pair */
    struct fg_ref add;     /* of fg_img_pair */
    struct fg_ref remove;  /* of fg_ref (strings, lower-case) */
};

enum fg_rewrite_kind { FG_REWRITE_NONE, FG_REWRITE_FULL, FG_REWRITE_PREFIX };

struct fg_img_member {         /* one Filter of a stage */
    uint64_t key;              /* hash of its name: statistics */
    struct fg_ref name;        /* "namespace/name" */
    uint32_t phases;           /* bit by enum fg_phase */
    uint32_t reserved;
};

struct fg_img_stage {          /* consecutive filter plugins that one call runs (fg_call.h) */
    uint64_t key;              /* hash of what they are: what calls name */
    uint32_t timeout;          /* ms, of one call */
    uint32_t phases;           /* bit by enum fg_phase: those that a plugin has */
    uint8_t runs_inline;       /* 1: on the worker's thread; 0: in the plugin process */
    uint8_t deny;              /* 1: when nobody answers, neither is the request served */
    uint8_t reserved[2];
    uint32_t buffer_body;      /* bytes of a request body that are waited for before the request phase; 0: it is not */
    struct fg_ref spec;        /* inline: JSON of the plugins, for the worker that makes them */
    struct fg_ref members;     /* of fg_img_member */
};

struct fg_img_filters {
    struct fg_img_edits request, response;
    struct fg_ref hostname;    /* len 0: kept */
    struct fg_ref path;
    struct fg_ref stages;      /* of fg_img_stage */
    uint32_t path_kind;        /* enum fg_rewrite_kind */
    uint32_t reserved;
};

struct fg_img_redirect {
    struct fg_ref scheme, hostname, path; /* len 0: kept */
    uint32_t port;             /* 0: derived */
    uint16_t status;
    uint8_t path_kind;
    uint8_t reserved;
};

struct fg_img_backend {
    uint64_t cluster;          /* position in FG_SEG_CLUSTERS + 1; 0: answers `status` */
    uint32_t weight;
    uint16_t status;
    uint16_t reason;           /* enum fg_reason */
    uint32_t filters;          /* fg_img_filters; 0: none, as with most */
    uint32_t reserved;
};

enum fg_action { FG_ACTION_FORWARD, FG_ACTION_REDIRECT, FG_ACTION_RESPOND };

struct fg_img_rule {           /* one cache line, and aligned to it */
    uint64_t key;              /* hash of the rule's key: state that survives reloads hangs on it */
    uint64_t route_key;        /* hash of the route's name: statistics */
    uint16_t index;            /* of the rule in its route */
    uint16_t status;           /* RESPOND */
    uint16_t reason;           /* RESPOND: enum fg_reason */
    uint8_t action;            /* enum fg_action */
    uint8_t reserved;
    uint32_t request_timeout;  /* ms, 0: none */
    uint32_t backend_timeout;  /* ms */
    uint32_t total_weight;
    uint32_t filters;          /* fg_img_filters; 0: none, as with most */
    struct fg_ref to;          /* FORWARD: of fg_img_backend; REDIRECT: one fg_img_redirect */
    struct fg_ref route;       /* "HTTPRoute/namespace/name" */
    struct fg_ref name;        /* of the rule */
};
_Static_assert(sizeof(struct fg_img_rule) == 64, "a rule is a cache line");

/* The filters of a rule or backend of this segment; those that it has not do nothing. */
static inline const struct fg_img_filters *fg_img_filters_at(const uint8_t *seg, uint32_t filters) {
    static const struct fg_img_filters none;
    return filters ? (const struct fg_img_filters *)(seg + filters) : &none;
}

/* --- sockets, listeners and clusters ---------------------------------------------------------------------------------- */

struct fg_img_limits {         /* ir.Limits, in its order */
    uint32_t request_line, head_bytes, head_fields, response_head_bytes;
    uint64_t body_bytes;
    uint32_t first_byte_timeout, head_timeout, idle_timeout, body_min_rate, body_rate_window;
    uint32_t connect_timeout, response_timeout, stream_idle_timeout;
    uint32_t upstream_idle_timeout, tunnel_idle_timeout, keepalive_requests, connections, upstream_connections;
    uint32_t interim_responses;
};

/* --- TLS: what connections are made with; contexts are built from it and shared by key over generations (fg_tls.h) ------ */

struct fg_img_choice {         /* certificates for the names that lead here: one of each kind of key, ECDSA before RSA */
    uint64_t key;              /* hash of everything that its context is made of: of this record and of its fg_img_tls */
    struct fg_ref certificates;/* of fg_ref: digests of pairs in the table of secrets (fg_secrets.h) */
};

enum fg_tls_verify { FG_VERIFY_NONE, FG_VERIFY_OPTIONAL /* AllowInsecureFallback */, FG_VERIFY_REQUIRED /* AllowValidOnly */ };

struct fg_img_tls {            /* of a listener that terminates TLS */
    uint64_t policy;           /* hash of authorities and `verify`: what a client had to show. Equal ones may share requests */
    struct fg_ref choices;     /* of fg_img_choice; the first for names that no certificate has */
    uint32_t hosts_segment;    /* directory position of a FG_SEG_HOSTS whose values are positions in `choices` + 1 */
    uint16_t min_version, max_version; /* 0x0303, 0x0304 */
    struct fg_ref ciphers, ciphersuites, groups; /* as OpenSSL writes them: TLS 1.2, TLS 1.3, curves; len 0: the library's */
    struct fg_ref alpn;        /* of fg_ref: protocols in the order of preference; len 0: none is spoken of */
    struct fg_ref authorities; /* of fg_ref: digests in the table of secrets; len 0: clients are not asked */
    uint8_t verify;            /* enum fg_tls_verify */
    uint8_t reserved[7];
};

struct fg_img_upstream_tls {   /* of a cluster whose endpoints speak TLS */
    uint64_t key;              /* hash of all of it: connections are pooled, sessions kept and contexts shared by it */
    struct fg_ref server_name; /* SNI, and what certificates are verified for unless there are `names` */
    struct fg_ref names;       /* of fg_ref: subject alternative names, one of which must be there; "DNS:..." or "URI:..." */
    struct fg_ref authorities; /* of fg_ref: digests in the table of secrets */
    struct fg_ref certificate; /* digest of the pair that is shown when asked for one; len 0: none */
    struct fg_ref alpn;        /* of fg_ref */
    uint16_t min_version, max_version;
    uint8_t system_trust;      /* 1: the system's authorities */
    uint8_t reserved[3];
};

/* --- routes of layer 4; they live in FG_SEG_SOCKETS, with the listener ----------------------------------------------------- */

struct fg_img_relay {          /* one rule of a TLSRoute, TCPRoute or UDPRoute */
    uint64_t key;              /* hash of the rule's key: state that survives reloads hangs on it */
    uint64_t route_key;        /* hash of the route's name: statistics */
    struct fg_ref route;       /* "TLSRoute/namespace/name" */
    struct fg_ref name;        /* of the rule */
    struct fg_ref backends;    /* of fg_img_backend, which have no filters and answer no status: cluster 0 closes */
    uint32_t total_weight;
    uint8_t passthrough;       /* 1: TLS is not ended here */
    uint8_t reserved[3];
};

enum fg_listener_protocol { FG_LISTENER_HTTP, FG_LISTENER_HTTPS, FG_LISTENER_TLS, FG_LISTENER_TCP, FG_LISTENER_UDP };

struct fg_img_listener {
    uint64_t key;              /* hash: statistics */
    struct fg_ref key_name;    /* "Gateway/namespace/name/listener" */
    struct fg_ref gateway;     /* "namespace/name" */
    struct fg_ref name, hostname;
    uint32_t protocol;         /* enum fg_listener_protocol */
    uint32_t hosts_segment;    /* directory position of its FG_SEG_HOSTS. HTTP, HTTPS: values are groups; TLS: positions in
                                  `relays` + 1; TCP, UDP: an empty one */
    uint32_t filters;          /* fg_img_filters whose stages are called before a route is looked for; 0: none, as with most */
    uint32_t reserved;
    struct fg_ref tls;         /* one fg_img_tls; len 0: TLS does not end here */
    struct fg_ref relays;      /* of fg_img_relay; TCP, UDP: at most one */
};

struct fg_img_socket {
    uint64_t key;              /* hash of "address:port" as configured: what LISTEN messages name */
    struct fg_ref address;
    uint32_t port;
    uint32_t trusted_hops;
    struct fg_ref listeners;   /* of fg_img_listener, most specific hostname first */
    uint32_t hosts_segment;    /* directory position of a FG_SEG_HOSTS whose values are listeners */
    uint32_t reserved2;
    struct fg_ref via, server, log_format;
    struct fg_ref trailers;    /* of fg_ref: lower-case names of trailer fields that go on */
    uint8_t underscores, request_id, access_log /* 0 off, 1 json, 2 text */;
    uint8_t datagrams;         /* 1: UDP; a socket of its own kind, whose one listener is UDP */
    uint8_t proxy_protocol;    /* 1: connections begin with a PROXY protocol header, version 1 or 2 */
    uint8_t client_cert;       /* 1: verified client certificates go on in Client-Cert (RFC 9440) */
    uint8_t reserved[2];
    struct fg_img_limits limits;
};

struct fg_img_statuses { uint16_t first, last; };

struct fg_img_cluster {
    uint64_t key;              /* hash of the name: the endpoint table and the upstream pools are keyed by it */
    struct fg_ref name;        /* "Service/namespace/name/port" */
    uint64_t health_key;       /* hash of the check's settings; 0: no active check */
    struct fg_ref health_path;
    struct fg_ref health_host; /* len 0: the endpoint's address */
    struct fg_ref health_statuses; /* of fg_img_statuses: healthy ones */
    uint32_t health_interval, health_timeout, health_healthy, health_unhealthy; /* ms, ms, count, count; none is 0 */
    uint32_t protocol;         /* enum fg_upstream_protocol */
    uint32_t send_proxy;       /* version of the PROXY protocol header that connections begin with; 0: none */
    struct fg_ref tls;         /* one fg_img_upstream_tls; len 0: plaintext */
};

enum fg_upstream_protocol { FG_UPSTREAM_HTTP1, FG_UPSTREAM_H2C, FG_UPSTREAM_WEBSOCKET, FG_UPSTREAM_TCP, FG_UPSTREAM_UDP };

/* --- an image in use ----------------------------------------------------------------------------------------------------- */

/* A mapped and validated image with its runtime side tables. Filled by fg_image_open_fn; immutable afterwards. */
struct fg_image {
    const uint8_t *base;
    size_t size;
    uint64_t generation;
    const struct fg_img_segment *dir;
    uint32_t nsegments;
    const uint8_t *sockets_seg;               /* base of FG_SEG_SOCKETS: references of sockets and listeners */
    const struct fg_img_socket *sockets;
    uint32_t nsockets;
    const uint8_t *clusters_seg;
    const struct fg_img_cluster *clusters;
    uint32_t nclusters;
    void *tables;                             /* compiled regexes; owned by image.pyx */
};

/* Maps `fd`, validates, builds the side tables. Runs on a helper thread. 0, or -1 with a sentence in `why`. */
typedef int (*fg_image_open_fn)(int fd, struct fg_image *image, char *why, size_t why_size);
typedef void (*fg_image_close_fn)(struct fg_image *image);

/* --- the endpoint table: published on its own, much more often than the image ------------------------------------------- */

#define FG_ENDPOINTS_MAGIC 0x3153504544545341ull
struct fg_ep_header { uint64_t magic; uint64_t version; uint64_t size; uint64_t checksum; uint32_t nclusters; uint32_t nendpoints; };
struct fg_ep_cluster { uint64_t key; uint32_t first, count; };     /* sorted by key */
struct fg_ep_endpoint { uint8_t address[16]; uint16_t port; uint8_t family /* 4 or 6 */; uint8_t reserved; uint32_t weight; };

/* What a check of an endpoint is known by, in workers and manager, over reloads. */
static inline uint64_t fg_health_key(uint64_t check, const uint8_t address[16], uint16_t port, uint8_t family) {
    return fg_mix(check ^ fg_hash(address, 16) ^ fg_mix((uint64_t)port << 8 | family));
}

/* --- matching ------------------------------------------------------------------------------------------------------------ */

struct fg_match_query {
    const uint8_t *host;       /* lower-case, no port, no trailing dot; an IPv6 literal in brackets */
    const uint8_t *path;       /* normalised, without query */
    const uint8_t *query;      /* without '?' */
    const uint8_t *method;
    const uint8_t *base;       /* what the fields' offsets are relative to */
    const struct fg_field *fields;
    uint32_t host_len, path_len, query_len, method_len, nfields;
};

struct fg_match_result {
    const struct fg_img_rule *rule;         /* NULL: no match; listener may still be known */
    const uint8_t *seg;                     /* base of the segment that the rule's references are relative to */
    const struct fg_img_listener *listener; /* NULL: no listener serves this host */
    struct fg_bytes hostname;               /* the pattern that matched: "", "*.example.com", "www.example.com" */
    uint32_t prefix_len;                    /* bytes of the path that a PathPrefix matched; path_len for Exact */
};

/* The value that a name leads to in a FG_SEG_HOSTS whose values are positions + 1: exact, wildcards from the longest, any.
 * 0: none. The name is in lower case; empty finds `any` alone. */
typedef uint32_t (*fg_find_host_fn)(const struct fg_image *image, uint32_t hosts_segment, const uint8_t *name, uint32_t len);

/* No allocation but inside RE2; no lock; callable from any thread. `socket` indexes image->sockets. */
typedef void (*fg_match_fn)(const struct fg_image *image, uint32_t socket, const struct fg_match_query *query,
                            struct fg_match_result *result);

/* What the TLS of a cluster's endpoints is known by; 0: they speak plaintext. */
static inline uint64_t fg_img_tls_key(const struct fg_image *image, const struct fg_img_cluster *c) {
    return c->tls.len ? ((const struct fg_img_upstream_tls *)(image->clusters_seg + c->tls.off))->key : 0;
}

static inline struct fg_bytes fg_str(const uint8_t *seg, struct fg_ref r) {
    return (struct fg_bytes){seg + r.off, r.len};
}

#endif
