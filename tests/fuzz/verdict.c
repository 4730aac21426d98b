/* Verdicts and rings that an enemy in the plugin process writes: fg_call.c, fg_ring.h, and what fg_filter.c does with them.
 *
 * An engine between a client, a backend and the enemy, all in this thread: sockets are pairs, and time passes when the input says
 * so. Input: the route, the request, then what the enemy and the others do, one after another. Whatever it is, the backend gets
 * requests and the client a response that an oracle can read, with nothing in them that a phase may not do and everything that
 * an inline filter did; and in the end nothing is left. */
#include <Python.h>

#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fg_filter.h"
#include "fg_ring.h"
#include "fg_table.h"
#include "http_oracle.h"

enum { UPS = 4, CALLS = 32, BYTES = 1 << 19, STEPS = 40, EDGE = 1 << 16, SECOND = 1000 };

static struct fg_engine *e;
static struct fg_listen listener;
static struct fg_rings *rings; /* between redzones */
static uint64_t clock_ns;

/* A peer of the engine, and what it said to it. */
struct peer {
    int fd; /* -1: closed */
    size_t len;
    uint8_t *in;
};
static struct peer client, ups[UPS];
static unsigned nups;

static struct call { uint64_t exchange; uint32_t number; uint8_t phase; bool answered; } calls[CALLS];
static unsigned ncalls;
static int enemy; /* the socket beside the rings; -1: closed */
static bool scribbled;
static uint8_t last[FG_RECORD_MAX];
static uint32_t last_size;

/* --- the world of the engine: linked with --wrap --------------------------------------------------------------------------- */

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
void *__real_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t n);
int __wrap_munmap(void *at, size_t n);

static void start(struct peer *p, int fd) {
    p->fd = fd;
    p->len = 0;
}

static void end(struct peer *p) {
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

int __wrap_socket(int family, int type, int protocol) {
    (void)family;
    (void)protocol;
    int ends[2];
    FUZZ_CHECK(socketpair(AF_UNIX, type, 0, ends) == 0);
    if (nups == UPS) {
        close(ends[1]);
        return ends[0];
    }
    start(&ups[nups++], ends[1]);
    return ends[0];
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len) {
    (void)fd;
    (void)address;
    (void)len;
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
    (void)clock;
    clock_ns += 1000;
    *now = (struct timespec){.tv_sec = (time_t)(clock_ns / 1000000000), .tv_nsec = (long)(clock_ns % 1000000000)};
    return 0;
}

void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    return n == sizeof *rings ? (void *)rings : __real_mmap(at, n, protection, flags, fd, offset);
}

int __wrap_munmap(void *at, size_t n) {
    return at == rings ? 0 : __real_munmap(at, n);
}

/* --- the engine ------------------------------------------------------------------------------------------------------------- */

/* Inline stages mark requests, and leave everything else as it is. */
static void run_filters(const uint8_t *records, size_t n, struct fg_records *verdicts) {
    static const char mark[] = "x-inline1";
    struct { struct fg_verdict v; struct fg_img_pair pair; char text[16]; } out = {.pair = {{0, 8}, {0, 1}}};
    out.pair.name.off = offsetof(__typeof__(out), text);
    out.pair.value.off = out.pair.name.off + 8;
    memcpy(out.text, mark, sizeof mark);
    for (size_t at = 0; at < n;) {
        const struct fg_call *c = (const void *)(records + at);
        FUZZ_CHECK(c->kind == FG_RECORD_CALL && c->size % 8 == 0 && c->size <= n - at);
        at += c->size;
        if (c->phase >= FG_PHASE_LOG)
            continue;
        out.v = (struct fg_verdict){.size = sizeof out, .kind = FG_RECORD_VERDICT, .exchange = c->exchange, .number = c->number,
                                    .phase = c->phase};
        if (c->phase == FG_PHASE_REQUEST)
            out.v.edits.set = (struct fg_ref){offsetof(__typeof__(out), pair), 1};
        FUZZ_CHECK(fg_verdict_ok((const uint8_t *)&out, sizeof out) && fg_records_add(verdicts, &out, sizeof out) == 0);
    }
}

