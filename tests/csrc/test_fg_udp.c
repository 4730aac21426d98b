/* Datagrams between real sockets on loopback, through an engine whose loop the test turns: sessions, whose answers they get,
 * what is bounded, how listeners end. */
#include "fg_udp.c"

#include "fg_test.h"

#include <arpa/inet.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BACKENDS = 2, SOCKET_KEY = 77, CLUSTER_KEY = 21, IDLE_MS = 400 };

static struct fg_engine *e;
static struct fg_generation generation;
static struct fg_img_socket sockets[1];
static struct fg_img_cluster clusters[BACKENDS];
static struct {
    struct fg_img_listener listener;
    struct fg_img_relay relay;
    struct fg_img_backend backends[BACKENDS];
    char name[16];
} seg;
static struct fg_cluster listed[BACKENDS];
static struct fg_choice choices[BACKENDS];
static struct fg_pick picks[BACKENDS];
static struct fg_endpoints table = {.clusters = listed, .n = BACKENDS};
static int backend[BACKENDS];
static uint16_t port;

static struct sockaddr_in at(const char *ip, uint16_t p) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(ip), .sin_port = htons(p)};
}

static int udp_socket(const char *ip, uint16_t *p) {
    struct sockaddr_in a = at(ip, *p);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 10}, sizeof(struct timeval)), 0);
    CHECK_EQ(bind(fd, (void *)&a, sizeof a), 0);
    CHECK_EQ(getsockname(fd, (void *)&a, &(socklen_t){sizeof a}), 0);
    *p = ntohs(a.sin_port);
    return fd;
}

static int client_of(const char *ip) {
    struct sockaddr_in a = at(ip, port);
    int fd = udp_socket("127.0.0.1", &(uint16_t){0});
    CHECK_EQ(connect(fd, (void *)&a, sizeof a), 0);
    return fd;
}

static int client(void) {
    return client_of("127.0.0.1");
}

/* As many turns as there is something to do without waiting. */
static void turn(void) {
    for (int i = 0; i < 20; i++) {
        fg_loop_turn(&e->loop, 1);
        fg_udp_flush(e);
    }
}

static struct fg_listener_series *series(void) {
    return &e->stats->listeners[0];
}

static void send_text(int fd, const char *text) {
    CHECK_EQ(send(fd, text, strlen(text), 0), strlen(text));
    turn();
}

/* What a backend receives, and from which port: the session's. */
static uint16_t backend_gets(int fd, const char *text) {
    char in[100];
    struct sockaddr_in from;
    ssize_t n = recvfrom(fd, in, sizeof in, 0, (void *)&from, &(socklen_t){sizeof from});
    CHECK_EQ(n, strlen(text));
    CHECK(memcmp(in, text, strlen(text)) == 0);
    return ntohs(from.sin_port);
}

static void answer(int fd, uint16_t to, const void *bytes, size_t n) {
    struct sockaddr_in a = at("127.0.0.1", to);
    CHECK_EQ(sendto(fd, bytes, n, 0, (void *)&a, sizeof a), n);
}

static void client_gets(int fd, const char *text) {
    char in[100];
    CHECK_EQ(recv(fd, in, sizeof in, 0), strlen(text));
    CHECK(memcmp(in, text, strlen(text)) == 0);
}

static bool silent(int fd) {
    char in[1];
    return recv(fd, in, sizeof in, MSG_DONTWAIT) < 0;
}

/* --- a configuration ------------------------------------------------------------------------------------------------------------ */

static void weigh(uint32_t first, uint32_t second) {
    seg.backends[0].weight = first;
    seg.backends[1].weight = second;
    e->usability++;
    fg_listen_resolve(e);
}

static struct fg_listen *listen_at(const char *ip) {
    port = 0;
    int fd = udp_socket(ip, &port);
    if (strcmp(ip, "0.0.0.0") == 0)
        CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &(int){1}, sizeof(int)), 0);
    CHECK_EQ(fg_listen_add(e, SOCKET_KEY, 0, fd, -1, "udp:test"), 0);
    return fg_container_of(e->listens.next, struct fg_listen, all);
}

static void begin_listening(const char *ip) {
    struct fg_listen *l = listen_at(ip);
    memset(series(), 0, sizeof *series());
    e->stats->nlisteners = 0;
    fg_udp_resolve(l);
    CHECK(l->udp->relay == &seg.relay);
}

