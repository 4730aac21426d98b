/* TLS connections on OpenSSL 3: the library's end of fg_tls.h. fg_tls_openssl_context.c makes the contexts.
 *
 * A BIO of ours stands between the library and the socket. It reads what was peeked, then the socket, as much as the library's
 * buffer takes: a record costs one recv. What the library writes is gathered in the thread's `cork` and sent when the call is
 * over: a flight of the handshake, or the records of a response, cost one send. So the library never waits for the socket to
 * take bytes, and a call that took plaintext has taken it for good.
 *
 * The error queue is empty between calls: whoever meets an error drains it.
 */
#include "fg_tls_openssl.h"

#include "fg_reasons.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <sys/socket.h>

enum { RECORD = 16384, CORK_RECORDS = 4, CORK = CORK_RECORDS * (RECORD + 325), OWED_ALONG = 4096,
       EMPTY_READS = 4 /* of the library's whole buffer, without a byte for us */ };

static _Thread_local struct { uint32_t len; uint8_t p[CORK]; } cork;

struct fg_tls {
    SSL *ssl;
    struct fg_io *io;
    struct fg_tls_context *context;
    struct fg_client_hello *hello; /* what was peeked; NULL: a client, or settled */
    struct fg_buf in;              /* bytes that are ahead of the socket's */
    uint64_t session_key;
    const char *error;             /* static */
    int os_error;
    uint8_t reason;                /* enum fg_reason */
    bool done;                     /* the handshake is */
    bool failed;                   /* nothing more can be read or written */
    bool drained;                  /* in this call: the socket has nothing more */
    bool blocked;                  /* in this call: the library asked for more than there is */
    uint8_t reads;                 /* of the socket since there were bytes for us, in this call */
    bool ended;                    /* the socket's end was read */
    bool apart;                    /* fg_tls_shake is at it, which knows no socket */
    enum fg_tls_step step;         /* what that came to */
    uint8_t *flight;               /* and what it has to send; NULL: nothing */
    uint32_t flight_len;
};

/* --- errors ------------------------------------------------------------------------------------------------------------------ */

const char *fg_tls_drain_errors(int *reason) {
    unsigned long e = ERR_peek_last_error(); /* the first ones are of the layers below */
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    *reason = e && ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
    ERR_clear_error();
    return text ? text : "";
}

/* --- between the library and the socket ------------------------------------------------------------------------------------ */

static int bio_read(BIO *b, char *to, size_t room, size_t *got) {
    struct fg_tls *t = BIO_get_data(b);
    struct fg_io *io = t->io;
    BIO_clear_retry_flags(b);
    uint32_t left = fg_buf_len(&t->in);
    if (left) {
        uint32_t n = left < room ? left : (uint32_t)room;
        memcpy(to, fg_buf_data(&t->in), n);
        fg_buf_consume(&t->in, n);
        if (n == left && !t->apart)
            fg_buf_release(t->context->common->pool, &t->in);
        *got = n;
        return 1;
    }
    if (t->ended || t->os_error)
        return 0;
    if (t->done && t->reads++ >= EMPTY_READS) { /* updates of keys, say, that keep coming: they are work, and lead nowhere */
        t->os_error = EPROTO;
        return 0;
    }
    if (!t->drained) {
        ssize_t n;
        do
            n = recv(io->fd, to, room, 0);
        while (n < 0 && errno == EINTR);
        if (n > 0) {
            t->drained = (size_t)n < room && !io->rdhup && !io->hup;
            *got = (size_t)n;
            return 1;
        }
        if (n == 0 || errno != EAGAIN) {
            t->ended = n == 0;
            t->os_error = n ? errno : 0;
            return 0;
        }
        t->drained = true;
    }
    t->blocked = true;
    BIO_set_retry_read(b);
    return 0;
}

/* Sends what is gathered; what the socket does not take is owed. */
static int flush(struct fg_tls *t) {
    struct fg_pool *pool = t->context->common->pool;
    uint32_t len = cork.len;
    if (len == 0)
        return 0;
    cork.len = 0;
    const struct iovec iov = {cork.p, len};
    ssize_t sent = fg_io_send(t->io, pool, &iov, 1);
    if (sent == -2)
        t->os_error = errno;
    else if ((size_t)sent == len || fg_buf_append(pool, &t->io->out, cork.p + sent, len - (size_t)sent) == 0)
        return 0;
    else
        t->os_error = ENOMEM;
    t->failed = true;
    return -1;
}

