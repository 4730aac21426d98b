/* Every allocation fails once: `failures IMAGE PATH` loads a configuration, serves an exchange with bodies, reopens the log and
 * drains, first with no failure, then with the first allocation failing, then the second, to the last. Filters of the path's rule,
 * inline and in a plugin process, which is a thread here, edit both heads and pass everything else.
 *
 * What may happen is that the engine cannot be made, that one message is answered FAILED, or that one request or connection
 * is refused, and no endpoint is blamed for it. Asked again, everything works; no descriptor and no memory is left behind. */
#include "fg_alloc.h"
#include "fg_call.h"
#include "fg_host.h"
#include "fg_rig.h"
#include "fg_ring.h"

#include <dirent.h>
#include <fcntl.h>
#include <sanitizer/lsan_interface.h>
#include <sys/socket.h>

enum { BODY = 40000 };

static struct fg_functions f;
static struct rig_backend backend;
static struct rig_client client;
static struct rig_names names;
static const char *image_path;
static char request[BODY + 400];
static size_t request_len;

/* --- filters ---------------------------------------------------------------------------------------------------------------- */

struct answer {
    struct fg_verdict v;
    struct fg_img_pair pair;
    char text[16];
};

/* What a filter says to a call; false: nothing. */
static bool answer_to(const struct fg_call *c, struct answer *a) {
    const uint32_t text = offsetof(struct answer, text);
    *a = (struct answer){
        .v = {.size = sizeof *a, .kind = FG_RECORD_VERDICT, .exchange = c->exchange, .number = c->number, .phase = c->phase},
        .pair = {{text, 6}, {text + 6, 1}},
        .text = "x-seen1"};
    if (c->phase == FG_PHASE_REQUEST || c->phase == FG_PHASE_RESPONSE)
        a->v.edits.add = (struct fg_ref){offsetof(struct answer, pair), 1};
    return c->phase < FG_PHASE_LOG;
}

static void run_filters(const uint8_t *calls, size_t n, struct fg_records *verdicts) {
    struct answer a;
    for (size_t at = 0; at < n; at += ((const struct fg_call *)(calls + at))->size)
        if (answer_to((const void *)(calls + at), &a))
            (void)fg_records_add(verdicts, &a, sizeof a); /* one that is not there is late */
}

static struct {
    pthread_t thread;
    int fd; /* the socket beside the rings */
    struct fg_rings *rings;
} plugin;

static void *plugin_thread(void *arg) {
    static _Alignas(8) uint8_t record[FG_RECORD_MAX];
    struct answer a;
    char wake;
    (void)arg;
    for (;;) {
        while (fg_ring_take(&plugin.rings->calls, record, sizeof record) > 0) {
            if (answer_to((const void *)record, &a))
                CHECK(fg_ring_put(&plugin.rings->verdicts, &a, sizeof a));
            if (fg_ring_must_wake(&plugin.rings->verdicts))
                (void)!send(plugin.fd, "", 1, MSG_NOSIGNAL);
        }
        if (fg_ring_sleep(&plugin.rings->calls) && recv(plugin.fd, &wake, 1, 0) <= 0)
            return NULL;
    }
}

