/* Allocations of everything that is linked with --wrap of malloc, calloc and realloc: counted, and failed on demand. */
#ifndef FG_ALLOC_H
#define FG_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

uint64_t fg_alloc_count(void);
void fg_alloc_fail(uint64_t nth); /* the nth one from now on returns NULL, and only that; 0: none */
bool fg_alloc_failed(void);       /* whether it came to that */

#endif