static int bio_write(BIO *b, const char *from, size_t n, size_t *taken) {
    struct fg_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n > CORK - cork.len && (t->apart || flush(t) < 0 || n > CORK))
        return 0;
    memcpy(cork.p + cork.len, from, n);
    cork.len += (uint32_t)n;
    *taken = n;
    return 1;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer) {
    (void)number, (void)pointer;
    struct fg_tls *t = BIO_get_data(b);
    return command == BIO_CTRL_FLUSH || (command == BIO_CTRL_EOF && t->ended);
}

static BIO_METHOD *make_bio_method(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "fastgate");
    if (m) {
        BIO_meth_set_read_ex(m, bio_read);
        BIO_meth_set_write_ex(m, bio_write);
        BIO_meth_set_ctrl(m, bio_ctrl);
    }
    return m;
}

/* --- life -------------------------------------------------------------------------------------------------------------------- */

struct fg_tls_common *fg_tls_common_new(struct fg_pool *pool) {
    struct fg_tls_common *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->pool = pool;
    pthread_mutex_init(&c->lock, NULL);
    c->bio = make_bio_method();
    c->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (c->bio == NULL || c->cipher == NULL || RAND_bytes((uint8_t *)&c->keys.current, sizeof c->keys.current) != 1) {
        fg_tls_common_free(c);
        c = NULL;
    }
    ERR_clear_error();
    return c;
}

void fg_tls_common_free(struct fg_tls_common *c) {
    if (c == NULL)
        return;
    for (unsigned i = 0; i < FG_TLS_SESSIONS; i++)
        SSL_SESSION_free(c->sessions[i].session);
    BIO_meth_free(c->bio);
    EVP_CIPHER_free(c->cipher);
    OPENSSL_cleanse(&c->keys, sizeof c->keys);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct fg_tls *tls_of(const SSL *ssl) {
    return SSL_get_app_data(ssl);
}

struct fg_tls *fg_tls_detach(struct fg_io *io) {
    struct fg_tls *t = io->tls;
    io->tls = NULL;
    io->layer = NULL;
    return t;
}

void fg_tls_drop(struct fg_tls *t) {
    fg_buf_release(t->context->common->pool, &t->in);
    if (t->done && !t->failed) /* else the session would be bad for being cut off (as RFC 2246 section 7.2.1 wanted, no later one) */
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    fg_tls_context_unref(t->context);
    free(t->hello);
    free(t->flight);
    free(t);
}

void fg_tls_free(struct fg_io *io) {
    fg_tls_drop(fg_tls_detach(io));
}

static const struct fg_layer layer = {fg_tls_read, fg_tls_writev, fg_tls_owe};

static struct fg_tls *begin(struct fg_io *io, struct fg_tls_context *context, uint64_t session_key) {
    struct fg_tls *t = calloc(1, sizeof *t);
    SSL *ssl = t ? SSL_new(context->ssl) : NULL;
    BIO *bio = ssl ? BIO_new(context->common->bio) : NULL;
    if (bio == NULL || SSL_set_app_data(ssl, t) != 1) {
        ERR_clear_error();
        SSL_free(ssl);
        free(t);
        return NULL;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    *t = (struct fg_tls){.ssl = ssl, .io = io, .context = fg_tls_context_ref(context), .session_key = session_key, .error = ""};
    io->tls = t;
    io->layer = &layer;
    return t;
}

int fg_tls_server(struct fg_io *io, struct fg_tls_context *context, const struct fg_client_hello *hello, struct fg_buf *in,
                  uint64_t session_key) {
    struct fg_tls *t = begin(io, context, session_key);
    if (t == NULL)
        return -1;
    if ((t->hello = malloc(sizeof *hello)) == NULL ||
        SSL_set_session_id_context(t->ssl, (const uint8_t *)&session_key, sizeof session_key) != 1) {
        ERR_clear_error();
        fg_tls_free(io);
        return -1;
    }
    *t->hello = *hello;
    t->in = *in;
    *in = (struct fg_buf){0};
    SSL_set_accept_state(t->ssl);
    return 0;
}

int fg_tls_client(struct fg_io *io, struct fg_tls_context *context, uint64_t session_key) {
    struct fg_tls *t = begin(io, context, session_key);
    if (t == NULL)
        return -1;
    SSL_set_connect_state(t->ssl);
    if (context->sni && SSL_set_tlsext_host_name(t->ssl, context->server_name) != 1) {
        ERR_clear_error();
        fg_tls_free(io);
        return -1;
    }
    SSL_SESSION *session = fg_tls_session_find(context->common, session_key);
    if (session)
        SSL_set_session(t->ssl, session);
    return 0;
}

/* --- handshakes ------------------------------------------------------------------------------------------------------------ */

/* Is the server name that the library finds the one that was peeked (RFC 6066 section 3)? */
static bool same_name(SSL *ssl, const struct fg_client_hello *h) {
    const uint8_t *p;
    size_t len;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1)
        return h->server_name_len == 0;
    for (size_t at = 2; at + 3 <= len;) { /* of ServerName: type, length, name */
        size_t n = (size_t)p[at + 1] << 8 | p[at + 2];
        const uint8_t *name = p + at + 3;
        if (n > len - at - 3)
            return false;
        if (p[at] == TLSEXT_NAMETYPE_host_name) {
            n -= n && name[n - 1] == '.';
            if (n != h->server_name_len)
                return false;
            for (size_t i = 0; i < n; i++)
                if ((name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]) != h->server_name[i])
                    return false;
            return true;
        }
        at += 3 + n;
    }
    return h->server_name_len == 0;
}

