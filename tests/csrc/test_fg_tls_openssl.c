/* Server against client over socket pairs: what is negotiated, resumed, verified, refused; reads and writes that do less than
 * asked; ends with and without close_notify. */
#include "fg_tls_openssl.c"

#include "fg_host.h"
#include "fg_pki.h"

#include <fcntl.h>
#include <netinet/in.h>

static struct fg_pool pool;
static struct fg_tls_common *common;
static struct pki root, other_root, ec, rsa, client_pair, stranger;

/* --- two ends ---------------------------------------------------------------------------------------------------------------- */

struct end {
    struct fg_io io;
    struct fg_buf in;
};

struct both {
    struct end server;
    struct end ours; /* a client of ours; its tls is NULL when `theirs` is used */
    SSL *theirs;     /* the library's own client */
    struct fg_tls_context *context;
    uint64_t session_key;
};

static struct fg_tls_terms terms_of(const struct fg_tls_pair *pairs, uint32_t n) {
    return (struct fg_tls_terms){.pairs = pairs, .npairs = n, .min_version = 0x0303, .max_version = 0x0304};
}

static struct fg_tls_context *context_of(const struct fg_tls_terms *terms) {
    char why[200] = "";
    struct fg_tls_context *c = fg_tls_context_new(common, terms, why, sizeof why);
    if (c == NULL)
        fprintf(stderr, "%s\n", why);
    CHECK(c != NULL);
    CHECK_EQ(ERR_peek_error(), 0);
    return c;
}

static struct fg_tls_context *server_context(void) {
    const struct fg_tls_pair pairs[] = {pki_pair(&ec), pki_pair(&rsa)};
    const struct fg_bytes alpn[] = {pki_bytes("h2"), pki_bytes("http/1.1")};
    struct fg_tls_terms terms = terms_of(pairs, 2);
    terms.alpn = alpn;
    terms.nalpn = 2;
    return context_of(&terms);
}

static SSL_CTX *client_library(void) {
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    X509_STORE_add_cert(SSL_CTX_get_cert_store(c), root.x);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT);
    return c;
}

static void connect_ends(struct both *b) {
    int fds[2];
    *b = (struct both){0};
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    b->server.io = (struct fg_io){.fd = fds[0], .writable = true};
    b->ours.io = (struct fg_io){.fd = fds[1], .writable = true};
}

static void finish(struct both *b) {
    for (struct end *e = &b->server;; e = &b->ours) {
        if (e->io.tls)
            fg_tls_free(&e->io);
        fg_buf_release(&pool, &e->in);
        fg_buf_release(&pool, &e->io.out);
        close(e->io.fd);
        if (e == &b->ours)
            break;
    }
    SSL_free(b->theirs);
    fg_tls_context_unref(b->context);
    ERR_clear_error();
    CHECK_EQ(pool.used, 0);
}

static void set_theirs(struct both *b, SSL_CTX *library, const char *name, const char *protocols) {
    b->theirs = SSL_new(library);
    SSL_set_fd(b->theirs, b->ours.io.fd);
    SSL_set_connect_state(b->theirs);
    if (*name)
        SSL_set_tlsext_host_name(b->theirs, name);
    if (*protocols)
        CHECK_EQ(SSL_set_alpn_protos(b->theirs, (const uint8_t *)protocols, (unsigned)strlen(protocols)), 0);
}

static bool client_step(struct both *b) { /* is its handshake over? */
    if (b->theirs) {
        ERR_clear_error();
        int n = SSL_do_handshake(b->theirs);
        return n == 1 || SSL_get_error(b->theirs, n) != SSL_ERROR_WANT_READ;
    }
    b->ours.io.readable = b->ours.io.writable = true;
    return fg_tls_handshake(&b->ours.io) != FG_TLS_WAIT;
}

/* Reads what the client has sent, says what it is, and begins the handshake. */
static void peek(struct both *b, struct fg_client_hello *hello) {
    struct end *s = &b->server;
    CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_MEDIUM), 0);
    s->io.readable = true;
    CHECK(fg_io_read(&s->io, &s->in) > 0);
    CHECK(fg_host_functions()->peek_client_hello(fg_buf_data(&s->in), fg_buf_len(&s->in), 65536, hello) > 0);
}