static void plugin_start(struct rig *rig) {
    const struct fg_control_message m = {.type = FG_CTL_PLUGIN};
    int ends[2], fd = memfd_create("rings", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(fd, sizeof *plugin.rings), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    plugin.rings = mmap(NULL, sizeof *plugin.rings, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(plugin.rings != MAP_FAILED);
    plugin.fd = ends[0];
    CHECK_EQ(fg_control_send(rig->control, &m, (int[]){fd, ends[1]}, 2), 0);
    close(fd);
    close(ends[1]);
    CHECK_EQ(pthread_create(&plugin.thread, NULL, plugin_thread, NULL), 0);
}

static void plugin_stop(void) {
    shutdown(plugin.fd, SHUT_RDWR);
    pthread_join(plugin.thread, NULL);
    close(plugin.fd);
    munmap(plugin.rings, sizeof *plugin.rings);
}

/* --- one life of an engine ------------------------------------------------------------------------------------------------- */

static int descriptors(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* A message may fail once, when an allocation did. */
static void ask(struct rig *rig, uint32_t type, uint64_t key, int fd, uint32_t answer) {
    bool before = fg_alloc_failed();
    if (rig_ask(rig, type, key, fd, answer))
        return;
    CHECK(!before && fg_alloc_failed());
    CHECK(rig_ask(rig, type, key, fd, answer));
}

static int answered(uint16_t port) {
    int status = 0;
    rig_connect(&client, port);
    if (rig_send(&client, request, request_len))
        status = rig_receive(&client);
    rig_close(&client);
    return status;
}

static void exchange(uint16_t port) {
    bool before = fg_alloc_failed();
    int status = answered(port);
    if (status == 200)
        return;
    CHECK(!before && fg_alloc_failed());
    CHECK(status == 0 || status / 100 == 5);
    CHECK_EQ(answered(port), 200);
}

static void life(struct rig *rig) {
    uint16_t port;
    int listener = rig_listen(&port), endpoints = rig_endpoints(&names, backend.port, 1);
    int image = open(image_path, O_RDONLY), log = open("/dev/null", O_WRONLY);
    plugin_start(rig);
    ask(rig, FG_CTL_LISTEN, names.socket, listener, FG_CTL_LISTENING);
    if (fg_alloc_failed()) { /* perhaps the plugin process found no place: a manager starts another one */
        plugin_stop();
        plugin_start(rig);
    }
    ask(rig, FG_CTL_ENDPOINTS, 1, endpoints, FG_CTL_ENDPOINTS_SET);
    ask(rig, FG_CTL_PREPARE, 1, image, FG_CTL_PREPARED);
    ask(rig, FG_CTL_COMMIT, 1, -1, FG_CTL_COMMITTED);
    exchange(port);
    exchange(port);
    rig_tell(rig, FG_CTL_LOG, 0, 0, log);
    ask(rig, FG_CTL_PREPARE, 2, image, FG_CTL_PREPARED);
    ask(rig, FG_CTL_COMMIT, 2, -1, FG_CTL_COMMITTED);
    exchange(port);
    rig_tell(rig, FG_CTL_DRAIN, 0, 1000, -1);
    CHECK(rig_await(rig, FG_CTL_DRAINED, 0));
    rig_join(rig);
    plugin_stop();
    CHECK_EQ(rig_counter(&rig->stats->c.filter_waiting), 0);
    CHECK_EQ(rig_counter(&rig->stats->reasons[FG_R_UPSTREAM_RESET]), 0);
    CHECK_EQ(rig_counter(&rig->stats->reasons[FG_R_UPSTREAM_CLOSED]), 0);
    CHECK_EQ(rig_counter(&rig->stats->c.upstream_retries), 0);
    rig_free(rig);
    close(listener);
    close(endpoints);
    close(image);
    close(log);
}

/* Whether the nth allocation exists. */
static bool fail(uint64_t nth) {
    static struct rig rig;
    int before = descriptors();
    fg_alloc_fail(nth);
    if (rig_start(&rig, &f, open("/dev/null", O_WRONLY)))
        life(&rig);
    else
        CHECK(fg_alloc_failed());
    bool existed = fg_alloc_failed();
    fg_alloc_fail(0);
    for (int i = 0; i < RIG_SECONDS * 1000 && descriptors() != before; i++) /* the backend's ends go a moment later */
        usleep(1000);
    CHECK_EQ(descriptors(), before);
    CHECK_EQ(__lsan_do_recoverable_leak_check(), 0);
    return existed;
}

int main(int argc, char **argv) {
    CHECK_EQ(argc, 3);
    image_path = argv[1];
    f = *fg_host_functions();
    f.run_filters = run_filters;
    rig_names_of(&f, image_path, &names);
    rig_backend_start(&backend);
    request_len = (size_t)snprintf(request, sizeof request,
        "POST %s HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: %d\r\n\r\n", argv[2], BODY);
    memset(request + request_len, 'b', BODY);
    request_len += BODY;

    CHECK(!fail(0));
    uint64_t n = 1;
    while (fail(n))
        n++;
    CHECK(n > 20);
    fprintf(stderr, "%llu allocations failed, one after the other\n", (unsigned long long)n - 1);
    rig_backend_stop(&backend);
    return 0;
}
