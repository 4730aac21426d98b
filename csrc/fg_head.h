/* Message heads on their way out: what is dropped, what is edited, what the gateway adds. */
#ifndef FG_HEAD_H
#define FG_HEAD_H

#include "fg_put.h"
#include "fg_worker.h"

/* Marks what is not forwarded: hop-by-hop fields, those that Connection names, names with an underscore, and, without
 * trusted hops, what clients claim about themselves. */
void fg_head_mark(const struct fg_h1_head *h, const uint8_t *base, bool underscores, bool drop_client);

/* Writes the request head for r->backend's endpoint, framing as in r->request.out. Bytes, or 0 when it does not fit. */
/* Makes r->head what filters left of it, as if it had come like this; the target that came stays known. 0, or -1: it is no head
 * that may come, and stays as it was. */
int fg_head_take_edits(struct fg_engine *e, struct fg_req *r);

size_t fg_head_request(struct fg_engine *e, struct fg_req *r, uint8_t *out, size_t cap);

/* The fields that the rule's response filters set or add, for an answer of the gateway's own. */
void fg_head_put_edits(struct fg_put *o, const struct fg_req *r);

/* Writes the head of e->response for the client, framing as in r->response.out. Bytes, or 0 when it does not fit. */
size_t fg_head_response(struct fg_engine *e, struct fg_req *r, const uint8_t *base, uint8_t *out, size_t cap);

/* Writes an interim response (1xx other than 101) without what is hop-by-hop. */
size_t fg_head_interim(struct fg_engine *e, const uint8_t *base, uint8_t *out, size_t cap);

/* Asks the client for the body, which a filter wants before anybody else (RFC 9110 section 10.1.1). */
void fg_head_continue(struct fg_req *r);

/* Gives a response the status that a filter chose, if its body may stay as it is. */
void fg_head_edit_status(const struct fg_req *r, struct fg_h1_head *h);

void fg_head_date(struct fg_engine *e); /* brings e->date up to date */
void fg_put_address(struct fg_put *o, const struct fg_address *a, bool brackets);

/* Where a path goes under a rewrite (HTTPPathModifier): the full path, or what stands in the place of the prefix. */
void fg_put_path(struct fg_put *o, int kind, struct fg_bytes value, struct fg_bytes path, uint32_t prefix_len);

/* Is `token`, in any case, among the members of these fields, which commas or spaces separate? */
bool fg_head_has_token(const struct fg_h1_head *h, const uint8_t *base, int header, const char *token);

/* May this trailer field go on: it is on the allow-list of the connection's socket, and no field that routes, frames or
 * authenticates (RFC 9110 section 6.5.1). */
bool fg_head_may_trail(const struct fg_down *d, const uint8_t *base, const struct fg_field *f);

/* Did the client say that it takes trailer fields, and may there be any (RFC 9110 section 10.1.4)? */
bool fg_head_takes_trailers(const struct fg_req *r);

/* How often our own pseudonym stands in Via (RFC 9110 section 7.6.3). */
unsigned fg_head_via_count(const struct fg_h1_head *h, const uint8_t *base, struct fg_bytes pseudonym);

static inline const struct fg_img_socket *fg_down_socket(const struct fg_down *d) {
    const struct fg_generation *g = d->e->gen;
    return g && d->listen->socket >= 0 ? &g->image.sockets[d->listen->socket] : NULL;
}

#endif
