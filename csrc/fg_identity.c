#include "fg_identity.h"

#include "fg_put.h"
#include "fg_tls.h"

#include <stdlib.h>

enum { CERTIFICATE = 6 * 1024, TEXT = 16 * 1024 }; /* bytes, of DER, and of all texts; a head has no more room than that */

/* The byte sequence of a structured field: base64 between colons (RFC 8941 section 3.3.5). */
static void put_sequence(struct fg_put *o, const uint8_t *p, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    FG_PUT(o, ":");
    for (size_t i = 0; i < n; i += 3) {
        uint32_t x = (uint32_t)p[i] << 16 | (i + 1 < n ? p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        char four[4] = {digits[x >> 18], digits[x >> 12 & 63], i + 1 < n ? digits[x >> 6 & 63] : '=', i + 2 < n ? digits[x & 63] : '='};
        fg_put(o, four, 4);
    }
    FG_PUT(o, ":");
}

/* What was put since `from`, as a text of the identity that `o` writes. */
static struct fg_bytes since(const struct fg_put *o, const uint8_t *from) {
    return (struct fg_bytes){from, (size_t)(o->at - from)};
}

static struct fg_bytes put_text(struct fg_put *o, struct fg_bytes text) {
    const uint8_t *from = o->at;
    if (text.len)
        fg_put_bytes(o, text);
    return since(o, from);
}

typedef size_t (*peer_text_fn)(const struct fg_io *io, char *out, size_t size);

static struct fg_bytes put_peer(struct fg_put *o, const struct fg_io *io, peer_text_fn text) {
    const uint8_t *from = o->at;
    o->at += text(io, (char *)o->at, (size_t)(o->end - o->at));
    return since(o, from);
}

static struct fg_bytes put_certificate(struct fg_put *o, const struct fg_io *io) {
    uint8_t der[CERTIFICATE];
    const uint8_t *from = o->at;
    size_t n = fg_tls_peer_der(io, der, sizeof der);
    if (n)
        put_sequence(o, der, n);
    return since(o, from);
}

static struct fg_bytes version_of(uint16_t version) {
    static const char names[][8] = {"TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"};
    unsigned i = version - 0x0301u;
    return i < FG_COUNT_OF(names) ? (struct fg_bytes){(const uint8_t *)names[i], 7} : (struct fg_bytes){0};
}

/* In memory of its size, with the texts that were put into `room`. */
static struct fg_identity *moved(const struct fg_identity *x, const uint8_t *room, const struct fg_put *o) {
    struct fg_identity *made = malloc(sizeof *made + (size_t)(o->at - room));
    if (made == NULL)
        return NULL;
    *made = *x;
    memcpy(made->text, room, (size_t)(o->at - room));
    struct fg_bytes *texts[] = {&made->cipher, &made->alpn, &made->server_name, &made->subject, &made->names, &made->fingerprint,
                                &made->client_cert};
    for (size_t i = 0; i < FG_COUNT_OF(texts); i++)
        texts[i]->p = made->text + (texts[i]->len ? texts[i]->p - room : 0);
    return made;
}

struct fg_identity *fg_identity_peeked(const struct fg_client_hello *hello) {
    uint8_t room[TEXT];
    struct fg_put o = {room, room + sizeof room, false};
    struct fg_identity x = {0};
    x.server_name = put_text(&o, (struct fg_bytes){hello->server_name, hello->server_name_len});
    const uint8_t *from = o.at;
    for (unsigned i = 0; i < hello->nalpn; i++) {
        if (i)
            FG_PUT(&o, ",");
        fg_put(&o, hello->alpn[i], hello->alpn_len[i]);
    }
    x.alpn = since(&o, from);
    return moved(&x, room, &o);
}

struct fg_identity *fg_identity_of(const struct fg_io *io, const struct fg_client_hello *hello, bool certificate) {
    uint8_t room[TEXT];
    struct fg_put o = {room, room + sizeof room, false};
    struct fg_tls_result of;
    struct fg_identity x = {0};
    fg_tls_result(io, &of);
    x.version = version_of(of.version);
    if (of.cipher)
        x.cipher = put_text(&o, (struct fg_bytes){(const uint8_t *)of.cipher, strlen(of.cipher)});
    x.alpn = put_text(&o, of.alpn);
    x.server_name = put_text(&o, (struct fg_bytes){hello->server_name, hello->server_name_len});
    if (of.verified) {
        const uint8_t *digest = o.at;
        o.at += fg_tls_peer_fingerprint(io, (char *)o.at);
        x.fingerprint = since(&o, digest);
        x.subject = put_peer(&o, io, fg_tls_peer_subject);
        if (certificate)
            x.client_cert = put_certificate(&o, io);
        x.names = put_peer(&o, io, fg_tls_peer_san);
    }
    return moved(&x, room, &o);
}