static int anonymous(const void *p, size_t n) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
    return fd;
}

static void load_image(void) {
    char why[200] = "", *p;
    Py_ssize_t size;
    PyObject *module = PyImport_ImportModule("fuzz_tables");
    PyObject *image = module ? PyObject_CallMethod(module, "filtered", NULL) : NULL;
    if (!image || PyBytes_AsStringAndSize(image, &p, &size)) {
        PyErr_Print();
        exit(2);
    }
    e->gen = calloc(1, sizeof *e->gen);
    e->gen->refs = e->gen->keeps = 1;
    int fd = anonymous(p, (size_t)size);
    FUZZ_CHECK(e->f.open_image(fd, &e->gen->image, why, sizeof why) == 0 && e->gen->image.nclusters == 1);
    close(fd);
    Py_DECREF(image);
    Py_DECREF(module);
}

static void load_endpoints(void) {
    char why[200] = "";
    struct { struct fg_ep_header h; struct fg_ep_cluster c; struct fg_ep_endpoint x; } t = {
        .h = {.magic = FG_ENDPOINTS_MAGIC, .version = 1, .size = sizeof t, .nclusters = 1, .nendpoints = 1},
        .c = {.key = e->gen->image.clusters[0].key, .count = 1},
        .x = {.address = {127, 0, 0, 1}, .port = 1, .family = 4, .weight = 1}};
    int fd = anonymous(&t, sizeof t);
    e->endpoints = fg_endpoints_load(e, fd, why, sizeof why);
    FUZZ_CHECK(e->endpoints);
    close(fd);
}

#define HEAD_PARSER "int64_t (uint8_t const *, size_t, struct fg_h1_limits const *, struct fg_h1_head *)"

void fuzz_setup(void) {
    struct fg_functions f = {
        .parse_request = (fg_h1_request_fn)fuzz_function("fastgate.core.http1", "h1_request", HEAD_PARSER),
        .parse_response = (fg_h1_response_fn)fuzz_function("fastgate.core.http1", "h1_response", HEAD_PARSER),
        .parse_trailers = (fg_h1_trailers_fn)fuzz_function("fastgate.core.http1", "h1_trailers", HEAD_PARSER),
        .next_chunk = (fg_h1_chunk_fn)fuzz_function("fastgate.core.http1", "h1_chunk",
            "int64_t (struct fg_h1_chunked *, uint8_t const *, size_t, struct fg_span *)"),
        .normalize_path = (fg_path_normalize_fn)fuzz_function("fastgate.core.http1", "path_normalize",
            "int64_t (uint8_t *, size_t)"),
        .open_image = (fg_image_open_fn)fuzz_function("fastgate.core.image", "image_open",
            "int (int, struct fg_image *, char *, size_t)"),
        .close_image = (fg_image_close_fn)fuzz_function("fastgate.core.image", "image_close", "void (struct fg_image *)"),
        .match = (fg_match_fn)fuzz_function("fastgate.core.router", "match",
            "void (struct fg_image const *, uint32_t, struct fg_match_query const *, struct fg_match_result *)"),
        .run_filters = run_filters};
    int ends[2], slab = memfd_create("statistics", MFD_CLOEXEC);
    FUZZ_CHECK(ftruncate(slab, (off_t)fg_stats_size()) == 0);
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    clock_ns = 1000000000000;
    e = fg_engine_new(&f, &(struct fg_engine_options){.control_fd = ends[1], .stats_fd = slab, .log_fd = -1, .adopt_fd = -1,
                                                      .workers = 1});
    FUZZ_CHECK(e);
    load_image();
    load_endpoints();
    listener = (struct fg_listen){.e = e, .bound = {.ip = {127, 0, 0, 1}, .port = 80, .family = 4}, .lock_fd = -1};
    fg_list_init(&listener.all);
    rings = aligned_alloc(64, sizeof *rings);
    memset(rings, 0, sizeof *rings);
    client.in = malloc(BYTES);
    for (unsigned i = 0; i < UPS; i++)
        ups[i].in = malloc(BYTES);
}

/* --- what the others see --------------------------------------------------------------------------------------------------- */

