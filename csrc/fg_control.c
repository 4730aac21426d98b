/* The worker's end of the control socket (fg_control.h): every message is answered; what builds runs on a helper thread. */
#include "fg_control.h"

#include "fg_filter.h"
#include "fg_tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* One image on its way: opened by the helper thread, handed back through an eventfd. */
struct job {
    struct fg_engine *e;
    struct fg_generation *gen;
    struct fg_tls_set *base; /* what contexts are taken from */
    uint64_t number;
    int fd, secrets_fd, done_fd;
    int result;
    bool unwanted; /* nobody waits for it any more */
    char why[sizeof ((struct fg_control_message *)0)->text];
};

struct fg_control {
    struct fg_io io;      /* the socket */
    struct fg_io done;    /* the helper's eventfd */
    struct fg_engine *e;
    pthread_t thread;
    struct job *job;      /* being built */
    uint64_t next_number; /* what is built after it */
    int next_fd, next_secrets_fd; /* -1: nothing */
    struct fg_generation *prepared;
    uint64_t prepared_number;
};

int fg_control_send(int fd, const struct fg_control_message *m, const int *fds, int nfds) {
    union { struct cmsghdr align; char space[CMSG_SPACE(FG_CONTROL_FDS * sizeof(int))]; } control = {0};
    struct iovec iov = {(void *)m, sizeof *m};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int given[FG_CONTROL_FDS], n = 0;
    for (int i = 0; i < nfds; i++)
        if (fds[i] >= 0)
            given[n++] = fds[i];
    if (n) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN((size_t)n * sizeof(int))};
        memcpy(CMSG_DATA(c), given, (size_t)n * sizeof(int));
    }
    return sendmsg(fd, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof *m ? 0 : -1;
}

static void answer(struct fg_control *c, uint32_t type, uint64_t key, const char *text) {
    struct fg_control_message m = {.type = type, .key = key};
    if (c->io.fd < 0)
        return;
    if (text)
        snprintf(m.text, sizeof m.text, "%s", text);
    (void)fg_control_send(c->io.fd, &m, NULL, 0); /* a manager that is gone is noticed by the read */
}

static void answer_slot(struct fg_control *c, uint32_t type, const struct fg_control_message *to, const char *text) {
    struct fg_control_message m = {.type = type, .key = to->key, .slot = to->slot};
    snprintf(m.text, sizeof m.text, "%s", text);
    if (c->io.fd >= 0)
        (void)fg_control_send(c->io.fd, &m, NULL, 0);
}

void fg_control_drained(struct fg_engine *e) {
    answer(e->control, FG_CTL_DRAINED, 0, NULL);
}

void fg_control_ended(struct fg_engine *e, uint64_t generation) {
    answer(e->control, FG_CTL_ENDED, generation, NULL);
}

void fg_control_health(struct fg_engine *e, uint64_t key, bool healthy, const char *why) {
    struct fg_control_message m = {.type = FG_CTL_HEALTH_CHANGED, .key = key, .a = healthy};
    snprintf(m.text, sizeof m.text, "%s", why);
    if (e->control->io.fd >= 0)
        (void)fg_control_send(e->control->io.fd, &m, NULL, 0);
}

/* --- images ----------------------------------------------------------------------------------------------------------------- */

static int build_tables(struct job *job) {
    struct fg_generation *gen = job->gen;
    if (fg_filter_prepare(&job->e->f, gen, job->why, sizeof job->why) < 0)
        return -1;
    gen->tls = fg_tls_set_new(job->e->tls, &gen->image, job->secrets_fd, job->base, job->why, sizeof job->why);
    return gen->tls ? 0 : -1;
}

static void *build(void *arg) {
    struct job *job = arg;
    const struct fg_functions *f = &job->e->f;
    job->result = f->open_image(job->fd, &job->gen->image, job->why, sizeof job->why);
    if (job->result == 0 && build_tables(job) < 0) {
        f->close_image(&job->gen->image);
        job->result = -1;
    }
    (void)!write(job->done_fd, &(uint64_t){1}, sizeof(uint64_t));
    return NULL;
}

static void forget_prepared(struct fg_control *c) {
    if (c->prepared)
        fg_generation_unref(c->e, c->prepared);
    c->prepared = NULL;
}

static void prepare(struct fg_control *c, uint64_t number, int fd, int secrets_fd);

static void close_if_open(int fd) {
    if (fd >= 0)
        close(fd);
}

/* What a job needs no more, whatever became of it. */
static void end_job(struct job *job) {
    close(job->fd);
    close_if_open(job->secrets_fd);
    fg_tls_set_unref(job->base);
}

