/* The floor: an epoll relay that parses nothing. One backend connection for each client connection, and whatever one
 * side sends goes to the other as it came: what any proxy has to pay, with nothing of what makes it one.
 *
 *   floor PORT BACKEND_PORT      both on 127.0.0.1
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CHUNK = 65536, EVENTS = 512 };

struct side {
    struct side *other;
    int fd;
    char *owed;        /* bytes that this side's socket did not take */
    size_t owes;
    unsigned connecting : 1, closed : 1;
};

static int epoll_fd;
static char chunk[CHUNK];

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static void watch(struct side *s, int operation, uint32_t events) {
    epoll_ctl(epoll_fd, operation, s->fd, &(struct epoll_event){.events = events, .data.ptr = s});
}

/* Both are freed with the second of them, after the events of this turn: a freed pointer may still be among those. */
static struct side *dead[2 * EVENTS];
static int ndead;

static void finish(struct side *s) {
    if (s->closed)
        return;
    for (struct side *each = s;; each = s->other) {
        close(each->fd);
        each->closed = 1;
        dead[ndead++] = each;
        if (each == s->other)
            break;
    }
}

static void push(struct side *to, const char *data, size_t n) {
    ssize_t sent = to->connecting || to->owes ? 0 : write(to->fd, data, n);
    if (sent < 0 && errno != EAGAIN) {
        finish(to);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent < n) {
        to->owed = realloc(to->owed, to->owes + n - sent);
        for (size_t i = sent; i < n; i++)
            to->owed[to->owes++] = data[i];
        watch(to, EPOLL_CTL_MOD, EPOLLOUT);
        if (!to->connecting)
            watch(to->other, EPOLL_CTL_MOD, 0); /* back-pressure */
    }
}

static void writable(struct side *s) {
    size_t n = s->owes;
    char *owed = s->owed;
    s->connecting = 0;
    s->owed = NULL;
    s->owes = 0;
    watch(s, EPOLL_CTL_MOD, EPOLLIN);
    watch(s->other, EPOLL_CTL_MOD, EPOLLIN);
    if (n)
        push(s, owed, n);
    free(owed);
}

static void readable(struct side *s) {
    ssize_t n = read(s->fd, chunk, sizeof chunk);
    if (n > 0)
        push(s->other, chunk, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        finish(s);
}

static void accept_one(int listener, int backend_port) {
    struct sockaddr_in backend = loopback(backend_port);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct side *client = calloc(1, sizeof *client), *server = calloc(1, sizeof *server);
    *client = (struct side){.other = server, .fd = fd};
    *server = (struct side){.other = client, .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .connecting = 1};
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(server->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    connect(server->fd, (struct sockaddr *)&backend, sizeof backend);
    watch(client, EPOLL_CTL_ADD, EPOLLIN);
    watch(server, EPOLL_CTL_ADD, EPOLLOUT);
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    struct sockaddr_in address = loopback(atoi(argv[1]));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), backend_port = atoi(argv[2]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        perror("floor");
        return 1;
    }
    epoll_fd = epoll_create1(0);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN});
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct side *s = events[i].data.ptr;
            if (s == NULL)
                accept_one(listener, backend_port);
            else if (!s->closed && events[i].events & EPOLLOUT)
                writable(s);
            else if (!s->closed)
                readable(s);
        }
        while (ndead) {
            free(dead[--ndead]->owed);
            free(dead[ndead]);
        }
    }
}
