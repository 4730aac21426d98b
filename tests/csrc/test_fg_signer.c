/* Handshakes that are made apart: they land where they belong, also when their connection is gone by then. */
#include "fg_signer.c"

#include "fg_pki.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

enum { CONNECTIONS = 8 };

static struct fg_loop loop;
static struct fg_pool pool;
static struct fg_tls_common *common;
static struct fg_tls_context *context;
static struct fg_signer *signer;
static SSL_CTX *library;

struct end {
    struct fg_io io;
    struct fg_signing *signing;
    SSL *client;
    int client_fd;
    enum fg_tls_step step;
    unsigned landed;
};

static struct end ends[CONNECTIONS];

static void on_landed(void *owner) {
    struct end *e = owner;
    e->signing = NULL;
    e->landed++;
    e->step = fg_tls_land(&e->io);
}

static void client_step(struct end *e) {
    int n = SSL_do_handshake(e->client);
    CHECK(n == 1 || SSL_get_error(e->client, n) == SSL_ERROR_WANT_READ);
    e->io.readable = true;
}

static void ignore(struct fg_io *io) {
    (void)io;
}

static void begin(struct end *e, int version) {
    static const struct fg_client_hello hello;
    struct fg_buf in = {0};
    int fds[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *e = (struct end){.io = {.fd = fds[0], .run = ignore, .writable = true}, .client = SSL_new(library), .client_fd = fds[1]};
    SSL_set_fd(e->client, fds[1]);
    SSL_set_connect_state(e->client);
    SSL_set_max_proto_version(e->client, version);
    client_step(e);
    CHECK_EQ(fg_tls_server(&e->io, context, &hello, &in, 1), 0);
    CHECK(fg_tls_slow(&e->io));
}

static void give(struct end *e) {
    CHECK(fg_tls_fetch(&e->io));
    CHECK_EQ(fg_signer_give(signer, &e->io, e, &e->signing), 0);
}

static void end(struct end *e) {
    fg_buf_release(&pool, &e->io.out);
    if (e->io.tls)
        fg_tls_free(&e->io);
    SSL_free(e->client);
    close(e->io.fd);
    close(e->client_fd);
}

static void await(unsigned landed) {
    for (unsigned n = 0; n < CONNECTIONS;) {
        fg_loop_turn(&loop, 1000);
        n = 0;
        for (unsigned i = 0; i < CONNECTIONS; i++)
            n += ends[i].landed == landed;
    }
}

static void all_of_them_land(void) {
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            begin(&ends[i], version);
            give(&ends[i]);
        }
        await(1);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            CHECK_EQ(ends[i].step, FG_TLS_WAIT);
            CHECK(!fg_tls_fetch(&ends[i].io)); /* nothing came yet */
            client_step(&ends[i]);
            give(&ends[i]);
        }
        await(2);
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            struct fg_tls_result r;
            CHECK_EQ(ends[i].step, FG_TLS_DONE);
            fg_tls_result(&ends[i].io, &r);
            CHECK_EQ(r.version, version);
            client_step(&ends[i]);
            CHECK(SSL_is_init_finished(ends[i].client));
            const struct iovec iov = {(void *)"x", 1};
            char byte;
            CHECK_EQ(fg_io_writev(&ends[i].io, &pool, &iov, 1), 1);
            CHECK_EQ(SSL_read(ends[i].client, &byte, 1), 1);
            end(&ends[i]);
        }
        CHECK_EQ(pool.used, 0);
    }
}

static void whoever_leaves_is_not_called(void) {
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        begin(&ends[i], TLS1_3_VERSION);
        give(&ends[i]);
        if (i % 2) {
            fg_signer_leave(ends[i].signing, &ends[i].io);
            ends[i].landed = 1; /* as far as `await` goes */
            end(&ends[i]);
        }
    }
    await(1);
    for (unsigned i = 0; i < CONNECTIONS; i += 2)
        end(&ends[i]);
}

static void an_end_in_a_handshake_is_a_failure(void) {
    struct end *e = ends;
    memset(ends, 0, sizeof ends);
    begin(e, TLS1_3_VERSION);
    give(e);
    while (e->landed == 0)
        fg_loop_turn(&loop, 1000);
    shutdown(e->client_fd, SHUT_WR);
    e->io.readable = true;
    give(e);
    while (e->landed == 1)
        fg_loop_turn(&loop, 1000);
    struct fg_tls_result r;
    fg_tls_result(&e->io, &r);
    CHECK_EQ(e->step, FG_TLS_FAILED);
    CHECK(strcmp(r.error, "the connection was closed") == 0);
    end(e);
}

int main(void) {
    struct pki rsa;
    char why[200];
    pki_make(&rsa, "RSA", 3072, "a", "DNS:a.example", NULL);
    fg_pool_init(&pool, 0);
    CHECK_EQ(fg_loop_init(&loop), 0);
    common = fg_tls_common_new(&pool);
    const struct fg_tls_pair pair = pki_pair(&rsa);
    const struct fg_tls_terms terms = {.pairs = &pair, .npairs = 1, .min_version = 0x0303, .max_version = 0x0304};
    context = fg_tls_context_new(common, &terms, why, sizeof why);
    library = SSL_CTX_new(TLS_client_method());
    signer = fg_signer_new(&loop, on_landed);
    CHECK(context && library && signer);
    RUN(all_of_them_land);
    RUN(whoever_leaves_is_not_called);
    RUN(an_end_in_a_handshake_is_a_failure);
    for (unsigned i = 0; i < CONNECTIONS; i++) { /* the worker ends meanwhile */
        begin(&ends[i], TLS1_3_VERSION);
        give(&ends[i]);
        fg_signer_leave(ends[i].signing, &ends[i].io);
        end(&ends[i]);
    }
    fg_signer_free(signer);
    fg_signer_free(NULL);
    fg_tls_context_unref(context);
    fg_tls_common_free(common);
    fg_loop_fini(&loop);
    SSL_CTX_free(library);
    pki_free(&rsa);
    fg_pool_fini(&pool);
    return 0;
}