/* Nobody wants what it built. */
static void discard(struct job *job) {
    if (job->result == 0)
        job->e->f.close_image(&job->gen->image);
    fg_tls_set_unref(job->gen->tls);
    fg_filter_discard(&job->e->f, job->gen);
}

static void job_done(struct fg_io *io) {
    struct fg_control *c = fg_container_of(io, struct fg_control, done);
    struct job *job = c->job;
    uint64_t n;
    if (read(io->fd, &n, sizeof n) < 0 || job == NULL)
        return;
    pthread_join(c->thread, NULL);
    c->job = NULL;
    end_job(job);
    if (job->result < 0) {
        discard(job);
        answer(c, FG_CTL_FAILED, job->number, job->why);
    } else if (job->unwanted) {
        discard(job);
    } else {
        job->gen->refs = job->gen->keeps = 1;
        job->gen->number = job->number;
        c->e->stats->c.generations_live++;
        c->prepared = job->gen;
        c->prepared_number = job->number;
        answer(c, FG_CTL_PREPARED, job->number, NULL);
    }
    free(job);
    if (c->next_fd >= 0) {
        int fd = c->next_fd;
        c->next_fd = -1;
        prepare(c, c->next_number, fd, c->next_secrets_fd);
    }
}

static void abort_prepare(struct fg_control *c) {
    forget_prepared(c);
    if (c->job)
        c->job->unwanted = true;
    if (c->next_fd >= 0) {
        close(c->next_fd);
        close_if_open(c->next_secrets_fd);
    }
    c->next_fd = -1;
}

/* Takes the descriptors; `secrets_fd` may be -1. */
static void prepare(struct fg_control *c, uint64_t number, int fd, int secrets_fd) {
    abort_prepare(c);
    if (c->job) { /* the manager gave that one up, or is a successor of who asked for it */
        c->next_number = number;
        c->next_fd = fd;
        c->next_secrets_fd = secrets_fd;
        return;
    }
    struct job *job = calloc(1, sizeof *job);
    struct fg_generation *gen = job ? calloc(1, sizeof *gen) : NULL;
    if (gen) {
        *job = (struct job){.e = c->e, .gen = gen, .number = number, .fd = fd, .secrets_fd = secrets_fd, .done_fd = c->done.fd};
        job->base = fg_tls_set_ref(c->e->gen ? c->e->gen->tls : NULL);
        c->job = job;
        if (pthread_create(&c->thread, NULL, build, job) == 0)
            return;
        c->job = NULL;
        fg_tls_set_unref(job->base);
    }
    free(gen);
    free(job);
    close(fd);
    close_if_open(secrets_fd);
    answer(c, FG_CTL_FAILED, number, "the worker is out of memory");
}

static void commit(struct fg_control *c, uint64_t number) {
    struct fg_engine *e = c->e;
    if (c->prepared == NULL || c->prepared_number != number) {
        answer(c, FG_CTL_FAILED, number, "this generation is not prepared");
        return;
    }
    struct fg_generation *old = e->gen;
    e->gen = c->prepared;
    c->prepared = NULL;
    e->stats->c.generation = number;
    e->usability++;
    fg_listen_resolve(e);
    fg_endpoints_bind(e);
    fg_health_sync(e);
    if (old)
        fg_generation_unref(e, old);
    answer(c, FG_CTL_COMMITTED, number, NULL);
}

static void set_endpoints(struct fg_control *c, uint64_t version, int fd) {
    struct fg_engine *e = c->e;
    char why[200] = "";
    struct fg_endpoints *t = fg_endpoints_load(e, fd, why, sizeof why);
    close(fd);
    if (t == NULL) {
        answer(c, FG_CTL_FAILED, version, why);
        return;
    }
    struct fg_endpoints *old = e->endpoints;
    e->endpoints = t;
    e->stats->c.endpoints_version = version;
    e->usability++;
    fg_endpoints_bind(e);
    fg_health_sync(e);
    fg_endpoints_free(e, old);
    answer(c, FG_CTL_ENDPOINTS_SET, version, NULL);
}

static void set_tickets(struct fg_engine *e, int fd) {
    struct fg_ticket_keys keys;
    if (pread(fd, &keys, sizeof keys, 0) == sizeof keys)
        fg_tls_tickets(e->tls, &keys);
    explicit_bzero(&keys, sizeof keys);
}

/* --- messages --------------------------------------------------------------------------------------------------------------- */

