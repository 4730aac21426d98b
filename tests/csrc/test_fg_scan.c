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
        CHECK_EQ(!!(fg_class[c] & FG_CLASS_UNDERSCORE), c == '_');
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

static bool needs_no_look(int c) { /* the kernel is given targets only; what else there is, it may pass over */
    return !is_target(c) || is_plain_path(c);
}

static void paths_end_at_what_needs_a_look(void) {
    uint8_t *end = fg_guarded() + FG_GUARDED_SIZE;
    for (int n = 1; n <= LONGEST; n++) {
        uint8_t *p = end - n;
        memset(p, '/', (size_t)n);
        for (int at = 0; at < n; at++) {
            for (int c = 0x21; c < 0x7f; c++) {
                p[at] = (uint8_t)c;
                if (is_target(c))
                    CHECK_EQ(fg_scan_path(p, end) - p, needs_no_look(c) ? n : at);
            }
            p[at] = '/';
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
    RUN(near_names_are_found_or_left_to_others);
    RUN(names_are_compared_without_case);
    return 0;
}
