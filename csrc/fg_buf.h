/* Buffers of connections, from free lists by size class, so that steady traffic allocates nothing.
 *
 * A buffer is a window [start, end) on its memory. `pin` bytes at the front of the memory are kept where they are (a
 * request head that is still needed): moving the window never touches them.
 * Invariant: pin <= start <= end <= cap.
 */
#ifndef FG_BUF_H
#define FG_BUF_H

#include "fg_base.h"

#include <string.h>

enum { FG_BUF_SMALL = 4096, FG_BUF_MEDIUM = 16384, FG_BUF_LARGE = 65536, FG_BUF_HUGE = 262144, FG_BUF_CLASSES = 4 };

struct fg_buf {
    uint8_t *p;
    uint32_t cap, pin, start, end;
    bool filled; /* the last read left no room: there is more than fits */
};

struct fg_pool {
    void *free[FG_BUF_CLASSES];
    uint32_t nfree[FG_BUF_CLASSES];
    uint64_t used;  /* bytes that buffers hold now */
    uint64_t limit; /* bytes; 0: none. Only admission looks at it: a buffer in use always grows */
};

void fg_pool_init(struct fg_pool *pool, uint64_t limit);
void fg_pool_fini(struct fg_pool *pool);
void fg_pool_trim(struct fg_pool *pool); /* gives most of what is free back to the system */

/* Makes cap at least `cap` bytes (rounded up to a class, at most FG_BUF_HUGE), keeps pinned bytes and window. 0 or -1. */
int fg_buf_reserve(struct fg_pool *pool, struct fg_buf *b, uint32_t cap);
void fg_buf_release(struct fg_pool *pool, struct fg_buf *b);

/* Moves the window to directly behind the pinned bytes. */
void fg_buf_compact(struct fg_buf *b);

/* Appends bytes behind the window. 0, or -1: no memory, or more than FG_BUF_HUGE. */
int fg_buf_append(struct fg_pool *pool, struct fg_buf *b, const void *p, size_t n);

/* Puts `n` bytes in the place of the first `old` ones of the window, which grows or shrinks by the difference. 0 or -1. */
int fg_buf_replace(struct fg_pool *pool, struct fg_buf *b, uint32_t old, const uint8_t *with, uint32_t n);

static inline uint8_t *fg_buf_data(const struct fg_buf *b) {
    return b->p + b->start;
}
static inline uint32_t fg_buf_len(const struct fg_buf *b) {
    return b->end - b->start;
}
static inline uint32_t fg_buf_room(const struct fg_buf *b) {
    return b->cap - b->end;
}
static inline void fg_buf_consume(struct fg_buf *b, uint32_t n) {
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = b->pin;
}
static inline bool fg_pool_full(const struct fg_pool *pool) {
    return pool->limit && pool->used >= pool->limit;
}

#endif