static enum fg_tls_step shake_with(struct both *b, const struct fg_client_hello *claimed) {
    struct fg_client_hello hello;
    enum fg_tls_step step = FG_TLS_WAIT;
    bool over = client_step(b);
    peek(b, &hello);
    CHECK_EQ(fg_tls_server(&b->server.io, b->context, claimed ? claimed : &hello, &b->server.in, b->session_key), 0);
    CHECK(b->server.in.p == NULL);
    for (int i = 0; i < 10 && (step == FG_TLS_WAIT || !over); i++) {
        if (step == FG_TLS_WAIT) {
            b->server.io.readable = b->server.io.writable = true;
            step = fg_tls_handshake(&b->server.io);
            CHECK_EQ(ERR_peek_error(), 0);
        }
        over = over || client_step(b);
    }
    return step;
}

static enum fg_tls_step shake(struct both *b) {
    return shake_with(b, NULL);
}

static struct fg_tls_result result_of(const struct end *e) {
    struct fg_tls_result r;
    fg_tls_result(&e->io, &r);
    return r;
}

/* --- what is negotiated ------------------------------------------------------------------------------------------------------ */

static void versions_and_kinds_of_keys(void) {
    struct { int version; const char *ciphers, *sigalgs; int key; } cases[] = {
        {TLS1_3_VERSION, NULL, NULL, EVP_PKEY_EC},
        {TLS1_2_VERSION, NULL, NULL, EVP_PKEY_EC},
        {TLS1_3_VERSION, NULL, "RSA-PSS+SHA256:ECDSA+SHA256", EVP_PKEY_EC}, /* the server's order */
        {TLS1_3_VERSION, NULL, "RSA-PSS+SHA256", EVP_PKEY_RSA},
        {TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", NULL, EVP_PKEY_RSA},
    };
    for (unsigned i = 0; i < FG_COUNT_OF(cases); i++) {
        struct both b;
        SSL_CTX *library = client_library();
        connect_ends(&b);
        b.context = server_context();
        set_theirs(&b, library, "a.example", "\x08http/1.1");
        SSL_set_min_proto_version(b.theirs, cases[i].version);
        SSL_set_max_proto_version(b.theirs, cases[i].version);
        if (cases[i].ciphers)
            SSL_set_cipher_list(b.theirs, cases[i].ciphers);
        if (cases[i].sigalgs)
            SSL_set1_sigalgs_list(b.theirs, cases[i].sigalgs);
        CHECK_EQ(shake(&b), FG_TLS_DONE);
        struct fg_tls_result r = result_of(&b.server);
        CHECK_EQ(r.version, cases[i].version);
        CHECK_BYTES(r.alpn.p, r.alpn.len, "http/1.1");
        CHECK(!r.resumed && !r.verified && r.reason == 0 && *r.error == 0);
        CHECK_EQ(EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_get0_peer_certificate(b.theirs))), cases[i].key);
        finish(&b);
        SSL_CTX_free(library);
    }
}

static void what_the_library_reads_is_what_was_peeked(void) {
    struct fg_client_hello wrong[3] = {
        {.server_name = "b.example", .server_name_len = 9, .nalpn = 1, .alpn_len = {8}, .alpn = {"http/1.1"}},
        {.server_name = "a.example", .server_name_len = 9, .nalpn = 1, .alpn_len = {2}, .alpn = {"h2"}},
        {.nalpn = 1, .alpn_len = {8}, .alpn = {"http/1.1"}},
    };
    SSL_CTX *library = client_library();
    for (unsigned i = 0; i < FG_COUNT_OF(wrong); i++) {
        struct both b;
        connect_ends(&b);
        b.context = server_context();
        set_theirs(&b, library, "A.example", "\x08http/1.1");
        CHECK_EQ(shake_with(&b, &wrong[i]), FG_TLS_FAILED);
        CHECK_EQ(result_of(&b.server).reason, FG_R_BAD_HELLO);
        CHECK_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER); /* the client is told */
        finish(&b);
    }
    SSL_CTX_free(library);
}

static void no_common_protocol_ends_the_handshake(void) {
    struct both b;
    SSL_CTX *library = client_library();
    connect_ends(&b);
    b.context = server_context();
    set_theirs(&b, library, "a.example", "\x04ldap");
    CHECK_EQ(shake(&b), FG_TLS_FAILED);
    CHECK_EQ(result_of(&b.server).reason, FG_R_HANDSHAKE_FAILED);
    CHECK_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    finish(&b);
    SSL_CTX_free(library);
}

