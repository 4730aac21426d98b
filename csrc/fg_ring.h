/* Rings of records in memory that two processes share: one producer, one consumer each.
 *
 *   memfd:  | fg_ring calls: engine -> plugin process | fg_ring verdicts: plugin process -> engine |
 *
 * Positions count bytes for ever; a record never wraps: what is left at the end is skipped by one record of kind FG_RECORD_PAD.
 * Whoever sleeps on the socket beside it says so in `sleeping` and looks once more; whoever put something wakes a sleeper by a
 * byte. Neither believes a number that it reads, its own position included, and the consumer works on copies.
 */
#ifndef FG_RING_H
#define FG_RING_H

#include "fg_base.h"

#include <string.h>

enum { FG_RING_BYTES = 1 << 20, FG_RECORD_PAD = 0x31444150 };

struct fg_ring {
    _Alignas(64) uint64_t tail;     /* written by the producer: bytes put so far */
    _Alignas(64) uint64_t head;     /* written by the consumer: bytes taken so far */
    _Alignas(64) uint32_t sleeping; /* written by both: the consumer is to be woken */
    _Alignas(64) uint8_t data[FG_RING_BYTES];
};

struct fg_rings { struct fg_ring calls, verdicts; };

/* Puts a record (`size` a multiple of 8, its first two words size and kind). False: no room. */
static inline bool fg_ring_put(struct fg_ring *r, const void *record, uint32_t size) {
    uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_RELAXED);
    uint64_t used = tail - __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
    uint32_t at = (uint32_t)(tail % FG_RING_BYTES), to_end = FG_RING_BYTES - at;
    uint32_t pad = size > to_end ? to_end : 0;
    if (at % 8 || used > FG_RING_BYTES || FG_RING_BYTES - used < (uint64_t)size + pad)
        return false;
    if (pad) {
        const uint32_t skip[2] = {pad, FG_RECORD_PAD};
        memcpy(r->data + at, skip, sizeof skip);
        at = 0;
    }
    memcpy(r->data + at, record, size);
    __atomic_store_n(&r->tail, tail + pad + size, __ATOMIC_RELEASE);
    return true;
}

/* Takes a copy of the next record into `out`. Its size; 0: there is none; -1: the ring is broken. Two steps at most: only the
 * end of the ring is skipped. */
static inline int64_t fg_ring_take(struct fg_ring *r, uint8_t *out, uint32_t cap) {
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_RELAXED);
    for (;;) {
        uint64_t used = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) - head;
        uint32_t at = (uint32_t)(head % FG_RING_BYTES), first[2];
        if (used == 0)
            return 0;
        if (used > FG_RING_BYTES || used % 8 || at % 8)
            return -1;
        memcpy(first, r->data + at, sizeof first);
        if (first[0] < 8 || first[0] % 8 || first[0] > used || first[0] > FG_RING_BYTES - at)
            return -1;
        if (first[1] == FG_RECORD_PAD) {
            if (first[0] != FG_RING_BYTES - at || at == 0)
                return -1;
            head += first[0];
            __atomic_store_n(&r->head, head, __ATOMIC_RELEASE);
            continue;
        }
        if (first[0] > cap)
            return -1;
        memcpy(out, r->data + at, first[0]);
        memcpy(out, first, sizeof first); /* what was checked, whatever stands there by now */
        __atomic_store_n(&r->head, head + first[0], __ATOMIC_RELEASE);
        return first[0];
    }
}

static inline bool fg_ring_empty(const struct fg_ring *r) {
    return __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) == __atomic_load_n(&r->head, __ATOMIC_RELAXED);
}

/* The consumer is about to sleep: false when something came meanwhile. */
static inline bool fg_ring_sleep(struct fg_ring *r) {
    __atomic_store_n(&r->sleeping, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (fg_ring_empty(r))
        return true;
    __atomic_store_n(&r->sleeping, 0, __ATOMIC_RELAXED);
    return false;
}

/* The producer has put something: must the consumer be woken? */
static inline bool fg_ring_must_wake(struct fg_ring *r) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&r->sleeping, __ATOMIC_RELAXED) && __atomic_exchange_n(&r->sleeping, 0, __ATOMIC_SEQ_CST);
}

#endif
