/* The access log: whole lines go into a ring; a thread of its own blocks in write(). A full ring drops and counts.
 *
 * The loop's thread owns `head`, the writer owns `tail`; each publishes its own with release and reads the other's with
 * acquire. The writer sleeps on an eventfd; the loop wakes it at most once a turn.
 */
#include "fg_head.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1 << 20, LINE_MAX_BYTES = 16384 };

struct fg_log {
    struct fg_engine *e;
    pthread_t thread;
    int fd, wake_fd;
    int next_fd;            /* -1, or what the writer switches to */
    bool stop, sleeping;
    uint64_t head, tail;    /* bytes ever put, ever written */
    uint64_t kicked;        /* head at the last look of the loop */
    char second[40];        /* RFC 3339 up to the seconds */
    int64_t second_at;
    uint8_t ring[RING];
};

static void switch_descriptor(struct fg_log *log) {
    int fd = __atomic_exchange_n(&log->next_fd, -1, __ATOMIC_ACQ_REL);
    if (fd >= 0) {
        if (log->fd >= 0)
            close(log->fd);
        log->fd = fd;
    }
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

static void *writer(void *arg) {
    struct fg_log *log = arg;
    for (;;) {
        switch_descriptor(log);
        uint64_t head = __atomic_load_n(&log->head, __ATOMIC_ACQUIRE);
        if (head != log->tail) {
            write_some(log, head);
            continue;
        }
        if (__atomic_load_n(&log->stop, __ATOMIC_ACQUIRE))
            return NULL;
        __atomic_store_n(&log->sleeping, true, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&log->head, __ATOMIC_SEQ_CST) == log->tail) {
            uint64_t n;
            (void)!read(log->wake_fd, &n, sizeof n);
        }
        __atomic_store_n(&log->sleeping, false, __ATOMIC_SEQ_CST);
    }
}

