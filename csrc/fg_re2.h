/* RE2 behind a C interface: linear time, bounded memory, bytes as Latin-1, not anchored (GEP-4359). */
#ifndef FG_RE2_H
#define FG_RE2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fg_re2;

/* NULL with a sentence in `why` when RE2 refuses the pattern, or its program is over the limit. */
struct fg_re2 *fg_re2_new(const uint8_t *pattern, size_t len, char *why, size_t why_size);
bool fg_re2_search(const struct fg_re2 *re, const uint8_t *text, size_t len); /* from any thread */
void fg_re2_free(struct fg_re2 *re);

#ifdef __cplusplus
}
#endif
#endif
