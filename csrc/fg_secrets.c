/* Reading the table of secrets. Nothing in it is believed before it was checked. */
#include "fg_secrets.h"

#include "fg_hash.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static bool ref_ok(const struct fg_secrets *s, struct fg_ref r) {
    return (uint64_t)r.off + r.len <= s->size;
}

static const char *fault_of(const struct fg_secrets *s) {
    const struct fg_secrets_header *h = (const void *)s->base;
    if (h->magic != FG_SECRETS_MAGIC || h->size != s->size)
        return "it is no table of secrets, or cut short";
    if (h->checksum != fg_checksum(h + 1, s->size - sizeof *h))
        return "its checksum is wrong";
    if (sizeof *h + (uint64_t)s->nentries * sizeof *s->entries > s->size)
        return "it has less entries than it says";
    for (uint32_t i = 0; i < s->nentries; i++) {
        const struct fg_secret *e = &s->entries[i];
        if (!ref_ok(s, e->chain) || !ref_ok(s, e->key) || !ref_ok(s, e->staple))
            return "an entry leads out of it";
        if (i && memcmp(e[-1].digest, e->digest, FG_DIGEST) >= 0)
            return "its entries are not in order";
    }
    return NULL;
}

int fg_secrets_open(struct fg_secrets *s, int fd, char *why, size_t why_size) {
    struct stat st;
    *s = (struct fg_secrets){0};
    if (fd < 0)
        return 0;
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(struct fg_secrets_header)) {
        snprintf(why, why_size, "the table of secrets cannot be read: it is too short");
        return -1;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        snprintf(why, why_size, "the table of secrets cannot be mapped");
        return -1;
    }
    madvise(p, (size_t)st.st_size, MADV_DONTDUMP);
    const struct fg_secrets_header *h = p;
    *s = (struct fg_secrets){.base = p, .size = (size_t)st.st_size, .entries = (const void *)(h + 1), .nentries = h->nentries};
    const char *fault = fault_of(s);
    if (fault == NULL)
        return 0;
    snprintf(why, why_size, "the table of secrets cannot be used: %s", fault);
    fg_secrets_close(s);
    return -1;
}

void fg_secrets_close(struct fg_secrets *s) {
    if (s->base)
        munmap((void *)s->base, s->size);
    *s = (struct fg_secrets){0};
}

const struct fg_secret *fg_secrets_find(const struct fg_secrets *s, struct fg_bytes digest) {
    uint32_t low = 0, high = s->nentries;
    if (digest.len != FG_DIGEST)
        return NULL;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = memcmp(s->entries[middle].digest, digest.p, FG_DIGEST);
        if (order == 0)
            return &s->entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
