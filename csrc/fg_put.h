/* Writing text into a fixed buffer: what does not fit is remembered, not written. */
#ifndef FG_PUT_H
#define FG_PUT_H

#include "fg_base.h"

#include <string.h>

struct fg_put {
    uint8_t *at, *end;
    bool full;
};

static inline void fg_put(struct fg_put *o, const void *p, size_t n) {
    if (fg_unlikely((size_t)(o->end - o->at) < n)) {
        o->full = true;
        return;
    }
    memcpy(o->at, p, n);
    o->at += n;
}

static inline void fg_put_bytes(struct fg_put *o, struct fg_bytes b) {
    fg_put(o, b.p, b.len);
}

#define FG_PUT(o, literal) fg_put((o), "" literal, sizeof(literal) - 1)

static inline void fg_put_uint(struct fg_put *o, uint64_t v) {
    size_t n = 1;
    for (uint64_t rest = v; rest >= 10; rest /= 10)
        n++;
    if (fg_unlikely((size_t)(o->end - o->at) < n)) {
        o->full = true;
        return;
    }
    o->at += n;
    for (uint8_t *p = o->at; n > 0; n--, v /= 10)
        *--p = (uint8_t)('0' + v % 10);
}

static inline bool fg_same_name(const uint8_t *a, const uint8_t *b, size_t n) { /* ASCII, any case */
    for (size_t i = 0; i < n; i++) {
        uint8_t x = a[i], y = b[i];
        if (x != y && ((x ^ y) != 0x20 || (uint8_t)((x | 0x20) - 'a') > 'z' - 'a'))
            return false;
    }
    return true;
}

#endif
