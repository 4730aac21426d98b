/* Keys are stable over versions and processes; the checksum sees every flipped bit and every moved word. */
#include "fg_hash.h"

#include "fg_test.h"

static void keys_are_what_they_were(void) { /* images on disk and state that survives reloads depend on them */
    CHECK_EQ(fg_hash("", 0), (long long)fg_mix(0xcbf29ce484222325ull));
    CHECK_EQ(fg_hash("a", 1), (long long)fg_mix(0xaf63dc4c8601ec8cull)); /* FNV-1a's own vector */
    CHECK_EQ(fg_hash("foobar", 6), (long long)fg_mix(0x85944171f73967e8ull));
}

static void neighbours_fall_into_different_buckets(void) {
    enum { BUCKETS = 256, PER_BUCKET = 64 };
    unsigned at[BUCKETS] = {0};
    for (uint64_t i = 0; i < BUCKETS * PER_BUCKET; i++)
        at[fg_mix(i << 20) % BUCKETS]++;
    for (int i = 0; i < BUCKETS; i++)
        CHECK(at[i] > PER_BUCKET / 3 && at[i] < PER_BUCKET * 2);
}

static void the_checksum_sees_every_bit(void) {
    uint8_t *end = fg_guarded() + FG_GUARDED_SIZE;
    for (size_t n = 1; n <= 80; n++) {
        uint8_t *p = end - n;
        for (size_t i = 0; i < n; i++)
            p[i] = (uint8_t)fg_test_random();
        uint64_t sum = fg_checksum(p, n);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            p[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK(fg_checksum(p, n) != sum);
            p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        CHECK_EQ(fg_checksum(p, n), (long long)sum);
        CHECK(fg_checksum(p, n - 1) != sum);
    }
}

static void the_checksum_sees_the_order(void) {
    uint64_t words[4] = {1, 2, 3, 4}, sum = fg_checksum(words, sizeof words);
    words[1] = 3, words[2] = 2;
    CHECK(fg_checksum(words, sizeof words) != sum);
    uint64_t zeros[4] = {0};
    CHECK(fg_checksum(zeros, 16) != fg_checksum(zeros, 24));
}

int main(void) {
    RUN(keys_are_what_they_were);
    RUN(neighbours_fall_into_different_buckets);
    RUN(the_checksum_sees_every_bit);
    RUN(the_checksum_sees_the_order);
    return 0;
}
