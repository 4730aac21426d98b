/* Datagrams on loopback: what asks, what answers, and the floor between them.
 *
 *   datagrams echo PORT plain|runs                 sends back what comes, many by one call
 *   datagrams relay PORT BACKEND_PORT              the floor: a socket for each source, one call for each datagram and direction
 *   datagrams load PORT SOURCES FLIGHT SECONDS plain|runs
 *                                                  64 bytes, FLIGHT of them on their way from each source, as fast as they come back
 *
 * "runs": UDP_SEGMENT and UDP_GRO at this end, as if its network card made packets of runs, and runs of packets. `load` prints one
 * JSON object: answers, and datagrams that were sent again because none came for a while.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, BATCH = 64, ROOM = 64 * SIZE, EVENTS = 256, LOST_MS = 200, TABLE = 1 << 16 };

static struct mmsghdr msgs[BATCH];
static struct iovec iov[BATCH];
static struct sockaddr_in names[BATCH];
static char bytes[BATCH][ROOM];
static _Alignas(8) char control[BATCH][CMSG_SPACE(sizeof(int))];
static int runs;

static struct sockaddr_in loopback(const char *port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int bound(const char *port) {
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){4 << 20}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        perror("bind");
        exit(1);
    }
    return fd;
}

static int connected(const struct sockaddr_in *a) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)a, sizeof *a) < 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void many_descriptors(void) {
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

/* How many datagrams of SIZE bytes one message holds, or shall hold. */
static int count_of(size_t n) {
    return n > SIZE ? (int)((n + SIZE - 1) / SIZE) : 1;
}

static void prepare(int i, size_t n, struct sockaddr_in *name) {
    iov[i] = (struct iovec){bytes[i], n};
    msgs[i].msg_hdr = (struct msghdr){.msg_name = name, .msg_namelen = name ? sizeof *name : 0, .msg_iov = &iov[i], .msg_iovlen = 1,
        .msg_control = runs ? control[i] : NULL, .msg_controllen = runs ? sizeof control[i] : 0};
}

static int receive(int fd, int wait, int named) {
    for (int i = 0; i < BATCH; i++)
        prepare(i, ROOM, named ? &names[i] : NULL);
    int n = recvmmsg(fd, msgs, BATCH, wait ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
    return n > 0 ? n : 0;
}

static void send_all(int fd, int n) {
    for (int sent = 0, k; sent < n; sent += k)
        if ((k = sendmmsg(fd, msgs + sent, (unsigned)(n - sent), 0)) <= 0)
            k = 1;
}

static void take_runs(int fd) {
    setsockopt(fd, SOL_UDP, UDP_GRO, &runs, sizeof runs);
    setsockopt(fd, SOL_UDP, UDP_SEGMENT, &(int){runs ? SIZE : 0}, sizeof(int));
}

_Noreturn static void echo(const char *port) {
    int fd = bound(port);
    take_runs(fd);
    for (;;) {
        int n = receive(fd, 1, 1);
        for (int i = 0; i < n; i++) {
            iov[i].iov_len = msgs[i].msg_len;
            msgs[i].msg_hdr.msg_controllen = 0;
        }
        send_all(fd, n);
    }
}

/* --- the floor ------------------------------------------------------------------------------------------------------------------ */

static struct source { struct sockaddr_in name; int fd; } table[TABLE];

static struct source *source_of(const struct sockaddr_in *name) {
    uint32_t at = (name->sin_port ^ name->sin_addr.s_addr) * 2654435761u >> 16;
    while (table[at].fd && (table[at].name.sin_port != name->sin_port || table[at].name.sin_addr.s_addr != name->sin_addr.s_addr))
        at = (at + 1) % TABLE;
    table[at].name = *name;
    return &table[at];
}

_Noreturn static void relay(const char *port, const char *backend) {
    struct sockaddr_in to = loopback(backend), from;
    int fd = bound(port), epoll = epoll_create1(0);
    char in[2048];
    many_descriptors();
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct source *s = events[i].data.ptr;
            ssize_t got;
            if (s) {
                while ((got = recv(s->fd, in, sizeof in, MSG_DONTWAIT)) >= 0)
                    sendto(fd, in, (size_t)got, 0, (struct sockaddr *)&s->name, sizeof s->name);
                continue;
            }
            for (int k = 0; k < BATCH; k++) {
                got = recvfrom(fd, in, sizeof in, MSG_DONTWAIT, (struct sockaddr *)&from, &(socklen_t){sizeof from});
                if (got < 0)
                    break;
                s = source_of(&from);
                if (s->fd == 0) {
                    s->fd = connected(&to);
                    epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &(struct epoll_event){.events = EPOLLIN | EPOLLET, .data.ptr = s});
                }
                send(s->fd, in, (size_t)got, 0);
            }
        }
    }
}

/* --- load ----------------------------------------------------------------------------------------------------------------------- */

struct client { int fd; int away; uint64_t sent_ms; };

static void send_some(struct client *c, int n, uint64_t now) {
    int each = runs ? n : 1;
    for (int i = 0; i < n / each; i++) {
        prepare(i, (size_t)each * SIZE, NULL);
        msgs[i].msg_hdr.msg_controllen = 0;
    }
    send_all(c->fd, n / each);
    c->away += n;
    c->sent_ms = now;
}

static int receive_some(struct client *c) {
    int n = receive(c->fd, 0, 0), datagrams = 0;
    for (int i = 0; i < n; i++)
        datagrams += count_of(msgs[i].msg_len);
    return datagrams;
}

static void load(const char *port, int sources, int flight, int seconds) {
    struct sockaddr_in to = loopback(port);
    struct client *clients = calloc((size_t)sources, sizeof *clients);
    int epoll = epoll_create1(0);
    uint64_t answers = 0, lost = 0, end = now_ms() + (uint64_t)seconds * 1000, looked = 0;
    many_descriptors();
    for (int i = 0; i < sources; i++) {
        clients[i].fd = connected(&to);
        take_runs(clients[i].fd);
        epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &clients[i]});
    }
    for (uint64_t now = now_ms(); now < end; now = now_ms()) {
        if (now > looked + LOST_MS) {
            looked = now;
            for (int i = 0; i < sources; i++) {
                if (now < clients[i].sent_ms + LOST_MS)
                    continue;
                lost += (uint64_t)clients[i].away;
                clients[i].away = 0;
                send_some(&clients[i], flight, now);
            }
        }
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll, events, EVENTS, LOST_MS);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            int got = receive_some(c);
            answers += (uint64_t)got;
            c->away = c->away > got ? c->away - got : 0;
            if (c->away < flight)
                send_some(c, flight - c->away, now);
        }
    }
    printf("{\"answers\": %llu, \"lost\": %llu}\n", (unsigned long long)answers, (unsigned long long)lost);
}

int main(int argc, char **argv) {
    runs = argc > 2 && strcmp(argv[argc - 1], "runs") == 0;
    if (argc == 4 && strcmp(argv[1], "echo") == 0)
        echo(argv[2]);
    if (argc == 4 && strcmp(argv[1], "relay") == 0)
        relay(argv[2], argv[3]);
    if (argc == 7 && strcmp(argv[1], "load") == 0) {
        load(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
        return 0;
    }
    fprintf(stderr, "usage: see the first lines of datagrams.c\n");
    return 2;
}
