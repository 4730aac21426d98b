/* TLS as the engine sees it: contexts that PREPARE builds, connections whose bytes fg_io_read and fg_io_writev carry.
 *
 * fg_tls_openssl.c alone knows the library; fg_tls.c, which knows images, and everything else speak these words, so that
 * another library can take its place.
 *
 * A connection begins with fg_tls_server or fg_tls_client, which hang a `struct fg_tls` on its fg_io. Until fg_tls_handshake has
 * said FG_TLS_DONE nothing else may be read or written. From then on fg_io_read gives plaintext, fg_io_writev takes plaintext,
 * and what they return means what it means of a plain socket: readiness of the fd is not readiness of the plaintext, so that
 * `readable` stays set while the library holds bytes that were not read. fg_io_shutdown sends close_notify and FIN.
 */
#ifndef FG_TLS_H
#define FG_TLS_H

#include "fg_http1.h"
#include "fg_loop.h"

struct fg_tls;
struct fg_tls_context; /* immutable after it was built, but for session tickets' keys; counted, shared by generations */

enum fg_tls_step { FG_TLS_DONE, FG_TLS_WAIT /* for readiness */, FG_TLS_FAILED };

/* 0, or -1 without memory. `hello` is what was peeked of `in`, which the handshake reads before the socket: server name and
 * protocols that the library finds have to be the same. */
int fg_tls_server(struct fg_io *io, struct fg_tls_context *context, const struct fg_client_hello *hello);
/* `session_key` names what sessions are kept by: those of one key may resume one another. */
int fg_tls_client(struct fg_io *io, struct fg_tls_context *context, uint64_t session_key);
enum fg_tls_step fg_tls_handshake(struct fg_io *io, struct fg_buf *in); /* `in`: bytes that were read already, or NULL */
void fg_tls_free(struct fg_io *io);                                     /* sends nothing */

/* What a handshake ended in; strings live as long as the connection. */
struct fg_tls_result {
    int reason;                /* enum fg_reason of FG_TLS_FAILED */
    uint16_t version;          /* 0x0303, 0x0304 */
    bool resumed;
    bool verified;             /* the peer showed a certificate that was verified */
    struct fg_bytes alpn;      /* len 0: none was agreed upon */
    const char *cipher;
    const char *error;         /* a sentence for the log; "" when nothing went wrong */
};
void fg_tls_result(const struct fg_io *io, struct fg_tls_result *out);

/* The peer's certificate, once it was verified. Bytes copied to `out`, 0: none, or no room. */
size_t fg_tls_peer_subject(const struct fg_io *io, char *out, size_t size);  /* RFC 4514 */
size_t fg_tls_peer_san(const struct fg_io *io, char *out, size_t size);      /* "DNS:a.example,URI:spiffe://b" */
size_t fg_tls_peer_der(const struct fg_io *io, uint8_t *out, size_t size);
size_t fg_tls_peer_fingerprint(const struct fg_io *io, char out[64]);        /* SHA-256 in hexadecimal digits */

#endif