static void a_staple_goes_with_its_certificate(void) {
    struct fg_tls_pair pairs[] = {pki_pair(&rsa), pki_pair(&ec)};
    struct fg_tls_terms terms = terms_of(pairs, 2);
    SSL_CTX *library = client_library();
    const uint8_t *staple;
    struct both b;
    pairs[1].staple = pki_bytes("the staple");
    connect_ends(&b);
    b.context = context_of(&terms);
    set_theirs(&b, library, "a.example", "");
    SSL_set_tlsext_status_type(b.theirs, TLSEXT_STATUSTYPE_ocsp);
    CHECK_EQ(shake(&b), FG_TLS_DONE);
    long n = SSL_get_tlsext_status_ocsp_resp(b.theirs, &staple);
    CHECK_BYTES(staple, (size_t)n, "the staple");
    finish(&b);
    SSL_CTX_free(library);
}

/* --- sessions ------------------------------------------------------------------------------------------------------------------ */

static struct fg_ticket_keys keys_of(int current, int next, int previous) {
    struct fg_ticket_keys k = {0};
    const int n[] = {current, next, previous};
    struct fg_ticket_key *to[] = {&k.current, &k.next, &k.previous};
    for (unsigned i = 0; i < 3; i++)
        if (n[i])
            memset(to[i], n[i], sizeof *to[i]);
    return k;
}

/* Tickets go with it. */
static void respond(struct both *b) {
    const struct iovec iov = {(void *)"x", 1};
    CHECK_EQ(fg_io_writev(&b->server.io, &pool, &iov, 1), 1);
    CHECK_EQ(fg_buf_len(&b->server.io.out), 0);
}

/* A handshake that offers `session`; the client has read what came behind it. */
static bool resumes(SSL_CTX *library, SSL_SESSION **session, uint64_t key) {
    struct both b;
    char byte;
    connect_ends(&b);
    b.context = server_context();
    b.session_key = key;
    set_theirs(&b, library, "a.example", "");
    if (*session)
        SSL_set_session(b.theirs, *session);
    CHECK_EQ(shake(&b), FG_TLS_DONE);
    CHECK(SSL_read(b.theirs, &byte, 1) < 0);
    respond(&b);
    CHECK_EQ(SSL_read(b.theirs, &byte, 1), 1);
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(b.theirs);
    bool resumed = result_of(&b.server).resumed;
    CHECK_EQ(SSL_session_reused(b.theirs), resumed);
    SSL_set_shutdown(b.theirs, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* the session stays good */
    finish(&b);
    return resumed;
}

static void tickets_outlive_contexts_and_rotations(void) {
    struct fg_ticket_keys keys = keys_of(1, 2, 0);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *library = client_library();
        SSL_SESSION *session = NULL;
        SSL_CTX_set_max_proto_version(library, version);
        fg_tls_tickets(common, &keys);
        CHECK(!resumes(library, &session, 1));
        CHECK(resumes(library, &session, 1)); /* each has a context of its own */
        struct fg_ticket_keys ahead = keys_of(3, 1, 0), behind = keys_of(2, 3, 1), later = keys_of(4, 5, 6);
        fg_tls_tickets(common, &ahead); /* a sibling is ahead of us */
        CHECK(resumes(library, &session, 1));
        fg_tls_tickets(common, &keys);
        CHECK(!resumes(library, &session, 1)); /* 3 is unknown */
        fg_tls_tickets(common, &behind);
        CHECK(resumes(library, &session, 1)); /* 1 is the previous one */
        fg_tls_tickets(common, &later);
        CHECK(!resumes(library, &session, 1));
        CHECK(resumes(library, &session, 1));
        CHECK(!resumes(library, &session, 2)); /* had to show something else for it */
        SSL_SESSION_free(session);
        SSL_CTX_free(library);
    }
}

/* --- clients' certificates --------------------------------------------------------------------------------------------------- */

static enum fg_tls_step shake_with_certificate(struct both *b, int verify, const struct pki *shown, int version) {
    const struct fg_tls_pair pairs[] = {pki_pair(&ec)};
    const struct fg_bytes authorities[] = {pki_bytes(root.chain)};
    struct fg_tls_terms terms = terms_of(pairs, 1);
    SSL_CTX *library = client_library();
    terms.authorities = authorities;
    terms.nauthorities = 1;
    terms.verify = (uint8_t)verify;
    connect_ends(b);
    b->context = context_of(&terms);
    set_theirs(b, library, "a.example", "");
    SSL_set_max_proto_version(b->theirs, version);
    if (shown) {
        SSL_use_certificate(b->theirs, shown->x);
        SSL_use_PrivateKey(b->theirs, shown->key);
    }
    SSL_CTX_free(library);
    return shake(b);
}