static void stop_listening(void) {
    fg_udp_end_all(e);
    fg_listen_close_all(e);
    fg_loop_turn(&e->loop, 0);
    CHECK(fg_list_empty(&e->listens));
    CHECK_EQ(e->datagrams->sessions, 0);
    CHECK_EQ(series()->active, 0);
    sockets[0].limits.connections = 0;
    sockets[0].limits.idle_timeout = 60000;
    memset(e->stats->reasons, 0, sizeof e->stats->reasons);
}

static void configure(void) {
    e = calloc(1, sizeof *e);
    e->stats = calloc(1, sizeof *e->stats);
    e->usability = 1;
    e->random = 88172645463325252ull;
    e->max_connections = 1000;
    fg_list_init(&e->listens);
    CHECK_EQ(fg_loop_init(&e->loop), 0);
    fg_pool_init(&e->pool, 0);
    e->gen = &generation;
    e->endpoints = &table;
    seg.listener = (struct fg_img_listener){.key = 1, .protocol = FG_LISTENER_UDP, .key_name = {offsetof(__typeof__(seg), name), 3},
        .relays = {offsetof(__typeof__(seg), relay), 1}};
    seg.relay = (struct fg_img_relay){.backends = {offsetof(__typeof__(seg), backends), BACKENDS}};
    memcpy(seg.name, "udp", 3);
    for (uint32_t i = 0; i < BACKENDS; i++) {
        uint16_t p = 0;
        backend[i] = udp_socket("127.0.0.1", &p);
        struct fg_address a = {.ip = {127, 0, 0, 1}, .port = p, .family = 4};
        seg.backends[i] = (struct fg_img_backend){.cluster = i + 1};
        clusters[i].key = CLUSTER_KEY + i;
        choices[i] = (struct fg_choice){.endpoint = fg_endpoint_get(e, &a, 0, NULL), .weight = 1};
        listed[i] = (struct fg_cluster){.key = CLUSTER_KEY + i, .choices = &choices[i], .n = 1, .picks = &picks[i]};
    }
    sockets[0] = (struct fg_img_socket){.key = SOCKET_KEY, .listeners = {offsetof(__typeof__(seg), listener), 1}, .datagrams = 1,
        .limits.idle_timeout = 60000};
    generation.image = (struct fg_image){.sockets_seg = (const uint8_t *)&seg, .sockets = sockets, .nsockets = 1,
        .clusters = clusters, .nclusters = BACKENDS};
    weigh(1, 0);
}

/* --- sessions ------------------------------------------------------------------------------------------------------------------- */

static void an_answer_goes_to_who_asked(void) {
    begin_listening("127.0.0.1");
    int a = client(), b = client();
    send_text(a, "of a");
    send_text(b, "of b");
    uint16_t from_a = backend_gets(backend[0], "of a"), from_b = backend_gets(backend[0], "of b");
    CHECK(from_a != from_b);
    answer(backend[0], from_b, "to b", 4);
    answer(backend[0], from_a, "to a", 4);
    turn();
    client_gets(a, "to a");
    client_gets(b, "to b");
    send_text(a, "more");
    CHECK_EQ(backend_gets(backend[0], "more"), from_a);
    CHECK_EQ(series()->connections, 2);
    CHECK_EQ(series()->active, 2);
    CHECK_EQ(series()->datagrams_received, 3);
    CHECK_EQ(series()->received, 12);
    CHECK_EQ(series()->datagrams_sent, 2);
    CHECK_EQ(series()->sent, 8);
    CHECK_EQ(series()->datagrams_dropped, 0);
    close(a);
    close(b);
    stop_listening();
}

static void strangers_are_not_heard(void) {
    begin_listening("127.0.0.1");
    int c = client();
    send_text(c, "ask");
    uint16_t session = backend_gets(backend[0], "ask");
    answer(backend[1], session, "spoofed", 7); /* from another port than the endpoint's */
    turn();
    CHECK(silent(c));
    close(c);
    stop_listening();
}

static void answers_leave_from_the_address_that_was_asked(void) {
    begin_listening("0.0.0.0");
    for (int i = 1; i < 4; i++) {
        char ip[16];
        snprintf(ip, sizeof ip, "127.0.0.%d", i);
        int c = client_of(ip); /* connected: it hears nobody else */
        send_text(c, "ask");
        answer(backend[0], backend_gets(backend[0], "ask"), ip, strlen(ip));
        turn();
        client_gets(c, ip);
        close(c);
    }
    int one = udp_socket("127.0.0.1", &(uint16_t){0}); /* one source, two addresses of ours: two sessions */
    uint16_t sessions[2];
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in to = at(i ? "127.0.0.2" : "127.0.0.1", port);
        CHECK_EQ(sendto(one, "ask", 3, 0, (void *)&to, sizeof to), 3);
        turn();
        sessions[i] = backend_gets(backend[0], "ask");
    }
    CHECK(sessions[0] != sessions[1]);
    close(one);
    stop_listening();
}

