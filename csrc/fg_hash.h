/* One 64-bit hash of bytes for every key of the image and of the side tables: FNV-1a folded by a final mixer.
 * Python computes the same value (fastgate.core.snapshot.key). Not for input that a client chooses. */
#ifndef FG_HASH_H
#define FG_HASH_H

#include "fg_base.h"

static inline uint64_t fg_mix(uint64_t h) {
    h ^= h >> 32;
    h *= 0xe9846af9b1a615dull;
    h ^= h >> 32;
    h *= 0xe9846af9b1a615dull;
    return h ^ h >> 28;
}

static inline uint64_t fg_hash(const void *data, size_t len) {
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    return fg_mix(h);
}

/* Checksum of large blocks, eight bytes at a time; against accidents, not against adversaries. */
static inline uint64_t fg_checksum(const void *data, size_t len) {
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325ull ^ len, x;
    for (; len >= 8; p += 8, len -= 8) {
        __builtin_memcpy(&x, p, 8);
        h = (h ^ x) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 32;
    }
    for (; len; len--)
        h = (h ^ *p++) * 0x100000001b3ull;
    return fg_mix(h);
}

#endif
