/* TLS as the engine sees it: contexts that PREPARE builds, connections whose bytes fg_io_read and fg_io_writev carry.
 *
 * fg_tls_openssl.c (with _context and _session) alone knows the library; fg_tls.c, which knows images, and everything else speak these words, so that
 * another library can take its place.
 *
 * A connection begins with fg_tls_server or fg_tls_client, which hang a `struct fg_tls` on its fg_io; fg_loop_close takes it
 * down. Until fg_tls_handshake has said FG_TLS_DONE nothing else may be read or written. From then on fg_io_read gives
 * plaintext, fg_io_writev takes plaintext, and what they return means what it means of a plain socket: readiness of the fd is
 * not readiness of the plaintext, so that `readable` stays set while the library holds bytes that were not read. `io->out` is
 * ciphertext: what a write took and the socket did not, which nothing may overtake.
 */
#ifndef FG_TLS_H
#define FG_TLS_H

#include "fg_http1.h"
#include "fg_loop.h"
#include "fg_secrets.h"

struct fg_tls;

/* --- what the contexts of a worker share: buffers, keys of session tickets, sessions with endpoints ------------------------ */

struct fg_tls_common;

struct fg_tls_common *fg_tls_common_new(struct fg_pool *pool); /* with ticket keys of its own until others come */
void fg_tls_common_free(struct fg_tls_common *c);              /* behind the last context */
void fg_tls_tickets(struct fg_tls_common *c, const struct fg_ticket_keys *keys); /* those that are zeros do nothing */

/* --- contexts: immutable, counted, shared by generations; may be made, kept and dropped on any thread ---------------------- */

struct fg_tls_context;

struct fg_tls_pair { struct fg_bytes chain, key, staple; }; /* PEM, PEM, DER; a staple of len 0: none */

/* What a context is made of; it keeps none of it. Strings are as in fg_img_tls and fg_img_upstream_tls. */
struct fg_tls_terms {
    bool client;
    const struct fg_tls_pair *pairs;         /* server: one of each kind of key; client: at most one */
    const struct fg_bytes *authorities;      /* PEM, bundles */
    const struct fg_bytes *alpn;
    const struct fg_bytes *names;            /* client: "DNS:..." or "URI:...", one of which has to be there */
    uint32_t npairs, nauthorities, nalpn, nnames;
    struct fg_bytes ciphers, ciphersuites, groups;
    struct fg_bytes server_name;             /* client */
    uint16_t min_version, max_version;
    uint8_t verify;                          /* server: enum fg_tls_verify */
    bool system_trust;                       /* client */
};

/* NULL with a sentence in `why`, which says nothing of a key. */
struct fg_tls_context *fg_tls_context_new(struct fg_tls_common *c, const struct fg_tls_terms *terms, char *why, size_t why_size);
struct fg_tls_context *fg_tls_context_ref(struct fg_tls_context *c);
void fg_tls_context_unref(struct fg_tls_context *c); /* NULL does nothing */

/* --- connections ------------------------------------------------------------------------------------------------------------ */

enum fg_tls_step { FG_TLS_DONE, FG_TLS_WAIT /* for readiness */, FG_TLS_FAILED };

/* Sessions are resumed among connections of one `session_key`: what a peer had to show for it, and to whom.
 * All of them: 0, or -1 without memory. */

/* `hello` is what was peeked of `in`, whose bytes are read before the socket's and become the connection's: server name and
 * protocols that the library finds have to be the same. */
int fg_tls_server(struct fg_io *io, struct fg_tls_context *context, const struct fg_client_hello *hello, struct fg_buf *in,
                  uint64_t session_key);
int fg_tls_client(struct fg_io *io, struct fg_tls_context *context, uint64_t session_key);
enum fg_tls_step fg_tls_handshake(struct fg_io *io);
const struct fg_client_hello *fg_tls_hello(const struct fg_io *io); /* what was peeked; NULL: a client, or settled */
void fg_tls_settle(struct fg_io *io); /* lets go of what only handshakes need */

/* A key of RSA with 3072 bits or more takes longer to sign with than others may wait: such a handshake is made apart, in the
 * place of fg_tls_handshake. The loop's thread fetches what came, any thread shakes, the loop's thread lets it land. In between
 * nothing else is done with the connection, but to detach and later to drop it. */
bool fg_tls_slow(const struct fg_io *io);
bool fg_tls_fetch(struct fg_io *io); /* is there anything to shake with? */
void fg_tls_shake(struct fg_tls *t);
enum fg_tls_step fg_tls_land(struct fg_io *io);
struct fg_tls *fg_tls_detach(struct fg_io *io); /* no longer the connection's */
void fg_tls_drop(struct fg_tls *t);

/* What a handshake ended in; strings live as long as the connection. */
struct fg_tls_result {
    int reason;                /* enum fg_reason of FG_TLS_FAILED */
    uint16_t version;          /* 0x0303, 0x0304 */
    bool resumed;
    bool verified;             /* the peer showed a certificate that was verified */
    struct fg_bytes alpn;      /* len 0: none was agreed upon */
    const char *cipher;
    const char *error;         /* a few words for the log, static; "" when nothing went wrong */
};
void fg_tls_result(const struct fg_io *io, struct fg_tls_result *out);

/* The peer's certificate, once it was verified. Bytes copied to `out`, 0: none, or no room. */
size_t fg_tls_peer_subject(const struct fg_io *io, char *out, size_t size);  /* RFC 4514 */
size_t fg_tls_peer_san(const struct fg_io *io, char *out, size_t size);      /* "DNS:a.example", "URI:spiffe://b": lines */
size_t fg_tls_peer_der(const struct fg_io *io, uint8_t *out, size_t size);
size_t fg_tls_peer_fingerprint(const struct fg_io *io, char out[64]);        /* SHA-256 in hexadecimal digits */

/* --- what fg_loop.c does with a connection that has TLS; each as the fg_io_* of its name ----------------------------------- */

ssize_t fg_tls_read(struct fg_io *io, struct fg_buf *in);
ssize_t fg_tls_writev(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n);
int fg_tls_owe(struct fg_io *io, const void *p, size_t len);
bool fg_tls_quiet(struct fg_io *io);
void fg_tls_shutdown(struct fg_io *io); /* close_notify, if the handshake is done and nothing failed */
void fg_tls_free(struct fg_io *io);     /* sends nothing */

#endif