/* The same of the protocols (RFC 7301 section 3.1). */
static bool same_protocols(SSL *ssl, const struct fg_client_hello *h) {
    const uint8_t *p;
    size_t len;
    unsigned found = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &len) != 1)
        return h->nalpn == 0;
    for (size_t at = 2; at < len && found < FG_HELLO_MAX_ALPN; at += 1 + p[at]) {
        if (p[at] > sizeof h->alpn[0])
            continue;
        if (at + 1 + p[at] > len || found >= h->nalpn || h->alpn_len[found] != p[at] ||
            memcmp(h->alpn[found], p + at + 1, p[at]) != 0)
            return false;
        found++;
    }
    return found == h->nalpn;
}

int fg_tls_on_hello(SSL *ssl, int *alert, void *unused) {
    (void)unused;
    struct fg_tls *t = tls_of(ssl);
    if (same_name(ssl, t->hello) && same_protocols(ssl, t->hello))
        return SSL_CLIENT_HELLO_SUCCESS;
    t->reason = FG_R_BAD_HELLO;
    t->error = "the library reads another name or protocol than was peeked";
    *alert = SSL_AD_ILLEGAL_PARAMETER;
    return SSL_CLIENT_HELLO_ERROR;
}

uint64_t fg_tls_session_key(const SSL *ssl) {
    return tls_of(ssl)->session_key;
}

/* Session tickets of TLS 1.3 (RFC 8446 section 4.6.1) are in no hurry: they go with the first response. */
static int flush_handshake(struct fg_tls *t, bool done) {
    if (!done || t->context->client || SSL_version(t->ssl) != TLS1_3_VERSION || cork.len > OWED_ALONG)
        return flush(t);
    uint32_t len = cork.len;
    cork.len = 0;
    return len ? fg_buf_append(t->context->common->pool, &t->io->out, cork.p, len) : 0;
}

const struct fg_client_hello *fg_tls_hello(const struct fg_io *io) {
    return io->tls->hello;
}

void fg_tls_settle(struct fg_io *io) {
    free(io->tls->hello);
    io->tls->hello = NULL;
}

static enum fg_tls_step handshake_failed(struct fg_tls *t) {
    bool client = t->context->client;
    long verify = SSL_get_verify_result(t->ssl);
    int code;
    const char *text = fg_tls_drain_errors(&code);
    bool unverified = code == SSL_R_CERTIFICATE_VERIFY_FAILED || code == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
    t->failed = true;
    if (t->reason == FG_R_NONE && unverified)
        t->reason = client ? FG_R_UPSTREAM_UNVERIFIED : FG_R_CLIENT_UNVERIFIED;
    else if (t->reason == FG_R_NONE)
        t->reason = client ? FG_R_UPSTREAM_HANDSHAKE : FG_R_HANDSHAKE_FAILED;
    if (client)
        fg_tls_session_drop(t->context->common, t->session_key);
    if (*t->error)
        return FG_TLS_FAILED;
    if (code == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK)
        text = X509_verify_cert_error_string(verify);
    else if (t->ended)
        text = "the connection was closed";
    else if (t->os_error)
        text = "the connection was reset";
    t->error = text;
    return FG_TLS_FAILED;
}

