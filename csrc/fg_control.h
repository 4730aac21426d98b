/* What passes between the listener manager and a worker: packets on a SOCK_SEQPACKET socket pair, one message each,
 * descriptors attached with SCM_RIGHTS. Nothing else passes between the two, besides the statistics slab.
 *
 *   manager -> worker                                        worker -> manager
 *   LISTEN     key, fd    a bound, listening socket          LISTENING key | FAILED key, text
 *   UNLISTEN   key        accept to EAGAIN, then close       UNLISTENED key
 *   PREPARE    gen, fd    map, validate, build tables        PREPARED gen | FAILED gen, text
 *   COMMIT     gen        swap between two loop turns        COMMITTED gen
 *   ABORT      gen        forget a prepared image            -
 *   ENDPOINTS  gen, fd    swap the endpoint table            ENDPOINTS_SET gen | FAILED gen, text
 *   LOG        fd         write the access log here now      -
 *   DRAIN      a, b       delay ms, timeout ms               DRAINED (then the worker ends by itself)
 *   STOP                  end at once                        -
 *                                                            HELLO a=pid b=FG_CONTROL_VERSION  (first message)
 *
 * LISTEN names sockets by the `key` of fg_img_socket; it may come before the image that knows the key: connections then
 * wait in the accept queue. A key may have several descriptors (a dead sibling's); each has its own `slot`.
 */
#ifndef FG_CONTROL_H
#define FG_CONTROL_H

#include <stdint.h>

#define FG_CONTROL_VERSION 1

enum fg_control_type {
    FG_CTL_LISTEN = 1, FG_CTL_UNLISTEN, FG_CTL_PREPARE, FG_CTL_COMMIT, FG_CTL_ABORT, FG_CTL_ENDPOINTS, FG_CTL_LOG,
    FG_CTL_DRAIN, FG_CTL_STOP,
    FG_CTL_HELLO = 64, FG_CTL_LISTENING, FG_CTL_UNLISTENED, FG_CTL_PREPARED, FG_CTL_FAILED, FG_CTL_COMMITTED,
    FG_CTL_ENDPOINTS_SET, FG_CTL_DRAINED
};

struct fg_control_message {  /* 256 bytes on the wire, always */
    uint32_t type;           /* enum fg_control_type */
    uint32_t slot;           /* LISTEN, UNLISTEN: which of the key's sockets */
    uint64_t key;            /* LISTEN, UNLISTEN: the socket's key; PREPARE ...: the generation or endpoint version */
    uint64_t a, b;           /* DRAIN: delay, timeout (ms); HELLO: pid, version */
    char text[224];          /* FAILED: why, NUL-terminated */
};

#endif