static void clients_show_certificates(void) {
    struct { int verify; const struct pki *shown; bool done, verified; } cases[] = {
        {FG_VERIFY_REQUIRED, &client_pair, true, true}, {FG_VERIFY_REQUIRED, &stranger, false, false},
        {FG_VERIFY_REQUIRED, NULL, false, false},       {FG_VERIFY_OPTIONAL, &client_pair, true, true},
        {FG_VERIFY_OPTIONAL, &stranger, true, false},   {FG_VERIFY_OPTIONAL, NULL, true, false},
        {FG_VERIFY_NONE, &client_pair, true, false},
    };
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (unsigned i = 0; i < FG_COUNT_OF(cases); i++) {
            struct both b;
            char text[200];
            uint8_t der[4096];
            enum fg_tls_step step = shake_with_certificate(&b, cases[i].verify, cases[i].shown, version);
            CHECK_EQ(step == FG_TLS_DONE, cases[i].done);
            struct fg_tls_result r = result_of(&b.server);
            CHECK_EQ(r.verified, cases[i].verified);
            CHECK_EQ(r.reason, cases[i].done ? 0 : FG_R_CLIENT_UNVERIFIED);
            CHECK_EQ(*r.error == 0, cases[i].done);
            size_t n = fg_tls_peer_subject(&b.server.io, text, sizeof text);
            if (cases[i].verified) {
                CHECK_BYTES(text, n, "CN=client");
                n = fg_tls_peer_san(&b.server.io, text, sizeof text);
                CHECK_BYTES(text, n, "URI:spiffe://test/client\nDNS:client.example");
                CHECK_EQ(fg_tls_peer_san(&b.server.io, text, n - 1), 0);
                CHECK_EQ(fg_tls_peer_der(&b.server.io, der, sizeof der), i2d_X509(client_pair.x, NULL));
                CHECK_EQ(fg_tls_peer_fingerprint(&b.server.io, text), 64);
            } else {
                CHECK_EQ(n, 0);
                CHECK_EQ(fg_tls_peer_der(&b.server.io, der, sizeof der), 0);
            }
            finish(&b);
        }
    }
}

/* --- clients of ours ----------------------------------------------------------------------------------------------------------- */

static struct fg_tls_context *client_context(const char *server_name, const struct fg_bytes *names, uint32_t nnames,
                                             const struct pki *authority, const struct pki *shown) {
    const struct fg_bytes authorities[] = {pki_bytes(authority->chain)}, alpn[] = {pki_bytes("http/1.1")};
    struct fg_tls_pair pair = {0};
    if (shown)
        pair = pki_pair(shown);
    const struct fg_tls_terms terms = {.client = true, .pairs = &pair, .npairs = shown != NULL, .authorities = authorities,
        .nauthorities = 1, .alpn = alpn, .nalpn = 1, .names = names, .nnames = nnames, .server_name = pki_bytes(server_name),
        .min_version = 0x0303, .max_version = 0x0304};
    return context_of(&terms);
}

static void endpoints_are_verified(void) {
    const struct fg_bytes by_uri = pki_bytes("URI:spiffe://test/a"), by_other = pki_bytes("URI:spiffe://test/b");
    const struct fg_bytes two[] = {pki_bytes("DNS:nobody.example"), pki_bytes("DNS:x.wild.example")};
    struct { const char *name; const struct fg_bytes *names; uint32_t nnames; const struct pki *authority; bool done; } cases[] = {
        {"a.example", NULL, 0, &root, true},        {"nobody.example", NULL, 0, &root, false},
        {"a.example", NULL, 0, &other_root, false}, {"127.0.0.1", NULL, 0, &root, true},
        {"127.0.0.2", NULL, 0, &root, false},       {"nobody.example", &by_uri, 1, &root, true},
        {"a.example", &by_other, 1, &root, false},  {"a.example", two, 2, &root, true},
        {"a.example", two, 1, &root, false},        {"y.x.wild.example", NULL, 0, &root, false},
    };
    for (unsigned i = 0; i < FG_COUNT_OF(cases); i++) {
        struct both b;
        connect_ends(&b);
        b.context = server_context();
        struct fg_tls_context *c = client_context(cases[i].name, cases[i].names, cases[i].nnames, cases[i].authority, NULL);
        CHECK_EQ(fg_tls_client(&b.ours.io, c, 100 + i), 0);
        enum fg_tls_step step = shake(&b);
        struct fg_tls_result r = result_of(&b.ours);
        CHECK_EQ(r.reason, cases[i].done ? 0 : FG_R_UPSTREAM_UNVERIFIED);
        CHECK_EQ(step == FG_TLS_DONE, cases[i].done);
        CHECK_EQ(r.verified, cases[i].done);
        CHECK_EQ(*r.error != 0, !cases[i].done);
        if (cases[i].done)
            CHECK_BYTES(r.alpn.p, r.alpn.len, "http/1.1");
        fg_tls_context_unref(c);
        finish(&b);
    }
}

