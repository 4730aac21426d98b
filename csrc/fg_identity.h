/* Who is at the other end of a client's TLS connection: read once, after the handshake, and kept as long as the connection. */
#ifndef FG_IDENTITY_H
#define FG_IDENTITY_H

#include "fg_http1.h"
#include "fg_loop.h"

struct fg_identity {                    /* what there is not has length 0 */
    struct fg_bytes version;            /* "TLSv1.3" */
    struct fg_bytes cipher, alpn;
    struct fg_bytes server_name;        /* that the client asked for */
    struct fg_bytes subject;            /* of the verified certificate (RFC 4514, UTF-8) */
    struct fg_bytes names;              /* its subject alternative names, lines like "DNS:a.example" and "URI:spiffe://b" */
    struct fg_bytes fingerprint;        /* SHA-256 of it, in hexadecimal digits */
    struct fg_bytes client_cert;        /* it itself, as a value of Client-Cert (RFC 9440 section 2.2) */
    uint8_t text[];
};

/* What was peeked at of TLS that passes through: the server name, and the protocols that the client offers, with commas. */
struct fg_identity *fg_identity_peeked(const struct fg_client_hello *hello);

/* In memory of malloc's; NULL without. `certificate`: fill client_cert. What is longer than an identity has room for is left out. */
struct fg_identity *fg_identity_of(const struct fg_io *io, const struct fg_client_hello *hello, bool certificate);

#endif
