/* Scanning kernels: "where is the first byte outside class X", and nothing of the grammar.
 *
 * Every function looks at [p, end) only and returns a pointer into it, or `end`. SSE2 and NEON belong to the base
 * instruction sets of the two architectures, so that no choice at run time is needed for 16 bytes at a time, inline.
 * Wider registers are chosen when the module is loaded; a call through a pointer would cost more than it gains for one
 * field, so that the wide kernel answers for a whole window: one bit for each byte outside the class (fg_value_map).
 */
#ifndef FG_SCAN_H
#define FG_SCAN_H

#include "fg_base.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { FG_CLASS_TOKEN = 1, FG_CLASS_VALUE = 2, FG_CLASS_TARGET = 4, FG_CLASS_HOST = 8, FG_CLASS_UNRESERVED = 16,
       FG_CLASS_PATH = 32, FG_CLASS_JSON = 64 };

/* Which classes each byte belongs to; tchar (RFC 9110 section 5.6.2), field-vchar with SP and HTAB (section 5.5), bytes of a
 * request target (visible ASCII but '#'), of a host name, unreserved (RFC 3986 section 2.3), bytes of a path that need no
 * look (of a target, but not '%', '.', '?' and '\\'), of a JSON string that need no escape (printable ASCII but '"' and
 * '\\'). */
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

/* Bit i of `words` for byte i of p, set when it may not stand in a field value; bits from n to the last word's end are 0. */
typedef void (*fg_map_fn)(const uint8_t *p, size_t n, uint64_t *words);
extern fg_map_fn fg_map_value; /* the best of this processor */

struct fg_map_kernel {
    const char *name;
    fg_map_fn map;  /* NULL: not on this processor */
};
const struct fg_map_kernel *fg_map_kernels(size_t *n); /* all of this architecture, the best last; the first is scalar */

/* Where the bytes are that may not stand in a field value, a window at a time. The word behind a window's last one is full,
 * so that a search ends without counting words. */
enum { FG_MAP_WINDOW = 1024 };
struct fg_value_map {
    const uint8_t *from;
    size_t size;
    uint64_t words[FG_MAP_WINDOW / 64 + 1];
};

static inline void fg_map_start(struct fg_value_map *m, const uint8_t *p) {
    m->from = p;
    m->size = 0;
    m->words[0] = UINT64_MAX;
}

/* fg_scan_value through the map. From call to call p ascends and `end` stays: each byte is looked at once. */
static inline const uint8_t *fg_map_next(struct fg_value_map *m, const uint8_t *p, const uint8_t *end) {
    for (;;) {
        size_t at = (size_t)(p - m->from), word = at / 64;
        uint64_t found = m->words[word] >> at % 64;
        if (found) {
            at += (size_t)__builtin_ctzll(found);
        } else {
            do
                word++;
            while (m->words[word] == 0);
            at = word * 64 + (size_t)__builtin_ctzll(m->words[word]);
        }
        if (fg_likely(at < m->size))
            return m->from + at;
        if (p < m->from + m->size)
            p = m->from + m->size;
        if (p >= end)
            return end;
        m->from = p;
        m->size = end - p < FG_MAP_WINDOW ? (size_t)(end - p) : FG_MAP_WINDOW;
        fg_map_value(p, m->size, m->words);
        m->words[(m->size + 63) / 64] = UINT64_MAX;
    }
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

/* First byte that cannot stand for itself in a JSON string of ASCII: not printable, '"' or '\\'. */
static inline const uint8_t *fg_scan_json(const uint8_t *p, const uint8_t *end) {
#if defined(__SSE2__)
    const __m128i control = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), quote = _mm_set1_epi8('"'), back = _mm_set1_epi8('\\');
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i good = _mm_and_si128(_mm_cmpgt_epi8(x, control), _mm_cmplt_epi8(x, del)); /* signed: 0x80 and up fail */
        __m128i escape = _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, back));
        unsigned found = ~(unsigned)_mm_movemask_epi8(_mm_andnot_si128(escape, good)) & 0xffff;
        if (found)
            return p + __builtin_ctz(found);
        p += 16;
    }
#endif
    return fg_scan_class(p, end, FG_CLASS_JSON);
}