static enum fg_tls_step step_of(struct fg_tls *t) {
    t->blocked = false;
    ERR_clear_error(); /* what others left on this thread is not ours */
    int n = SSL_do_handshake(t->ssl);
    if (n != 1 && !t->blocked)
        return handshake_failed(t);
    ERR_clear_error(); /* a certificate that did not please, and need not */
    t->done = n == 1;
    return t->done ? FG_TLS_DONE : FG_TLS_WAIT;
}

/* What was written is sent, and then the step is over. */
static enum fg_tls_step send_flight(struct fg_tls *t, enum fg_tls_step step) {
    if (flush_handshake(t, step == FG_TLS_DONE) < 0 && step != FG_TLS_FAILED)
        return handshake_failed(t);
    if (step == FG_TLS_DONE)
        t->io->readable |= fg_buf_len(&t->in) || SSL_has_pending(t->ssl);
    return step;
}

enum fg_tls_step fg_tls_handshake(struct fg_io *io) {
    struct fg_tls *t = io->tls;
    t->drained = !io->readable;
    if (fg_buf_len(&io->out) && fg_io_send(io, t->context->common->pool, NULL, 0) == -2)
        t->os_error = errno;
    enum fg_tls_step step = step_of(t);
    if (step == FG_TLS_WAIT)
        io->readable = false;
    return send_flight(t, step);
}

/* --- handshakes apart from the loop's thread ------------------------------------------------------------------------------- */

bool fg_tls_slow(const struct fg_io *io) {
    return io->tls->context->slow;
}

bool fg_tls_fetch(struct fg_io *io) {
    struct fg_tls *t = io->tls;
    struct fg_pool *pool = t->context->common->pool;
    t->apart = true;
    if (fg_buf_len(&io->out) && fg_io_send(io, pool, NULL, 0) == -2)
        t->os_error = errno;
    while (io->readable && !t->ended && !t->os_error && fg_buf_len(&t->in) < RECORD) {
        if (fg_buf_reserve(pool, &t->in, t->in.end + RECORD) < 0) {
            t->os_error = ENOMEM;
            break;
        }
        ssize_t n = recv(io->fd, t->in.p + t->in.end, fg_buf_room(&t->in), 0);
        if (n > 0) {
            t->in.end += (uint32_t)n;
            continue;
        }
        t->ended = n == 0;
        if (n < 0 && errno == EAGAIN)
            io->readable = false;
        else if (n < 0 && errno != EINTR)
            t->os_error = errno;
    }
    return fg_buf_len(&t->in) || t->ended || t->os_error;
}

void fg_tls_shake(struct fg_tls *t) {
    t->drained = true;
    t->step = step_of(t);
    t->flight_len = cork.len;
    cork.len = 0;
    if (t->flight_len == 0)
        return;
    t->flight = malloc(t->flight_len);
    if (t->flight)
        memcpy(t->flight, cork.p, t->flight_len);
    else
        t->os_error = ENOMEM;
}

enum fg_tls_step fg_tls_land(struct fg_io *io) {
    struct fg_tls *t = io->tls;
    t->apart = false;
    if (fg_buf_len(&t->in) == 0)
        fg_buf_release(t->context->common->pool, &t->in);
    if (t->flight) {
        memcpy(cork.p, t->flight, t->flight_len);
        cork.len = t->flight_len;
        free(t->flight);
        t->flight = NULL;
    }
    bool cut = t->os_error && t->step != FG_TLS_FAILED;
    return cut ? handshake_failed(t) : send_flight(t, t->step);
}

void fg_tls_result(const struct fg_io *io, struct fg_tls_result *out) {
    const struct fg_tls *t = io->tls;
    unsigned alpn_len;
    *out = (struct fg_tls_result){.reason = t->reason, .version = (uint16_t)SSL_version(t->ssl), .error = t->error,
        .resumed = SSL_session_reused(t->ssl) == 1, .cipher = SSL_get_cipher_name(t->ssl)};
    out->verified = t->done && t->context->verify && SSL_get0_peer_certificate(t->ssl) &&
                    SSL_get_verify_result(t->ssl) == X509_V_OK;
    SSL_get0_alpn_selected(t->ssl, &out->alpn.p, &alpn_len);
    out->alpn.len = alpn_len;
}

