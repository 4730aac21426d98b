#include "fg_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_PER_TURN = 256, OUT_VECTORS = 8 };

static uint64_t clock_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int fg_loop_init(struct fg_loop *loop) {
    memset(loop, 0, sizeof *loop);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->now_ns = clock_ns();
    fg_wheel_init(&loop->wheel, fg_now_ms(loop));
    return loop->epoll_fd < 0 ? -1 : 0;
}

static void dig_graves(struct fg_loop *loop) {
    while (loop->graves) {
        struct fg_grave *g = loop->graves;
        loop->graves = g->next;
        g->free(g);
    }
}

void fg_loop_fini(struct fg_loop *loop) {
    dig_graves(loop);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    loop->epoll_fd = -1;
}

static void run_ready(struct fg_io *list) {
    while (list) {
        struct fg_io *io = list;
        list = io->next;
        io->queued = false;
        if (io->fd >= 0)
            io->run(io);
    }
}

void fg_loop_turn(struct fg_loop *loop, int at_most_ms) {
    struct epoll_event events[EVENTS_PER_TURN];
    int wait = loop->ready ? 0 : fg_wheel_wait(&loop->wheel, at_most_ms);
    int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, wait);
    loop->now_ns = clock_ns();
    uint64_t began = loop->now_ns;
    struct fg_io *ready = loop->ready;
    loop->ready = NULL;
    for (int i = 0; i < n; i++) {
        struct fg_io *io = events[i].data.ptr;
        uint32_t e = events[i].events;
        io->readable |= (e & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        io->writable |= (e & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
        io->rdhup |= (e & EPOLLRDHUP) != 0;
        io->hup |= (e & (EPOLLHUP | EPOLLERR)) != 0;
    }
    for (int i = 0; i < n; i++) {
        struct fg_io *io = events[i].data.ptr;
        if (io->fd >= 0 && !io->queued)
            io->run(io);
    }
    run_ready(ready);
    fg_wheel_run(&loop->wheel, fg_now_ms(loop));
    dig_graves(loop);
    loop->turns++;
    uint64_t took = clock_ns() - began;
    loop->slow_turns += took > 2000000;
    if (took > loop->longest_turn_ns)
        loop->longest_turn_ns = took;
}

int fg_loop_add(struct fg_loop *loop, struct fg_io *io, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = io};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, io->fd, &ev);
}

void fg_loop_remove(struct fg_loop *loop, struct fg_io *io) {
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
}

void fg_loop_close(struct fg_loop *loop, struct fg_pool *pool, struct fg_io *io) {
    fg_buf_release(pool, &io->out);
    if (io->tls)
        fg_tls_free(io);
    if (io->fd >= 0)
        close(io->fd); /* the only descriptor of its description: epoll forgets it */
    io->fd = -1;
    for (struct fg_io **at = &loop->ready; io->queued && *at; at = &(*at)->next) {
        if (*at == io) {
            *at = io->next;
            break;
        }
    }
}

void fg_loop_again(struct fg_loop *loop, struct fg_io *io) {
    if (io->queued)
        return;
    io->queued = true;
    io->next = loop->ready;
    loop->ready = io;
}

void fg_loop_bury(struct fg_loop *loop, struct fg_grave *g) {
    g->next = loop->graves;
    loop->graves = g;
}

ssize_t fg_io_read(struct fg_io *io, struct fg_buf *in) {
    size_t room = fg_buf_room(in);
    if (!io->readable || room == 0)
        return -1;
    if (io->layer)
        return io->layer->read(io, in);
    ssize_t n;
    do
        n = recv(io->fd, in->p + in->end, room, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        in->end += (uint32_t)n;
        in->filled = (size_t)n == room;
        if ((size_t)n < room && !io->rdhup && !io->hup)
            io->readable = false;
        return n;
    }
    if (n == 0)
        return 0;
    io->readable = false;
    return errno == EAGAIN ? -1 : -2;
}

bool fg_io_quiet(struct fg_io *io) {
    uint8_t byte;
    if (!io->readable)
        return true;
    if (io->tls)
        return fg_tls_quiet(io);
    if (recv(io->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN)
        return false;
    io->readable = false;
    return true;
}

ssize_t fg_io_send(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n) {
    struct iovec all[OUT_VECTORS + 1];
    size_t owed = fg_buf_len(&io->out), want = owed;
    int count = 0;
    if (owed)
        all[count++] = (struct iovec){fg_buf_data(&io->out), owed};
    for (int i = 0; i < n; i++) {
        all[count++] = iov[i];
        want += iov[i].iov_len;
    }
    if (!io->writable || want == 0)
        return 0;
    struct msghdr msg = {.msg_iov = all, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do
        sent = sendmsg(io->fd, &msg, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        io->writable = false;
        return errno == EAGAIN ? 0 : -2;
    }
    if ((size_t)sent < want)
        io->writable = false;
    if (owed) {
        uint32_t of_owed = (size_t)sent < owed ? (uint32_t)sent : (uint32_t)owed;
        fg_buf_consume(&io->out, of_owed);
        if (fg_buf_len(&io->out) == 0) {
            fg_buf_release(pool, &io->out);
            if (io->fin)
                shutdown(io->fd, SHUT_WR);
        }
        sent -= of_owed;
    }
    return sent;
}

ssize_t fg_io_writev(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n) {
    return io->layer ? io->layer->writev(io, pool, iov, n) : fg_io_send(io, pool, iov, n);
}

int fg_io_owe(struct fg_io *io, struct fg_pool *pool, const void *p, size_t len) {
    return io->layer ? io->layer->owe(io, p, len) : fg_buf_append(pool, &io->out, p, len);
}

void fg_io_shutdown(struct fg_io *io) {
    if (io->fin)
        return;
    if (io->tls)
        fg_tls_shutdown(io);
    io->fin = true;
    if (fg_buf_len(&io->out) == 0)
        shutdown(io->fd, SHUT_WR);
}
