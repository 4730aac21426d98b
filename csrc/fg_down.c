/* Client connections: from accept to close, one exchange after the other. */
#include "fg_h2.h"
#include "fg_relay.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 2000, LINGER_BYTES = 256 * 1024, OWED_MS = 5000, REQUESTS_PER_TURN = 16 };

static const struct fg_img_limits no_limits = {.request_line = 8192, .head_bytes = 32768, .head_fields = 100,
    .response_head_bytes = 65536, .first_byte_timeout = 10000, .head_timeout = 10000, .idle_timeout = 60000,
    .body_min_rate = 240, .body_rate_window = 5000, .connect_timeout = 5000, .response_timeout = 60000,
    .stream_idle_timeout = 300000, .upstream_idle_timeout = 55000, .interim_responses = 16};

const struct fg_img_limits *fg_down_limits(const struct fg_down *d) {
    const struct fg_generation *g = d->e->gen;
    return g && d->listen->socket >= 0 ? &g->image.sockets[d->listen->socket].limits : &no_limits;
}

static void down_free(struct fg_grave *g) {
    struct fg_down *d = fg_container_of(g, struct fg_down, grave);
    free(d->identity);
    free(d);
}

void fg_down_deadline(struct fg_down *d, uint32_t ms) {
    if (ms)
        fg_timer_at(&d->e->loop.wheel, &d->timer, fg_now_ms(&d->e->loop) + ms);
    else
        fg_timer_clear(&d->timer);
}

void fg_down_close(struct fg_down *d) {
    struct fg_engine *e = d->e;
    if (d->state == FG_DOWN_CLOSED)
        return;
    d->state = FG_DOWN_CLOSED;
    e->stats->c.connections_open--;
    d->listen->connections--;
    fg_list_remove(&d->all);
    fg_secure_close(d);
    if (d->req)
        fg_req_free(d->req);
    if (d->relay)
        fg_relay_free(d->relay);
    if (d->h2)
        fg_h2_free(d->h2);
    fg_timer_stop(&e->loop.wheel, &d->timer);
    fg_loop_close(&e->loop, &e->pool, &d->io);
    fg_buf_release(&e->pool, &d->in);
    if (d->listen->closing && d->listen->connections == 0)
        fg_listen_bury(d->listen);
    fg_loop_bury(&e->loop, &d->grave);
}

void fg_down_refuse(struct fg_down *d, int reason) {
    d->e->stats->reasons[reason]++;
    fg_down_close(d);
}

/* RFC 9112 section 9.6: a reset that answers unread data would destroy the response on its way. */
static void linger(struct fg_down *d) {
    fg_io_shutdown(&d->io);
    d->state = FG_DOWN_LINGER;
    fg_buf_release(&d->e->pool, &d->in);
    fg_down_deadline(d, LINGER_MS);
    d->io.readable = true;
    fg_loop_again(&d->e->loop, &d->io);
}

/* What comes is thrown away as it is, also if it is TLS. */
static void run_linger(struct fg_down *d) {
    while (d->io.readable && d->lingered < LINGER_BYTES) {
        ssize_t n = recv(d->io.fd, d->e->scratch, FG_SCRATCH, 0);
        if (n < 0 && errno == EAGAIN) {
            d->io.readable = false;
            return;
        }
        if (n <= 0)
            break;
        d->lingered += (uint32_t)n;
    }
    if (d->io.readable)
        fg_down_close(d);
}

static void finish_ending(struct fg_down *d) {
    if (fg_buf_len(&d->io.out)) {
        if (fg_io_writev(&d->io, &d->e->pool, NULL, 0) == -2) {
            fg_down_close(d);
            return;
        }
        if (fg_buf_len(&d->io.out)) {
            if (!d->timer.deadline) {
                uint32_t window = fg_down_limits(d)->body_rate_window;
                fg_down_deadline(d, window ? window : OWED_MS);
            }
            return;
        }
    }
    if (d->unread && !d->eof && !d->io.hup)
        linger(d);
    else
        fg_down_close(d);
}

void fg_down_end(struct fg_down *d, bool unread) {
    if (d->stream) {
        fg_h2_stream_end(d->stream);
        return;
    }
    d->ending = true;
    d->unread = unread;
    d->state = FG_DOWN_IDLE;
    fg_timer_clear(&d->timer);
    finish_ending(d);
}

/* --- heads --------------------------------------------------------------------------------------------------------------- */