static void receive(struct peer *p) {
    while (p->fd >= 0 && p->len < BYTES) {
        ssize_t n = recv(p->fd, p->in + p->len, BYTES - p->len, MSG_DONTWAIT);
        if (n > 0) {
            p->len += (size_t)n;
            continue;
        }
        if (n == 0 || errno != EAGAIN)
            end(p);
        return;
    }
}

static void take_calls(void) {
    static uint8_t record[FG_RECORD_MAX];
    int64_t n;
    while (enemy >= 0 && (n = fg_ring_take(&rings->calls, record, FG_RECORD_MAX)) > 0) {
        const struct fg_call *c = (const void *)record;
        FUZZ_CHECK(scribbled || (c->kind == FG_RECORD_CALL && c->size == n && c->phase <= FG_PHASE_END));
        if (c->phase < FG_PHASE_LOG && n >= (int64_t)sizeof *c)
            calls[ncalls++ % CALLS] = (struct call){c->exchange, c->number, c->phase, false};
    }
}

static void turns(void) {
    for (int i = 0; i < 5; i++) {
        fg_loop_turn(&e->loop, 0);
        if (e->filters)
            fg_filter_run_inline(e);
        take_calls();
        receive(&client);
        for (unsigned j = 0; j < nups; j++)
            receive(&ups[j]);
    }
}

/* The bytes of a body in chunks; 0: it is not whole. */
static size_t chunks(const uint8_t *p, size_t n) {
    for (size_t at = 0;;) {
        int64_t line = oracle_line(p + at, n - at);
        FUZZ_CHECK(line != ORACLE_BAD);
        if (line < 0)
            return 0;
        size_t size = strtoul((const char *)p + at, NULL, 16);
        at += (size_t)line;
        if (n - at < size + 2)
            return 0;
        at += size + 2;
        FUZZ_CHECK(p[at - 2] == '\r' && p[at - 1] == '\n');
        if (size == 0)
            return at;
    }
}

/* A field's name is `text`, said without functions whose arguments a search learns. */
static bool named(const uint8_t *p, struct oracle_text name, const char *text) {
    for (size_t i = 0; i < name.len; i++)
        if (text[i] == 0 || (p[name.off + i] | 0x20) != text[i])
            return false;
    return text[name.len] == 0;
}

/* Edits are marked by the phase that they were given in. */
static void check_marks(const uint8_t *p, const struct oracle *o, bool request, bool runs_inline) {
    unsigned inlines = 0, hosts = 0;
    for (size_t i = 0; i < o->nfields; i++) {
        uint8_t mark[] = "mark-0";
        for (uint8_t phase = 0; phase < FG_PHASE_COUNT; phase++) {
            mark[5] = '0' + phase;
            FUZZ_CHECK(!named(p, o->name[i], (char *)mark) || phase == (request ? FG_PHASE_REQUEST : FG_PHASE_RESPONSE));
        }
        inlines += named(p, o->name[i], "x-inline");
        hosts += named(p, o->name[i], "host");
    }
    FUZZ_CHECK(!request || (hosts == 1 && inlines == runs_inline));
}

/* Bytes of the message at p, which nobody could read in two ways; 0: it is not whole. */
static size_t message(const uint8_t *p, size_t n, bool request, bool runs_inline, bool ended) {
    static struct oracle o;
    uint64_t length;
    int64_t line = oracle_line(p, n), head = line < 0 ? line : oracle_fields(p, (size_t)line, n, &o);
    FUZZ_CHECK(head != ORACLE_BAD);
    if (head < 0)
        return 0;
    unsigned status = request ? 0 : (unsigned)atoi((const char *)p + 9);
    FUZZ_CHECK(request ? p[0] == 'G' || p[0] == 'P' : memcmp(p, "HTTP/1.1 ", 9) == 0 && status >= 100 && status <= 599);
    int framing = oracle_framing(p, &o, 1, request, &length);
    FUZZ_CHECK(framing != ORACLE_BAD);
    check_marks(p, &o, request, runs_inline);
    if (!request && status < 200) {
        size_t rest = message(p + head, n - (size_t)head, request, runs_inline, ended);
        return rest ? (size_t)head + rest : 0;
    }
    if (framing == FG_FRAMING_CHUNKED) {
        size_t body = chunks(p + head, n - (size_t)head);
        return body ? (size_t)head + body : 0;
    }
    if (framing == FG_FRAMING_LENGTH && status != 204 && status != 304)
        return (uint64_t)head + length <= n ? (size_t)head + (size_t)length : 0;
    return request || status == 204 || status == 304 ? (size_t)head : ended ? n : 0;
}

