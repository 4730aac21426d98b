/* Readiness, order within a turn, reads and writes that do less than asked. */
#include "fg_loop.c"

#include "fg_test.h"

static struct fg_loop loop;
static struct fg_pool pool;

struct end {
    struct fg_io io;
    struct fg_grave grave;
    struct end *closes;
    unsigned ran, freed;
};

static void run(struct fg_io *io) {
    struct end *x = fg_container_of(io, struct end, io);
    x->ran++;
    if (x->closes) {
        fg_loop_close(&loop, &pool, &x->closes->io);
        fg_loop_bury(&loop, &x->closes->grave);
    }
}

static void count_free(struct fg_grave *g) {
    fg_container_of(g, struct end, grave)->freed++;
}

static int watch(struct end *x) { /* returns the other end */
    int fds[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *x = (struct end){.io = {.fd = fds[0], .run = run}, .grave.free = count_free};
    CHECK_EQ(fg_loop_add(&loop, &x->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET), 0);
    return fds[1];
}

static void readiness_stays_until_a_read_did_less_than_asked(void) {
    struct end x;
    struct fg_buf in = {0};
    int peer = watch(&x);
    CHECK_EQ(write(peer, "hello", 5), 5);
    fg_loop_turn(&loop, 1000);
    CHECK(x.io.readable && x.io.writable && !x.io.rdhup);
    CHECK_EQ(fg_io_read(&x.io, &in), -1); /* no room */
    fg_buf_reserve(&pool, &in, 1);
    in.end = in.start = in.cap - 5;
    CHECK_EQ(fg_io_read(&x.io, &in), 5);
    CHECK(x.io.readable && in.filled); /* there may be more */
    in.end = in.start = 0;
    CHECK_EQ(fg_io_read(&x.io, &in), -1);
    CHECK(!x.io.readable);
    CHECK_EQ(write(peer, "hi", 2), 2);
    shutdown(peer, SHUT_WR);
    fg_loop_turn(&loop, 1000);
    CHECK(x.io.rdhup && !x.io.hup);
    CHECK_EQ(fg_io_read(&x.io, &in), 2);
    CHECK(x.io.readable); /* the end is still to be read */
    CHECK_EQ(fg_io_read(&x.io, &in), 0);
    fg_buf_release(&pool, &in);
    fg_loop_close(&loop, &pool, &x.io);
    close(peer);
}

static void a_connection_closed_in_a_turn_is_not_run_and_is_freed_behind_it(void) {
    struct end a, b;
    int peers[2] = {watch(&a), watch(&b)};
    a.closes = &b;
    b.closes = &a;
    fg_loop_turn(&loop, 1000); /* both are writable: the first one closes the other */
    CHECK_EQ(a.ran + b.ran, 1);
    CHECK_EQ(a.freed + b.freed, 1);
    struct end *left = a.ran ? &a : &b;
    left->closes = NULL;
    fg_loop_again(&loop, &left->io);
    fg_loop_again(&loop, &left->io); /* once is enough */
    fg_loop_turn(&loop, 1000);
    CHECK_EQ(left->ran, 2);
    fg_loop_again(&loop, &left->io);
    fg_loop_close(&loop, &pool, &left->io);
    CHECK(loop.ready == NULL);
    fg_loop_turn(&loop, 0);
    CHECK_EQ(left->ran, 2);
    close(peers[0]);
    close(peers[1]);
}

static void what_is_owed_goes_first(void) {
    struct end x;
    int peer = watch(&x), size = 4096;
    static uint8_t data[64 * 1024], got[1024 * 1024];
    size_t wanted = 0, read_so_far = 0;
    setsockopt(x.io.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 ^ i >> 8);
    x.io.writable = true;
    CHECK_EQ(fg_io_owe(&x.io, &pool, data, 3000), 0);
    CHECK_EQ(fg_io_owe(&x.io, &pool, data + 3000, 10000), 0);
    wanted = 13000;
    while (wanted < sizeof data || fg_buf_len(&x.io.out)) {
        struct iovec iov[2] = {{data + wanted, (sizeof data - wanted) / 2}, {0}};
        iov[1] = (struct iovec){data + wanted + iov[0].iov_len, sizeof data - wanted - iov[0].iov_len};
        uint32_t owed = fg_buf_len(&x.io.out);
        x.io.writable = true;
        ssize_t n = fg_io_writev(&x.io, &pool, iov, 2);
        CHECK(n >= 0);
        CHECK(n == 0 || fg_buf_len(&x.io.out) == 0); /* nothing overtakes */
        CHECK(fg_buf_len(&x.io.out) <= owed);
        wanted += (size_t)n;
        ssize_t r = read(peer, got + read_so_far, sizeof got - read_so_far);
        read_so_far += r > 0 ? (size_t)r : 0;
    }
    for (ssize_t r; (r = read(peer, got + read_so_far, sizeof got - read_so_far)) > 0;)
        read_so_far += (size_t)r;
    CHECK_EQ(read_so_far, sizeof data);
    CHECK_EQ(memcmp(got, data, sizeof data), 0);
    CHECK(x.io.out.p == NULL);
    CHECK_EQ(fg_io_owe(&x.io, &pool, data, FG_BUF_HUGE + 1), -1);
    close(peer);
    struct iovec iov = {data, 1};
    CHECK_EQ(fg_io_writev(&x.io, &pool, &iov, 1), -2);
    fg_loop_close(&loop, &pool, &x.io);
}

int main(void) {
    fg_pool_init(&pool, 0);
    CHECK_EQ(fg_loop_init(&loop), 0);
    RUN(readiness_stays_until_a_read_did_less_than_asked);
    RUN(a_connection_closed_in_a_turn_is_not_run_and_is_freed_behind_it);
    RUN(what_is_owed_goes_first);
    fg_loop_fini(&loop);
    CHECK_EQ(pool.used, 0);
    fg_pool_fini(&pool);
    return 0;
}
