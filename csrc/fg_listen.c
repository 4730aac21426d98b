/* Listening sockets: level-triggered; accepting pauses when a limit is reached or descriptors or memory run out,
 * and a timer resumes it. Those for datagrams are fg_udp.c's from LISTEN on. */
#include "fg_worker.h"

#include <fcntl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64, PAUSE_MS = 100 };

static void listen_free(struct fg_grave *g) {
    struct fg_listen *l = fg_container_of(g, struct fg_listen, grave);
    free(l->udp);
    free(l);
}

static void watch_for(struct fg_listen *l, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = &l->io};
    if (!l->closing && l->socket >= 0)
        epoll_ctl(l->e->loop.epoll_fd, EPOLL_CTL_MOD, l->io.fd, &ev);
}

static void resume(struct fg_timer *t) {
    watch_for(fg_container_of(t, struct fg_listen, resume), EPOLLIN);
}

/* This socket only: a limit of its own is no matter of the others, and what all are short of each finds out itself. */
static void pause_accepting(struct fg_listen *l) {
    struct fg_engine *e = l->e;
    e->stats->c.accept_errors++;
    watch_for(l, 0);
    fg_timer_at(&e->loop.wheel, &l->resume, fg_now_ms(&e->loop) + PAUSE_MS);
}

static bool full(struct fg_listen *l) {
    struct fg_engine *e = l->e;
    uint32_t own = 0;
    if (e->gen && l->socket >= 0)
        own = fg_share(e, e->gen->image.sockets[l->socket].limits.connections);
    return (own && l->connections >= own) || e->stats->c.connections_open >= e->max_connections || fg_pool_full(&e->pool);
}

enum accepted { QUEUE_EMPTY, QUEUE_LEFT, CANNOT_ACCEPT };

static enum accepted accept_some(struct fg_listen *l, int most) {
    while (most-- > 0) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        if (full(l)) { /* the others wait in the queue */
            pause_accepting(l);
            return CANNOT_ACCEPT;
        }
        int fd = accept4(l->io.fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            fg_down_accept(l, fd, &peer);
        else if (errno == EAGAIN)
            return QUEUE_EMPTY;
        else if (fg_is_shortage(errno)) {
            pause_accepting(l);
            return CANNOT_ACCEPT;
        }
    }
    return QUEUE_LEFT;
}

static void listen_run(struct fg_io *io) {
    accept_some(fg_container_of(io, struct fg_listen, io), ACCEPTS_PER_TURN);
}

static int socket_of(const struct fg_engine *e, uint64_t key) {
    for (uint32_t i = 0; e->gen && i < e->gen->image.nsockets; i++)
        if (e->gen->image.sockets[i].key == key)
            return (int)i;
    return -1;
}

static void resolve(struct fg_listen *l) {
    l->socket = socket_of(l->e, l->key);
    if (l->udp)
        fg_udp_resolve(l);
}

/* A socket that the image does not know yet lets its connections wait in the queue. */
static void watch(struct fg_listen *l) {
    if (l->socket >= 0)
        fg_loop_add(&l->e->loop, &l->io, EPOLLIN);
}

static void learn_bound(struct fg_listen *l) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (getsockname(l->io.fd, (struct sockaddr *)&sa, &len) == 0)
        fg_address_read(&l->bound, &sa);
}

int fg_listen_add(struct fg_engine *e, uint64_t key, uint32_t slot, int fd, int lock_fd, const char *name) {
    struct fg_listen *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -1;
    int type = SOCK_STREAM;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type});
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); /* of the open file: whoever made it may have left it blocking */
    if (type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* accepted sockets inherit it */
    l->lock_fd = lock_fd;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->e = e;
    l->io.fd = fd;
    learn_bound(l);
    l->io.run = listen_run;
    l->grave.free = listen_free;
    l->resume.fire = resume;
    l->key = key;
    l->slot = slot;
    if (type == SOCK_DGRAM && !fg_udp_add_listener(l)) {
        free(l);
        return -1;
    }
    fg_list_push(&e->listens, &l->all);
    resolve(l);
    watch(l);
    return 0;
}

void fg_listen_close(struct fg_listen *l) {
    l->closing = true;
    fg_timer_stop(&l->e->loop.wheel, &l->resume);
    fg_loop_remove(&l->e->loop, &l->io); /* the manager still holds the open file: epoll would keep reporting it */
    fg_loop_close(&l->e->loop, &l->e->pool, &l->io);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    l->lock_fd = -1;
    if (l->connections == 0)
        fg_listen_bury(l);
}

static void close_tcp(struct fg_listen *l) {
    while (accept_some(l, ACCEPTS_PER_TURN) == QUEUE_LEFT) /* also what the image knows no more: it gets an answer */
        ;
    fg_listen_close(l);
}

void fg_listen_bury(struct fg_listen *l) {
    fg_list_remove(&l->all);
    fg_loop_bury(&l->e->loop, &l->grave);
}

bool fg_listen_remove(struct fg_engine *e, uint64_t key, uint32_t slot) {
    for (struct fg_list *at = e->listens.next; at != &e->listens; at = at->next) {
        struct fg_listen *l = fg_container_of(at, struct fg_listen, all);
        if (l->key == key && l->slot == slot && !l->closing) {
            l->udp ? fg_udp_remove(l) : close_tcp(l);
            return true;
        }
    }
    return false;
}

void fg_listen_close_all(struct fg_engine *e) {
    for (struct fg_list *at = e->listens.next, *next; at != &e->listens; at = next) {
        struct fg_listen *l = fg_container_of(at, struct fg_listen, all);
        next = at->next;
        if (!l->closing)
            l->udp ? fg_udp_drain(l) : close_tcp(l);
    }
}

void fg_listen_resolve(struct fg_engine *e) {
    for (struct fg_list *at = e->listens.next; at != &e->listens; at = at->next) {
        struct fg_listen *l = fg_container_of(at, struct fg_listen, all);
        bool known = l->socket >= 0;
        resolve(l);
        if (l->closing)
            continue;
        if (!known)
            watch(l);
        else if (l->socket < 0)
            fg_loop_remove(&e->loop, &l->io);
    }
}
