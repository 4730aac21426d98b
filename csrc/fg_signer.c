/* One thread, a queue to it and a queue back; an eventfd tells the loop. */
#include "fg_signer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue { struct fg_signing *first, **last; };

struct fg_signer {
    struct fg_io io; /* the eventfd */
    struct fg_loop *loop;
    void (*landed)(void *owner);
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t work;
    struct queue to, back;
    bool stop;
};

static void put(struct queue *q, struct fg_signing *g) {
    g->next = NULL;
    *q->last = g;
    q->last = &g->next;
}

static struct fg_signing *take(struct queue *q) {
    struct fg_signing *g = q->first;
    if (g && (q->first = g->next) == NULL)
        q->last = &q->first;
    return g;
}

static void *sign(void *arg) {
    struct fg_signer *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        struct fg_signing *g = take(&s->to);
        if (g == NULL) {
            pthread_cond_wait(&s->work, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        fg_tls_shake(g->tls);
        pthread_mutex_lock(&s->lock);
        put(&s->back, g);
        (void)!write(s->io.fd, &(uint64_t){1}, sizeof(uint64_t));
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void land(struct fg_signer *s, struct fg_signing *g) {
    void *owner = g->owner;
    if (owner == NULL)
        fg_tls_drop(g->tls);
    free(g);
    if (owner)
        s->landed(owner);
}

static void run(struct fg_io *io) {
    struct fg_signer *s = fg_container_of(io, struct fg_signer, io);
    uint64_t n;
    (void)!read(io->fd, &n, sizeof n);
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct fg_signing *g = take(&s->back);
        pthread_mutex_unlock(&s->lock);
        if (g == NULL)
            return;
        land(s, g);
    }
}

struct fg_signer *fg_signer_new(struct fg_loop *loop, void (*landed)(void *owner)) {
    struct fg_signer *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->loop = loop;
    s->landed = landed;
    s->io = (struct fg_io){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .run = run};
    s->to.last = &s->to.first;
    s->back.last = &s->back.first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    if (s->io.fd >= 0 && fg_loop_add(loop, &s->io, EPOLLIN) == 0 && pthread_create(&s->thread, NULL, sign, s) == 0)
        return s;
    if (s->io.fd >= 0)
        close(s->io.fd);
    free(s);
    return NULL;
}

/* Whoever gave what is left has left, too: connections end before their worker. */
void fg_signer_free(struct fg_signer *s) {
    struct fg_signing *g;
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    while ((g = take(&s->to)) || (g = take(&s->back)))
        land(s, g);
    close(s->io.fd);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int fg_signer_give(struct fg_signer *s, struct fg_io *io, void *owner, struct fg_signing **out) {
    struct fg_signing *g = malloc(sizeof *g);
    if (g == NULL)
        return -1;
    *g = (struct fg_signing){.tls = io->tls, .owner = owner};
    *out = g;
    pthread_mutex_lock(&s->lock);
    put(&s->to, g);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void fg_signer_leave(struct fg_signing *g, struct fg_io *io) {
    (void)fg_tls_detach(io);
    g->owner = NULL;
}