/* Takes what it needs of the descriptors, and sets those to -1. */
static void handle(struct fg_control *c, struct fg_control_message *m, int fds[FG_CONTROL_FDS]) {
    struct fg_engine *e = c->e;
    int fd = fds[0];
    switch (m->type) {
    case FG_CTL_LISTEN:
        m->text[sizeof m->text - 1] = 0;
        if (fd >= 0 && fg_listen_add(e, m->key, m->slot, fd, fds[1], m->text) == 0) {
            fds[0] = fds[1] = -1;
            answer_slot(c, FG_CTL_LISTENING, m, "");
        } else {
            answer_slot(c, FG_CTL_FAILED, m, "the worker cannot take the socket");
        }
        break;
    case FG_CTL_UNLISTEN:
        fg_listen_remove(e, m->key, m->slot);
        answer_slot(c, FG_CTL_UNLISTENED, m, "");
        break;
    case FG_CTL_PREPARE:
        if (fd >= 0) {
            prepare(c, m->key, fd, fds[1]);
            fds[0] = fds[1] = -1;
        }
        break;
    case FG_CTL_COMMIT:
        commit(c, m->key);
        break;
    case FG_CTL_ABORT:
        abort_prepare(c);
        break;
    case FG_CTL_ENDPOINTS:
        if (fd >= 0)
            set_endpoints(c, m->key, fd);
        fds[0] = -1;
        break;
    case FG_CTL_LOG:
        fg_log_reopen(e->log, fd);
        fds[0] = -1;
        break;
    case FG_CTL_SINK:
        fg_log_sink(e->log, fd);
        fds[0] = -1;
        break;
    case FG_CTL_KEEP:
        fg_orphan_keep(e->orphan, fd);
        fds[0] = -1;
        break;
    case FG_CTL_TICKETS:
        if (fd >= 0)
            set_tickets(e, fd);
        break;
    case FG_CTL_HEALTH:
        fg_health_told(e, m->key, m->a != 0);
        break;
    case FG_CTL_PLUGIN:
        fg_filter_attach(e, fd, fds[1]);
        fds[0] = fds[1] = -1;
        break;
    case FG_CTL_DRAIN:
        fg_engine_drain(e, m->a, m->b);
        break;
    case FG_CTL_STOP:
        e->loop.stop = true;
        break;
    default:
        answer(c, FG_CTL_FAILED, m->key, "unknown message");
    }
}

static void descriptors_of(struct msghdr *msg, int fds[FG_CONTROL_FDS]) {
    fds[0] = fds[1] = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0)); /* the buffer has room for no more */
}

static void control_run(struct fg_io *io) {
    struct fg_control *c = fg_container_of(io, struct fg_control, io);
    while (io->fd >= 0 && !c->e->loop.stop) {
        struct fg_control_message m;
        union { struct cmsghdr align; char space[CMSG_SPACE(FG_CONTROL_FDS * sizeof(int))]; } control;
        struct iovec iov = {&m, sizeof m};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(io->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            fg_loop_close(&c->e->loop, &c->e->pool, io);
            fg_orphan_begin(c->e->orphan);
            return;
        }
        int fds[FG_CONTROL_FDS];
        descriptors_of(&msg, fds);
        if ((size_t)n == sizeof m)
            handle(c, &m, fds);
        for (int i = 0; i < FG_CONTROL_FDS; i++)
            if (fds[i] >= 0)
                close(fds[i]);
    }
}

int fg_control_attach(struct fg_control *c, int fd) {
    c->io.fd = fd;
    return fg_loop_add(&c->e->loop, &c->io, EPOLLIN);
}

struct fg_control_message fg_control_hello(const struct fg_engine *e) {
    struct fg_control_message m = {.type = FG_CTL_HELLO, .slot = e->o.worker, .a = (uint64_t)getpid(), .b = FG_CONTROL_VERSION};
    snprintf(m.text, sizeof m.text, "%s", e->o.build ? e->o.build : "");
    return m;
}

struct fg_control *fg_control_new(struct fg_engine *e, int fd) {
    struct fg_control *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->e = e;
    c->io.fd = fd;
    c->io.run = control_run;
    c->next_fd = -1;
    c->done.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->done.run = job_done;
    if (c->done.fd < 0 || fg_control_attach(c, fd) < 0 || fg_loop_add(&e->loop, &c->done, EPOLLIN) < 0) {
        fg_control_free(c);
        return NULL;
    }
    struct fg_control_message hello = fg_control_hello(e);
    (void)fg_control_send(c->io.fd, &hello, NULL, 0);
    return c;
}

void fg_control_free(struct fg_control *c) {
    abort_prepare(c);
    if (c->job) {
        pthread_join(c->thread, NULL);
        end_job(c->job);
        discard(c->job);
        free(c->job);
    }
    if (c->done.fd >= 0)
        close(c->done.fd);
    if (c->io.fd >= 0)
        close(c->io.fd);
    free(c);
}
