/* SipHash-1-3: the hash of tables whose keys a client chooses. Without the secret nobody finds keys that collide. */
#ifndef FG_SIPHASH_H
#define FG_SIPHASH_H

#include "fg_base.h"

static inline uint64_t fg_rotate(uint64_t x, unsigned n) {
    return x << n | x >> (64 - n);
}

static inline void fg_sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = fg_rotate(v[1], 13) ^ v[0];
    v[3] = fg_rotate(v[3], 16) ^ v[2];
    v[0] = fg_rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = fg_rotate(v[3], 21) ^ v[0];
    v[1] = fg_rotate(v[1], 17) ^ v[2];
    v[2] = fg_rotate(v[2], 32);
}

/* Of whole words, as the keys of tables are made of. */
static inline uint64_t fg_siphash(const uint64_t secret[2], const uint64_t *words, size_t n) {
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575ull, secret[1] ^ 0x646f72616e646f6dull,
                     secret[0] ^ 0x6c7967656e657261ull, secret[1] ^ 0x7465646279746573ull};
    for (size_t i = 0; i <= n; i++) {
        uint64_t m = i < n ? words[i] : (uint64_t)n * 8 << 56;
        v[3] ^= m;
        fg_sip_round(v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    fg_sip_round(v);
    fg_sip_round(v);
    fg_sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