static void empty_datagrams_and_the_largest_pass(void) {
    static char large[65507], in[65508];
    begin_listening("127.0.0.1");
    int c = client();
    memset(large, 'x', sizeof large);
    CHECK_EQ(send(c, "", 0, 0), 0);
    turn();
    uint16_t session = backend_gets(backend[0], "");
    answer(backend[0], session, "", 0);
    turn();
    client_gets(c, "");
    CHECK_EQ(send(c, large, sizeof large, 0), sizeof large);
    turn();
    CHECK_EQ(recv(backend[0], in, sizeof in, 0), sizeof large);
    CHECK(memcmp(in, large, sizeof large) == 0);
    answer(backend[0], session, large, sizeof large);
    turn();
    CHECK_EQ(recv(c, in, sizeof in, 0), sizeof large);
    close(c);
    stop_listening();
}

/* Bursts of equal and of other sizes, in order, in both directions: what UDP_SEGMENT and UDP_GRO must not change. */
static void runs_keep_sizes_and_order(void) {
    static const size_t sizes[] = {64, 64, 64, 30, 64, 0, 64, 1300, 1300, 1300, 7, 7, 7, 8, 64, 64};
    enum { N = FG_COUNT_OF(sizes), ROUNDS = 8 };
    static uint8_t bytes[2000], in[2000];
    struct sockaddr_in from;
    begin_listening("127.0.0.1");
    int c = client();
    send_text(c, "hello");
    uint16_t session = backend_gets(backend[0], "hello");
    answer(backend[0], session, "hello", 5);
    turn();
    client_gets(c, "hello");
    send_text(c, "again"); /* proven now */
    backend_gets(backend[0], "again");
    for (unsigned r = 0; r < ROUNDS; r++) {
        for (unsigned i = 0; i < N; i++) {
            memset(bytes, (int)(r * N + i), sizeof bytes);
            CHECK_EQ(send(c, bytes, sizes[i], 0), sizes[i]);
        }
        turn();
        for (unsigned i = 0; i < N; i++) {
            CHECK_EQ(recvfrom(backend[0], in, sizeof in, 0, (void *)&from, &(socklen_t){sizeof from}), sizes[i]);
            CHECK_EQ(sizes[i] ? in[sizes[i] - 1] : (uint8_t)(r * N + i), (uint8_t)(r * N + i));
            answer(backend[0], ntohs(from.sin_port), in, sizes[i]);
        }
        turn();
        for (unsigned i = 0; i < N; i++) {
            CHECK_EQ(recv(c, in, sizeof in, 0), sizes[i]);
            CHECK_EQ(sizes[i] ? in[sizes[i] - 1] : (uint8_t)(r * N + i), (uint8_t)(r * N + i));
        }
        CHECK(ntohs(from.sin_port) == session);
    }
    CHECK_EQ(series()->datagrams_received, ROUNDS * N + 2);
    CHECK_EQ(series()->datagrams_sent, ROUNDS * N + 1);
    CHECK_EQ(series()->datagrams_dropped, 0);
    close(c);
    stop_listening();
}

/* A client that sends runs as one (UDP_SEGMENT) to a listener that takes them as one. */
static void a_run_passes_as_one(void) {
    static uint8_t bytes[40 * 100 + 50], in[200];
    begin_listening("127.0.0.1");
    int c = client();
    CHECK_EQ(setsockopt(c, SOL_UDP, UDP_SEGMENT, &(int){100}, sizeof(int)), 0);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i / 100);
    CHECK_EQ(send(c, bytes, sizeof bytes, 0), sizeof bytes);
    turn();
    for (int i = 0; i < 41; i++) {
        CHECK_EQ(recv(backend[0], in, sizeof in, 0), i < 40 ? 100 : 50);
        CHECK_EQ(in[49], i);
    }
    CHECK_EQ(series()->datagrams_received, 41);
    close(c);
    stop_listening();
}

/* --- bounds --------------------------------------------------------------------------------------------------------------------- */

