/* The ring of the access log between the loop's thread and the writer's: lines arrive whole, in order and without being asked for
 * again; what finds no room is counted. Run under ThreadSanitizer, too. */
#include <poll.h>

/* A writer that does not rest falls asleep behind every line, so that a test meets the moment in which it does. */
static unsigned sleeps;

static int poll_without_rest(struct pollfd *fds, nfds_t n, int ms) {
    __atomic_add_fetch(&sleeps, ms < 0, __ATOMIC_RELAXED);
    return poll(fds, n, ms < 0 ? ms : 0);
}

#define poll poll_without_rest
#include "fg_log.c"
#undef poll

#include "fg_host.h"
#include "fg_scene.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

enum { PAD = 300, SECONDS = 20 };

static int read_fd, write_fd;
static uint8_t got[2 * RING];
static size_t got_at, got_len; /* a window on it: what was read and not yet taken */

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void open_log(void) {
    static char template[PAD + 40];
    int fds[2];
    scene_begin();
    snprintf(template, sizeof template, "{bytes_sent} %0*d", PAD, 0);
    sockets[0].log_format = scene_text(template);
    req->log = FG_LOG_TEXT;
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    read_fd = fds[0];
    write_fd = fds[1];
    got_at = got_len = 0;
    engine.log = fg_log_new(&engine, write_fd);
    CHECK(engine.log != NULL);
}

static void close_log(void) {
    fg_log_free(engine.log);
    engine.log = NULL;
    close(read_fd);
}

static void put(uint64_t number) {
    req->sent = number;
    fg_log_exchange(req, 0);
}

static void read_more(void) {
    if (got_at > RING) {
        memmove(got, got + got_at, got_len);
        got_at = 0;
    }
    CHECK_EQ(poll(&(struct pollfd){read_fd, POLLIN, 0}, 1, SECONDS * 1000), 1);
    ssize_t n = read(read_fd, got + got_at + got_len, sizeof got - got_at - got_len);
    CHECK(n > 0);
    got_len += (size_t)n;
}

/* The number of the next line, which must be as whole as it was put. */
static uint64_t take(void) {
    uint8_t *end;
    while ((end = memchr(got + got_at, '\n', got_len)) == NULL)
        read_more();
    char *rest;
    uint64_t number = strtoull((char *)got + got_at, &rest, 10);
    CHECK_EQ(end - (uint8_t *)rest, PAD + 1);
    for (uint8_t *p = (uint8_t *)rest + 1; p < end; p++)
        CHECK_EQ(*p, '0');
    size_t n = (size_t)(end + 1 - (got + got_at));
    got_at += n;
    got_len -= n;
    return number;
}

static void a_full_ring_drops_and_counts(void) {
    open_log();
    uint64_t n = 0;
    while (slab.c.log_dropped == 0) { /* nobody reads: the pipe fills, the writer blocks, the ring fills */
        put(n++);
        fg_log_kick(engine.log);
    }
    put(n++);
    CHECK_EQ(slab.c.log_lines + slab.c.log_dropped, n);
    CHECK(RING - (engine.log->head - __atomic_load_n(&engine.log->tail, __ATOMIC_ACQUIRE)) < 2 * PAD);
    uint64_t kept = slab.c.log_lines, last = 0;
    for (uint64_t i = 0; i < kept; i++) {
        uint64_t number = take();
        CHECK(i == 0 || number > last); /* some are missing behind the first drop, none is out of order */
        last = number;
    }
    put(n); /* there is room again */
    fg_log_kick(engine.log);
    CHECK_EQ(take(), n);
    close_log();
}

static void *take_in_order(void *arg) {
    for (uint64_t i = 0, lines = *(uint64_t *)arg; i < lines; i++)
        CHECK_EQ(take(), i);
    return NULL;
}

static void the_ring_goes_round(void) {
    uint64_t lines = 3 * RING / PAD;
    pthread_t reader;
    open_log();
    CHECK_EQ(pthread_create(&reader, NULL, take_in_order, &lines), 0);
    for (uint64_t i = 0; i < lines; i++) {
        uint64_t until = now_us() + SECONDS * 1000000ull;
        do { /* one that was dropped is put again */
            CHECK(now_us() < until);
            slab.c.log_dropped = 0;
            put(i);
            fg_log_kick(engine.log);
            if (slab.c.log_dropped)
                sched_yield();
        } while (slab.c.log_dropped);
    }
    pthread_join(reader, NULL);
    CHECK_EQ(slab.c.log_lines, lines);
    CHECK(engine.log->head > 2ull * RING);
    close_log();
}

/* Lines are put at every moment around the one in which the writer falls asleep: a kick that is lost would leave the last of them
 * there. */
static void no_line_waits_for_the_next(void) {
    uint64_t put_so_far = 0, taken = 0;
    open_log();
    for (int round = 0; round < 10000; round++) {
        for (uint64_t n = 1 + fg_test_random() % 4; n; n--) {
            put(put_so_far++);
            fg_log_kick(engine.log);
            for (volatile uint64_t spin = fg_test_random() % (1u << fg_test_random() % 17); spin; spin--)
                ;
        }
        while (taken < put_so_far) {
            CHECK_EQ(take(), taken);
            taken++;
        }
    }
    close_log();
}