/* --- reading and writing ----------------------------------------------------------------------------------------------------- */

static ssize_t failed(struct fg_tls *t) {
    int code;
    (void)fg_tls_drain_errors(&code);
    t->failed = true;
    errno = t->os_error ? t->os_error : t->ended ? ECONNRESET : EPROTO;
    return -2;
}

static bool holds_more(const struct fg_tls *t) {
    return SSL_has_pending(t->ssl) || fg_buf_len(&t->in);
}

/* Does the peer end here, and say so? An end without close_notify may be anybody's. */
static bool is_end(const struct fg_tls *t) { /* by a close_notify: a fatal alert shuts down as well, and ends nothing cleanly */
    return SSL_get_error(t->ssl, 0) == SSL_ERROR_ZERO_RETURN;
}

/* Takes all records that are there, as far as there is room. */
ssize_t fg_tls_read(struct fg_io *io, struct fg_buf *in) {
    struct fg_tls *t = io->tls;
    size_t got = 0, n = 0;
    bool more = true;
    t->drained = t->blocked = false;
    t->reads = 0;
    if (t->failed)
        return failed(t);
    while (more && fg_buf_room(in) && SSL_read_ex(t->ssl, in->p + in->end, fg_buf_room(in), &n) == 1) {
        in->end += (uint32_t)n;
        got += n;
        t->reads = 0;
        more = holds_more(t);
    }
    if (cork.len && flush(t) < 0 && got == 0)
        return failed(t);
    in->filled = fg_buf_room(in) == 0;
    if (t->blocked || (!more && t->drained))
        io->readable = false;
    if (got)
        return (ssize_t)got;
    if (t->blocked)
        return -1;
    if (is_end(t)) {
        ERR_clear_error();
        return 0;
    }
    return failed(t);
}

bool fg_tls_quiet(struct fg_io *io) {
    struct fg_tls *t = io->tls;
    uint8_t byte;
    size_t n;
    t->drained = t->blocked = false;
    t->reads = 0;
    if (t->failed || SSL_peek_ex(t->ssl, &byte, 1, &n) == 1)
        return false;
    if (flush(t) == 0 && t->blocked) {
        io->readable = false;
        return true;
    }
    if (is_end(t))
        io->rdhup = true;
    else
        (void)failed(t);
    return false;
}

/* Vectors as the library takes them: what is short is put together, for each call makes a record. */
struct source { const struct iovec *iov; int n; size_t at; /* bytes of the first vector that are taken */ };

static struct fg_bytes next_record(struct source *s, uint8_t gathered[RECORD]) {
    size_t len = 0;
    while (s->n) {
        const uint8_t *p = (const uint8_t *)s->iov->iov_base + s->at;
        size_t left = s->iov->iov_len - s->at;
        size_t n = left < RECORD - len ? left : RECORD - len;
        if (len == 0 && (s->n == 1 || n == RECORD)) {
            s->at += n;
            if (n == left)
                s->iov++, s->n--, s->at = 0;
            return (struct fg_bytes){p, n};
        }
        memcpy(gathered + len, p, n);
        len += n;
        s->at += n;
        if (len == RECORD && n < left)
            break;
        s->iov++, s->n--, s->at = 0;
    }
    return (struct fg_bytes){gathered, len};
}

ssize_t fg_tls_writev(struct fg_io *io, struct fg_pool *pool, const struct iovec *iov, int n) {
    struct fg_tls *t = io->tls;
    uint8_t gathered[RECORD];
    struct source s = {iov, n, 0};
    size_t taken = 0, written;
    if (fg_buf_len(&io->out) > (n ? OWED_ALONG : 0)) { /* what is less goes with what follows */
        if (fg_io_send(io, pool, NULL, 0) == -2)
            return -2;
        if (fg_buf_len(&io->out))
            return 0;
    }
    while (s.n && io->writable) {
        struct fg_bytes record = next_record(&s, gathered);
        if (record.len == 0)
            break;
        if (t->failed || SSL_write_ex(t->ssl, record.p, record.len, &written) != 1)
            return failed(t);
        taken += record.len;
        if ((cork.len > CORK - CORK / CORK_RECORDS || s.n == 0) && flush(t) < 0)
            return failed(t);
    }
    return flush(t) < 0 ? failed(t) : (ssize_t)taken;
}

