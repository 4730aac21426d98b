/* Buffers keep their bytes through growth and compaction, and every byte that a pool gave out comes back. */
#include "fg_buf.c"

#include "fg_test.h"

static struct fg_pool pool;

static void fill(struct fg_buf *b, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        b->p[b->end + i] = (uint8_t)(b->end + i);
    b->end += n;
}

static void a_buffer_has_the_size_of_its_class(void) {
    static const uint32_t asked[] = {1, 4096, 4097, 16384, 16385, 65536, 65537, 262144};
    static const uint32_t given[] = {4096, 4096, 16384, 16384, 65536, 65536, 262144, 262144};
    for (unsigned i = 0; i < FG_COUNT_OF(asked); i++) {
        struct fg_buf b = {0};
        CHECK_EQ(fg_buf_reserve(&pool, &b, asked[i]), 0);
        CHECK_EQ(b.cap, given[i]);
        CHECK_EQ(pool.used, given[i]);
        memset(b.p, 0xee, b.cap);
        fg_buf_release(&pool, &b);
        CHECK(b.p == NULL);
        CHECK_EQ(pool.used, 0);
    }
}

static void more_than_the_largest_is_refused_and_changes_nothing(void) {
    struct fg_buf b = {0};
    CHECK_EQ(fg_buf_reserve(&pool, &b, FG_BUF_HUGE + 1), -1);
    CHECK(b.p == NULL);
    fg_buf_reserve(&pool, &b, 10);
    fill(&b, 10);
    CHECK_EQ(fg_buf_reserve(&pool, &b, FG_BUF_HUGE + 1), -1);
    CHECK_EQ(fg_buf_len(&b), 10);
    CHECK_EQ(b.p[9], 9);
    fg_buf_release(&pool, &b);
    CHECK_EQ(pool.used, 0);
}

static void growth_keeps_pinned_bytes_and_window(void) {
    struct fg_buf b = {0};
    fg_buf_reserve(&pool, &b, FG_BUF_SMALL);
    fill(&b, 4000);
    b.pin = 100;
    fg_buf_consume(&b, 300);
    CHECK_EQ(fg_buf_reserve(&pool, &b, FG_BUF_SMALL), 0);
    CHECK_EQ(b.cap, FG_BUF_SMALL);
    CHECK_EQ(fg_buf_reserve(&pool, &b, FG_BUF_SMALL + 1), 0);
    CHECK_EQ(b.cap, FG_BUF_MEDIUM);
    CHECK_EQ(b.pin, 100);
    CHECK_EQ(b.start, 300);
    CHECK_EQ(b.end, 4000);
    for (uint32_t i = 0; i < 4000; i++)
        CHECK_EQ(b.p[i], (uint8_t)i);
    CHECK_EQ(pool.used, FG_BUF_MEDIUM);
    fg_buf_release(&pool, &b);
}

static void compaction_moves_the_window_behind_the_pin(void) {
    struct fg_buf b = {0};
    fg_buf_reserve(&pool, &b, FG_BUF_SMALL);
    fill(&b, 1000);
    b.pin = 64;
    b.start = 900;
    fg_buf_compact(&b);
    CHECK_EQ(b.start, 64);
    CHECK_EQ(b.end, 164);
    CHECK_EQ(b.p[63], 63);
    for (uint32_t i = 0; i < 100; i++)
        CHECK_EQ(b.p[64 + i], (uint8_t)(900 + i));
    fg_buf_consume(&b, 100); /* nothing is left: the window goes back to the pin */
    CHECK_EQ(b.start, 64);
    CHECK_EQ(b.end, 64);
    fg_buf_release(&pool, &b);
}

static void the_front_of_the_window_is_replaced(void) {
    static const uint8_t with[5000] = {'a', [4999] = 'z'};
    struct fg_buf b = {0};
    fg_buf_reserve(&pool, &b, FG_BUF_SMALL);
    fill(&b, 100);
    b.pin = 10;
    b.start = 20;
    CHECK_EQ(fg_buf_replace(&pool, &b, 30, with, 5000), 0); /* which moves the buffer */
    CHECK_EQ(b.cap, FG_BUF_MEDIUM);
    CHECK_EQ(fg_buf_len(&b), 5050);
    CHECK_EQ(b.p[9], 9);
    CHECK_EQ(fg_buf_data(&b)[0], 'a');
    CHECK_EQ(fg_buf_data(&b)[4999], 'z');
    CHECK_EQ(fg_buf_data(&b)[5000], 50);
    CHECK_EQ(fg_buf_data(&b)[5049], 99);
    CHECK_EQ(fg_buf_replace(&pool, &b, 5049, NULL, 0), 0);
    CHECK_EQ(fg_buf_len(&b), 1);
    CHECK_EQ(fg_buf_data(&b)[0], 99);
    CHECK_EQ(fg_buf_replace(&pool, &b, 0, with, FG_BUF_HUGE), -1);
    CHECK_EQ(fg_buf_len(&b), 1);
    fg_buf_release(&pool, &b);
}

static void what_was_given_back_is_given_out_again(void) {
    struct fg_buf b = {0};
    fg_buf_reserve(&pool, &b, FG_BUF_LARGE);
    uint8_t *p = b.p;
    fg_buf_release(&pool, &b);
    fg_buf_reserve(&pool, &b, FG_BUF_LARGE);
    CHECK(b.p == p);
    fg_buf_release(&pool, &b);
}

static void a_burst_does_not_stay(void) {
    enum { N = KEEP_BYTES / FG_BUF_HUGE + 8 };
    struct fg_buf b[N] = {0};
    for (int i = 0; i < N; i++)
        CHECK_EQ(fg_buf_reserve(&pool, &b[i], FG_BUF_HUGE), 0);
    CHECK_EQ(pool.used, (uint64_t)N * FG_BUF_HUGE);
    for (int i = 0; i < N; i++)
        fg_buf_release(&pool, &b[i]);
    CHECK_EQ(pool.nfree[3], KEEP_BYTES / FG_BUF_HUGE);
    fg_pool_trim(&pool);
    CHECK_EQ(pool.nfree[3], 16);
    CHECK_EQ(pool.used, 0);
}

static void only_admission_looks_at_the_limit(void) {
    struct fg_pool small;
    struct fg_buf b = {0};
    fg_pool_init(&small, FG_BUF_SMALL);
    CHECK(!fg_pool_full(&small));
    CHECK_EQ(fg_buf_reserve(&small, &b, FG_BUF_SMALL), 0);
    CHECK(fg_pool_full(&small));
    CHECK_EQ(fg_buf_reserve(&small, &b, FG_BUF_HUGE), 0);
    fg_buf_release(&small, &b);
    CHECK(!fg_pool_full(&small));
    fg_pool_fini(&small);
}

int main(void) {
    fg_pool_init(&pool, 0);
    RUN(a_buffer_has_the_size_of_its_class);
    RUN(more_than_the_largest_is_refused_and_changes_nothing);
    RUN(growth_keeps_pinned_bytes_and_window);
    RUN(compaction_moves_the_window_behind_the_pin);
    RUN(the_front_of_the_window_is_replaced);
    RUN(what_was_given_back_is_given_out_again);
    RUN(a_burst_does_not_stay);
    RUN(only_admission_looks_at_the_limit);
    fg_pool_fini(&pool);
    return 0;
}
