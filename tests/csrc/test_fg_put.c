/* What fits is written, what does not is remembered; nothing is written behind the end. */
#include "fg_put.h"

#include "fg_test.h"

#include <inttypes.h>
#include <strings.h>

static void numbers_are_printed_as_printf_does(void) {
    uint8_t out[32];
    char wanted[32];
    uint64_t at = 1;
    for (int i = 0; i < 200; i++) {
        uint64_t values[] = {at - 1, at, at + 1, fg_test_random()};
        for (unsigned k = 0; k < FG_COUNT_OF(values); k++) {
            struct fg_put o = {out, out + sizeof out, false};
            fg_put_uint(&o, values[k]);
            size_t n = (size_t)snprintf(wanted, sizeof wanted, "%" PRIu64, values[k]);
            CHECK_EQ(o.at - out, n);
            CHECK_EQ(memcmp(out, wanted, n), 0);
        }
        at = i < 19 ? at * 10 : 1ull << i % 64;
    }
    struct fg_put o = {out, out + sizeof out, false};
    fg_put_uint(&o, UINT64_MAX);
    CHECK_BYTES(out, o.at - out, "18446744073709551615");
}

static void what_does_not_fit_is_remembered(void) {
    uint8_t *p = fg_guarded();
    struct fg_put o = {p + FG_GUARDED_SIZE - 5, p + FG_GUARDED_SIZE, false};
    FG_PUT(&o, "abc");
    CHECK(!o.full);
    FG_PUT(&o, "defg");
    CHECK(o.full);
    CHECK_BYTES(p + FG_GUARDED_SIZE - 5, o.at - (p + FG_GUARDED_SIZE - 5), "abc");
    FG_PUT(&o, "de"); /* there is room, but the text has a hole */
    CHECK(o.full);
    CHECK(o.at == o.end);
    FG_PUT(&o, "");
    fg_put_bytes(&o, (struct fg_bytes){p, 1});
    CHECK(o.at == o.end);
}

static void names_are_equal_without_case(void) {
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            uint8_t x[] = {'n', (uint8_t)a}, y[] = {'N', (uint8_t)b};
            bool letters = ((a | 0x20) >= 'a' && (a | 0x20) <= 'z' && a < 0x80);
            CHECK_EQ(fg_same_name(x, y, 2), a == b || (letters && (a ^ b) == 0x20));
        }
    }
}

int main(void) {
    RUN(numbers_are_printed_as_printf_does);
    RUN(what_does_not_fit_is_remembered);
    RUN(names_are_equal_without_case);
    return 0;
}
