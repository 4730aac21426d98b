/* TLS handshakes without end: every connection shakes hands, says goodbye and is made again.
 *
 * handshakes PORT CONNECTIONS SECONDS full|resumed
 *
 * Prints one JSON object: handshakes that were completed, of them resumed ones, errors, and the 50th and 99th percentile of
 * their time from connect to the end of the handshake, in microseconds. "resumed" offers the session of a first connection.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 1 << 20 };

struct conn { int fd; SSL *ssl; uint64_t began; int said_goodbye; };

static struct sockaddr_in address = {.sin_family = AF_INET};
static SSL_CTX *context;
static SSL_SESSION *session; /* offered when it is there */
static int epoll_fd;
static uint64_t done, resumed, errors;
static uint32_t took_us[SAMPLES];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void begin(struct conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    c->began = now_ns();
    c->said_goodbye = 0;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        perror("connect");
        exit(1);
    }
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "host-0.example");
    SSL_set_connect_state(c->ssl);
    if (session)
        SSL_set_session(c->ssl, session);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
}

static void again(struct conn *c) {
    SSL_free(c->ssl);
    close(c->fd);
    begin(c);
}

static void run(struct conn *c) {
    char rest[4096];
    if (!c->said_goodbye) {
        int n = SSL_do_handshake(c->ssl);
        if (n != 1) {
            int why = SSL_get_error(c->ssl, n);
            if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
                return;
            errors++;
            again(c);
            return;
        }
        took_us[done++ % SAMPLES] = (uint32_t)((now_ns() - c->began) / 1000);
        resumed += (uint64_t)SSL_session_reused(c->ssl);
        SSL_shutdown(c->ssl);
        shutdown(c->fd, SHUT_WR);
        c->said_goodbye = 1;
    }
    for (;;) { /* until the server has closed as well: a reset would not be the same work */
        ssize_t n = read(c->fd, rest, sizeof rest);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
    }
    again(c);
}

/* A connection that is answered has received the tickets that follow the handshake of TLS 1.3. */
static void get_session(void) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: host-0.example\r\nConnection: close\r\n\r\n";
    char answer[4096];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, "host-0.example");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || SSL_connect(ssl) != 1 ||
        SSL_write(ssl, request, sizeof request - 1) <= 0) {
        fprintf(stderr, "no first handshake\n");
        exit(1);
    }
    while (SSL_read(ssl, answer, sizeof answer) > 0)
        ;
    session = SSL_get1_session(ssl);
    SSL_shutdown(ssl); /* else the library would not offer it again */
    SSL_free(ssl);
    close(fd);
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    int n = atoi(argv[2]);
    struct conn *conns = calloc((size_t)n, sizeof *conns);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set1_groups_list(context, "X25519");
    epoll_fd = epoll_create1(0);
    if (strcmp(argv[4], "resumed") == 0)
        get_session();
    uint64_t end = now_ns() + (uint64_t)atoi(argv[3]) * 1000000000u;
    for (int i = 0; i < n; i++)
        begin(&conns[i]);
    while (now_ns() < end) {
        struct epoll_event events[256];
        int found = epoll_wait(epoll_fd, events, 256, 100);
        for (int i = 0; i < found; i++)
            run(events[i].data.ptr);
    }
    size_t samples = done < SAMPLES ? done : SAMPLES;
    qsort(took_us, samples, sizeof *took_us, by_size);
    printf("{\"handshakes\": %llu, \"resumed\": %llu, \"errors\": %llu, \"p50_us\": %u, \"p99_us\": %u}\n",
           (unsigned long long)done, (unsigned long long)resumed, (unsigned long long)errors,
           samples ? took_us[samples / 2] : 0, samples ? took_us[samples * 99 / 100] : 0);
    return 0;
}
