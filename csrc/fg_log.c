/* The access log: whole lines go into a ring; a thread of its own blocks in write(). A full ring drops and counts.
 *
 * The loop's thread owns `head`, the writer owns `tail`; each publishes its own with release and reads the other's with
 * acquire. A line that finds the writer asleep wakes it and is written at once; after a write the writer rests for REST_MS,
 * so that under load it writes what came meanwhile with one call, and nobody is woken for a line.
 *
 * The sinks of plugins get the same lines from a socket that never blocks: what it has no room for is dropped and counted.
 */
#include "fg_filter.h"
#include "fg_head.h"
#include "fg_log_columns.h"
#include "fg_scan.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1 << 20, LINE_MAX_BYTES = 16384, LINE_END = 8 /* what ends one */, REST_MS = 5, SINK_MESSAGE = 1 << 15 };

enum writer_state { BUSY, RESTING, ASLEEP };

struct fg_log {
    struct fg_engine *e;
    pthread_t thread;
    int fd, wake_fd;
    int next_fd;            /* -1, or what the writer switches to */
    int sink_fd, next_sink_fd;
    uint64_t sunk;          /* bytes ever sent to the sink, or dropped; not behind `tail` */
    bool stop;
    int state;              /* enum writer_state, the writer's */
    uint64_t head, tail;    /* bytes ever put, ever written */
    uint64_t kicked;        /* head at the last look of the loop */
    char second[40];        /* RFC 3339 up to the seconds */
    int64_t second_at;
    uint8_t ring[RING];
};

static void switch_to(int *fd, int *next) {
    int other = __atomic_exchange_n(next, -1, __ATOMIC_ACQ_REL);
    if (other >= 0) {
        if (*fd >= 0)
            close(*fd);
        *fd = other;
    }
}

/* Bytes up to the last end of a line in a message's worth of the ring; `head` is the end of one. */
static size_t whole_lines(const struct fg_log *log, uint64_t head) {
    if (head - log->sunk <= SINK_MESSAGE)
        return head - log->sunk;
    size_t n = SINK_MESSAGE; /* longer than any line */
    while (log->ring[(log->sunk + n - 1) % RING] != '\n')
        n--;
    return n;
}

static uint64_t lines_in(const struct fg_log *log, size_t n) {
    uint64_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += log->ring[(log->sunk + i) % RING] == '\n';
    return lines;
}