static bool client_resumes(uint64_t key) {
    struct both b;
    struct fg_tls_context *c = client_context("a.example", NULL, 0, &root, NULL);
    connect_ends(&b);
    b.context = server_context();
    CHECK_EQ(fg_tls_client(&b.ours.io, c, key), 0);
    CHECK_EQ(shake(&b), FG_TLS_DONE);
    if (fg_buf_len(&b.server.io.out)) /* tickets alone */
        CHECK_EQ(fg_io_writev(&b.server.io, &pool, NULL, 0), 0);
    b.ours.io.readable = true;
    CHECK(fg_io_quiet(&b.ours.io)); /* nothing is there for us */
    CHECK(!b.ours.io.readable);
    bool resumed = result_of(&b.ours).resumed;
    CHECK(result_of(&b.ours).verified);
    fg_tls_context_unref(c);
    finish(&b);
    return resumed;
}

static void sessions_with_endpoints_are_kept_by_key(void) {
    CHECK(!client_resumes(7));
    CHECK(client_resumes(7));
    CHECK(!client_resumes(8));
    fg_tls_session_drop(common, 7);
    CHECK(!client_resumes(7));
}

/* --- reads and writes ---------------------------------------------------------------------------------------------------------- */

static void connected(struct both *b, SSL_CTX *library, int version) {
    connect_ends(b);
    b->context = server_context();
    set_theirs(b, library, "a.example", "");
    SSL_set_max_proto_version(b->theirs, version);
    CHECK_EQ(shake(b), FG_TLS_DONE);
}

static void readable_means_plaintext(void) {
    SSL_CTX *library = client_library();
    struct both b;
    connected(&b, library, TLS1_3_VERSION);
    struct end *s = &b.server;
    CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_SMALL), 0);
    s->io.readable = true;
    CHECK_EQ(fg_io_read(&s->io, &s->in), -1);
    CHECK(!s->io.readable);
    CHECK_EQ(SSL_write(b.theirs, "hello ", 6), 6);
    CHECK_EQ(SSL_write(b.theirs, "world", 5), 5);
    s->io.readable = true;
    CHECK_EQ(fg_io_read(&s->io, &s->in), 11); /* both records */
    CHECK(!s->io.readable);                   /* and that was all */
    CHECK_BYTES(fg_buf_data(&s->in), fg_buf_len(&s->in), "hello world");
    fg_buf_consume(&s->in, 11);
    CHECK(fg_io_quiet(&s->io));
    CHECK_EQ(SSL_write(b.theirs, "!", 1), 1);
    s->io.readable = true;
    CHECK(!fg_io_quiet(&s->io) && s->io.readable); /* which leaves it there */
    CHECK_EQ(fg_io_read(&s->io, &s->in), 1);
    fg_buf_consume(&s->in, 1);
    uint8_t big[10000];
    memset(big, 'x', sizeof big);
    CHECK_EQ(SSL_write(b.theirs, big, sizeof big), sizeof big);
    s->io.readable = true;
    for (size_t left = sizeof big; left;) { /* the socket is empty, the library is not */
        CHECK(s->io.readable);
        ssize_t n = fg_io_read(&s->io, &s->in);
        CHECK(n > 0);
        CHECK_EQ(s->in.filled, left >= FG_BUF_SMALL);
        left -= (size_t)n;
        fg_buf_consume(&s->in, (uint32_t)n);
    }
    finish(&b);
    SSL_CTX_free(library);
}

