/* The event loop: epoll, a list of sockets that have work left, a timer wheel, and memory that is freed between turns.
 *
 * One turn: wait; note the readiness of every socket that epoll reports; then run each socket once; then those on the
 * ready list of the turn before; then timers; then free what was closed. Because readiness is noted for all before any
 * handler runs, a handler sees that an idle connection, which it wants to reuse, was closed by its peer.
 *
 * Connections are edge-triggered: `readable` and `writable` stay set until a call returned EAGAIN or did less than asked.
 */
#ifndef FG_LOOP_H
#define FG_LOOP_H

#include "fg_buf.h"
#include "fg_timer.h"

#include <errno.h>
#include <sys/uio.h>

struct fg_loop;
struct fg_io;

/* What stands between a socket and those who read and write: TLS, or a session whose stream this is. Each as the fg_io_* of its
 * name. */
struct fg_layer {
    ssize_t (*read)(struct fg_io *io, struct fg_buf *in);
    ssize_t (*writev)(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n);
    int (*owe)(struct fg_io *io, const void *p, size_t len);
};

struct fg_io {
    int fd;                        /* -1: closed */
    bool readable, writable;
    bool rdhup;                    /* the peer sent FIN, or was found to have ended its TLS: read on until 0 is read */
    bool hup;                      /* both directions are gone, or an error is pending */
    bool queued;                   /* on the ready list */
    bool fin;                      /* the write side is shut, or will be behind `out` */
    void (*run)(struct fg_io *io); /* something became ready, or the ready list reached it */
    struct fg_io *next;            /* ready list */
    struct fg_buf out;             /* bytes that are owed to the peer before any other */
    const struct fg_layer *layer;  /* NULL: the bytes of the socket are those that are meant */
    struct fg_tls *tls;            /* fg_tls.h; NULL: it has none of its own */
};

/* Did a call fail because this process or machine is short of something, and not because of its peer? */
static inline bool fg_is_shortage(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == ENOSPC;
}

/* What is freed between two turns, because handlers of this turn may still look at it. */
struct fg_grave {
    struct fg_grave *next;
    void (*free)(struct fg_grave *g);
};

struct fg_loop {
    int epoll_fd;
    bool stop;
    uint64_t now_ns;               /* CLOCK_MONOTONIC at the start of this turn */
    struct fg_wheel wheel;
    struct fg_io *ready;           /* run in the next turn */
    struct fg_grave *graves;
    uint64_t turns;
    uint64_t slow_turns;           /* turns whose work took more than 2 ms */
    uint64_t longest_turn_ns;
};

int fg_loop_init(struct fg_loop *loop);
void fg_loop_fini(struct fg_loop *loop);
void fg_loop_turn(struct fg_loop *loop, int at_most_ms);

/* `events`: EPOLLIN, EPOLLOUT, ... with EPOLLET for connections. The io must outlive the turn in which it is closed. */
int fg_loop_add(struct fg_loop *loop, struct fg_io *io, uint32_t events);
void fg_loop_remove(struct fg_loop *loop, struct fg_io *io);
void fg_loop_close(struct fg_loop *loop, struct fg_pool *pool, struct fg_io *io);
void fg_loop_again(struct fg_loop *loop, struct fg_io *io); /* puts it on the ready list */
void fg_loop_bury(struct fg_loop *loop, struct fg_grave *g);

/* Reads once into the buffer's room. > 0 bytes; 0 end of stream; -1 nothing there now, or no room; -2 failed (errno). */
ssize_t fg_io_read(struct fg_io *io, struct fg_buf *in);

/* Writes io->out, then the vectors, in one call. Returns bytes of the *vectors* that were taken, or -2 on failure. When
 * io->out could not be written whole, nothing of the vectors was. */
ssize_t fg_io_writev(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n);

/* Owes the peer a copy of these bytes. 0 or -1 (no memory, or more than FG_BUF_HUGE owed). */
int fg_io_owe(struct fg_io *io, struct fg_pool *pool, const void *p, size_t len);

/* Shuts the write side behind what is owed; of TLS with a close_notify. Once is enough. */
void fg_io_shutdown(struct fg_io *io);

/* Is there nothing to be read, neither bytes nor an end? What TLS has to say to itself is read. */
bool fg_io_quiet(struct fg_io *io);

/* fg_io_writev below TLS. */
ssize_t fg_io_send(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n);

static inline uint64_t fg_now_ms(const struct fg_loop *loop) {
    return loop->now_ns / 1000000;
}

#endif