static void a_source_that_may_be_invented_costs_little(void) {
    static char answer_bytes[1200], in[1200];
    begin_listening("127.0.0.1");
    int c = client();
    send_text(c, "x");
    uint16_t session = backend_gets(backend[0], "x");
    for (int i = 0; i < 10; i++)
        answer(backend[0], session, answer_bytes, sizeof answer_bytes);
    turn();
    unsigned passed = 0;
    while (recv(c, in, sizeof in, MSG_DONTWAIT) > 0)
        passed++;
    CHECK_EQ(passed, (FIRST_CREDIT + FACTOR * (1 + OVERHEAD)) / (1200 + OVERHEAD));
    CHECK_EQ(series()->datagrams_dropped, 10 - passed);
    send_text(c, "y"); /* it does hear us */
    CHECK_EQ(backend_gets(backend[0], "y"), session);
    for (int i = 0; i < 10; i++)
        answer(backend[0], session, answer_bytes, sizeof answer_bytes);
    turn();
    for (int i = 0; i < 10; i++)
        CHECK_EQ(recv(c, in, sizeof in, MSG_DONTWAIT), 1200);
    close(c);
    stop_listening();
}

static void more_of_the_same_before_an_answer_proves_nothing(void) {
    static char in[1200];
    begin_listening("127.0.0.1");
    int c = client();
    send_text(c, "1");
    send_text(c, "2");
    uint16_t session = backend_gets(backend[0], "1");
    backend_gets(backend[0], "2");
    for (int i = 0; i < 200; i++)
        answer(backend[0], session, "", 0);
    turn();
    unsigned passed = 0;
    while (recv(c, in, sizeof in, MSG_DONTWAIT) >= 0)
        passed++;
    CHECK_EQ(passed, (FIRST_CREDIT + 2 * FACTOR * (1 + OVERHEAD)) / OVERHEAD); /* headers cost, too */
    close(c);
    stop_listening();
}

static void the_oldest_goes_first_and_a_proven_one_last(void) {
    enum { MOST = 4 };
    int c[MOST + 2];
    begin_listening("127.0.0.1");
    sockets[0].limits.connections = MOST;
    c[0] = client();
    send_text(c[0], "ask");
    uint16_t proven = backend_gets(backend[0], "ask");
    answer(backend[0], proven, "hear", 4);
    turn();
    client_gets(c[0], "hear");
    send_text(c[0], "heard");
    backend_gets(backend[0], "heard");
    uint16_t sessions[MOST + 2];
    for (int i = 1; i < MOST + 2; i++) {
        c[i] = client();
        send_text(c[i], "ask");
        sessions[i] = backend_gets(backend[0], "ask");
    }
    CHECK_EQ(series()->active, MOST);
    CHECK_EQ(e->stats->reasons[FG_R_SESSIONS_FULL], 2);
    send_text(c[0], "still");
    CHECK_EQ(backend_gets(backend[0], "still"), proven);
    send_text(c[MOST + 1], "still");
    CHECK_EQ(backend_gets(backend[0], "still"), sessions[MOST + 1]);
    send_text(c[1], "new");
    CHECK(backend_gets(backend[0], "new") != sessions[1]);
    for (int i = 0; i < MOST + 2; i++)
        close(c[i]);
    stop_listening();
}

static void a_flood_ends_in_the_bounds(void) {
    enum { SOURCES = 600 };
    static int c[SOURCES];
    begin_listening("127.0.0.1");
    for (int i = 0; i < SOURCES; i++) {
        c[i] = client();
        CHECK_EQ(send(c[i], "x", 1, 0), 1);
        if (i % 50 < 49)
            continue;
        turn();
        for (int k = 0; k < 50; k++)
            backend_gets(backend[0], "x");
    }
    CHECK_EQ(e->datagrams->sessions, e->max_connections / 2);
    CHECK_EQ(series()->connections, SOURCES);
    CHECK_EQ(e->stats->reasons[FG_R_SESSIONS_FULL], SOURCES - e->max_connections / 2);
    for (int i = 0; i < SOURCES; i++)
        close(c[i]);
    stop_listening();
}

static void without_descriptors_an_older_session_makes_room(void) {
    struct rlimit before, none;
    begin_listening("127.0.0.1");
    int a = client(), b = client();
    send_text(a, "a");
    backend_gets(backend[0], "a");
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(send(b, "b", 1, 0), 1);
    turn(); /* a's descriptor is above the limit: giving it back does not help */
    CHECK_EQ(series()->datagrams_dropped, 1);
    CHECK_EQ(e->stats->reasons[FG_R_SESSIONS_FULL], 1);
    none.rlim_cur = before.rlim_cur;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    send_text(b, "b");
    backend_gets(backend[0], "b");
    close(a);
    close(b);
    stop_listening();
}

