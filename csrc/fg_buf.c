#include "fg_buf.h"

#include <stdlib.h>

static const uint32_t class_size[FG_BUF_CLASSES] = {FG_BUF_SMALL, FG_BUF_MEDIUM, FG_BUF_LARGE, FG_BUF_HUGE};

/* Free buffers kept per class: 8 MiB of each, so that a burst does not stay with the worker for ever. */
enum { KEEP_BYTES = 8 << 20 };

static int class_of(uint32_t cap) {
    for (int c = 0; c < FG_BUF_CLASSES; c++)
        if (cap <= class_size[c])
            return c;
    return -1;
}

void fg_pool_init(struct fg_pool *pool, uint64_t limit) {
    memset(pool, 0, sizeof *pool);
    pool->limit = limit;
}

static void drop_to(struct fg_pool *pool, int c, uint32_t keep) {
    while (pool->nfree[c] > keep) {
        void *p = pool->free[c];
        pool->free[c] = *(void **)p;
        pool->nfree[c]--;
        free(p);
    }
}

void fg_pool_fini(struct fg_pool *pool) {
    for (int c = 0; c < FG_BUF_CLASSES; c++)
        drop_to(pool, c, 0);
}

void fg_pool_trim(struct fg_pool *pool) {
    for (int c = 0; c < FG_BUF_CLASSES; c++)
        drop_to(pool, c, 16);
}

static uint8_t *take(struct fg_pool *pool, int c) {
    void *p = pool->free[c];
    if (p) {
        pool->free[c] = *(void **)p;
        pool->nfree[c]--;
    } else if ((p = malloc(class_size[c])) == NULL) {
        return NULL;
    }
    pool->used += class_size[c];
    return p;
}

static void give(struct fg_pool *pool, uint8_t *p, uint32_t cap) {
    int c = class_of(cap);
    pool->used -= cap;
    if (pool->nfree[c] >= KEEP_BYTES / class_size[c]) {
        free(p);
        return;
    }
    *(void **)p = pool->free[c];
    pool->free[c] = p;
    pool->nfree[c]++;
}

int fg_buf_reserve(struct fg_pool *pool, struct fg_buf *b, uint32_t cap) {
    if (b->p && b->cap >= cap)
        return 0;
    int c = class_of(cap);
    uint8_t *p = c < 0 ? NULL : take(pool, c);
    if (p == NULL)
        return -1;
    if (b->p) {
        memcpy(p, b->p, b->end > b->pin ? b->end : b->pin);
        give(pool, b->p, b->cap);
    }
    b->p = p;
    b->cap = class_size[c];
    return 0;
}

void fg_buf_release(struct fg_pool *pool, struct fg_buf *b) {
    if (b->p)
        give(pool, b->p, b->cap);
    memset(b, 0, sizeof *b);
}

void fg_buf_compact(struct fg_buf *b) {
    if (b->start == b->pin)
        return;
    uint32_t len = fg_buf_len(b);
    memmove(b->p + b->pin, b->p + b->start, len);
    b->start = b->pin;
    b->end = b->pin + len;
}

int fg_buf_append(struct fg_pool *pool, struct fg_buf *b, const void *p, size_t n) {
    if (n > FG_BUF_HUGE)
        return -1;
    if (b->p)
        fg_buf_compact(b);
    if (fg_buf_reserve(pool, b, b->end + (uint32_t)n) < 0)
        return -1;
    memcpy(b->p + b->end, p, n);
    b->end += (uint32_t)n;
    return 0;
}

int fg_buf_replace(struct fg_pool *pool, struct fg_buf *b, uint32_t old, const uint8_t *with, uint32_t n) {
    uint32_t rest = fg_buf_len(b) - old;
    if (fg_buf_reserve(pool, b, b->start + n + rest) < 0)
        return -1;
    uint8_t *to = fg_buf_data(b);
    if (rest)
        memmove(to + n, to + old, rest);
    if (n)
        memcpy(to, with, n);
    b->end = b->start + n + rest;
    return 0;
}
