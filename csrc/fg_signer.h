/* A thread that shakes hands where that takes long (fg_tls_slow), beside the loop. */
#ifndef FG_SIGNER_H
#define FG_SIGNER_H

#include "fg_tls.h"

struct fg_signer;

/* A handshake that is made apart. Its owner may leave: then the result is thrown away. */
struct fg_signing {
    struct fg_signing *next;
    struct fg_tls *tls;
    void *owner;           /* NULL: it is gone */
};

/* `landed` is called by the loop with the owner of each that comes back. NULL: no memory, or no thread. */
struct fg_signer *fg_signer_new(struct fg_loop *loop, void (*landed)(void *owner));
void fg_signer_free(struct fg_signer *s); /* waits for the one that is being made; NULL does nothing */

/* 0, or -1 without memory. fg_tls_fetch was called. */
int fg_signer_give(struct fg_signer *s, struct fg_io *io, void *owner, struct fg_signing **out);
void fg_signer_leave(struct fg_signing *g, struct fg_io *io); /* whose TLS it keeps, until it comes back */

#endif
