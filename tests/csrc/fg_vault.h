/* Tables of secrets for C tests. An entry's digest is its letter, 64 times. */
#ifndef FG_VAULT_H
#define FG_VAULT_H

#include "fg_hash.h"
#include "fg_secrets.h"
#include "fg_test.h"

struct vault_entry { char letter; const char *chain, *key; };

struct vault { _Alignas(8) uint8_t p[65536]; size_t size; };

static struct fg_ref vault_text(struct vault *v, const char *text) {
    struct fg_ref r = {(uint32_t)v->size, (uint32_t)strlen(text)};
    CHECK(v->size + r.len <= sizeof v->p);
    memcpy(v->p + v->size, text, r.len);
    v->size += r.len;
    return r;
}

static struct fg_secret *vault_entries(struct vault *v) {
    return (void *)(v->p + sizeof(struct fg_secrets_header));
}

/* Says again how large it is and what its checksum is. */
static void vault_seal(struct vault *v) {
    struct fg_secrets_header *h = (void *)v->p;
    h->magic = FG_SECRETS_MAGIC;
    h->size = v->size;
    h->checksum = fg_checksum(h + 1, v->size - sizeof *h);
}

/* The entries are in the order of their letters. */
static void vault_fill(struct vault *v, const struct vault_entry *entries, uint32_t n) {
    memset(v, 0, sizeof *v);
    v->size = sizeof(struct fg_secrets_header) + n * sizeof(struct fg_secret);
    ((struct fg_secrets_header *)v->p)->nentries = n;
    for (uint32_t i = 0; i < n; i++) {
        struct fg_secret *e = &vault_entries(v)[i];
        memset(e->digest, entries[i].letter, sizeof e->digest);
        e->chain = vault_text(v, entries[i].chain);
        e->key = vault_text(v, entries[i].key);
    }
    vault_seal(v);
}

static int vault_file(const struct vault *v, size_t size) {
    int fd = memfd_create("secrets", MFD_CLOEXEC);
    CHECK_EQ(write(fd, v->p, size), size);
    return fd;
}

#endif
