/* The table of secrets: certificates with their keys, and authorities, by digest. Written by core/secrets.pyx, read in
 * PREPARE (fg_secrets.c). It has a sealed memfd of its own beside the image: images are dumped and compared, this never is, nor
 * does it stay mapped when contexts are built.
 *
 *   +--------+--------------------------+---------+
 *   | header | entries, sorted by digest | bytes   |
 *   +--------+--------------------------+---------+
 */
#ifndef FG_SECRETS_H
#define FG_SECRETS_H

#include "fg_image.h"

#define FG_SECRETS_MAGIC 0x3154524345534746ull /* "FGSECRT1" */

enum { FG_DIGEST = 64 };       /* SHA-256 in hexadecimal digits */

struct fg_secrets_header {
    uint64_t magic;
    uint64_t size;             /* of the whole table */
    uint64_t checksum;         /* of everything behind this header */
    uint32_t nentries;
    uint32_t reserved;
};

struct fg_secret {             /* references are relative to the table's first byte */
    char digest[FG_DIGEST];
    struct fg_ref chain;       /* PEM: a certificate and its chain, or a bundle of authorities */
    struct fg_ref key;         /* PEM, PKCS#8; len 0: authorities */
    struct fg_ref staple;      /* OCSP response, DER; len 0: none */
};

/* Keys that encrypt session tickets (RFC 5077 section 4), in a sealed memfd: those of `current` encrypt, all of them decrypt.
 * A key of zeros is none. */
struct fg_ticket_key { uint8_t name[16], aes[32], hmac[32]; };
struct fg_ticket_keys { struct fg_ticket_key current, next, previous; };

/* A mapped table, validated. */
struct fg_secrets {
    const uint8_t *base;
    size_t size;
    const struct fg_secret *entries;
    uint32_t nentries;
};

/* 0, or -1 with a sentence in `why`. fd -1: an empty table. */
int fg_secrets_open(struct fg_secrets *s, int fd, char *why, size_t why_size);
void fg_secrets_close(struct fg_secrets *s);
const struct fg_secret *fg_secrets_find(const struct fg_secrets *s, struct fg_bytes digest); /* NULL: not there */

#endif