/* First byte of a request target that ends its path or needs a look: outside of FG_CLASS_PATH. */
static inline const uint8_t *fg_scan_path(const uint8_t *p, const uint8_t *end) {
#if defined(__SSE2__)
    const __m128i space = _mm_set1_epi8(0x20), del = _mm_set1_epi8(0x7f), hash = _mm_set1_epi8('#');
    const __m128i percent = _mm_set1_epi8('%'), dot = _mm_set1_epi8('.'), mark = _mm_set1_epi8('?'), back = _mm_set1_epi8('\\');
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i good = _mm_and_si128(_mm_cmpgt_epi8(x, space), _mm_cmplt_epi8(x, del)); /* signed: 0x80 and up fail */
        __m128i one = _mm_or_si128(_mm_cmpeq_epi8(x, percent), _mm_cmpeq_epi8(x, dot));
        __m128i two = _mm_or_si128(_mm_cmpeq_epi8(x, mark), _mm_cmpeq_epi8(x, back));
        __m128i look = _mm_or_si128(_mm_or_si128(one, two), _mm_cmpeq_epi8(x, hash));
        unsigned found = ~(unsigned)_mm_movemask_epi8(_mm_andnot_si128(look, good)) & 0xffff;
        if (found)
            return p + __builtin_ctz(found);
        p += 16;
    }
#endif
    return fg_scan_class(p, end, FG_CLASS_PATH);
}

#if defined(__SSE2__)
static inline __m128i fg_letters_and_digits(__m128i x) { /* 0xff for each */
    __m128i letter = _mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i digit = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    return _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter),
                        _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
}
#endif

/* First byte that may not stand in a host name. */
static inline const uint8_t *fg_scan_host(const uint8_t *p, const uint8_t *end) {
#if defined(__SSE2__)
    while (end - p >= 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)p);
        __m128i dots = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('.')), _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
        unsigned look = ~(unsigned)_mm_movemask_epi8(_mm_or_si128(fg_letters_and_digits(x), dots)) & 0xffff;
        if (look) { /* the end, or a byte that is rare in names */
            p += __builtin_ctz(look);
            break;
        }
        p += 16;
    }
#endif
    return fg_scan_class(p, end, FG_CLASS_HOST);
}

/* Length of a field name of letters, digits and '-' before a ':' within 16 bytes, which must be readable; 0 when it is
 * longer, or has other bytes, and must be looked at one by one. */
static inline unsigned fg_near_name(const uint8_t *p) {
#if defined(__SSE2__)
    __m128i x = _mm_loadu_si128((const __m128i *)p);
    unsigned colon = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(':')));
    __m128i good = _mm_or_si128(fg_letters_and_digits(x), _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    unsigned before = (colon & -colon) - 1; /* all ones without a colon, and then never good */
    return (~(unsigned)_mm_movemask_epi8(good) & before) == 0 ? (unsigned)__builtin_ctz(colon) : 0;
#else
    return 0;
#endif
}

/* Whether the first n <= 16 bytes, 16 of both being readable, are `lower` once bit 0x20 of each is set. */
static inline bool fg_same_lower(const uint8_t *p, const uint8_t *lower, unsigned n) {
#if defined(__SSE2__)
    __m128i x = _mm_or_si128(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(0x20));
    unsigned differ = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_loadu_si128((const __m128i *)lower)));
    return (differ & ((1u << n) - 1)) == 0;
#else
    for (unsigned i = 0; i < n; i++)
        if ((p[i] | 0x20) != lower[i])
            return false;
    return true;
#endif
}

/* Whether p is this word of 4 to 16 lower-case letters and '-', in any case. */
static inline bool fg_is_word(const uint8_t *p, size_t n, const char *word, size_t word_size) {
    if (n != word_size)
        return false;
    if (n >= 8) {
        const uint64_t lower = 0x2020202020202020;
        uint64_t a[2], b[2];
        memcpy(&a[0], p, 8), memcpy(&a[1], p + n - 8, 8);
        memcpy(&b[0], word, 8), memcpy(&b[1], word + n - 8, 8);
        return (((a[0] | lower) ^ b[0]) | ((a[1] | lower) ^ b[1])) == 0;
    }
    const uint32_t lower = 0x20202020;
    uint32_t a[2], b[2];
    memcpy(&a[0], p, 4), memcpy(&a[1], p + n - 4, 4);
    memcpy(&b[0], word, 4), memcpy(&b[1], word + n - 4, 4);
    return (((a[0] | lower) ^ b[0]) | ((a[1] | lower) ^ b[1])) == 0;
}

#endif