static void a_record_that_comes_byte_by_byte(void) {
    SSL_CTX *library = client_library();
    struct both b;
    connected(&b, library, TLS1_3_VERSION);
    BIO *wire = BIO_new(BIO_s_mem()); /* what the client writes is handed on by hand */
    SSL_set0_wbio(b.theirs, wire);
    CHECK_EQ(SSL_write(b.theirs, "hello", 5), 5);
    char *p;
    long n = BIO_get_mem_data(wire, &p);
    struct end *s = &b.server;
    CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_SMALL), 0);
    for (long i = 0; i < n; i++) {
        CHECK_EQ(write(b.ours.io.fd, p + i, 1), 1);
        s->io.readable = true;
        CHECK_EQ(fg_io_read(&s->io, &s->in), i == n - 1 ? 5 : -1);
        CHECK(i == n - 1 || !s->io.readable);
    }
    CHECK(fg_io_quiet(&s->io) && !s->io.readable);
    finish(&b);
    SSL_CTX_free(library);
}

static size_t records_of(struct both *b, uint8_t *to, size_t size, size_t *got) {
    size_t records = 0, n;
    *got = 0;
    while (SSL_read_ex(b->theirs, to + *got, size - *got, &n) == 1) {
        records++;
        *got += n;
    }
    ERR_clear_error();
    return records;
}

static void what_is_short_goes_in_one_record(void) {
    static uint8_t big[40000], back[65536];
    SSL_CTX *library = client_library();
    struct both b;
    size_t got;
    connected(&b, library, TLS1_3_VERSION);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7);
    const struct iovec small[] = {{(void *)"head ", 5}, {(void *)"", 0}, {(void *)"body", 4}};
    CHECK_EQ(fg_io_writev(&b.server.io, &pool, small, 3), 9);
    CHECK_EQ(records_of(&b, back, sizeof back, &got), 1);
    CHECK_BYTES(back, got, "head body");
    const struct iovec large[] = {{(void *)"head ", 5}, {big, sizeof big}, {(void *)"end", 3}};
    CHECK_EQ(fg_io_writev(&b.server.io, &pool, large, 3), sizeof big + 8);
    CHECK_EQ(records_of(&b, back, sizeof back, &got), 3);
    CHECK_EQ(got, sizeof big + 8);
    CHECK(memcmp(back, "head ", 5) == 0 && memcmp(back + 5, big, sizeof big) == 0 && memcmp(back + got - 3, "end", 3) == 0);
    CHECK_EQ(fg_io_writev(&b.server.io, &pool, small, 0), 0);
    finish(&b);
    SSL_CTX_free(library);
}

static void what_the_socket_does_not_take_is_owed(void) {
    static uint8_t big[1 << 20], back[1 << 20];
    SSL_CTX *library = client_library();
    struct both b;
    size_t given = 0, got = 0, n;
    connected(&b, library, TLS1_3_VERSION);
    struct fg_io *io = &b.server.io;
    CHECK_EQ(setsockopt(io->fd, SOL_SOCKET, SO_SNDBUF, &(int){8192}, sizeof(int)), 0);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 13 >> 3);
    CHECK_EQ(fg_io_owe(io, &pool, big, 20000), 0); /* behind nothing, and before what follows */
    given = 20000;
    while (got < sizeof big) {
        if (given < sizeof big) {
            const struct iovec iov = {big + given, sizeof big - given};
            ssize_t taken = fg_io_writev(io, &pool, &iov, 1);
            CHECK(taken >= 0);
            given += (size_t)taken;
            CHECK(!io->writable || given == sizeof big);
        } else {
            CHECK_EQ(fg_io_writev(io, &pool, NULL, 0), 0);
        }
        CHECK(fg_buf_len(&io->out) <= CORK + 21000);
        while (SSL_read_ex(b.theirs, back + got, sizeof back - got, &n) == 1)
            got += n;
        ERR_clear_error();
        io->writable = true;
        if (given == sizeof big && got < sizeof big)
            fg_io_shutdown(io); /* behind what is owed, however often it is said */
    }
    CHECK(memcmp(big, back, sizeof big) == 0);
    while (fg_buf_len(&io->out))
        CHECK_EQ(fg_io_writev(io, &pool, NULL, 0), 0);
    CHECK_EQ(SSL_read_ex(b.theirs, back, 1, &n), 0);
    CHECK_EQ(SSL_get_shutdown(b.theirs) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    CHECK_EQ(read(b.ours.io.fd, back, 1), 0);
    finish(&b);
    SSL_CTX_free(library);
}

