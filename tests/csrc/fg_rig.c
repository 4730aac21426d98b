#include "fg_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

static void limit_waits(int fd) {
    struct timeval t = {.tv_sec = RIG_SECONDS};
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t), 0);
}

int rig_listen(uint16_t *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    CHECK_EQ(listen(fd, 256), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* --- messages ---------------------------------------------------------------------------------------------------------------- */

static bool has(const uint8_t *p, size_t n, const char *text) {
    return memmem(p, n, text, strlen(text)) != NULL;
}

/* Bytes of the whole message at `p`, 0 when it is not all there. Chunked bodies have no trailers, and no data that looks
 * like their end. */
static size_t message_length(const uint8_t *p, size_t n) {
    const uint8_t *end = memmem(p, n, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - p) + 4;
    if (has(p, head, "ransfer-encoding: chunked") || has(p, head, "ransfer-Encoding: chunked")) {
        const uint8_t *last = memmem(p + head - 2, n - head + 2, "\r\n0\r\n\r\n", 7);
        return last ? (size_t)(last - p) + 7 : 0;
    }
    const uint8_t *length = memmem(p, head, "ontent-length: ", 15);
    if (length == NULL)
        length = memmem(p, head, "ontent-Length: ", 15);
    size_t all = head + (length ? strtoul((const char *)length + 15, NULL, 10) : 0);
    return all <= n ? all : 0;
}

static bool send_all(int fd, const void *bytes, size_t n) {
    for (const uint8_t *p = bytes; n;) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0) {
            CHECK(errno != EAGAIN);
            return false;
        }
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* --- the backend -------------------------------------------------------------------------------------------------------------- */

static const char small[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: b\r\n\r\nok";
static const char chunked[] =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Internal: 1\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n";
static char large[128 * 1024], long_head[32 * 1024];

static void make_responses(void) {
    int n = snprintf(large, sizeof large, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 100 * 1024);
    memset(large + n, 'x', 100 * 1024);
    n = snprintf(long_head, sizeof long_head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: ");
    memset(long_head + n, 'y', 20000);
    memcpy(long_head + n + 20000, "\r\n\r\nok", 7);
}

static bool respond(int fd, const uint8_t *request, size_t n) {
    const uint8_t *eol = memchr(request, '\r', n);
    size_t line = (size_t)(eol - request);
    if (has(request, line, "/chunked"))
        return send_all(fd, chunked, sizeof chunked - 1);
    if (has(request, line, "/large"))
        return send_all(fd, large, strlen(large));
    if (has(request, line, "/long-head"))
        return send_all(fd, long_head, strlen(long_head));
    return send_all(fd, small, sizeof small - 1);
}

static void serve(struct rig_peer *p) {
    ssize_t n = recv(p->fd, p->in + p->len, RIG_BYTES - p->len, 0);
    if (n > 0) {
        p->len += (uint32_t)n;
        size_t whole = message_length(p->in, p->len);
        if (whole == 0)
            return;
        CHECK_EQ(whole, p->len); /* a proxy does not pipeline */
        p->len = 0;
        if (respond(p->fd, p->in, whole))
            return;
    }
    close(p->fd);
    p->fd = -1;
}

static void *backend_thread(void *arg) {
    struct rig_backend *b = arg;
    struct pollfd fds[RIG_CONNS + 2];
    for (;;) {
        for (int i = 0; i < RIG_CONNS; i++)
            fds[i] = (struct pollfd){.fd = b->peers[i].fd, .events = POLLIN};
        fds[RIG_CONNS] = (struct pollfd){.fd = b->listener, .events = POLLIN};
        fds[RIG_CONNS + 1] = (struct pollfd){.fd = b->wake[0], .events = POLLIN};
        if (poll(fds, RIG_CONNS + 2, -1) < 0)
            continue;
        if (fds[RIG_CONNS + 1].revents)
            return NULL;
        for (int i = 0; i < RIG_CONNS; i++)
            if (fds[i].fd >= 0 && fds[i].revents)
                serve(&b->peers[i]);
        if (fds[RIG_CONNS].revents) {
            int i = 0, fd = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC);
            while (i < RIG_CONNS && b->peers[i].fd >= 0)
                i++;
            CHECK(i < RIG_CONNS && fd >= 0);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            limit_waits(fd);
            b->peers[i].fd = fd;
            b->peers[i].len = 0;
        }
    }
}

void rig_backend_start(struct rig_backend *b) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_responses);
    b->listener = rig_listen(&b->port);
    CHECK_EQ(pipe2(b->wake, O_CLOEXEC), 0);
    for (int i = 0; i < RIG_CONNS; i++)
        b->peers[i].fd = -1;
    CHECK_EQ(pthread_create(&b->thread, NULL, backend_thread, b), 0);
}

void rig_backend_stop(struct rig_backend *b) {
    CHECK_EQ(write(b->wake[1], "", 1), 1);
    pthread_join(b->thread, NULL);
    for (int i = 0; i < RIG_CONNS; i++)
        if (b->peers[i].fd >= 0)
            close(b->peers[i].fd);
    close(b->listener);
    close(b->wake[0]);
    close(b->wake[1]);
}

/* --- clients ------------------------------------------------------------------------------------------------------------------ */

void rig_connect(struct rig_client *c, uint16_t port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    limit_waits(c->fd);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    CHECK_EQ(connect(c->fd, (struct sockaddr *)&a, sizeof a), 0);
}

bool rig_send(struct rig_client *c, const void *request, size_t n) {
    return send_all(c->fd, request, n);
}

int rig_receive(struct rig_client *c) {
    c->len = 0;
    for (;;) {
        size_t whole = message_length(c->in, c->len);
        if (whole) {
            CHECK_EQ(whole, c->len);
            return atoi((const char *)c->in + 9);
        }
        CHECK(c->len < RIG_BYTES);
        ssize_t n = recv(c->fd, c->in + c->len, RIG_BYTES - c->len, 0);
        if (n < 0)
            CHECK_EQ(errno, ECONNRESET);
        if (n <= 0)
            return 0;
        c->len += (uint32_t)n;
    }
}

void rig_close(struct rig_client *c) {
    close(c->fd);
    c->fd = -1;
}

/* --- the engine --------------------------------------------------------------------------------------------------------------- */

void rig_names_of(const struct fg_functions *f, const char *path, struct rig_names *names) {
    struct fg_image image;
    char why[200] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->open_image(fd, &image, why, sizeof why) < 0)
        fg_test_failed(path, 0, why);
    close(fd);
    CHECK_EQ(image.nsockets, 1);
    CHECK(image.nclusters <= RIG_CLUSTERS);
    names->socket = image.sockets[0].key;
    names->nclusters = image.nclusters;
    for (uint32_t i = 0; i < image.nclusters; i++)
        names->clusters[i] = image.clusters[i].key;
    f->close_image(&image);
}

