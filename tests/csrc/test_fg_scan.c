/* Kernels against their definition, byte by byte, at every length and place before an unreadable page. */
#include "fg_scan.c"

#include "fg_test.h"

#include <ctype.h>

enum { LONGEST = 67 };

static bool is_token(int c) { return c < 0x80 && c && (isalnum(c) || strchr("!#$%&'*+-.^_`|~", c)); }
static bool is_value(int c) { return c == '\t' || (c >= 0x20 && c != 0x7f); }
static bool is_target(int c) { return c > 0x20 && c < 0x7f && c != '#'; }
static bool is_plain_path(int c) { return is_target(c) && !strchr("%.?\\", c); }
static bool is_unreserved(int c) { return c < 0x80 && c && (isalnum(c) || strchr("-._~", c)); }

static void classes_are_those_of_the_grammar(void) {
    for (int c = 0; c < 256; c++) {
        CHECK_EQ(!!(fg_class[c] & FG_CLASS_TOKEN), is_token(c));
        CHECK_EQ(!!(fg_class[c] & FG_CLASS_VALUE), is_value(c));
        CHECK_EQ(!!(fg_class[c] & FG_CLASS_TARGET), is_target(c));
        CHECK_EQ(!!(fg_class[c] & FG_CLASS_UNRESERVED), is_unreserved(c));
        CHECK_EQ(!!(fg_class[c] & FG_CLASS_PATH), is_plain_path(c));
        CHECK_EQ(!!(fg_class[c] & FG_CLASS_HOST), c < 0x80 && c && (isalnum(c) || strchr("-._~", c)) && c != '~');
    }
}

typedef const uint8_t *scan_fn(const uint8_t *p, const uint8_t *end);

/* The odd byte stands at every place of every length, the rest is `fill`; the input ends where the page does. */
static void scan_as_defined(scan_fn *scan, bool (*good)(int), uint8_t fill) {
    uint8_t *end = fg_guarded() + FG_GUARDED_SIZE;
    for (int n = 0; n <= LONGEST; n++) {
        uint8_t *p = end - n;
        memset(p, fill, (size_t)n);
        CHECK_EQ(scan(p, end) - p, n);
        for (int at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                p[at] = (uint8_t)c;
                CHECK_EQ(scan(p, end) - p, good(c) ? n : at);
            }
            p[at] = fill;
        }
    }
    munmap(end - 2 * FG_GUARDED_SIZE, 3 * FG_GUARDED_SIZE);
}

static void values_end_at_control_bytes(void) {
    scan_as_defined(fg_scan_value, is_value, 'a');
    scan_as_defined(fg_scan_value, is_value, '\t');
    scan_as_defined(fg_scan_value, is_value, 0xff);
}

static void targets_end_at_what_is_not_visible(void) {
    scan_as_defined(fg_scan_target, is_target, '/');
}

static void paths_end_at_what_needs_a_look(void) {
    scan_as_defined(fg_scan_path, is_plain_path, '/');
}

static bool is_host(int c) { return fg_class[c] & FG_CLASS_HOST; }

static void hosts_end_at_what_is_no_name(void) {
    scan_as_defined(fg_scan_host, is_host, 'a');
    scan_as_defined(fg_scan_host, is_host, '_');
}

/* Every kernel's map is the scalar one's, at every length and place before the unreadable page, and writes no further word. */
static void maps_are_those_of_the_scalar_kernel(void) {
    uint8_t *end = fg_guarded() + FG_GUARDED_SIZE;
    size_t kernels_n;
    const struct fg_map_kernel *k = fg_map_kernels(&kernels_n);
    CHECK(kernels_n >= 2);
    for (size_t n = 0; n <= 300; n++) {
        uint8_t *p = end - n;
        for (int round = 0; round < 20; round++) {
            uint64_t wanted[8], found[8];
            size_t words = (n + 63) / 64;
            for (size_t i = 0; i < n; i++)
                p[i] = fg_test_random() % 4 ? 'a' : (uint8_t)fg_test_random();
            memset(wanted, 0xaa, sizeof wanted);
            k[0].map(p, n, wanted);
            for (size_t i = 0; i < n; i++)
                CHECK_EQ(wanted[i / 64] >> i % 64 & 1, !is_value(p[i]));
            for (size_t i = 1; i < kernels_n; i++) {
                if (k[i].map == NULL)
                    continue;
                memset(found, 0xaa, sizeof found);
                k[i].map(p, n, found);
                CHECK_EQ(memcmp(found, wanted, sizeof found), 0);
                CHECK_EQ(found[words], 0xaaaaaaaaaaaaaaaaull);
            }
        }
    }
    munmap(end - 2 * FG_GUARDED_SIZE, 3 * FG_GUARDED_SIZE);
}

static unsigned near_name(const uint8_t *p) {
    for (unsigned i = 0; i < 16; i++) {
        if (p[i] == ':')
            return i;
        if (!(p[i] < 0x80 && (isalnum(p[i]) || p[i] == '-')))
            return 0;
    }
    return 0;
}

static void near_names_are_found_or_left_to_others(void) {
    uint8_t *p = fg_guarded() + FG_GUARDED_SIZE - 16;
    static const char some[] = "aZ09-_:/ @[`{";
    for (int i = 0; i < 200000; i++) {
        for (int k = 0; k < 16; k++)
            p[k] = fg_test_random() % 8 ? 'a' : (uint8_t)some[fg_test_random() % (sizeof some - 1)];
        if (i % 16 == 0)
            p[fg_test_random() % 16] = (uint8_t)fg_test_random();
        unsigned n = fg_near_name(p);
        if (n || i % 2) /* 0 only says that somebody else must look: the portable kernel always does */
            CHECK(n == near_name(p) || n == 0);
#if defined(__SSE2__)
        CHECK_EQ(n, near_name(p));
#endif
    }
    munmap(p + 16 - 2 * FG_GUARDED_SIZE, 3 * FG_GUARDED_SIZE);
}

static void names_are_compared_without_case(void) {
    static const uint8_t lower[16] = "content-length12";
    uint8_t *p = fg_guarded() + FG_GUARDED_SIZE - 16;
    for (unsigned n = 0; n <= 16; n++) {
        for (unsigned at = 0; at < 16; at++) {
            memcpy(p, lower, 16);
            CHECK(fg_same_lower(p, lower, n));
            p[at] = (uint8_t)toupper(p[at]);
            CHECK(fg_same_lower(p, lower, n));
            p[at] = lower[at] ^ 1;
            CHECK_EQ(fg_same_lower(p, lower, n), at >= n);
        }
    }
    munmap(p + 16 - 2 * FG_GUARDED_SIZE, 3 * FG_GUARDED_SIZE);
}

int main(void) {
    RUN(classes_are_those_of_the_grammar);
    RUN(values_end_at_control_bytes);
    RUN(targets_end_at_what_is_not_visible);
    RUN(paths_end_at_what_needs_a_look);
    RUN(hosts_end_at_what_is_no_name);
    RUN(maps_are_those_of_the_scalar_kernel);
    RUN(near_names_are_found_or_left_to_others);
    RUN(names_are_compared_without_case);
    return 0;
}
