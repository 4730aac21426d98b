/* What every file of the engine may rely on: integer types, spans, return conventions, assertions.
 *
 * Three return conventions, and no fourth:
 *   int         0 done, -1 failed; a `struct fg_err *` argument says why where the caller can act on it
 *   T *         NULL when it could not be made
 *   int64_t     parsers: >= 0 bytes used; FG_MORE when the input ends before the element does;
 *               below FG_MORE a named error (see fg_parse_errors.h)
 *
 * Memory: fg_x_init/fg_x_fini work on the caller's memory, fg_x_new/fg_x_free on their own.
 */
#ifndef FG_BASE_H
#define FG_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FG_MORE ((int64_t)-1)

#define fg_likely(x) __builtin_expect(!!(x), 1)
#define fg_unlikely(x) __builtin_expect(!!(x), 0)
#define FG_ALIGN_UP(n, a) (((n) + ((a)-1)) & ~((__typeof__(n))(a)-1))
#define FG_COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define fg_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* A run of bytes in a buffer whose base the context names: a head's spans are relative to the head's first byte. */
struct fg_span {
    uint32_t off;
    uint32_t len;
};

/* Bytes that somebody else owns; valid as long as the owner says. */
struct fg_bytes {
    const uint8_t *p;
    size_t len;
};

/* An invariant that, once broken, makes going on unsafe: ends the process in every build. */
_Noreturn void fg_fatal(const char *file, int line, const char *what);
#define FG_ASSERT(cond) (fg_likely(cond) ? (void)0 : fg_fatal(__FILE__, __LINE__, #cond))

#endif
