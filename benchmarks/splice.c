/* A relay that only splices: what moving bytes between two sockets costs without copies, and with nothing besides.
 *
 * splice PORT BACKEND_PORT
 *
 * One connection after the other, both directions of each through a pipe of 1 MiB, until both have ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIPE = 1 << 20 };

struct direction { int from, to, pipe[2]; size_t held; bool ended, over; };

static int die(const char *what) {
    perror(what);
    exit(1);
}

/* Moves what can be moved now. */
static void move(struct direction *d) {
    while (!d->over) {
        ssize_t in = d->ended || d->held == PIPE ? 0 : splice(d->from, NULL, d->pipe[1], NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        bool starved = in < 0 && errno == EAGAIN;
        if (in > 0)
            d->held += (size_t)in;
        else if (!starved && d->held < PIPE)
            d->ended = true;
        ssize_t out = d->held ? splice(d->pipe[0], NULL, d->to, NULL, d->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK) : 0;
        if (out > 0)
            d->held -= (size_t)out;
        if (d->ended && d->held == 0) {
            shutdown(d->to, SHUT_WR);
            d->over = true;
        } else if (out < 0 && errno != EAGAIN) {
            d->over = d->ended = true;
        } else if (out < 0 || (starved && d->held == 0)) {
            return;
        }
    }
}

static void relay(int client, int backend) {
    struct direction ways[2] = {{.from = client, .to = backend}, {.from = backend, .to = client}};
    for (int i = 0; i < 2; i++) {
        if (pipe2(ways[i].pipe, O_NONBLOCK) < 0)
            die("pipe");
        fcntl(ways[i].pipe[1], F_SETPIPE_SZ, PIPE);
    }
    while (!ways[0].over || !ways[1].over) {
        struct pollfd fds[2] = {{.fd = client}, {.fd = backend}};
        for (int i = 0; i < 2; i++) {
            if (!ways[i].over && ways[i].held == 0)
                fds[i].events |= POLLIN;
            if (!ways[i].over && ways[i].held)
                fds[1 - i].events |= POLLOUT;
        }
        poll(fds, 2, -1);
        move(&ways[0]);
        move(&ways[1]);
    }
    for (int i = 0; i < 2; i++) {
        close(ways[i].pipe[0]);
        close(ways[i].pipe[1]);
    }
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 64) < 0)
        die("listen");
    at.sin_port = htons((uint16_t)atoi(argv[2]));
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK), backend = socket(AF_INET, SOCK_STREAM, 0);
        if (client < 0 || connect(backend, (struct sockaddr *)&at, sizeof at) < 0)
            die("connect");
        fcntl(backend, F_SETFL, O_NONBLOCK);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        relay(client, backend);
        close(client);
        close(backend);
    }
}