static bool is_woken(const struct fg_log *log) {
    uint64_t n;
    return read(log->wake_fd, &n, sizeof n) == sizeof n;
}

/* The two halves of the handshake, one after the other: whichever thread comes second sees what the first did. */
static void either_the_writer_sees_the_line_or_the_loop_sees_it_asleep(void) {
    static struct fg_log log;
    log = (struct fg_log){.fd = -1, .next_fd = -1, .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    log.head = 1; /* put after the writer's last look, kicked while it was busy */
    fg_log_kick(&log);
    CHECK(!is_woken(&log));
    unsigned before = sleeps;
    wait_for_kick(&log, ASLEEP, -1);
    CHECK_EQ(sleeps, before);

    static const struct { enum writer_state state; uint64_t more; bool wakes; } cases[] = {
        {BUSY, 1, false}, {RESTING, 1, false}, {RESTING, RING / 2, true}, {ASLEEP, 1, true}, {ASLEEP, 0, false}};
    for (unsigned i = 0; i < FG_COUNT_OF(cases); i++) {
        log.tail = log.kicked = log.head;
        log.head += cases[i].more + (cases[i].more > 1);
        log.state = cases[i].state;
        fg_log_kick(&log);
        CHECK_EQ(is_woken(&log), cases[i].wakes);
    }
    close(log.wake_fd);
}

/* Nobody reads from the sink: what it has no room for is counted, what it has is whole lines, and the log misses none of them. */
static void a_full_sink_drops_and_holds_up_nothing(void) {
    enum { LINES = 2000 };
    static char message[SINK_MESSAGE];
    uint64_t counted = 0, dropped;
    int ends[2];
    open_log();
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    fg_log_sink(engine.log, ends[1]);
    while (__atomic_load_n(&engine.log->next_sink_fd, __ATOMIC_ACQUIRE) >= 0)
        sched_yield(); /* the writer has it before it looks for lines */
    for (uint64_t i = 0; i < LINES; i++) {
        put(i);
        fg_log_kick(engine.log);
        CHECK_EQ(take(), i);
    }
    CHECK_EQ(slab.c.log_dropped, 0);
    dropped = __atomic_load_n(&slab.c.log_sink_dropped, __ATOMIC_RELAXED);
    CHECK(dropped > 0);
    ssize_t n;
    while ((n = recv(ends[0], message, sizeof message, MSG_DONTWAIT)) > 0) {
        CHECK_EQ(message[n - 1], '\n');
        for (ssize_t i = 0; i < n; i++)
            counted += message[i] == '\n';
    }
    CHECK_EQ(counted + dropped, LINES);
    close(ends[0]);
    put(1); /* a sink that is gone is nothing to the log */
    fg_log_kick(engine.log);
    CHECK_EQ(take(), 1);
    close_log();
}

static void lines_after_a_reopen_go_to_the_new_file(void) {
    int fds[2];
    open_log();
    put(1);
    fg_log_kick(engine.log);
    CHECK_EQ(take(), 1);
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    fg_log_reopen(engine.log, fds[1]);
    uint8_t byte;
    CHECK_EQ(read(read_fd, &byte, 1), 0); /* the old one is closed, without a line being there */
    close(read_fd);
    read_fd = fds[0];
    put(2);
    fg_log_kick(engine.log);
    CHECK_EQ(take(), 2);
    close_log();
}

/* What was put is written before the log ends. */
static void the_end_waits_for_what_is_owed(void) {
    open_log();
    for (uint64_t i = 0; i < 50; i++)
        put(i); /* without a kick */
    fg_log_free(engine.log);
    engine.log = NULL;
    for (uint64_t i = 0; i < 50; i++)
        CHECK_EQ(take(), i);
    uint8_t byte;
    CHECK_EQ(read(read_fd, &byte, 1), 0);
    close(read_fd);
}

static void a_line_that_is_too_long_is_dropped(void) {
    open_log();
    CHECK_EQ(fg_buf_reserve(&engine.pool, &down.in, FG_BUF_HUGE), 0);
    memset(down.in.p, 'a', LINE_MAX_BYTES);
    sockets[0].log_format = scene_text("{method}");
    req->head.method = (struct fg_span){0, LINE_MAX_BYTES - 1};
    put(0);
    CHECK_EQ(slab.c.log_lines, 1); /* with its line end it just fits */
    req->head.method.len++;
    put(0);
    CHECK_EQ(slab.c.log_lines, 1);
    CHECK_EQ(slab.c.log_dropped, 1);
    close_log();
}

int main(void) {
    RUN(a_full_ring_drops_and_counts);
    RUN(the_ring_goes_round);
    RUN(no_line_waits_for_the_next);
    RUN(either_the_writer_sees_the_line_or_the_loop_sees_it_asleep);
    RUN(a_full_sink_drops_and_holds_up_nothing);
    RUN(lines_after_a_reopen_go_to_the_new_file);
    RUN(the_end_waits_for_what_is_owed);
    RUN(a_line_that_is_too_long_is_dropped);
    scene_end();
    return 0;
}
