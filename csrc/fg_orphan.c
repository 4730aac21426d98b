/* A worker without a manager: it serves on for the orphan timeout, offers itself to a successor, then drains.
 *
 * The socket that a successor connects to listens from the start, so that the kernel names this process as its peer, and
 * is watched only while there is no manager: connections wait in its queue until then.
 */
#include "fg_control.h"

#include "fg_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { DRAIN_MS = 60000, SEND_SECONDS = 1 };

struct fg_orphan {
    struct fg_io io;        /* the listening UNIX socket; fd -1: nobody can adopt this worker */
    struct fg_timer timer;
    struct fg_engine *e;
    int kept_fd;            /* the last KEEP; -1: none */
};

static void expired(struct fg_timer *t) {
    fg_engine_drain(fg_container_of(t, struct fg_orphan, timer)->e, 0, DRAIN_MS);
}

static bool is_own_user(int fd) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == geteuid();
}

/* Everything that a manager has of its worker; -1 when the successor does not take it. */
static int offer(struct fg_orphan *o, int fd) {
    struct fg_engine *e = o->e;
    struct fg_control_message m = fg_control_hello(e);
    if (fg_control_send(fd, &m, &e->o.stats_fd, 1) < 0)
        return -1;
    for (struct fg_list *at = e->listens.next; at != &e->listens; at = at->next) {
        struct fg_listen *l = fg_container_of(at, struct fg_listen, all);
        if (l->closing)
            continue;
        m = (struct fg_control_message){.type = FG_CTL_HOLDS, .key = l->key, .slot = l->slot};
        snprintf(m.text, sizeof m.text, "%s", l->name);
        if (fg_control_send(fd, &m, (const int[]){l->io.fd, l->lock_fd}, 2) < 0)
            return -1;
    }
    m = (struct fg_control_message){.type = FG_CTL_KEPT};
    if (o->kept_fd >= 0 && fg_control_send(fd, &m, &o->kept_fd, 1) < 0)
        return -1;
    m = (struct fg_control_message){.type = FG_CTL_ADOPTED, .key = e->stats->c.generation, .a = e->stats->c.endpoints_version,
        .b = e->draining != 0};
    return fg_control_send(fd, &m, NULL, 0);
}

static void successor(struct fg_io *io) {
    struct fg_orphan *o = fg_container_of(io, struct fg_orphan, io);
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct timeval patience = {.tv_sec = SEND_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (!is_own_user(fd) || offer(o, fd) < 0 || fg_control_attach(o->e->control, fd) < 0) {
        close(fd);
        return;
    }
    fg_health_report(o->e);
    fg_loop_remove(&o->e->loop, io);
    fg_timer_clear(&o->timer);
}

void fg_orphan_begin(struct fg_orphan *o) {
    struct fg_engine *e = o->e;
    if (e->o.orphan_timeout == 0) {
        e->loop.stop = true;
        return;
    }
    fg_timer_at(&e->loop.wheel, &o->timer, fg_now_ms(&e->loop) + e->o.orphan_timeout);
    if (o->io.fd >= 0)
        fg_loop_add(&e->loop, &o->io, EPOLLIN);
}

void fg_orphan_keep(struct fg_orphan *o, int fd) {
    if (o->kept_fd >= 0)
        close(o->kept_fd);
    o->kept_fd = fd;
}

struct fg_orphan *fg_orphan_new(struct fg_engine *e, int fd) {
    struct fg_orphan *o = calloc(1, sizeof *o);
    if (o == NULL || (fd >= 0 && listen(fd, 1) < 0)) {
        if (fd >= 0)
            close(fd);
        free(o);
        return NULL;
    }
    o->e = e;
    o->io.fd = fd;
    o->io.run = successor;
    o->timer.fire = expired;
    o->kept_fd = -1;
    return o;
}

void fg_orphan_free(struct fg_orphan *o) {
    fg_timer_stop(&o->e->loop.wheel, &o->timer);
    fg_orphan_keep(o, -1);
    if (o->io.fd >= 0)
        close(o->io.fd);
    free(o);
}
