/* What passes between the listener manager and a worker: packets on a SOCK_SEQPACKET socket, one message each,
 * descriptors attached with SCM_RIGHTS. Nothing else passes between the two, besides the statistics slab.
 *
 *   manager -> worker                                        worker -> manager
 *   LISTEN     key, fds   a bound, listening socket, a lock  LISTENING key | FAILED key, text
 *   UNLISTEN   key        accept to EAGAIN, then close; UDP:  UNLISTENED key
 *                         answer what was asked, then close
 *   PREPARE    gen, fds   map image and secrets, validate, build  PREPARED gen | FAILED gen, text
 *   COMMIT     gen        swap between two loop turns        COMMITTED gen; ENDED gen: no exchange of that one is left
 *   ABORT      gen        forget a prepared image            -
 *   ENDPOINTS  gen, fd    swap the endpoint table            ENDPOINTS_SET gen | FAILED gen, text
 *   LOG        fd         write the access log here now      -
 *   SINK       fd         send access log lines here, too    -
 *   KEEP       fd         keep this for a successor          -
 *   PLUGIN     fds        rings and socket of a plugin process  -
 *   TICKETS    fd         use these keys of session tickets  -
 *   HEALTH     key, a     1 healthy, 0 not: found by another  HEALTH_CHANGED key, a, text: found by this one
 *   DRAIN      a, b       delay ms, timeout ms               DRAINED (then the worker ends by itself)
 *   STOP                  end at once                        -
 *                                                            HELLO slot=number a=pid b=FG_CONTROL_VERSION  (first message)
 *
 * LISTEN names sockets by the `key` of fg_img_socket; it may come before the image that knows the key: connections then
 * wait in the accept queue. A key may have several descriptors (a dead sibling's); each has its own `slot`. The lock is
 * held as long as the socket and means nothing to the worker.
 *
 * A worker whose manager is gone listens on a socket of its own (fg_orphan.c). It gives whoever connects there, as the
 * same user, what a manager has of it, and from then on that connection is its control socket:
 *
 *   HELLO      fd         the statistics slab
 *   HOLDS      key, fds   as LISTEN, for each socket, with its slot and text
 *   KEPT       fd         the last KEEP, if there was one
 *   ADOPTED    gen        a: endpoint version, b: 1 when it is draining  (the last of them)
 *
 * A manager of another FG_CONTROL_VERSION understands HELLO, HOLDS, KEPT, ADOPTED, KEEP, UNLISTEN, DRAIN and STOP all the same: it
 * takes the sockets over and drains the worker. These, and the layout of a packet, therefore never change.
 */
#ifndef FG_CONTROL_H
#define FG_CONTROL_H

#include <stdint.h>

#define FG_CONTROL_VERSION 1

enum fg_control_type {
    FG_CTL_LISTEN = 1, FG_CTL_UNLISTEN, FG_CTL_PREPARE, FG_CTL_COMMIT, FG_CTL_ABORT, FG_CTL_ENDPOINTS, FG_CTL_LOG,
    FG_CTL_DRAIN, FG_CTL_STOP, FG_CTL_KEEP, FG_CTL_HEALTH, FG_CTL_PLUGIN, FG_CTL_SINK, FG_CTL_TICKETS,
    FG_CTL_HELLO = 64, FG_CTL_LISTENING, FG_CTL_UNLISTENED, FG_CTL_PREPARED, FG_CTL_FAILED, FG_CTL_COMMITTED,
    FG_CTL_ENDPOINTS_SET, FG_CTL_DRAINED, FG_CTL_HOLDS, FG_CTL_KEPT, FG_CTL_ADOPTED, FG_CTL_HEALTH_CHANGED,
    FG_CTL_ENDED
};

struct fg_control_message {  /* 256 bytes on the wire, always */
    uint32_t type;           /* enum fg_control_type */
    uint32_t slot;           /* LISTEN, UNLISTEN, HOLDS: which of the key's sockets; HELLO: the worker's number */
    uint64_t key;            /* LISTEN, UNLISTEN, HOLDS: the socket's key; PREPARE ...: the generation or endpoint version;
                              * HEALTH ...: fg_health_key */
    uint64_t a, b;           /* DRAIN: delay, timeout (ms); HELLO: pid, version; HEALTH ...: healthy */
    char text[224];          /* FAILED, HEALTH_CHANGED: why; LISTEN, HOLDS: the socket's name; HELLO: the worker's build; NUL-terminated */
};

/* Sends a message with at most FG_CONTROL_FDS descriptors, of which negative ones are left out; -1: it did not pass. */
enum { FG_CONTROL_FDS = 2 };
int fg_control_send(int fd, const struct fg_control_message *m, const int *fds, int nfds);

#endif
