/* Rings: what goes in comes out, around the end and up to the brim; numbers that the other side scribbled are seen; between two
 * threads nothing is lost, no wake either. */
#include "fg_ring.h"

#include "fg_call.h"
#include "fg_test.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

enum { PATIENCE_MS = 20000 };

static struct fg_ring *r; /* of malloc's, so that a byte behind it is one too many */
static _Alignas(8) uint8_t in[FG_RECORD_MAX], out[FG_RECORD_MAX];

static void begin(void) {
    free(r);
    r = aligned_alloc(64, sizeof *r);
    memset(r, 0, sizeof *r);
}

/* Record number `n`: of some size, filled with the number. */
static uint32_t make(uint32_t n, uint32_t size) {
    memset(in, (int)(n & 0xff), size);
    memcpy(in, &size, 4);
    memcpy(in + 4, &(uint32_t){FG_RECORD_CALL}, 4);
    if (size >= 16)
        memcpy(in + 8, &(uint64_t){n}, 8);
    return size;
}

static void check(uint32_t n, int64_t size) {
    uint32_t wanted = make(n, (uint32_t)size);
    CHECK_EQ(size, wanted);
    CHECK(memcmp(in, out, wanted) == 0);
}

static uint32_t random_size(void) {
    uint64_t x = fg_test_random();
    return 16 + (uint32_t)(x >> 8) % (x % 8 ? 500 : FG_RECORD_MAX - 16) / 8 * 8;
}

static void records_come_out_as_they_went_in(void) {
    begin();
    uint32_t sizes[FG_RING_BYTES / 16 + 1], puts = 0, takes = 0;
    while (puts < 20000) {
        for (uint32_t size = random_size(); fg_ring_put(r, in, make(puts, size)); size = random_size())
            sizes[puts++ % FG_COUNT_OF(sizes)] = size;
        CHECK(r->tail - r->head <= FG_RING_BYTES);
        for (uint64_t left = fg_test_random() % 2000; left && takes < puts; left--, takes++) {
            CHECK_EQ(fg_ring_take(r, out, sizeof out), sizes[takes % FG_COUNT_OF(sizes)]);
            check(takes, sizes[takes % FG_COUNT_OF(sizes)]);
        }
    }
    while (takes < puts)
        check(takes++, fg_ring_take(r, out, sizeof out));
    CHECK_EQ(fg_ring_take(r, out, sizeof out), 0);
    CHECK(fg_ring_empty(r));
}

static void a_full_ring_refuses_and_stays(void) {
    begin();
    uint32_t n = 0, size = FG_RING_BYTES / 16;
    while (fg_ring_put(r, in, make(n, size)))
        n++;
    CHECK_EQ(n, 16); /* to the last byte */
    CHECK_EQ(r->tail, FG_RING_BYTES);
    CHECK(!fg_ring_put(r, in, make(n, 8)));
    CHECK_EQ(r->tail, FG_RING_BYTES);
    check(0, fg_ring_take(r, out, sizeof out));
    CHECK(fg_ring_put(r, in, make(n, size)));
    for (uint32_t i = 1; i <= n; i++)
        check(i, fg_ring_take(r, out, sizeof out));
}

static void what_is_left_at_the_end_is_skipped(void) {
    for (uint32_t left = 8; left <= 64; left += 8) {
        begin();
        r->head = r->tail = 3ull * FG_RING_BYTES - left;
        CHECK(fg_ring_put(r, in, make(1, 72)));
        CHECK_EQ(r->tail, 3ull * FG_RING_BYTES + 72);
        check(1, fg_ring_take(r, out, sizeof out));
        CHECK(fg_ring_empty(r));
    }
    begin(); /* room for the record, and none for what it would skip */
    r->tail = 2 * FG_RING_BYTES - 64;
    r->head = r->tail - FG_RING_BYTES + 128;
    CHECK(!fg_ring_put(r, in, make(1, 72)));
    CHECK(fg_ring_put(r, in, make(1, 64)));
}

static void word(uint32_t at, uint32_t first, uint32_t second) {
    memcpy(r->data + at, &first, 4);
    memcpy(r->data + at + 4, &second, 4);
}

static void broken(void) {
    uint64_t head = r->head;
    CHECK_EQ(fg_ring_take(r, out, sizeof out), -1);
    CHECK(r->head == head || r->head % FG_RING_BYTES == 0); /* or behind the end of the ring, which was skipped */
}