/* An exchange that ends with half a head: it is counted and logged like others, and what was read of it says nothing. */
struct fg_req *fg_down_give_up(struct fg_down *d) {
    struct fg_req *r = d->req;
    struct fg_h1_head empty = {.fields = r->head.fields, .method_token = r->head.method_token, .minor_version = 1};
    r->head = empty;
    r->head_len = 0;
    r->keep_alive = false;
    fg_flow_start(&r->request, FG_FRAMING_NONE, FG_FRAMING_NONE, 0);
    d->state = FG_DOWN_BUSY;
    fg_exchange_admit(r);
    return r;
}

static void parse(struct fg_down *d) {
    struct fg_engine *e = d->e;
    const struct fg_img_limits *l = fg_down_limits(d);
    struct fg_req *r = d->req ? d->req : fg_req_new(d);
    if (r == NULL) {
        fg_down_close(d);
        return;
    }
    d->req = r;
    const struct fg_h1_limits limits = {.max_head = l->head_bytes, .max_line = l->request_line,
        .max_fields = (uint16_t)l->head_fields};
    r->head.fields = r->fields;
    r->head.scanned = d->scanned;
    if (d->in.start) /* spans are relative to the head's first byte, and the head is pinned at the front */
        fg_buf_compact(&d->in);
    int64_t n = e->f.parse_request(d->in.p, d->in.end, &limits, &r->head);
    if (n >= 0) {
        d->scanned = 0;
        r->head_len = d->in.pin = d->in.start = (uint32_t)n;
        d->state = FG_DOWN_BUSY;
        d->requests++;
        fg_timer_clear(&d->timer);
        fg_exchange_begin(d, r);
        return;
    }
    d->scanned = r->head.scanned;
    if (n != FG_MORE && fg_h2_is_preface(d)) {
        fg_req_free(r);
        fg_h2_begin(d);
        return;
    }
    if (n != FG_MORE) {
        fg_reply_parse_error(fg_down_give_up(d), n);
        return;
    }
    if (fg_buf_len(&d->in) >= l->head_bytes) {
        fg_reply_parse_error(fg_down_give_up(d), FG_E_HEAD_TOO_LARGE);
        return;
    }
    if (d->state != FG_DOWN_HEAD) {
        d->state = FG_DOWN_HEAD;
        fg_down_deadline(d, l->head_timeout);
    }
}

/* An empty line before a request is skipped (RFC 9112 section 2.2). */
static void skip_empty_lines(struct fg_buf *in) {
    while (fg_buf_len(in) >= 2 && fg_buf_data(in)[0] == '\r' && fg_buf_data(in)[1] == '\n')
        fg_buf_consume(in, 2);
}

static void run_head(struct fg_down *d) {
    struct fg_engine *e = d->e;
    bool fresh = d->state != FG_DOWN_HEAD && fg_buf_len(&d->in);
    uint32_t last = d->requests + REQUESTS_PER_TURN;
    while (!d->ending && (d->state == FG_DOWN_FIRST || d->state == FG_DOWN_HEAD || d->state == FG_DOWN_IDLE)) {
        if (!fresh) {
            if (fg_buf_reserve(&e->pool, &d->in, FG_BUF_MEDIUM) < 0 ||
                (fg_buf_room(&d->in) == 0 && fg_buf_reserve(&e->pool, &d->in, d->in.cap + 1) < 0)) {
                fg_down_close(d);
                return;
            }
            ssize_t n = fg_io_read(&d->io, &d->in);
            if (n == -1) {
                if (fg_buf_len(&d->in) == 0)
                    fg_buf_release(&e->pool, &d->in);
                return;
            }
            if (n <= 0) { /* nobody is there to be answered */
                if (d->state == FG_DOWN_HEAD)
                    fg_exchange_abort(fg_down_give_up(d), n == 0 ? FG_R_CLIENT_CLOSED : FG_R_CLIENT_RESET);
                else
                    fg_down_close(d);
                return;
            }
        }
        if (d->state != FG_DOWN_HEAD)
            skip_empty_lines(&d->in);
        if (fg_buf_len(&d->in))
            parse(d);
        fresh = d->state == FG_DOWN_IDLE && fg_buf_len(&d->in); /* answered at once, and the next is here */
        bool enough = fresh ? d->requests >= last : d->io.readable; /* so many requests, or one read a turn */
        if (enough && d->state <= FG_DOWN_IDLE && !d->ending) {
            fg_loop_again(&e->loop, &d->io);
            return;
        }
    }
}

