/* Scanning kernels: "where is the first byte outside class X", and nothing of the grammar.
 *
 * Every function looks at [p, end) only and returns a pointer into it, or `end`. SSE2 and NEON belong to the base
 * instruction sets of the two architectures, so that no choice at run time is needed for 16 bytes at a time.
 */
#ifndef FG_SCAN_H
#define FG_SCAN_H

#include "fg_base.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { FG_CLASS_TOKEN = 1, FG_CLASS_VALUE = 2, FG_CLASS_TARGET = 4, FG_CLASS_HOST = 8, FG_CLASS_UNRESERVED = 16,
       FG_CLASS_PATH = 32, FG_CLASS_UNDERSCORE = 64 };

/* Which classes each byte belongs to; tchar (RFC 9110 section 5.6.2), field-vchar with SP and HTAB (section 5.5), bytes of a
 * request target (visible ASCII but '#'), of a host name, unreserved (RFC 3986 section 2.3), bytes of a path that need no
 * look (of a target, but not '%', '.', '?' and '\\'), and '_' by itself. */
extern const uint8_t fg_class[256];

static inline const uint8_t *fg_scan_class(const uint8_t *p, const uint8_t *end, uint8_t cls) {
    while (p < end && fg_class[*p] & cls)
        p++;
    return p;
}

/* First byte that may not stand in a field value: CTL but HTAB, or DEL. */
static inline const uint8_t *fg_scan_value(const uint8_t *p, const uint8_t *end) {
#if defined(__SSE2__)
    const __m128i space = _mm_set1_epi8(0x20), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(x, space), x); /* x >= 0x20 */
        __m128i good = _mm_or_si128(low, _mm_cmpeq_epi8(x, tab));
        unsigned bad = ~(unsigned)_mm_movemask_epi8(_mm_andnot_si128(_mm_cmpeq_epi8(x, del), good)) & 0xffff;
        if (bad)
            return p + __builtin_ctz(bad);
        p += 16;
    }
#elif defined(__aarch64__)
    while (end - p >= 16) {
        uint8x16_t x = vld1q_u8(p);
        uint8x16_t bad = vorrq_u8(vandq_u8(vcltq_u8(x, vdupq_n_u8(0x20)), vmvnq_u8(vceqq_u8(x, vdupq_n_u8('\t')))),
                                  vceqq_u8(x, vdupq_n_u8(0x7f)));
        if (vmaxvq_u8(bad))
            break;
        p += 16;
    }
#endif
    return fg_scan_class(p, end, FG_CLASS_VALUE);
}

/* First byte that may not stand in a request target: not visible ASCII, or '#'. */
static inline const uint8_t *fg_scan_target(const uint8_t *p, const uint8_t *end) {
#if defined(__SSE2__)
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f), hash = _mm_set1_epi8('#');
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i good = _mm_and_si128(_mm_cmpgt_epi8(x, space), _mm_cmplt_epi8(x, del)); /* signed: 0x80 and up fail */
        unsigned bad = ~(unsigned)_mm_movemask_epi8(_mm_andnot_si128(_mm_cmpeq_epi8(x, hash), good)) & 0xffff;
        if (bad)
            return p + __builtin_ctz(bad);
        p += 16;
    }
#endif
    return fg_scan_class(p, end, FG_CLASS_TARGET);
}

#endif
