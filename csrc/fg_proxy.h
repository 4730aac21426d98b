/* The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who is at the other end of a proxy's connection. */
#ifndef FG_PROXY_H
#define FG_PROXY_H

#include "fg_worker.h"

enum { FG_PROXY_HEADER = 640 /* bytes of the longest one that is written */, FG_PROXY_MOST = 4096 /* that is read */ };

/* Reads the header at the beginning of `p`. Returns its bytes, FG_MORE, or less: it is none. `source` is written when the header names
 * one: a proxy that speaks for itself, or of what it does not know, leaves it. */
int64_t fg_proxy_read(const uint8_t *p, size_t n, struct fg_address *source);

/* Writes a header; its bytes. `who`: adds what TLS says as far as it is known (PP2_TYPE_AUTHORITY, PP2_TYPE_ALPN); NULL: nothing. */
size_t fg_proxy_write(uint8_t out[FG_PROXY_HEADER], int version, const struct fg_address *source, const struct fg_address *destination,
                      const struct fg_identity *who);

#endif