static void ends_with_and_without_a_word(void) {
    SSL_CTX *library = client_library();
    for (int i = 0; i < 4; i++) {
        bool said = i & 1;
        struct both b;
        connected(&b, library, i & 2 ? TLS1_3_VERSION : TLS1_2_VERSION);
        struct end *s = &b.server;
        CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_SMALL), 0);
        CHECK_EQ(SSL_write(b.theirs, "last", 4), 4);
        if (said)
            SSL_shutdown(b.theirs);
        shutdown(b.ours.io.fd, SHUT_WR);
        s->io.readable = s->io.rdhup = true;
        CHECK_EQ(fg_io_read(&s->io, &s->in), 4);
        CHECK(s->io.readable);
        CHECK(!fg_io_quiet(&s->io));
        for (int again = 0; again < 2; again++) {
            errno = 0;
            CHECK_EQ(fg_io_read(&s->io, &s->in), said ? 0 : -2);
            CHECK_EQ(errno, said ? 0 : ECONNRESET);
            CHECK_EQ(ERR_peek_error(), 0);
        }
        finish(&b);
    }
    SSL_CTX_free(library);
}

static void a_damaged_record_is_an_error_and_the_client_is_told(void) {
    SSL_CTX *library = client_library();
    struct both b;
    uint8_t byte;
    connected(&b, library, TLS1_3_VERSION);
    struct end *s = &b.server;
    CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_SMALL), 0);
    CHECK_EQ(write(b.ours.io.fd, "\x17\x03\x03\x00\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 37), 37);
    s->io.readable = true;
    CHECK_EQ(fg_io_read(&s->io, &s->in), -2);
    CHECK_EQ(fg_io_read(&s->io, &s->in), -2);
    CHECK_EQ(ERR_peek_error(), 0);
    CHECK(SSL_read(b.theirs, &byte, 1) <= 0);
    CHECK_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    const struct iovec iov = {(void *)"x", 1};
    CHECK_EQ(fg_io_writev(&s->io, &pool, &iov, 1), -2);
    CHECK_EQ(fg_io_owe(&s->io, &pool, "x", 1), -1);
    finish(&b);
    SSL_CTX_free(library);
}

static void renegotiation_is_refused(void) {
    SSL_CTX *library = client_library();
    struct both b;
    connected(&b, library, TLS1_2_VERSION);
    struct end *s = &b.server;
    CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_SMALL), 0);
    CHECK_EQ(SSL_renegotiate(b.theirs), 1);
    CHECK(SSL_do_handshake(b.theirs) < 0);
    s->io.readable = true;
    CHECK_EQ(fg_io_read(&s->io, &s->in), -1); /* warned, and the connection goes on as it was */
    CHECK(SSL_do_handshake(b.theirs) < 0);
    CHECK_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    finish(&b);
    SSL_CTX_free(library);
}

static void a_key_update_is_answered(void) {
    SSL_CTX *library = client_library();
    struct both b;
    uint8_t byte;
    size_t n;
    connected(&b, library, TLS1_3_VERSION);
    struct end *s = &b.server;
    CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_SMALL), 0);
    CHECK_EQ(SSL_key_update(b.theirs, SSL_KEY_UPDATE_REQUESTED), 1);
    CHECK_EQ(SSL_write(b.theirs, "x", 1), 1);
    s->io.readable = true;
    CHECK_EQ(fg_io_read(&s->io, &s->in), 1);
    const struct iovec iov = {(void *)"y", 1};
    CHECK_EQ(fg_io_writev(&s->io, &pool, &iov, 1), 1);
    CHECK_EQ(SSL_read_ex(b.theirs, &byte, 1, &n), 1);
    CHECK_EQ(byte, 'y');
    finish(&b);
    SSL_CTX_free(library);
}

