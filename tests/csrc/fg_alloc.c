#include "fg_alloc.h"

#include <errno.h>
#include <stddef.h>

static uint64_t count;
static int64_t left; /* allocations until the one that fails, itself included; <= 0: none, or it was */
static bool armed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

uint64_t fg_alloc_count(void) {
    return __atomic_load_n(&count, __ATOMIC_SEQ_CST);
}

void fg_alloc_fail(uint64_t nth) {
    __atomic_store_n(&left, (int64_t)nth, __ATOMIC_SEQ_CST);
    __atomic_store_n(&armed, nth != 0, __ATOMIC_SEQ_CST);
}

bool fg_alloc_failed(void) {
    return __atomic_load_n(&armed, __ATOMIC_SEQ_CST) && __atomic_load_n(&left, __ATOMIC_SEQ_CST) <= 0;
}

static bool refuse(void) {
    __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&armed, __ATOMIC_SEQ_CST) || __atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) != 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t n) {
    return refuse() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    return refuse() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    return refuse() ? NULL : __real_realloc(p, n);
}
