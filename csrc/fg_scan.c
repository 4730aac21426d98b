#include "fg_scan.h"

const uint8_t fg_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    66, 103, 38, 67, 103, 71, 103, 103, 102, 102, 103, 103, 102, 127, 95, 102,
    127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 102, 102, 102, 102, 102, 70,
    102, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127,
    127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 102, 6, 102, 103, 127,
    103, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127,
    127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 102, 103, 102, 119, 0,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
};

static void map_scalar(const uint8_t *p, size_t n, uint64_t *words) {
    for (size_t i = 0; i < n; i++) {
        if (i % 64 == 0)
            words[i / 64] = 0;
        words[i / 64] |= (uint64_t)!(fg_class[p[i]] & FG_CLASS_VALUE) << i % 64;
    }
}

/* Whole words by MAP64(p); what is left is read as the last 64 bytes again, so that nothing outside [p, p + n) is touched. */
#define MAP_BY(MAP64, p, n, words)                                 \
    do {                                                           \
        if ((n) < 64) {                                            \
            map_scalar(p, n, words);                               \
            return;                                                \
        }                                                          \
        size_t whole = (n) / 64, left = (n) % 64;                  \
        for (size_t i = 0; i < whole; i++)                         \
            (words)[i] = MAP64((p) + i * 64);                      \
        if (left)                                                  \
            (words)[whole] = MAP64((p) + (n) - 64) >> (64 - left); \
    } while (0)

#if defined(__x86_64__)
#include <immintrin.h>

static inline uint64_t map16(const uint8_t *p) { /* HTAB to 0xff, the other controls to 0..0x1e */
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    __m128i y = _mm_sub_epi8(_mm_xor_si128(x, _mm_set1_epi8('\t')), _mm_set1_epi8(1));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(y, _mm_set1_epi8(0x1e)), y);
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))));
}

static inline uint64_t sse2_64(const uint8_t *p) {
    return map16(p) | map16(p + 16) << 16 | map16(p + 32) << 32 | map16(p + 48) << 48;
}

static void map_sse2(const uint8_t *p, size_t n, uint64_t *words) {
    MAP_BY(sse2_64, p, n, words);
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline uint64_t map32(const uint8_t *p) {
    __m256i x = _mm256_loadu_si256((const __m256i *)p);
    __m256i y = _mm256_sub_epi8(_mm256_xor_si256(x, _mm256_set1_epi8('\t')), _mm256_set1_epi8(1));
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(y, _mm256_set1_epi8(0x1e)), y);
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(control, _mm256_cmpeq_epi8(x, _mm256_set1_epi8(0x7f))));
}

AVX2 static inline uint64_t avx2_64(const uint8_t *p) {
    return map32(p) | map32(p + 32) << 32;
}

AVX2 static void map_avx2(const uint8_t *p, size_t n, uint64_t *words) {
    MAP_BY(avx2_64, p, n, words);
}

static struct fg_map_kernel kernels[] = {{"scalar", map_scalar}, {"sse2", map_sse2}, {"avx2", NULL}};
fg_map_fn fg_map_value = map_sse2;

__attribute__((constructor)) static void choose(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        fg_map_value = kernels[2].map = map_avx2;
}

#elif defined(__aarch64__)

static inline uint8x16_t controls(const uint8_t *p, uint8x16_t weights) {
    uint8x16_t x = vld1q_u8(p);
    uint8x16_t low = vandq_u8(vcltq_u8(x, vdupq_n_u8(0x20)), vmvnq_u8(vceqq_u8(x, vdupq_n_u8('\t'))));
    return vandq_u8(vorrq_u8(low, vceqq_u8(x, vdupq_n_u8(0x7f))), weights);
}

static inline uint64_t neon_64(const uint8_t *p) { /* each byte keeps the weight of its bit; pairs add up to the words' bytes */
    const uint8x16_t weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t one = vpaddq_u8(controls(p, weights), controls(p + 16, weights));
    uint8x16_t two = vpaddq_u8(controls(p + 32, weights), controls(p + 48, weights));
    uint8x16_t four = vpaddq_u8(one, two);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(four, four)), 0);
}

static void map_neon(const uint8_t *p, size_t n, uint64_t *words) {
    MAP_BY(neon_64, p, n, words);
}

static struct fg_map_kernel kernels[] = {{"scalar", map_scalar}, {"neon", map_neon}};
fg_map_fn fg_map_value = map_neon;

#else
static struct fg_map_kernel kernels[] = {{"scalar", map_scalar}};
fg_map_fn fg_map_value = map_scalar;
#endif

const struct fg_map_kernel *fg_map_kernels(size_t *n) {
    *n = sizeof kernels / sizeof kernels[0];
    return kernels;
}
