#include "fg_pipes.h"

#include <fcntl.h>
#include <unistd.h>

bool fg_pipes_borrow(struct fg_pipes *p, struct fg_pipe *out) {
    int fds[2];
    if (p->n) {
        *out = p->idle[--p->n];
        return true;
    }
    if (p->open == p->most || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return false;
    fcntl(fds[1], F_SETPIPE_SZ, FG_PIPE_BYTES); /* a user may own no more of them: those of the usual size do as well */
    p->open++;
    *out = (struct fg_pipe){fds[1], fds[0]};
    return true;
}

static void close_pipe(struct fg_pipes *p, struct fg_pipe pipe) {
    close(pipe.in);
    close(pipe.out);
    p->open--;
}

void fg_pipes_return(struct fg_pipes *p, struct fg_pipe pipe, bool empty) {
    if (empty && p->n < FG_COUNT_OF(p->idle))
        p->idle[p->n++] = pipe;
    else
        close_pipe(p, pipe);
}

void fg_pipes_fini(struct fg_pipes *p) {
    while (p->n)
        close_pipe(p, p->idle[--p->n]);
}
