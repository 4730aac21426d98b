/* Pipes that bytes are spliced through. A direction borrows one while it holds something, so that a few serve many. */
#ifndef FG_PIPES_H
#define FG_PIPES_H

#include "fg_base.h"

enum { FG_PIPE_BYTES = 1 << 20, FG_PIPES_IDLE = 16 };

struct fg_pipe { int in, out; };

struct fg_pipes {
    uint32_t open, most;                /* most: 0 means that nothing is spliced */
    uint32_t n;
    struct fg_pipe idle[FG_PIPES_IDLE]; /* empty ones */
};

bool fg_pipes_borrow(struct fg_pipes *p, struct fg_pipe *out); /* false: there is none for now */
void fg_pipes_return(struct fg_pipes *p, struct fg_pipe pipe, bool empty);
void fg_pipes_fini(struct fg_pipes *p);                        /* those that are not borrowed */

#endif