/* --- the end of sessions ---------------------------------------------------------------------------------------------------------- */

static void wait_ms(uint64_t ms) {
    uint64_t end = fg_now_ms(&e->loop) + ms;
    while (fg_now_ms(&e->loop) < end) {
        fg_loop_turn(&e->loop, 10);
        fg_udp_flush(e);
    }
}

static void silence_ends_a_session(void) {
    sockets[0].limits.idle_timeout = IDLE_MS;
    begin_listening("127.0.0.1");
    int a = client(), b = client();
    send_text(a, "a");
    uint16_t session = backend_gets(backend[0], "a");
    send_text(b, "b");
    backend_gets(backend[0], "b");
    for (int i = 0; i < 4; i++) {
        wait_ms(IDLE_MS / 2);
        answer(backend[0], session, "!", 1); /* answers keep it, too */
        turn();
        client_gets(a, "!");
    }
    CHECK_EQ(series()->active, 1);
    CHECK_EQ(e->stats->reasons[FG_R_RELAY_IDLE], 1);
    wait_ms(IDLE_MS + 20);
    CHECK_EQ(series()->active, 0);
    close(a);
    close(b);
    stop_listening();
}

static void a_refusal_ends_the_session_and_counts(void) {
    struct fg_endpoint *ep = choices[0].endpoint;
    begin_listening("127.0.0.1");
    close(backend[0]);
    int c = client();
    for (int i = 1; i <= 3; i++) {
        CHECK(!ep->ejected);
        send_text(c, "anybody?");
        CHECK_EQ(ep->failures, i);
        CHECK_EQ(series()->active, 0);
        CHECK_EQ(e->stats->reasons[FG_R_CONNECT_FAILED], i);
    }
    CHECK(ep->ejected);
    uint16_t p = ep->address.port;
    backend[0] = udp_socket("127.0.0.1", &p);
    send_text(c, "you?"); /* all of the cluster are ejected: this one is tried */
    answer(backend[0], backend_gets(backend[0], "you?"), "yes", 3);
    turn();
    client_gets(c, "yes");
    CHECK(!ep->ejected);
    CHECK_EQ(ep->failures, 0);
    close(c);
    stop_listening();
}

static void a_session_stays_while_its_endpoint_does(void) {
    begin_listening("127.0.0.1");
    int c = client();
    send_text(c, "1");
    uint16_t session = backend_gets(backend[0], "1");
    weigh(1, 1000000);
    send_text(c, "2");
    CHECK_EQ(backend_gets(backend[0], "2"), session);
    weigh(0, 1);
    answer(backend[0], session, "late", 4); /* what was asked of it is answered */
    turn();
    client_gets(c, "late");
    send_text(c, "3");
    backend_gets(backend[1], "3");
    CHECK_EQ(series()->active, 1);
    weigh(1, 0);
    choices[0].endpoint->ejected = true;
    listed[0].n = 0; /* the cluster has none */
    e->usability++;
    send_text(c, "4");
    CHECK(silent(backend[0]) && silent(backend[1]));
    CHECK_EQ(series()->datagrams_dropped, 1);
    CHECK_EQ(series()->active, 0);
    choices[0].endpoint->ejected = false;
    listed[0].n = 1;
    weigh(0, 0);
    send_text(c, "5");
    CHECK_EQ(series()->datagrams_dropped, 2);
    seg.backends[0].cluster = 0; /* a backend that is not valid */
    weigh(1, 0);
    send_text(c, "6");
    CHECK_EQ(series()->datagrams_dropped, 3);
    seg.backends[0].cluster = 1;
    weigh(1, 0);
    close(c);
    stop_listening();
}

static void weights_divide_sources(void) {
    enum { N = 200 };
    begin_listening("127.0.0.1");
    weigh(3, 1);
    char in[1];
    int c[N];
    unsigned got[BACKENDS] = {0};
    for (int i = 0; i < N; i++) {
        c[i] = client();
        send_text(c[i], "x");
    }
    for (int i = 0; i < BACKENDS; i++)
        while (recv(backend[i], in, 1, MSG_DONTWAIT) > 0)
            got[i]++;
    CHECK_EQ(got[0] + got[1], N);
    CHECK(got[0] > N / 2 && got[1] > N / 10);
    weigh(1, 0);
    for (int i = 0; i < N; i++)
        close(c[i]);
    stop_listening();
}

