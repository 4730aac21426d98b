/* What every C test uses: checks that print both values and end the program, and memory between unreadable pages. */
#ifndef FG_TEST_H
#define FG_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(cond) ((cond) ? (void)0 : fg_test_failed(__FILE__, __LINE__, "is not true: " #cond))
#define CHECK_EQ(found, wanted) \
    fg_check_eq(__FILE__, __LINE__, #found, (long long)(found), (long long)(wanted))
#define CHECK_BYTES(found, n, literal) \
    fg_check_bytes(__FILE__, __LINE__, #found, (found), (n), "" literal, sizeof(literal) - 1)

#define RUN(test)                             \
    do {                                      \
        fprintf(stderr, "%s\n", #test);       \
        test();                               \
    } while (0)

__attribute__((unused)) _Noreturn static void fg_test_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    _exit(1);
}

__attribute__((unused)) static void fg_check_eq(const char *file, int line, const char *what, long long found,
                                                long long wanted) {
    if (found == wanted)
        return;
    fprintf(stderr, "%s:%d: %s is %lld (0x%llx), not %lld (0x%llx)\n", file, line, what, found, found, wanted, wanted);
    _exit(1);
}

__attribute__((unused)) static void fg_print_bytes(const char *label, const uint8_t *p, size_t n) {
    fprintf(stderr, "  %s \"", label);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, p[i] >= 0x20 && p[i] < 0x7f ? "%c" : "\\x%02x", p[i]);
    fprintf(stderr, "\"\n");
}

__attribute__((unused)) static void fg_check_bytes(const char *file, int line, const char *what, const void *found,
                                                   size_t n, const char *wanted, size_t wanted_n) {
    if (n == wanted_n && memcmp(found, wanted, n) == 0)
        return;
    fprintf(stderr, "%s:%d: %s differs\n", file, line, what);
    fg_print_bytes("found ", found, n);
    fg_print_bytes("wanted", (const uint8_t *)wanted, wanted_n);
    _exit(1);
}

/* One page that may be used, between two that may not be touched. */
enum { FG_GUARDED_SIZE = 4096 };

__attribute__((unused)) static uint8_t *fg_guarded(void) {
    uint8_t *p = mmap(NULL, 3 * FG_GUARDED_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    CHECK_EQ(mprotect(p + FG_GUARDED_SIZE, FG_GUARDED_SIZE, PROT_READ | PROT_WRITE), 0);
    return p + FG_GUARDED_SIZE;
}

/* Repeatable numbers (xorshift64*), the same on every machine. */
__attribute__((unused)) static uint64_t fg_test_random(void) {
    static uint64_t x = 0x9e3779b97f4a7c15ull;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return x * 0x2545f4914f6cdd1dull;
}

#endif