static void sink_some(struct fg_log *log, uint64_t head) {
    while (log->sink_fd >= 0 && log->sunk != head) {
        size_t n = whole_lines(log, head), at = log->sunk % RING, first = n < RING - at ? n : RING - at;
        struct iovec parts[2] = {{log->ring + at, first}, {log->ring, n - first}};
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent = sendmsg(log->sink_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            __atomic_fetch_add(&log->e->stats->c.log_sink_dropped, lines_in(log, n), __ATOMIC_RELAXED);
        if (sent < 0 && errno != EAGAIN && errno != ENOBUFS) { /* the manager is gone; another one will bring its own */
            close(log->sink_fd);
            log->sink_fd = -1;
        }
        log->sunk += n;
    }
    log->sunk = head;
}

static void write_some(struct fg_log *log, uint64_t head) {
    uint64_t tail = log->tail;
    size_t at = tail % RING, n = head - tail;
    if (n > RING - at)
        n = RING - at;
    ssize_t done = log->fd < 0 ? (ssize_t)n : write(log->fd, log->ring + at, n);
    if (done < 0 && errno == EINTR)
        return;
    if (done < 0)
        done = (ssize_t)n; /* nobody can be told: these lines are lost */
    __atomic_store_n(&log->tail, tail + (uint64_t)done, __ATOMIC_RELEASE);
}

/* Until the loop kicks or the time (ms, -1: none) is over. A resting writer looks at the ring afterwards in any case. */
static void wait_for_kick(struct fg_log *log, enum writer_state state, int ms) {
    uint64_t n;
    __atomic_store_n(&log->state, state, __ATOMIC_SEQ_CST);
    if (state == RESTING || __atomic_load_n(&log->head, __ATOMIC_SEQ_CST) == log->tail)
        if (poll(&(struct pollfd){log->wake_fd, POLLIN, 0}, 1, ms) > 0)
            (void)!read(log->wake_fd, &n, sizeof n);
    __atomic_store_n(&log->state, BUSY, __ATOMIC_SEQ_CST);
}

static void *writer(void *arg) {
    struct fg_log *log = arg;
    for (;;) {
        switch_to(&log->fd, &log->next_fd);
        switch_to(&log->sink_fd, &log->next_sink_fd);
        uint64_t head = __atomic_load_n(&log->head, __ATOMIC_ACQUIRE);
        if (head != log->tail) {
            sink_some(log, head);
            write_some(log, head);
            if (log->tail == head)
                wait_for_kick(log, RESTING, REST_MS);
            continue;
        }
        if (__atomic_load_n(&log->stop, __ATOMIC_ACQUIRE))
            return NULL;
        wait_for_kick(log, ASLEEP, -1);
    }
}

static void wake(struct fg_log *log) {
    (void)!write(log->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

void fg_log_kick(struct fg_log *log) {
    if (log->kicked == log->head)
        return;
    log->kicked = log->head;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* either the writer sees `head`, or this sees that it sleeps */
    int state = __atomic_load_n(&log->state, __ATOMIC_SEQ_CST);
    if (state == ASLEEP || (state == RESTING && log->head - __atomic_load_n(&log->tail, __ATOMIC_ACQUIRE) > RING / 2))
        wake(log);
}

static void forget(struct fg_log *log) {
    const int fds[] = {log->fd, log->next_fd, log->sink_fd, log->next_sink_fd, log->wake_fd};
    for (unsigned i = 0; i < FG_COUNT_OF(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(log);
}

struct fg_log *fg_log_new(struct fg_engine *e, int fd) {
    struct fg_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    log->e = e;
    log->fd = fd;
    log->next_fd = log->sink_fd = log->next_sink_fd = -1;
    log->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (log->wake_fd < 0 || pthread_create(&log->thread, NULL, writer, log)) {
        forget(log);
        return NULL;
    }
    return log;
}

static void give(struct fg_log *log, int *next, int fd) {
    int unused = __atomic_exchange_n(next, fd, __ATOMIC_ACQ_REL);
    if (unused >= 0)
        close(unused);
    wake(log);
}

void fg_log_reopen(struct fg_log *log, int fd) {
    give(log, &log->next_fd, fd);
}

void fg_log_sink(struct fg_log *log, int fd) {
    give(log, &log->next_sink_fd, fd);
}

void fg_log_free(struct fg_log *log) {
    __atomic_store_n(&log->stop, true, __ATOMIC_RELEASE);
    wake(log);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    if (pthread_timedjoin_np(log->thread, NULL, &until)) { /* stuck in write(): its memory is left to it */
        pthread_detach(log->thread);
        return;
    }
    forget(log);
}

/* --- lines ---------------------------------------------------------------------------------------------------------------- */

/* RFC 8259 section 7; bytes above 0x7f as \u00XX. Most values need no escape: they are copied in one go. */
static void put_json(struct fg_put *o, const uint8_t *p, size_t n) {
    static const char hex[] = "0123456789abcdef";
    const uint8_t *end = p + n;
    for (;;) {
        const uint8_t *stop = fg_scan_json(p, end);
        fg_put(o, p, (size_t)(stop - p));
        if (stop == end)
            return;
        if (*stop == '"' || *stop == '\\') {
            fg_put(o, (uint8_t[]){'\\', *stop}, 2);
        } else {
            FG_PUT(o, "\\u00");
            fg_put(o, (char[]){hex[*stop >> 4], hex[*stop & 15]}, 2);
        }
        p = stop + 1;
    }
}

static void put_time(struct fg_put *o, struct fg_log *log) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != log->second_at) {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        strftime(log->second, sizeof log->second, "%Y-%m-%dT%H:%M:%S.", &tm);
        log->second_at = now.tv_sec;
    }
    unsigned ms = (unsigned)(now.tv_nsec / 1000000);
    fg_put(o, log->second, strlen(log->second));
    fg_put(o, (char[]){(char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'}, 4);
}

static void put_endpoint(struct fg_put *o, const struct fg_address *a) {
    fg_put_address(o, a, true);
    FG_PUT(o, ":");
    fg_put_uint(o, a->port);
}

/* What a line may say, of an exchange or of a relay. A column writes its value without quotes, escaped, or nothing when there
 * is none; those that relays have get what both have in common from `of`, the others look at the exchange. */
struct line {
    struct fg_log *log;
    const struct fg_req *r;
    struct fg_relayed of;
};

static const uint8_t *head_of(const struct line *l) {
    return l->r->down->in.p;
}

static void put_span(struct fg_put *o, const struct line *l, struct fg_span s) {
    put_json(o, head_of(l) + s.off, s.len);
}

static void put_field(struct fg_put *o, const struct line *l, int token) {
    uint16_t at = l->r->head.first[token];
    if (at)
        put_json(o, head_of(l) + l->r->fields[at - 1].value, l->r->fields[at - 1].value_len);
}

/* All fields of this name as one list (RFC 9110 section 5.3). */
static void put_list(struct fg_put *o, const struct line *l, int token) {
    const struct fg_h1_head *h = &l->r->head;
    for (uint16_t i = h->first[token] ? h->first[token] - 1 : h->nfields; i < h->nfields; i++) {
        if (l->r->fields[i].token != token)
            continue;
        if (i >= h->first[token])
            FG_PUT(o, ", ");
        put_json(o, head_of(l) + l->r->fields[i].value, l->r->fields[i].value_len);
    }
}

static void put_text(struct fg_put *o, const char *text) {
    put_json(o, (const uint8_t *)text, strlen(text));
}

#define COLUMN(name) static void column_##name(struct fg_put *o, const struct line *l)
COLUMN(time) { put_time(o, l->log); }
COLUMN(client) { put_endpoint(o, l->of.client); }
COLUMN(client_address) { fg_put_address(o, l->of.client, false); }
COLUMN(local) { put_endpoint(o, l->of.local); }
COLUMN(scheme) { fg_put_bytes(o, fg_down_scheme(l->r->down)); }
COLUMN(method) { put_span(o, l, l->r->head.method); }
COLUMN(target) { put_span(o, l, l->r->head.target); }
COLUMN(host) { put_span(o, l, l->r->head.authority); }
COLUMN(path) { put_span(o, l, (struct fg_span){l->r->head.path.off, l->r->path_len}); }
COLUMN(query) { put_span(o, l, l->r->head.query); }
COLUMN(protocol) {
    static const char *const names[] = {[FG_LISTENER_TLS] = "TLS", [FG_LISTENER_TCP] = "TCP", [FG_LISTENER_UDP] = "UDP"};
    if (l->r)
        fg_put(o, l->r->down->stream ? "HTTP/2.0" : l->r->head.minor_version ? "HTTP/1.1" : "HTTP/1.0", 8);
    else
        fg_put(o, names[l->of.protocol], 3);
}
COLUMN(status) { fg_put_uint(o, l->r->status); }
COLUMN(reason) { put_text(o, fg_reasons[l->of.reason].name); }
COLUMN(parse_error) { put_text(o, l->r->parse_error ? fg_parse_name(l->r->parse_error) : ""); }
COLUMN(bytes_received) { fg_put_uint(o, l->of.received); }
COLUMN(bytes_sent) { fg_put_uint(o, l->of.sent); }
COLUMN(duration_us) { fg_put_uint(o, l->of.took_us); }
COLUMN(listener) { put_text(o, l->of.listener); }
COLUMN(route) { put_text(o, l->of.route); }
COLUMN(x_forwarded_for) { put_list(o, l, FG_H_X_FORWARDED_FOR); }
COLUMN(user_agent) { put_field(o, l, FG_H_USER_AGENT); }
COLUMN(referer) { put_field(o, l, FG_H_REFERER); }
COLUMN(upstream) {
    if (l->of.upstream)
        put_endpoint(o, l->of.upstream);
}
COLUMN(upstream_error) { put_text(o, l->of.upstream_error ? l->of.upstream_error : ""); }
COLUMN(response_us) {
    if (l->r->responded_ns)
        fg_put_uint(o, (l->r->responded_ns - l->r->began_ns) / 1000);
}
COLUMN(request_id) {
    if (l->r->request_id_len)
        put_json(o, l->r->request_id, l->r->request_id_len);
    else
        put_field(o, l, FG_H_X_REQUEST_ID);
}
#define IDENTITY(column, part)                             \
    COLUMN(column) {                                       \
        const struct fg_identity *x = l->of.identity;       \
        if (x)                                             \
            put_json(o, x->part.p, x->part.len);           \
    }
IDENTITY(tls_version, version)
IDENTITY(tls_cipher, cipher)
IDENTITY(server_name, server_name)
IDENTITY(alpn, alpn)
IDENTITY(client_subject, subject)
IDENTITY(client_names, names)
IDENTITY(client_fingerprint, fingerprint)
COLUMN(rule) {
    if (l->r->match.rule)
        fg_put_uint(o, l->r->rule);
}
COLUMN(tries) {
    if (l->of.upstream)
        fg_put_uint(o, l->of.tries);
}

/* What filters said, an object; without room for all of it nothing, rather than no line. */
COLUMN(log) {
    struct fg_bytes name, value;
    uint8_t *start = o->at;
    if (l->r->filtering == NULL || (size_t)(o->end - o->at) < fg_buf_len(&l->r->filtering->said) + LINE_END)
        return;
    for (uint32_t at = 0; fg_filter_field(l->r, &at, &name, &value);) {
        FG_PUT(o, ",\"");
        fg_put_bytes(o, name);
        FG_PUT(o, "\":");
        fg_put_bytes(o, value);
    }
    if (o->at > start) {
        *start = '{'; /* the first comma */
        FG_PUT(o, "}");
    }
}

/* One field that filters said, as other columns are: escaped, without quotes. */
static void put_said(struct fg_put *o, const struct line *l, const uint8_t *field, size_t n) {
    struct fg_bytes name, value;
    for (uint32_t at = 0; fg_filter_field(l->r, &at, &name, &value);) {
        if (name.len != n || memcmp(name.p, field, n))
            continue;
        bool quoted = value.p[0] == '"';
        fg_put(o, value.p + quoted, value.len - 2u * quoted);
    }
}

enum { MEMBER_ROOM = 24 };

static const struct {
    char member[MEMBER_ROOM]; /* how it starts in a JSON line */
    const char *name;
    void (*put)(struct fg_put *o, const struct line *l);
    uint8_t name_len, member_len;
    bool bare, text_only, relays; /* JSON without quotes; only for templates; also below HTTP */
} columns[] = {
#define MEMBER_0(name) ",\"" #name "\":\""
#define MEMBER_1(name) ",\"" #name "\":" /* a number */
#define MEMBER_2(name) MEMBER_1(name)    /* an object */
#define X(name, form, text_only, relays)                                                                                 \
    {MEMBER_##form(name), #name, column_##name, sizeof #name - 1, sizeof MEMBER_##form(name) - 1, form != 0, text_only, relays},
    FG_LOG_COLUMNS(X)
#undef X
};

/* Copies the whole array, whose size is known to the compiler, and lets what follows overwrite the rest. */
static void put_member(struct fg_put *o, const char member[MEMBER_ROOM], size_t n) {
    if ((size_t)(o->end - o->at) < MEMBER_ROOM) {
        o->full = true;
        return;
    }
    memcpy(o->at, member, MEMBER_ROOM);
    o->at += n;
}

static void json_line(struct fg_put *o, const struct line *l) {
    uint8_t *start = o->at;
    for (size_t i = 0; i < FG_COUNT_OF(columns); i++) {
        if (columns[i].text_only || (l->r == NULL && !columns[i].relays))
            continue;
        uint8_t *before = o->at;
        put_member(o, columns[i].member, columns[i].member_len);
        const uint8_t *value = o->at;
        columns[i].put(o, l);
        if (o->at == value)
            o->at = before; /* there is none: the member is left out */
        else if (!columns[i].bare)
            FG_PUT(o, "\"");
    }
    if (o->at > start)
        *start = '{'; /* the first member's comma; `time` always has a value */
    FG_PUT(o, "}\n");
}

static void put_named(struct fg_put *o, const struct line *l, const uint8_t *name, size_t n) {
    const uint8_t *before = o->at;
    for (size_t i = 0; i < FG_COUNT_OF(columns); i++)
        if (columns[i].name_len == n && memcmp(columns[i].name, name, n) == 0 && (l->r || columns[i].relays))
            columns[i].put(o, l);
    if (n > 4 && memcmp(name, "log.", 4) == 0 && l->r)
        put_said(o, l, name + 4, n - 4);
    if (o->at == before)
        FG_PUT(o, "-");
}

/* "{name}" stands for a column, "{log.name}" for what filters said, "-" for one without value; anything else for itself. */
static void text_line(struct fg_put *o, const struct line *l, struct fg_bytes template) {
    static const char combined[] =
        "{client_address} - - [{time}] \"{method} {target} {protocol}\" {status} {bytes_sent} \"{referer}\" \"{user_agent}\"";
    const uint8_t *p = template.len ? template.p : (const uint8_t *)combined;
    const uint8_t *end = p + (template.len ? template.len : sizeof combined - 1);
    while (p < end) {
        const uint8_t *open = memchr(p, '{', (size_t)(end - p));
        const uint8_t *close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
        fg_put(o, p, (size_t)((close ? open : end) - p));
        if (close == NULL)
            break;
        put_named(o, l, open + 1, (size_t)(close - open - 1));
        p = close + 1;
    }
    FG_PUT(o, "\n");
}

static void put_line(struct fg_engine *e, enum fg_log_form form, const struct fg_img_socket *s, const struct line *l) {
    struct fg_log *log = l->log;
    uint8_t line[LINE_MAX_BYTES];
    struct fg_put o = {line, line + sizeof line, false};
    if (form == FG_LOG_JSON)
        json_line(&o, l);
    else /* the template of the configuration that is served now: its own may be gone */
        text_line(&o, l, s ? fg_str(e->gen->image.sockets_seg, s->log_format) : (struct fg_bytes){NULL, 0});
    size_t n = (size_t)(o.at - line), at = log->head % RING;
    if (o.full || RING - (log->head - __atomic_load_n(&log->tail, __ATOMIC_ACQUIRE)) < n) {
        e->stats->c.log_dropped++;
        return;
    }
    size_t first = n < RING - at ? n : RING - at;
    memcpy(log->ring + at, line, first);
    memcpy(log->ring, line + first, n - first);
    __atomic_store_n(&log->head, log->head + n, __ATOMIC_RELEASE);
    e->stats->c.log_lines++;
}

void fg_log_exchange(struct fg_req *r, uint64_t took_us) {
    const struct fg_down *d = r->down;
    if (d->e->log == NULL)
        return;
    const struct line l = {d->e->log, r, {.client = &d->peer, .local = &d->listen->bound, .identity = d->identity,
        .upstream = r->last_endpoint ? &r->last_endpoint->address : NULL, .listener = r->series ? r->series->listener : "",
        .route = r->series ? r->series->route : "", .received = r->request.bytes, .sent = r->sent, .took_us = took_us,
        .reason = r->reason, .tries = r->tries, .upstream_error = r->upstream_error}};
    put_line(d->e, r->log, fg_down_socket(d), &l);
}

void fg_log_relay(struct fg_engine *e, const struct fg_relayed *x) {
    if (e->log && x->form != FG_LOG_OFF)
        put_line(e, x->form, x->socket, &(struct line){e->log, NULL, *x});
}