static void down_run(struct fg_io *io) {
    struct fg_down *d = fg_container_of(io, struct fg_down, io);
    if (d->ending && d->state != FG_DOWN_LINGER) {
        finish_ending(d);
        return;
    }
    switch (d->state) {
    case FG_DOWN_FIRST:
    case FG_DOWN_HEAD:
    case FG_DOWN_IDLE:
        run_head(d);
        break;
    case FG_DOWN_BUSY:
    case FG_DOWN_TUNNEL:
        fg_exchange_run(d->req);
        break;
    case FG_DOWN_HELLO:
        fg_hello_run(d);
        break;
    case FG_DOWN_HANDSHAKE:
        fg_secure_run(d);
        break;
    case FG_DOWN_RELAY:
        fg_relay_run(d->relay);
        break;
    case FG_DOWN_HTTP2:
        fg_h2_run(d);
        break;
    case FG_DOWN_LINGER:
        run_linger(d);
        break;
    default:
        break;
    }
}

void fg_down_next(struct fg_down *d) {
    struct fg_engine *e = d->e;
    const struct fg_img_limits *l = fg_down_limits(d);
    d->in.pin = 0;
    if (fg_buf_len(&d->in) == 0)
        fg_buf_release(&e->pool, &d->in);
    d->state = FG_DOWN_IDLE;
    d->scanned = 0;
    if (e->draining == 2 && d->in.p == NULL && !d->io.readable) {
        fg_down_end(d, true);
        return;
    }
    fg_down_deadline(d, l->idle_timeout);
    if (d->in.p || d->io.readable || d->io.hup)
        fg_loop_again(&e->loop, &d->io);
}

/* --- limits in time ---------------------------------------------------------------------------------------------------------- */

static void down_expired(struct fg_timer *t) {
    struct fg_down *d = fg_container_of(t, struct fg_down, timer);
    if (d->ending || d->state == FG_DOWN_LINGER) {
        fg_down_close(d);
        return;
    }
    switch (d->state) {
    case FG_DOWN_FIRST:
        fg_down_refuse(d, FG_R_FIRST_BYTE_TIMEOUT);
        break;
    case FG_DOWN_IDLE:
        fg_down_refuse(d, FG_R_IDLE_TIMEOUT);
        break;
    case FG_DOWN_HELLO:
        fg_down_refuse(d, FG_R_HELLO_TIMEOUT);
        break;
    case FG_DOWN_HANDSHAKE:
        fg_secure_expired(d);
        break;
    case FG_DOWN_RELAY:
        fg_relay_expired(d->relay);
        break;
    case FG_DOWN_HTTP2:
        fg_h2_expired(d);
        break;
    case FG_DOWN_HEAD:
        fg_reply_reason(fg_down_give_up(d), FG_R_HEAD_TIMEOUT);
        break;
    default:
        fg_exchange_timer(d->req);
        break;
    }
}

void fg_down_speak(struct fg_down *d) {
    d->state = FG_DOWN_FIRST;
    fg_down_deadline(d, fg_down_limits(d)->first_byte_timeout);
    down_run(&d->io);
}

/* --- accept ------------------------------------------------------------------------------------------------------------------- */

void fg_down_accept(struct fg_listen *l, int fd, const struct sockaddr_storage *peer) {
    struct fg_engine *e = l->e;
    struct fg_down *d = calloc(1, sizeof *d);
    if (d == NULL)
        goto fail;
    d->e = e;
    d->listen = l;
    d->io.fd = fd;
    d->io.run = down_run;
    d->io.writable = true;
    d->timer.fire = down_expired;
    d->grave.free = down_free;
    fg_handshake_init(&d->shaking, &d->io, fg_secure_step);
    fg_address_read(&d->peer, peer);
    if (fg_loop_add(&e->loop, &d->io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0)
        goto fail;
    fg_list_push(&e->downs, &d->all);
    l->connections++;
    e->stats->c.connections_accepted++;
    e->stats->c.connections_open++;
    if (fg_hello_wanted(d))
        d->state = FG_DOWN_HELLO;
    fg_down_deadline(d, fg_down_limits(d)->first_byte_timeout);
    d->io.readable = true; /* most clients have sent their request by now */
    down_run(&d->io);
    return;
fail:
    e->stats->c.accept_errors++;
    free(d);
    close(fd);
}