static void *engine_thread(void *arg) {
    struct rig *rig = arg;
    struct fg_engine *e = fg_engine_new(rig->f, &rig->options);
    rig->made = e != NULL;
    if (e)
        fg_engine_run(e);
    fg_engine_free(e);
    return NULL;
}

bool rig_start(struct rig *rig, const struct fg_functions *f, int log_fd) {
    int ends[2], slab = memfd_create("statistics", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(slab, (off_t)fg_stats_size()), 0);
    rig->stats = mmap(NULL, fg_stats_size(), PROT_READ, MAP_SHARED, slab, 0);
    CHECK(rig->stats != MAP_FAILED);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    limit_waits(ends[0]);
    rig->control = ends[0];
    rig->f = f;
    rig->options = (struct fg_engine_options){.control_fd = ends[1], .stats_fd = slab, .log_fd = log_fd, .adopt_fd = -1,
        .workers = 1};
    CHECK_EQ(pthread_create(&rig->thread, NULL, engine_thread, rig), 0);
    if (rig_await(rig, FG_CTL_HELLO, 0))
        return true;
    rig_join(rig);
    rig_free(rig);
    CHECK(!rig->made);
    return false;
}

void rig_join(struct rig *rig) {
    pthread_join(rig->thread, NULL);
    close(rig->control);
}

void rig_free(struct rig *rig) {
    munmap((void *)rig->stats, fg_stats_size());
}

static void send_message(struct rig *rig, const struct fg_control_message *m, int fd) {
    union { struct cmsghdr align; char space[CMSG_SPACE(sizeof(int))]; } control = {0};
    struct iovec iov = {(void *)m, sizeof *m};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    CHECK_EQ(sendmsg(rig->control, &msg, MSG_NOSIGNAL), sizeof *m);
}

/* False: FAILED, or the engine's end is closed. */
bool rig_await(struct rig *rig, uint32_t answer, uint64_t key) {
    for (;;) {
        struct fg_control_message m;
        ssize_t n = recv(rig->control, &m, sizeof m, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return false;
        CHECK_EQ(n, sizeof m);
        if (m.type == answer && m.key == key)
            return true;
        if (m.type == FG_CTL_FAILED && m.key == key)
            return false;
    }
}

void rig_tell(struct rig *rig, uint32_t type, uint64_t a, uint64_t b, int fd) {
    const struct fg_control_message m = {.type = type, .a = a, .b = b};
    send_message(rig, &m, fd);
}

bool rig_ask(struct rig *rig, uint32_t type, uint64_t key, int fd, uint32_t answer) {
    const struct fg_control_message m = {.type = type, .key = key};
    send_message(rig, &m, fd);
    return rig_await(rig, answer, key);
}

int rig_endpoints(const struct rig_names *names, uint16_t port, uint64_t version) {
    struct {
        struct fg_ep_header h;
        struct fg_ep_cluster c[RIG_CLUSTERS];
        struct fg_ep_endpoint x;
    } t = {.h = {.magic = FG_ENDPOINTS_MAGIC, .version = version, .nclusters = names->nclusters, .nendpoints = 1}};
    for (uint32_t i = 0; i < names->nclusters; i++) { /* in the order of the keys */
        uint32_t at = i;
        for (; at && t.c[at - 1].key > names->clusters[i]; at--)
            t.c[at] = t.c[at - 1];
        t.c[at] = (struct fg_ep_cluster){.key = names->clusters[i], .count = 1};
    }
    t.x = (struct fg_ep_endpoint){.address = {127, 0, 0, 1}, .port = port, .family = 4, .weight = 1};
    size_t clusters = sizeof t.h + names->nclusters * sizeof t.c[0];
    t.h.size = clusters + sizeof t.x;
    int fd = memfd_create("endpoints", MFD_CLOEXEC);
    CHECK_EQ(write(fd, &t, clusters), clusters);
    CHECK_EQ(write(fd, &t.x, sizeof t.x), sizeof t.x);
    return fd;
}