static void updates_of_keys_that_keep_coming_end_the_connection(void) {
    static uint8_t all[1 << 20];
    SSL_CTX *library = client_library();
    for (unsigned updates = 500; updates <= 5000; updates += 4500) { /* some of them are nothing */
        struct both b;
        connected(&b, library, TLS1_3_VERSION);
        struct end *s = &b.server;
        CHECK_EQ(fg_buf_reserve(&pool, &s->in, FG_BUF_SMALL), 0);
        BIO *wire = BIO_new(BIO_s_mem());
        SSL_set0_wbio(b.theirs, wire);
        for (unsigned i = 0; i < updates; i++) {
            CHECK_EQ(SSL_key_update(b.theirs, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            CHECK_EQ(SSL_do_handshake(b.theirs), 1);
        }
        CHECK_EQ(SSL_write(b.theirs, "x", 1), 1);
        int n = BIO_read(wire, all, sizeof all);
        CHECK_EQ(write(b.ours.io.fd, all, (size_t)n), n);
        s->io.readable = true;
        CHECK_EQ(fg_io_read(&s->io, &s->in), updates == 500 ? 1 : -2);
        finish(&b);
    }
    SSL_CTX_free(library);
}

/* --- what cannot be made ------------------------------------------------------------------------------------------------------ */

static void refused(const struct fg_tls_terms *terms, const char *words) {
    char why[200] = "";
    CHECK(fg_tls_context_new(common, terms, why, sizeof why) == NULL);
    if (strstr(why, words) == NULL)
        fprintf(stderr, "%s\n", why);
    CHECK(strstr(why, words) != NULL);
    CHECK(strstr(why, "PRIVATE") == NULL);
    CHECK_EQ(ERR_peek_error(), 0);
}

static void faults_of_contexts_are_sentences(void) {
    struct fg_tls_pair pair = pki_pair(&ec);
    struct fg_tls_terms terms = terms_of(&pair, 0);
    refused(&terms, "there is no certificate");
    terms.npairs = 1;
    pair.key = pki_bytes(rsa.pem);
    refused(&terms, "the key is not the certificate's");
    pair.key = pki_bytes("nothing");
    refused(&terms, "the key cannot be read");
    pair = pki_pair(&ec);
    pair.chain = pki_bytes("nothing");
    refused(&terms, "the certificate cannot be read");
    char cut[sizeof ec.chain];
    snprintf(cut, sizeof cut, "%s-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", ec.chain);
    pair.chain = pki_bytes(cut);
    refused(&terms, "a certificate of the chain cannot be read");
    pair = pki_pair(&ec);
    terms.ciphers = pki_bytes("NONSENSE");
    refused(&terms, "the ciphers cannot be used");
    terms.ciphers = pki_bytes("");
    terms.ciphersuites = pki_bytes("NONSENSE");
    refused(&terms, "the ciphersuites cannot be used");
    terms.ciphersuites = pki_bytes("");
    terms.groups = pki_bytes("NONSENSE");
    refused(&terms, "the groups cannot be used");
    terms.groups = pki_bytes("");
    terms.min_version = 0x0302;
    refused(&terms, "the versions cannot be served");
    terms.min_version = 0x0303;
    const struct fg_bytes nobody[] = {pki_bytes("nobody")};
    terms.authorities = nobody;
    terms.nauthorities = 1;
    refused(&terms, "an authority cannot be read");
}

int main(void) {
    fg_host_functions();
    pki_make(&root, "EC", 0, "root", NULL, NULL);
    pki_make(&other_root, "EC", 0, "root", NULL, NULL);
    pki_make(&ec, "EC", 0, "a", "DNS:a.example,DNS:*.wild.example,IP:127.0.0.1,URI:spiffe://test/a", &root);
    pki_make(&rsa, "RSA", 2048, "a", "DNS:a.example", &root);
    pki_make(&client_pair, "EC", 0, "client", "URI:spiffe://test/client,DNS:a b,DNS:client.example", &root);
    pki_make(&stranger, "EC", 0, "client", "DNS:client.example", &other_root);
    fg_pool_init(&pool, 0);
    common = fg_tls_common_new(&pool);
    CHECK(common != NULL);
    RUN(versions_and_kinds_of_keys);
    RUN(what_the_library_reads_is_what_was_peeked);
    RUN(no_common_protocol_ends_the_handshake);
    RUN(a_staple_goes_with_its_certificate);
    RUN(clients_show_certificates);
    RUN(endpoints_are_verified);
    RUN(sessions_with_endpoints_are_kept_by_key);
    RUN(tickets_outlive_contexts_and_rotations);
    RUN(readable_means_plaintext);
    RUN(a_record_that_comes_byte_by_byte);
    RUN(what_is_short_goes_in_one_record);
    RUN(what_the_socket_does_not_take_is_owed);
    RUN(ends_with_and_without_a_word);
    RUN(a_damaged_record_is_an_error_and_the_client_is_told);
    RUN(renegotiation_is_refused);
    RUN(a_key_update_is_answered);
    RUN(updates_of_keys_that_keep_coming_end_the_connection);
    RUN(faults_of_contexts_are_sentences);
    fg_tls_common_free(common);
    struct pki *all[] = {&root, &other_root, &ec, &rsa, &client_pair, &stranger};
    for (unsigned i = 0; i < FG_COUNT_OF(all); i++)
        pki_free(all[i]);
    fg_pool_fini(&pool);
    return 0;
}