int fg_tls_owe(struct fg_io *io, const void *p, size_t len) {
    struct fg_tls *t = io->tls;
    struct fg_pool *pool = t->context->common->pool;
    for (size_t at = 0, n; at < len; at += n) {
        n = len - at < RECORD ? len - at : RECORD;
        size_t written;
        if (t->failed || SSL_write_ex(t->ssl, (const uint8_t *)p + at, n, &written) != 1) {
            cork.len = 0;
            (void)failed(t);
            return -1;
        }
        uint32_t sealed = cork.len;
        cork.len = 0;
        if (fg_buf_append(pool, &io->out, cork.p, sealed) < 0) {
            t->failed = true;
            return -1;
        }
    }
    return 0;
}

void fg_tls_shutdown(struct fg_io *io) {
    struct fg_tls *t = io->tls;
    if (!t->done || t->failed)
        return;
    if (SSL_shutdown(t->ssl) < 0)
        ERR_clear_error();
    (void)flush(t);
}

/* --- the peer's certificate ------------------------------------------------------------------------------------------------ */

static X509 *verified_peer(const struct fg_io *io) {
    struct fg_tls_result result;
    if (io->tls == NULL)
        return NULL;
    fg_tls_result(io, &result);
    return result.verified ? SSL_get0_peer_certificate(io->tls->ssl) : NULL;
}

/* What was written to a memory BIO, if there is room for it; frees the BIO. */
static size_t take_text(BIO *b, char *out, size_t size) {
    char *p;
    long n = b ? BIO_get_mem_data(b, &p) : 0;
    size_t len = n > 0 && (size_t)n <= size ? (size_t)n : 0;
    if (len)
        memcpy(out, p, len);
    BIO_free(b);
    ERR_clear_error();
    return len;
}

size_t fg_tls_peer_subject(const struct fg_io *io, char *out, size_t size) {
    X509 *x = verified_peer(io);
    BIO *b = x ? BIO_new(BIO_s_mem()) : NULL;
    if (b)
        X509_NAME_print_ex(b, X509_get_subject_name(x), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
    return take_text(b, out, size);
}

/* A line for each name; one with bytes that might end the line, or be taken for other ones, is left out. */
static void put_san(BIO *b, const GENERAL_NAME *name) {
    static const char *const kinds[] = {[GEN_DNS] = "DNS", [GEN_URI] = "URI", [GEN_EMAIL] = "email"};
    if (name->type < 0 || (size_t)name->type >= FG_COUNT_OF(kinds) || kinds[name->type] == NULL)
        return;
    const uint8_t *p = ASN1_STRING_get0_data(name->d.ia5);
    int n = ASN1_STRING_length(name->d.ia5);
    for (int i = 0; i < n; i++)
        if (p[i] < 0x21 || p[i] > 0x7e)
            return;
    BIO_printf(b, "%s%s:%.*s", BIO_ctrl_pending(b) ? "\n" : "", kinds[name->type], n, (const char *)p);
}

size_t fg_tls_peer_san(const struct fg_io *io, char *out, size_t size) {
    X509 *x = verified_peer(io);
    GENERAL_NAMES *names = x ? X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL) : NULL;
    BIO *b = names ? BIO_new(BIO_s_mem()) : NULL;
    for (int i = 0; b && i < sk_GENERAL_NAME_num(names); i++)
        put_san(b, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    return take_text(b, out, size);
}

size_t fg_tls_peer_der(const struct fg_io *io, uint8_t *out, size_t size) {
    X509 *x = verified_peer(io);
    int n = x ? i2d_X509(x, NULL) : 0;
    if (n <= 0 || (size_t)n > size)
        return 0;
    return (size_t)i2d_X509(x, &out);
}

size_t fg_tls_peer_fingerprint(const struct fg_io *io, char out[64]) {
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    X509 *x = verified_peer(io);
    if (x == NULL || X509_digest(x, EVP_sha256(), digest, &n) != 1)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    return 2 * n;
}