/* --- the end of listeners ---------------------------------------------------------------------------------------------------------- */

static void what_was_asked_is_answered_after_another_has_the_socket(void) {
    begin_listening("127.0.0.1");
    struct fg_listen *l = fg_container_of(e->listens.next, struct fg_listen, all);
    int held = dup(l->io.fd); /* the manager's, and the successor's */
    int c = client();
    send_text(c, "1");
    uint16_t session = backend_gets(backend[0], "1");
    CHECK(fg_listen_remove(e, SOCKET_KEY, 0));
    CHECK(!fg_listen_remove(e, SOCKET_KEY, 0));
    answer(backend[0], session, "late", 4);
    turn();
    client_gets(c, "late");
    send_text(c, "for another");
    l->io.run(&l->io); /* as when it was ready in the turn in which UNLISTEN came */
    char in[20];
    CHECK_EQ(recv(held, in, sizeof in, MSG_DONTWAIT), strlen("for another"));
    CHECK(silent(backend[0]));
    CHECK(l->udp->expiry.deadline <= fg_now_ms(&e->loop) + 5000); /* a short silence is enough now */
    fg_udp_end_all(e);
    CHECK(fg_list_empty(&e->listens));
    turn();
    close(held);
    close(c);
    stop_listening();
}

static void a_socket_that_nobody_serves_is_closed_at_once(void) {
    begin_listening("127.0.0.1");
    int c = client();
    send_text(c, "1");
    backend_gets(backend[0], "1");
    generation.image.nsockets = 0;
    fg_listen_resolve(e);
    CHECK(fg_listen_remove(e, SOCKET_KEY, 0));
    CHECK(fg_list_empty(&e->listens));
    generation.image.nsockets = 1;
    turn();
    uint16_t p = port;
    close(udp_socket("127.0.0.1", &p)); /* it is free */
    close(c);
    stop_listening();
}

static void in_a_drain_sessions_go_on_and_none_begins(void) {
    begin_listening("127.0.0.1");
    int a = client(), b = client();
    send_text(a, "1");
    uint16_t session = backend_gets(backend[0], "1");
    fg_listen_close_all(e);
    send_text(a, "2");
    CHECK_EQ(backend_gets(backend[0], "2"), session);
    answer(backend[0], session, "two", 3);
    turn();
    client_gets(a, "two");
    send_text(b, "new");
    CHECK(silent(backend[0]));
    CHECK_EQ(series()->datagrams_dropped, 1);
    CHECK(!fg_list_empty(&e->listens));
    close(a);
    close(b);
    stop_listening();
}

static void before_the_image_knows_it_a_socket_waits(void) {
    generation.image.nsockets = 0;
    struct fg_listen *l = listen_at("127.0.0.1");
    CHECK_EQ(l->socket, -1);
    int c = client();
    send_text(c, "early");
    CHECK(silent(backend[0]));
    generation.image.nsockets = 1;
    fg_listen_resolve(e);
    turn();
    backend_gets(backend[0], "early");
    close(c);
    stop_listening();
}

int main(void) {
    configure();
    RUN(an_answer_goes_to_who_asked);
    RUN(strangers_are_not_heard);
    RUN(answers_leave_from_the_address_that_was_asked);
    RUN(empty_datagrams_and_the_largest_pass);
    RUN(runs_keep_sizes_and_order);
    RUN(a_run_passes_as_one);
    RUN(a_source_that_may_be_invented_costs_little);
    RUN(more_of_the_same_before_an_answer_proves_nothing);
    RUN(the_oldest_goes_first_and_a_proven_one_last);
    RUN(a_flood_ends_in_the_bounds);
    RUN(without_descriptors_an_older_session_makes_room);
    RUN(silence_ends_a_session);
    RUN(a_refusal_ends_the_session_and_counts);
    RUN(a_session_stays_while_its_endpoint_does);
    RUN(weights_divide_sources);
    RUN(what_was_asked_is_answered_after_another_has_the_socket);
    RUN(a_socket_that_nobody_serves_is_closed_at_once);
    RUN(in_a_drain_sessions_go_on_and_none_begins);
    RUN(before_the_image_knows_it_a_socket_waits);
    for (int i = 0; i < BACKENDS; i++) {
        fg_endpoint_unref(e, choices[i].endpoint);
        close(backend[i]);
    }
    fg_datagrams_free(e->datagrams);
    fg_loop_fini(&e->loop);
    free(e->stats);
    free(e);
    return 0;
}
