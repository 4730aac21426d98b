/* What the HTTP/1 parsers produce. The grammar itself is in src/fastgate/core/http1.pyx.
 *
 * Contract: the caller owns the bytes and the field array; every span is an offset from the first byte of the buffer
 * that was passed in, so that the buffer may move between calls; nothing is allocated. A call returns the length of the
 * head (first byte after its empty line), FG_MORE, or a named error. `scanned` is the resume hint: zero before the first
 * call, kept between calls on a growing buffer, so that input that arrives byte by byte costs linear time.
 */
#ifndef FG_HTTP1_H
#define FG_HTTP1_H

#include "fg_base.h"
#include "fg_headers.h"
#include "fg_parse_errors.h"

#define FG_NO_LENGTH UINT64_MAX

enum { FG_FIELD_UNDERSCORE = 1, /* the name has an underscore: dropped by default (CVE-2015-0219) */
       FG_FIELD_DROP = 2 };     /* set by the engine: not forwarded */

enum { FG_MAX_FIELDS = 256 }; /* of one head that the engine has room for; limits above it are refused */

/* One field line, in the order of arrival; 16 bytes. The value has no leading or trailing white space. */
struct fg_field {
    uint32_t name;      /* offset */
    uint32_t value;     /* offset */
    uint32_t value_len;
    uint16_t name_len;
    uint8_t token;      /* enum fg_header */
    uint8_t flags;      /* FG_FIELD_* */
};

enum fg_method { /* the ones that change what a proxy does; every other token is FG_METHOD_OTHER */
    FG_METHOD_OTHER, FG_METHOD_GET, FG_METHOD_HEAD, FG_METHOD_POST, FG_METHOD_PUT, FG_METHOD_DELETE,
    FG_METHOD_CONNECT, FG_METHOD_OPTIONS, FG_METHOD_TRACE, FG_METHOD_PATCH
};

enum fg_target_form { FG_TARGET_ORIGIN, FG_TARGET_ABSOLUTE, FG_TARGET_AUTHORITY, FG_TARGET_ASTERISK };

enum fg_framing { FG_FRAMING_NONE, FG_FRAMING_LENGTH, FG_FRAMING_CHUNKED, FG_FRAMING_UNTIL_CLOSE,
                  FG_FRAMING_FRAMES /* HTTP/2's, of an unknown length: what frames hold is the body, the stream's end its end */ };

/* What Connection, and the version, ask for. */
enum { FG_CONN_CLOSE = 1, FG_CONN_KEEP_ALIVE = 2, FG_CONN_UPGRADE = 4, FG_CONN_NAMES = 8 /* other fields to remove */ };

struct fg_h1_limits {
    uint32_t max_head;     /* bytes, request or status line included */
    uint32_t max_line;     /* bytes of the request line, an empty one before it included; max_head when that is less */
    uint16_t max_fields;
};

struct fg_h1_head {
    /* in */
    struct fg_field *fields; /* caller's array of limits->max_fields */
    /* in and out: the resume hint */
    uint32_t scanned;
    /* out, requests */
    struct fg_span method, target;
    struct fg_span path;      /* absolute path of origin- and absolute-form, not yet normalised; "*" for asterisk-form */
    struct fg_span query;     /* without the '?'; off 0 when there is no '?' */
    struct fg_span authority; /* absolute-form's, else Host's: userinfo refused, port included */
    struct fg_span host;      /* authority without port; an IPv6 literal keeps its brackets */
    uint16_t port;            /* 0 when the authority names none */
    uint8_t method_token;     /* enum fg_method */
    uint8_t target_form;      /* enum fg_target_form */
    /* out, responses */
    uint16_t status;
    struct fg_span reason;
    /* out, both */
    uint8_t minor_version;    /* 0 or 1 */
    uint8_t framing;          /* enum fg_framing; responses: as if the request were GET */
    uint8_t connection;       /* FG_CONN_* */
    uint8_t path_clean;       /* the path needs no normalisation */
    uint64_t content_length;  /* bytes, or FG_NO_LENGTH */
    uint64_t repeated;        /* bit for each token that stands in more than one field */
    uint16_t nfields;
    uint16_t first[64];       /* by token: 1 + position of the first field with it; 0 when there is none */
};

enum fg_chunk_state { FG_CHUNK_SIZE, FG_CHUNK_EXT, FG_CHUNK_SIZE_LF, FG_CHUNK_DATA, FG_CHUNK_DATA_CR, FG_CHUNK_DATA_LF,
                      FG_CHUNK_TRAILERS, FG_CHUNK_DONE };

/* Decoder of a chunked body: a state machine over whatever bytes there are. */
struct fg_h1_chunked {
    uint64_t left;       /* data bytes left of this chunk */
    uint32_t line;       /* bytes of the size line or extension so far, for the limits */
    uint8_t state;       /* enum fg_chunk_state */
    uint8_t digits;
};

/* The functions that the engine calls; core/http1.pyx exports them as capsules, core/engine.pyx hands them over. */
typedef int64_t (*fg_h1_request_fn)(const uint8_t *buf, size_t len, const struct fg_h1_limits *limits, struct fg_h1_head *head);
typedef int64_t (*fg_h1_response_fn)(const uint8_t *buf, size_t len, const struct fg_h1_limits *limits, struct fg_h1_head *head);

/* Advances over the framing of a chunked body. Returns bytes used (0 or more) or a named error; on return, `data` is
 * the run of body bytes within the used ones (len 0: only framing was used). Call again until it uses nothing or the
 * state is FG_CHUNK_DONE. In FG_CHUNK_TRAILERS it stops: the trailer section is parsed with fg_h1_trailers_fn. */
typedef int64_t (*fg_h1_chunk_fn)(struct fg_h1_chunked *c, const uint8_t *buf, size_t len, struct fg_span *data);

/* Parses the trailer section, its empty line included, into head->fields: same contract as a head. */
typedef int64_t (*fg_h1_trailers_fn)(const uint8_t *buf, size_t len, const struct fg_h1_limits *limits, struct fg_h1_head *head);

/* Normalises a path in place (rules: decode only unreserved %XX, upper-case other escapes, remove dot segments, keep
 * %2F, %5C and "//"). Returns the new length, never longer, or a named error. */
typedef int64_t (*fg_path_normalize_fn)(uint8_t *path, size_t len);

/* What the first bytes of a TLS connection say (RFC 8446 section 4.1.2), core/client_hello.pyx. */
#define FG_HELLO_MAX_ALPN 16
struct fg_client_hello {
    uint8_t server_name[256];  /* lower-cased, no trailing dot; copied, for it may be split over records */
    uint16_t server_name_len;  /* 0: no SNI */
    uint16_t legacy_version, max_version; /* from supported_versions when present */
    uint8_t nalpn;
    uint8_t alpn_len[FG_HELLO_MAX_ALPN];
    uint8_t alpn[FG_HELLO_MAX_ALPN][32];  /* longer names are skipped */
    uint8_t has_ech;
};
/* Returns the bytes of all records that the ClientHello used, FG_MORE, or a named error. */
typedef int64_t (*fg_client_hello_fn)(const uint8_t *buf, size_t len, size_t max, struct fg_client_hello *hello);

#endif
