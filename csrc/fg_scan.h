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
    const __m128i last = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i control = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(x, last), x), _mm_cmpeq_epi8(x, del));
        for (unsigned found = (unsigned)_mm_movemask_epi8(control); found; found &= found - 1) {
            const uint8_t *at = p + __builtin_ctz(found);
            if (*at != '\t')
                return at;
        }
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

/* First byte of a path (visible ASCII) that needs a look: '%', '.', '?' or '\\'. */
static inline const uint8_t *fg_scan_path(const uint8_t *p, const uint8_t *end) {
#if defined(__SSE2__)
    const __m128i percent = _mm_set1_epi8('%'), dot = _mm_set1_epi8('.'), mark = _mm_set1_epi8('?'), back = _mm_set1_epi8('\\');
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i one = _mm_or_si128(_mm_cmpeq_epi8(x, percent), _mm_cmpeq_epi8(x, dot));
        __m128i two = _mm_or_si128(_mm_cmpeq_epi8(x, mark), _mm_cmpeq_epi8(x, back));
        unsigned found = (unsigned)_mm_movemask_epi8(_mm_or_si128(one, two));
        if (found)
            return p + __builtin_ctz(found);
        p += 16;
    }
#endif
    return fg_scan_class(p, end, FG_CLASS_PATH);
}

/* Length of a field name of letters, digits and '-' before a ':' within 16 bytes, which must be readable; 0 when it is
 * longer, or has other bytes, and must be looked at one by one. */
static inline unsigned fg_near_name(const uint8_t *p) {
#if defined(__SSE2__)
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    unsigned colon = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(':')));
    if (!colon)
        return 0;
    __m128i letter = _mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i digit = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    __m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter),
                                _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
    good = _mm_or_si128(good, _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    unsigned before = (colon & -colon) - 1;
    return ((unsigned)_mm_movemask_epi8(good) & before) == before ? (unsigned)__builtin_ctz(colon) : 0;
#else
    return 0;
#endif
}

/* Whether n <= 16 bytes, which differ from tokens in nothing but their case, are `lower`; 16 bytes of both are readable. */
static inline bool fg_same_lower(const uint8_t *p, const uint8_t *lower, unsigned n) {
#if defined(__SSE2__)
    __m128i x = _mm_or_si128(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(0x20));
    unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_loadu_si128((const __m128i *)lower)));
    return !((same ^ 0xffff) & ((1u << n) - 1));
#else
    for (unsigned i = 0; i < n; i++)
        if ((p[i] | 0x20) != lower[i])
            return false;
    return true;
#endif
}

#endif
