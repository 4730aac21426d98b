/* PROXY protocol headers: whole, cut anywhere, damaged anywhere; what is written is read again. */
#include "fg_proxy.c"

#include "fg_test.h"

#include <stdlib.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define FOUR "\300\0\2\7\306\63\144\1\22\147\1\273" /* 192.0.2.7:4711 to 198.51.100.1:443 */

static const struct { const char *p; size_t n; const char *ip; uint16_t port; } sound[] = {
#define ROW(text, ip, port) {text, sizeof(text) - 1, ip, port}
    ROW("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", "\300\0\2\7", 4711),
    ROW("PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n", "\300\0\2\7", 0),
    ROW("PROXY UNKNOWN\r\n", NULL, 0),
    ROW("PROXY UNKNOWN ffff::1 x y z\r\n", NULL, 0),
    ROW(SIGNATURE "\x21\x11\0\x0c" FOUR, "\300\0\2\7", 4711),
    ROW(SIGNATURE "\x21\x11\0\x12" FOUR "\4\0\3abc", "\300\0\2\7", 4711),
    ROW(SIGNATURE "\x20\0\0\0", NULL, 0),
    ROW(SIGNATURE "\x20\x11\0\x0c" FOUR, NULL, 0),
    ROW(SIGNATURE "\x21\0\0\2xy", NULL, 0),
};

/* In memory of exactly that size, so that reading on is seen. */
static int64_t read_exactly(const void *p, size_t n, struct fg_address *a) {
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, p, n);
    int64_t used = fg_proxy_read(copy, n, a);
    free(copy);
    return used;
}

static void sound_headers_at_every_cut(void) {
    for (size_t i = 0; i < FG_COUNT_OF(sound); i++) {
        struct fg_address a = {0};
        for (size_t n = 0; n < sound[i].n; n++)
            CHECK_EQ(read_exactly(sound[i].p, n, &a), FG_MORE);
        CHECK_EQ(a.family, 0);
        CHECK_EQ(read_exactly(sound[i].p, sound[i].n, &a), sound[i].n);
        CHECK_EQ(a.family, sound[i].ip ? 4 : 0);
        CHECK_EQ(a.port, sound[i].port);
        CHECK(sound[i].ip == NULL || memcmp(a.ip, sound[i].ip, 4) == 0);
    }
}

static void what_follows_is_left(void) {
    struct fg_address a;
    CHECK_EQ(read_exactly("PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n", 30, &a), 15);
}

static void every_byte_damaged(void) {
    for (size_t i = 0; i < FG_COUNT_OF(sound); i++) {
        for (size_t at = 0; at < sound[i].n; at++) {
            for (int bit = 0; bit < 8; bit++) {
                char copy[256];
                struct fg_address a = {0};
                memcpy(copy, sound[i].p, sound[i].n);
                copy[at] ^= (char)(1 << bit);
                int64_t used = read_exactly(copy, sound[i].n, &a);
                CHECK(used == BAD || used == FG_MORE || (used > 0 && (size_t)used <= sound[i].n));
                CHECK(used > 0 || a.family == 0);
            }
        }
    }
}

static void a_line_has_an_end(void) {
    char much[FG_PROXY_MOST];
    struct fg_address a;
    memset(much, 'x', sizeof much);
    memcpy(much, "PROXY UNKNOWN ", 14);
    CHECK_EQ(read_exactly(much, LINE_MAX_BYTES - 1, &a), FG_MORE);
    CHECK_EQ(read_exactly(much, LINE_MAX_BYTES, &a), BAD);
    memcpy(much + LINE_MAX_BYTES - 2, "\r\n", 2);
    CHECK_EQ(read_exactly(much, sizeof much, &a), LINE_MAX_BYTES);
    memcpy(much, SIGNATURE "\x21\0\x0f\xf1", 16); /* one more than is read */
    CHECK_EQ(read_exactly(much, sizeof much, &a), BAD);
    much[15] = '\xf0';
    CHECK_EQ(read_exactly(much, sizeof much, &a), FG_PROXY_MOST);
}

static void what_is_written_is_read(void) {
    const struct fg_address four = {.ip = "\300\0\2\7", .port = 4711, .family = 4}, six = {.ip = "\x20\1", .port = 1, .family = 6};
    static uint8_t name[255];
    memset(name, 'n', sizeof name);
    const struct fg_identity who = {.server_name = {name, sizeof name}, .alpn = {name, sizeof name}};
    const struct fg_address *ends[][2] = {{&four, &four}, {&six, &six}, {&four, &six}};
    for (int version = 1; version <= 2; version++) {
        for (size_t i = 0; i < FG_COUNT_OF(ends); i++) {
            uint8_t out[FG_PROXY_HEADER];
            struct fg_address a = {0};
            size_t n = fg_proxy_write(out, version, ends[i][0], ends[i][1], version == 2 ? &who : NULL);
            CHECK_EQ(read_exactly(out, n, &a), n);
            CHECK_EQ(a.family, i == 2 ? 0 : ends[i][0]->family);
            CHECK(i == 2 || (memcmp(a.ip, ends[i][0]->ip, 16) == 0 && a.port == ends[i][0]->port));
        }
    }
}

int main(void) {
    RUN(sound_headers_at_every_cut);
    RUN(what_follows_is_left);
    RUN(every_byte_damaged);
    RUN(a_line_has_an_end);
    RUN(what_is_written_is_read);
    return 0;
}