static void wake(struct fg_log *log) {
    (void)!write(log->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

void fg_log_kick(struct fg_log *log) {
    if (log->kicked == log->head)
        return;
    log->kicked = log->head;
    if (__atomic_load_n(&log->sleeping, __ATOMIC_SEQ_CST))
        wake(log);
}

struct fg_log *fg_log_new(struct fg_engine *e, int fd) {
    struct fg_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return NULL;
    log->e = e;
    log->fd = fd;
    log->next_fd = -1;
    log->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (log->wake_fd < 0 || pthread_create(&log->thread, NULL, writer, log)) {
        free(log);
        return NULL;
    }
    return log;
}

void fg_log_reopen(struct fg_log *log, int fd) {
    int unused = __atomic_exchange_n(&log->next_fd, fd, __ATOMIC_ACQ_REL);
    if (unused >= 0)
        close(unused);
    wake(log);
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
    if (log->fd >= 0)
        close(log->fd);
    close(log->wake_fd);
    free(log);
}

/* --- lines ---------------------------------------------------------------------------------------------------------------- */

static void put_json(struct fg_put *o, const uint8_t *p, size_t n) { /* RFC 8259 section 7; bytes above 0x7f as \u00XX */
    static const char hex[] = "0123456789abcdef";
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
            continue;
        fg_put(o, p + from, i - from);
        from = i + 1;
        if (p[i] == '"' || p[i] == '\\') {
            fg_put(o, (uint8_t[]){'\\', p[i]}, 2);
        } else {
            FG_PUT(o, "\\u00");
            fg_put(o, (char[]){hex[p[i] >> 4], hex[p[i] & 15]}, 2);
        }
    }
    fg_put(o, p + from, n - from);
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

static void put_member(struct fg_put *o, const char *name, const uint8_t *p, size_t n) {
    if (n == 0)
        return;
    FG_PUT(o, ",\"");
    fg_put(o, name, strlen(name));
    FG_PUT(o, "\":\"");
    put_json(o, p, n);
    FG_PUT(o, "\"");
}

static void put_number(struct fg_put *o, const char *name, uint64_t v) {
    FG_PUT(o, ",\"");
    fg_put(o, name, strlen(name));
    FG_PUT(o, "\":");
    fg_put_uint(o, v);
}

static void put_endpoint(struct fg_put *o, const struct fg_address *a) {
    fg_put_address(o, a, true);
    FG_PUT(o, ":");
    fg_put_uint(o, a->port);
}

static void put_field(struct fg_put *o, const char *name, const struct fg_req *r, int token) {
    uint16_t at = r->head.first[token];
    if (at)
        put_member(o, name, r->down->in.p + r->fields[at - 1].value, r->fields[at - 1].value_len);
}

static void json_line(struct fg_put *o, struct fg_log *log, const struct fg_req *r, uint64_t took_us) {
    const struct fg_h1_head *h = &r->head;
    const uint8_t *base = r->down->in.p;
    const char *reason = fg_reasons[r->reason].name;
    FG_PUT(o, "{\"time\":\"");
    put_time(o, log);
    FG_PUT(o, "\",\"client\":\"");
    put_endpoint(o, &r->down->peer);
    FG_PUT(o, "\"");
    put_member(o, "method", base + h->method.off, h->method.len);
    put_member(o, "host", base + h->authority.off, h->authority.len);
    put_member(o, "path", base + h->path.off, r->path_len);
    put_member(o, "query", base + h->query.off, h->query.len);
    if (h->minor_version)
        FG_PUT(o, ",\"protocol\":\"HTTP/1.1\"");
    else
        FG_PUT(o, ",\"protocol\":\"HTTP/1.0\"");
    put_number(o, "status", r->status);
    put_member(o, "reason", (const uint8_t *)reason, strlen(reason));
    if (r->parse_error)
        put_member(o, "parse_error", (const uint8_t *)fg_parse_name(r->parse_error), strlen(fg_parse_name(r->parse_error)));
    put_number(o, "bytes_received", r->request.bytes);
    put_number(o, "bytes_sent", r->sent);
    put_number(o, "duration_us", took_us);
    if (r->series) {
        put_member(o, "listener", (const uint8_t *)r->series->listener, strlen(r->series->listener));
        put_member(o, "route", (const uint8_t *)r->series->route, strlen(r->series->route));
    }
    if (r->last_endpoint) {
        FG_PUT(o, ",\"upstream\":\"");
        put_endpoint(o, &r->last_endpoint->address);
        FG_PUT(o, "\"");
        put_number(o, "tries", r->tries);
    }
    put_member(o, "request_id", r->request_id, r->request_id_len);
    put_field(o, "user_agent", r, FG_H_USER_AGENT);
    put_field(o, "referer", r, FG_H_REFERER);
    FG_PUT(o, "}\n");
}

static void put_or_dash(struct fg_put *o, const uint8_t *p, size_t n) {
    if (n)
        put_json(o, p, n);
    else
        FG_PUT(o, "-");
}

/* The combined format that log readers know. */
static void text_line(struct fg_put *o, struct fg_log *log, const struct fg_req *r) {
    const struct fg_h1_head *h = &r->head;
    const uint8_t *base = r->down->in.p;
    uint16_t referer = h->first[FG_H_REFERER], agent = h->first[FG_H_USER_AGENT];
    fg_put_address(o, &r->down->peer, false);
    FG_PUT(o, " - - [");
    put_time(o, log);
    FG_PUT(o, "] \"");
    put_or_dash(o, base + h->method.off, h->method.len);
    FG_PUT(o, " ");
    put_or_dash(o, base + h->target.off, h->target.len);
    fg_put(o, h->minor_version ? " HTTP/1.1\" " : " HTTP/1.0\" ", 11);
    fg_put_uint(o, r->status);
    FG_PUT(o, " ");
    fg_put_uint(o, r->sent);
    FG_PUT(o, " \"");
    put_or_dash(o, base + (referer ? r->fields[referer - 1].value : 0), referer ? r->fields[referer - 1].value_len : 0);
    FG_PUT(o, "\" \"");
    put_or_dash(o, base + (agent ? r->fields[agent - 1].value : 0), agent ? r->fields[agent - 1].value_len : 0);
    FG_PUT(o, "\"\n");
}

void fg_log_exchange(struct fg_req *r, uint64_t took_us) {
    struct fg_engine *e = r->down->e;
    struct fg_log *log = e->log;
    uint8_t line[LINE_MAX_BYTES];
    struct fg_put o = {line, line + sizeof line, false};
    if (log == NULL)
        return;
    if (r->log == FG_LOG_JSON)
        json_line(&o, log, r, took_us);
    else
        text_line(&o, log, r);
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