static void scribbled_numbers_are_seen(void) {
    static const struct { uint64_t head, tail; } positions[] = {
        {0, FG_RING_BYTES + 8}, {8, 0}, {0, UINT64_MAX - 7}, {0, 12}, {4, 12}, {1, 1 + 64}, {UINT64_MAX, 7}};
    for (unsigned i = 0; i < FG_COUNT_OF(positions); i++) {
        begin();
        CHECK(fg_ring_put(r, in, make(1, 64)));
        r->head = positions[i].head;
        r->tail = positions[i].tail;
        broken();
    }
    static const uint32_t sizes[] = {0, 4, 12, 72, FG_RING_BYTES, 0xfffffff8, 0xffffffff};
    for (unsigned i = 0; i < FG_COUNT_OF(sizes); i++) {
        begin();
        CHECK(fg_ring_put(r, in, make(1, 64)));
        word(0, sizes[i], FG_RECORD_CALL);
        broken();
    }
    begin(); /* a record that runs over the end of the ring */
    r->head = FG_RING_BYTES - 16;
    r->tail = r->head + 64;
    word(FG_RING_BYTES - 16, 64, FG_RECORD_CALL);
    broken();
    begin(); /* one that is larger than what it is to be copied to */
    CHECK(fg_ring_put(r, in, make(1, 64)));
    CHECK_EQ(fg_ring_take(r, out, 56), -1);
    CHECK_EQ(fg_ring_take(r, out, 64), 64);
    for (uint64_t tail = 1; tail < 8; tail++) { /* the producer's own position, seven bytes before the end */
        begin();
        r->head = FG_RING_BYTES - 16;
        r->tail = FG_RING_BYTES - 8 + tail;
        CHECK(!fg_ring_put(r, in, make(1, 64)));
    }
}

/* Otherwise a producer could keep a consumer busy with nothing. */
static void only_the_end_is_skipped(void) {
    begin();
    word(0, 8, FG_RECORD_PAD);
    r->tail = 8;
    broken();
    begin();
    word(FG_RING_BYTES / 2, 8, FG_RECORD_PAD);
    r->head = FG_RING_BYTES / 2;
    r->tail = r->head + 8;
    broken();
    begin(); /* a whole ring that skips itself */
    word(0, FG_RING_BYTES, FG_RECORD_PAD);
    r->tail = FG_RING_BYTES;
    broken();
    begin();
    word(FG_RING_BYTES - 8, 8, FG_RECORD_PAD);
    word(0, FG_RING_BYTES, FG_RECORD_PAD);
    r->head = FG_RING_BYTES - 8;
    r->tail = r->head + FG_RING_BYTES;
    broken();
    CHECK_EQ(r->head, FG_RING_BYTES);
}

static void a_sleeper_is_woken_once(void) {
    begin();
    CHECK(!fg_ring_must_wake(r));
    CHECK(fg_ring_sleep(r));
    CHECK(fg_ring_put(r, in, make(1, 8)));
    CHECK(fg_ring_must_wake(r));
    CHECK(!fg_ring_must_wake(r));
    CHECK(!fg_ring_sleep(r)); /* there is something */
    CHECK(!fg_ring_must_wake(r));
}

/* --- two threads -------------------------------------------------------------------------------------------------------------- */

static int woken;
static uint32_t taken, slept;

static void *consume(void *arg) {
    uint32_t records = *(uint32_t *)arg;
    static _Alignas(8) uint8_t record[FG_RECORD_MAX];
    for (uint32_t n = 0; n < records;) {
        int64_t size = fg_ring_take(r, record, sizeof record);
        CHECK(size >= 0);
        if (size) {
            uint64_t number;
            memcpy(&number, record + 8, 8);
            CHECK_EQ(number, n);
            for (int64_t i = 16; i < size; i++)
                CHECK_EQ(record[i], n & 0xff);
            n++;
            __atomic_store_n(&taken, n, __ATOMIC_RELEASE);
        } else if (fg_ring_sleep(r)) {
            struct pollfd fd = {.fd = woken, .events = POLLIN};
            uint64_t wakes;
            CHECK_EQ(poll(&fd, 1, PATIENCE_MS), 1); /* else the wake was lost */
            CHECK_EQ(read(woken, &wakes, sizeof wakes), sizeof wakes);
            slept++;
        }
    }
    return NULL;
}

static void nothing_is_lost_between_two_threads(void) {
    enum { RECORDS = 100000 };
    pthread_t consumer;
    uint32_t records = RECORDS;
    begin();
    woken = eventfd(0, EFD_CLOEXEC);
    CHECK_EQ(pthread_create(&consumer, NULL, consume, &records), 0);
    for (uint32_t n = 0; n < RECORDS; n++) {
        uint32_t size = make(n, n % 1000 == 0 ? FG_RECORD_MAX : 16 + n % 61 * 8);
        while (!fg_ring_put(r, in, size))
            sched_yield();
        if (fg_ring_must_wake(r))
            CHECK_EQ(write(woken, &(uint64_t){1}, 8), 8);
        if (n % 8 < 2) /* who has nothing left goes to sleep, while the next record comes */
            while (__atomic_load_n(&taken, __ATOMIC_ACQUIRE) <= n)
                sched_yield();
    }
    pthread_join(consumer, NULL);
    CHECK(slept > RECORDS / 1000);
    CHECK(fg_ring_empty(r));
    close(woken);
}

int main(void) {
    RUN(records_come_out_as_they_went_in);
    RUN(a_full_ring_refuses_and_stays);
    RUN(what_is_left_at_the_end_is_skipped);
    RUN(scribbled_numbers_are_seen);
    RUN(only_the_end_is_skipped);
    RUN(a_sleeper_is_woken_once);
    RUN(nothing_is_lost_between_two_threads);
    free(r);
    return 0;
}