/* --- what the others do ----------------------------------------------------------------------------------------------------- */

static void say(int fd, const char *text, size_t n) {
    if (fd >= 0)
        (void)!send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

#define SAY(fd, text) say((fd), (text), sizeof(text) - 1)

static const char *const routes[] = {"/plain", "/bodies", "/inline", "/whole", "/page", "/many"};

static bool runs_inline(uint8_t how) {
    return how % FG_COUNT_OF(routes) == 2;
}

/* Every request that is whole is answered. */
static void answer(uint8_t how, uint8_t with) {
    for (unsigned i = 0; i < nups; i++) {
        struct peer *u = &ups[i];
        size_t whole = message(u->in, u->len, true, runs_inline(how), false);
        if (whole == 0)
            continue;
        FUZZ_CHECK(whole == u->len); /* a proxy does not pipeline */
        u->len = 0;
        if (with & 1)
            SAY(u->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        else if (with & 2)
            SAY(u->fd, "HTTP/1.1 404 No\r\nx-old: 1\r\nContent-Length: 3\r\nSet-Cookie: a\r\n\r\nabc");
        else
            SAY(u->fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

static void pass_time(unsigned ms) {
    clock_ns += ms * 1000000ull;
}

/* --- the enemy ---------------------------------------------------------------------------------------------------------------- */

static void wake(void) {
    rings->calls.sleeping = 1;
    SAY(enemy, "!");
}

static void put(const void *record, uint32_t size) {
    if (enemy < 0 || !fg_ring_put(&rings->verdicts, record, size))
        return;
    memcpy(last, record, size);
    last_size = size;
    wake();
}

static const struct call *aim(uint8_t which) {
    static const struct call none = {1ull << 32, 1, 0, false};
    return ncalls ? &calls[(ncalls - 1 - which % (ncalls < CALLS ? ncalls : CALLS)) % CALLS] : &none;
}

static void plain(const struct call *c) {
    const struct fg_verdict v = {.size = sizeof v, .kind = FG_RECORD_VERDICT, .exchange = c->exchange, .number = c->number,
                                 .phase = c->phase};
    put(&v, sizeof v);
}

/* Texts that may matter; of `raw`, bytes of the input, from which no mark can be made. */
static uint32_t put_text(uint8_t *at, struct fuzz_bytes *in) {
    static const char *const words[] = {"a", "x-old", "set-cookie", "content-length", "transfer-encoding", "host", "connection",
                                        "5", "chunked", "/p?q", "*", "b.example:80", "a\rb: c", "close", "te", "expect"};
    uint8_t what = fuzz_byte(in);
    if (what < 128) {
        const char *word = words[what % FG_COUNT_OF(words)];
        memcpy(at, word, strlen(word));
        return (uint32_t)strlen(word);
    }
    uint32_t n = what % 16;
    for (uint32_t i = 0; i < n; i++) {
        at[i] = fuzz_byte(in);
        if ((at[i] | 0x20) == 'x' || (at[i] | 0x20) == 'm')
            at[i] = 'y';
    }
    return n;
}

/* A verdict that is well-formed, as far as its texts are: for a call, or one near it. */
static void build(struct fuzz_bytes *in) {
    static _Alignas(8) uint8_t record[8192];
    struct fg_verdict *v = (void *)record;
    struct fg_img_pair *pairs = (void *)(v + 1);
    struct fg_ref *names = (void *)(pairs + 8), *refs[] = {&v->target, &v->authority, &v->body};
    uint8_t to = fuzz_byte(in), what = fuzz_byte(in), counts = fuzz_byte(in), parts = fuzz_byte(in);
    const struct call *c = aim(to & 15);
    uint32_t at = (uint32_t)((uint8_t *)(names + 4) - record);
    memset(record, 0, sizeof record);
    *v = (struct fg_verdict){.kind = FG_RECORD_VERDICT, .exchange = c->exchange, .number = c->number + (to >> 4 & 3),
                             .phase = to & 64 ? what >> 4 : c->phase, .outcome = what & 3,
                             .status = counts & 128 ? 200 + (uint16_t)fuzz_byte(in) : what & 8 ? 304 : (what & 3) == 1 ? 200 : 0};
    v->edits.set = (struct fg_ref){(uint32_t)sizeof *v, 1 + (counts & 3)};
    v->edits.add = (struct fg_ref){(uint32_t)(sizeof *v + 4 * sizeof *pairs), counts >> 2 & 3};
    v->edits.remove = (struct fg_ref){(uint32_t)((uint8_t *)names - record), counts >> 4 & 3};
    for (uint32_t i = 0; i < 7; i++) {
        if (i < 4 ? i >= v->edits.set.len : i - 4 >= v->edits.add.len)
            continue;
        if (i) {
            pairs[i].name = (struct fg_ref){at, put_text(record + at, in)};
        } else {
            snprintf((char *)record + at, 8, "mark-%u", v->outcome == FG_OUTCOME_CONTINUE ? v->phase % 8u : 9);
            pairs[i].name = (struct fg_ref){at, 6};
        }
        at += pairs[i].name.len;
        pairs[i].value = (struct fg_ref){at, put_text(record + at, in)};
        at += pairs[i].value.len;
    }
    for (uint32_t i = 0; i < v->edits.remove.len; i++) {
        names[i] = (struct fg_ref){at, put_text(record + at, in)};
        at += names[i].len;
    }
    for (unsigned i = 0; i < 3; i++)
        if (parts >> i & 1) {
            *refs[i] = (struct fg_ref){at, put_text(record + at, in)};
            at += refs[i]->len;
        }
    if (parts & 8)
        v->endpoint = (struct fg_ep_endpoint){.address = {127, 0, 0, 1}, .port = fuzz_byte(in), .family = 4};
    if (parts & 16) { /* one reference leads elsewhere */
        uint32_t field = 24 + fuzz_byte(in) * 4u % (uint32_t)((uint8_t *)(names + 4) - record - 24), value;
        memcpy(&value, record + field, 4);
        value = parts & 32 ? value + (uint32_t)(int8_t)fuzz_byte(in) : parts & 64 ? at - fuzz_byte(in) : (uint32_t)fuzz_byte(in) << 24;
        memcpy(record + field, &value, 4);
    }
    v->size = FG_ALIGN_UP(at, 8u);
    put(v, v->size);
}

static void scribble(struct fuzz_bytes *in) {
    uint8_t what = fuzz_byte(in);
    struct fg_ring *r = what & 1 ? &rings->calls : &rings->verdicts;
    uint64_t value = fuzz_u16(in), *words[] = {&r->tail, &r->head};
    uint64_t *word = words[what >> 1 & 1];
    scribbled = true;
    if (what & 128) /* empty, and near its end */
        r->head = r->tail = FG_RING_BYTES - value % EDGE;
    else if ((what >> 2 & 3) == 0)
        *word += (uint64_t)(int64_t)(int16_t)value;
    else if ((what >> 2 & 3) == 1)
        *word = value << 48 | value;
    else if ((what >> 2 & 3) == 2)
        *word = FG_RING_BYTES - value % EDGE;
    else /* the words that a record begins with, where the consumer is or the ring ends */
        memcpy(r->data + (what & 16 ? FG_RING_BYTES - 8 - value % EDGE / 8 * 8 : r->head % EDGE / 8 * 8),
               (uint32_t[]){what & 32 ? (uint32_t)value * 8 : (uint32_t)value, what & 64 ? FG_RECORD_PAD : FG_RECORD_VERDICT}, 8);
    wake();
}

static void leave(void) {
    if (enemy >= 0)
        close(enemy);
    enemy = -1;
}

/* --- one input ---------------------------------------------------------------------------------------------------------------- */

static void begin(uint8_t how) {
    int ends[2];
    char head[200];
    clock_ns = clock_ns / 1000000000 * 1000000000 + 1000000000;
    e->random = 1;
    ncalls = nups = last_size = 0;
    scribbled = false;
    for (unsigned i = 0; i < 2; i++) {
        struct fg_ring *r = i ? &rings->calls : &rings->verdicts;
        memset(r, 0, offsetof(struct fg_ring, data) + EDGE);
        memset(r->data + FG_RING_BYTES - EDGE, 0, EDGE);
    }
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) == 0);
    enemy = ends[0];
    int fd = memfd_create("rings", MFD_CLOEXEC);
    FUZZ_CHECK(ftruncate(fd, sizeof *rings) == 0);
    fg_filter_attach(e, fd, ends[1]);
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    start(&client, ends[0]);
    const char *path = routes[how % FG_COUNT_OF(routes)];
    int n = snprintf(head, sizeof head, how & 128 ? "GET %s?q HTTP/1.1\r\nHost: a.example\r\nX-Old: 1\r\n\r\n"
                     : "POST %s HTTP/1.1\r\nHost: a.example\r\nX-Old: 1\r\nContent-Length: 6\r\n\r\nabc", path);
    say(client.fd, head, (size_t)n);
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_storage address = {0};
    memcpy(&address, &peer, sizeof peer);
    fg_down_accept(&listener, ends[1], &address);
    if (e->filters)
        fg_filter_run_inline(e);
    turns();
}

static void step(uint8_t how, struct fuzz_bytes *in, bool *whole) {
    uint8_t what = fuzz_byte(in);
    switch (what % 10) {
    case 0: case 1: case 2: build(in); break;
    case 3: plain(aim(what >> 4)); break;
    case 4: /* the same again, or of another size */
        last_size -= what & 128 && last_size > 8 ? 8 : 0;
        if (last_size)
            put(last, last_size);
        break;
    case 5: scribble(in); break;
    case 6: pass_time(what & 128 ? 2 * SECOND : SECOND / 4); break;
    case 7: answer(how, what >> 4); break;
    case 8:
        if (!*whole && !(how & 128))
            SAY(client.fd, "def");
        *whole = true;
        break;
    case 9:
        if (what & 128)
            leave();
        else if (what & 64)
            end(&client);
        else if (nups)
            end(&ups[nups - 1]);
        break;
    }
    turns();
}

/* Everybody does what is expected, for long enough that every wait has come to its end. */
static void finish(uint8_t how, bool whole) {
    if (!whole && !(how & 128))
        SAY(client.fd, "def");
    for (int round = 0; round < 12; round++) {
        for (unsigned i = 0; i < CALLS && i < ncalls; i++)
            if (!calls[i].answered && enemy >= 0) {
                calls[i].answered = true;
                plain(&calls[i]);
            }
        answer(how, 1);
        turns();
        if (round == 8)
            leave();
    }
    for (int second = 0; second < 200 && client.fd >= 0 && message(client.in, client.len, false, false, false) == 0; second += 10) {
        pass_time(10 * SECOND);
        answer(how, 0);
        turns();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_bytes in = {data, size};
    uint8_t how = fuzz_byte(&in);
    bool whole = false;
    begin(how);
    for (int i = 0; i < STEPS && in.left; i++)
        step(how, &in, &whole);
    finish(how, whole);
    bool ended = client.fd < 0;
    size_t n = message(client.in, client.len, false, false, ended);
    FUZZ_CHECK(ended || n == client.len);
    end(&client);
    for (unsigned i = 0; i < nups; i++)
        end(&ups[i]);
    turns();
    pass_time(10 * SECOND); /* what lingers has ended */
    turns();
    FUZZ_CHECK(fg_list_empty(&e->downs) && e->stats->c.requests_active == 0);
    FUZZ_CHECK(e->gen->refs == 1 && e->stats->c.upstream_open == 0 && e->pool.used == 0);
    FUZZ_CHECK(e->stats->c.filter_waiting == 0);
    fg_filter_free(e);
    return 0;
}
