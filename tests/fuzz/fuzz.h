/* What every harness has in common.
 *
 * A harness is one C file with fuzz_setup, which takes the functions under test from the capsules of the compiled modules, and
 * LLVMFuzzerTestOneInput, which calls them without the GIL and checks what they say. Linked with replay.c it replays files;
 * compiled by clang with -fsanitize=fuzzer it searches for new ones.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* A property of the code under test; a finding when it does not hold. */
#define FUZZ_CHECK(cond) ((cond) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #cond))
static inline _Noreturn void fuzz_failed(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

/* The C function that fastgate.core.<module> exports under this name and with this C signature; ends the process without it.
 * The GIL is held. */
void *fuzz_function(const char *module, const char *name, const char *signature);

/* Called once, with the GIL, before the first input. */
void fuzz_setup(void);

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The front of an input, taken byte by byte; zeros behind its end. */
struct fuzz_bytes {
    const uint8_t *p;
    size_t left;
};

static inline uint8_t fuzz_byte(struct fuzz_bytes *b) {
    if (!b->left)
        return 0;
    b->left--;
    return *b->p++;
}

static inline uint32_t fuzz_u16(struct fuzz_bytes *b) {
    uint32_t high = fuzz_byte(b);
    return high << 8 | fuzz_byte(b);
}

/* A copy of exactly this size, so that a read behind its end is one behind the allocation. */
static inline uint8_t *fuzz_copy(const uint8_t *p, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    FUZZ_CHECK(copy);
    copy[0] = 0; /* poisoned, if there is nothing to copy; compilers warn of a use before that */
    if (n)
        memcpy(copy, p, n);
    else
        ASAN_POISON_MEMORY_REGION(copy, 1);
    return copy;
}

static inline void fuzz_drop(uint8_t *copy) {
    ASAN_UNPOISON_MEMORY_REGION(copy, 1);
    free(copy);
}

#endif
