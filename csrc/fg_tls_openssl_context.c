/* Contexts on OpenSSL 3. Whatever a configuration file of the library's might say of TLS is said here: versions, ciphers,
 * options and the level of security are those of the terms, in a process of ours as in somebody else's. */
#include "fg_tls_openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <stdlib.h>

/* Forward secrecy and authenticated encryption, the cheaper cipher first. */
#define CIPHERS                                                                        \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                       \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                       \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

enum { SLOW_RSA_BITS = 3072, SECURITY_LEVEL = 2, SESSION_SECONDS = 3600, CHAIN_BYTES = 32768, FAULT = 200 };

/* How a context is made: every function gives false when it cannot go on, with the fault written down. */
struct making {
    struct fg_tls_context *c;
    const struct fg_tls_terms *terms;
    char fault[FAULT];
};

static bool fault(struct making *m, const char *what) {
    int code;
    const char *text = fg_tls_drain_errors(&code);
    if (m->fault[0] == 0)
        snprintf(m->fault, sizeof m->fault, "%s%s%s", what, *text ? ": " : "", text);
    return false;
}

/* For what may hold a key: the library's words stay away. */
static bool fault_of_key(struct making *m, const char *what) {
    ERR_clear_error();
    return fault(m, what);
}

static char *copy_text(struct fg_bytes b) {
    char *s = malloc(b.len + 1);
    if (s) {
        memcpy(s, b.p, b.len);
        s[b.len] = 0;
    }
    return s;
}

/* --- certificates, keys, authorities -------------------------------------------------------------------------------------- */

static int no_password(char *to, int size, int writing, void *unused) {
    (void)to, (void)size, (void)writing, (void)unused;
    return -1;
}

static bool add_staple(struct making *m, X509 *leaf, struct fg_bytes staple) {
    struct fg_tls_context *c = m->c;
    if (staple.len == 0)
        return true;
    struct fg_tls_staple *all = realloc(c->staples, (c->nstaples + 1) * sizeof *all);
    if (all == NULL)
        return fault(m, "no memory");
    c->staples = all;
    uint8_t *p = malloc(staple.len);
    if (p == NULL)
        return fault(m, "no memory");
    memcpy(p, staple.p, staple.len);
    X509_up_ref(leaf);
    all[c->nstaples++] = (struct fg_tls_staple){leaf, p, staple.len};
    return true;
}

static bool use_chain(struct making *m, BIO *pem, const struct fg_tls_pair *pair, EVP_PKEY *key) {
    SSL_CTX *ssl = m->c->ssl;
    X509 *leaf = PEM_read_bio_X509(pem, NULL, no_password, NULL), *next;
    if (leaf == NULL)
        return fault(m, "the certificate cannot be read");
    bool fine = X509_check_private_key(leaf, key) == 1 || fault_of_key(m, "the key is not the certificate's");
    fine = fine && (SSL_CTX_use_cert_and_key(ssl, leaf, key, NULL, 1) == 1 || fault(m, "the certificate cannot be used"));
    fine = fine && add_staple(m, leaf, pair->staple);
    X509_free(leaf);
    if (!fine)
        return false;
    m->c->slow |= EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= SLOW_RSA_BITS;
    while ((next = PEM_read_bio_X509(pem, NULL, no_password, NULL))) {
        if (SSL_CTX_add0_chain_cert(ssl, next) != 1) {
            X509_free(next);
            return fault(m, "a certificate of the chain cannot be used");
        }
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return fault(m, "a certificate of the chain cannot be read");
    ERR_clear_error();
    return true;
}

static bool use_pair(struct making *m, const struct fg_tls_pair *pair) {
    BIO *chain = BIO_new_mem_buf(pair->chain.p, (int)pair->chain.len), *pem = BIO_new_mem_buf(pair->key.p, (int)pair->key.len);
    EVP_PKEY *key = pem ? PEM_read_bio_PrivateKey(pem, NULL, no_password, NULL) : NULL;
    bool fine = key || fault_of_key(m, "the key cannot be read");
    fine = fine && (chain || fault(m, "no memory")) && use_chain(m, chain, pair, key);
    EVP_PKEY_free(key);
    BIO_free(chain);
    BIO_free(pem);
    return fine;
}

/* The authorities of a bundle become anchors as they are, also those that are not self-signed. Servers name them to clients. */
static bool trust(struct making *m, struct fg_bytes bundle) {
    SSL_CTX *ssl = m->c->ssl;
    BIO *pem = BIO_new_mem_buf(bundle.p, (int)bundle.len);
    X509 *x;
    bool fine = pem || fault(m, "no memory");
    unsigned n = 0;
    while (fine && (x = PEM_read_bio_X509(pem, NULL, no_password, NULL))) {
        fine = X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), x) == 1 && (m->c->client || SSL_CTX_add_client_CA(ssl, x) == 1);
        fine = fine || fault(m, "an authority cannot be used");
        X509_free(x);
        n++;
    }
    if (fine && (n == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE))
        fine = fault(m, "an authority cannot be read");
    ERR_clear_error();
    BIO_free(pem);
    return fine;
}

static bool use_certificates(struct making *m) {
    const struct fg_tls_terms *t = m->terms;
    for (uint32_t i = 0; i < t->npairs; i++)
        if (!use_pair(m, &t->pairs[i]))
            return false;
    for (uint32_t i = 0; i < t->nauthorities; i++)
        if (!trust(m, t->authorities[i]))
            return false;
    if (t->nauthorities)
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(m->c->ssl), X509_V_FLAG_PARTIAL_CHAIN);
    return true;
}

/* --- the peer's certificate -------------------------------------------------------------------------------------------------- */

static int accept_any(int fine, X509_STORE_CTX *store) {
    (void)fine, (void)store;
    return 1; /* the result keeps what was wrong */
}

static bool has_uri(const X509 *x, const char *uri) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *s = name->d.uniformResourceIdentifier;
        found = (size_t)ASN1_STRING_length(s) == strlen(uri) && memcmp(ASN1_STRING_get0_data(s), uri, strlen(uri)) == 0;
    }
    GENERAL_NAMES_free(names);
    return found;
}

/* RFC 9525 section 6: subjectAltName alone, and a wildcard only as the whole first label. */
static bool has_name(X509 *x, const char *name) {
    const unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    return X509_check_host(x, name, 0, flags, NULL) == 1 || X509_check_ip_asc(x, name, flags) == 1;
}

static bool is_endpoint(const struct fg_tls_context *c, X509 *x) {
    if (c->nnames == 0)
        return has_name(x, c->server_name);
    for (uint32_t i = 0; i < c->nnames; i++) {
        const char *name = c->names[i];
        if (strncmp(name, "URI:", 4) == 0 ? has_uri(x, name + 4) : strncmp(name, "DNS:", 4) == 0 && has_name(x, name + 4))
            return true;
    }
    return false;
}

/* The last call for a chain is that for the certificate itself. */
static int verify_endpoint(int fine, X509_STORE_CTX *store) {
    if (!fine || X509_STORE_CTX_get_error_depth(store) != 0)
        return fine;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (is_endpoint(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)), X509_STORE_CTX_get_current_cert(store)))
        return 1;
    ERR_clear_error();
    X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
    return 0;
}

/* --- protocols and staples -------------------------------------------------------------------------------------------------- */

/* RFC 7301 section 3.2: of those that the client speaks, the one that we like most; none of them ends the handshake. */
static int on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *theirs, unsigned n, void *context) {
    (void)ssl;
    const struct fg_tls_context *c = context;
    int found = SSL_select_next_proto((uint8_t **)out, out_len, c->alpn, c->alpn_len, theirs, n);
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* RFC 6066 section 8: the staple of the certificate that was chosen. */
static int on_status(SSL *ssl, void *context) {
    const struct fg_tls_context *c = context;
    const X509 *shown = SSL_get_certificate(ssl);
    for (uint32_t i = 0; i < c->nstaples; i++) {
        const struct fg_tls_staple *s = &c->staples[i];
        if (s->of != shown)
            continue;
        void *copy = OPENSSL_memdup(s->p, s->len); /* becomes the library's */
        if (copy == NULL)
            return SSL_TLSEXT_ERR_NOACK;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (int)s->len);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static bool use_alpn(struct making *m) {
    struct fg_tls_context *c = m->c;
    uint32_t len = 0;
    for (uint32_t i = 0; i < m->terms->nalpn; i++) {
        if (m->terms->alpn[i].len == 0 || m->terms->alpn[i].len > 255)
            return fault(m, "the name of a protocol has no bytes, or more than 255");
        len += 1 + (uint32_t)m->terms->alpn[i].len;
    }
    if (len == 0)
        return true;
    if ((c->alpn = malloc(len)) == NULL)
        return fault(m, "no memory");
    for (uint32_t i = 0; i < m->terms->nalpn; i++) {
        const struct fg_bytes *b = &m->terms->alpn[i];
        c->alpn[c->alpn_len] = (uint8_t)b->len;
        memcpy(c->alpn + c->alpn_len + 1, b->p, b->len);
        c->alpn_len += 1 + (uint32_t)b->len;
    }
    if (c->client)
        return SSL_CTX_set_alpn_protos(c->ssl, c->alpn, c->alpn_len) == 0 || fault(m, "no memory");
    SSL_CTX_set_alpn_select_cb(c->ssl, on_alpn, c);
    return true;
}

/* --- terms -------------------------------------------------------------------------------------------------------------------- */

typedef int (*set_list_fn)(SSL_CTX *ssl, const char *list);

/* The library passes over names that it does not know: one has to be left. */
static int set_ciphersuites(SSL_CTX *ssl, const char *list) {
    if (SSL_CTX_set_ciphersuites(ssl, list) != 1)
        return 0;
    const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ssl);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
        if (SSL_CIPHER_get_protocol_id(sk_SSL_CIPHER_value(all, i)) >> 8 == 0x13)
            return 1;
    return 0;
}

static int set_groups(SSL_CTX *ssl, const char *list) {
    return SSL_CTX_set1_groups_list(ssl, list);
}

static bool use_list(struct making *m, set_list_fn set, struct fg_bytes list, const char *otherwise, const char *what) {
    if (list.len == 0)
        return otherwise == NULL || set(m->c->ssl, otherwise) == 1 || fault(m, what);
    char *text = copy_text(list);
    bool fine = text && set(m->c->ssl, text) == 1;
    free(text);
    return fine || fault(m, what);
}

static bool use_versions(struct making *m) {
    const struct fg_tls_terms *t = m->terms;
    SSL_CTX *ssl = m->c->ssl;
    SSL_CTX_clear_options(ssl, SSL_OP_ALL | SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
                               SSL_OP_ALLOW_CLIENT_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET |
                               SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3);
    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                             SSL_OP_PRIORITIZE_CHACHA | SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    SSL_CTX_set_security_level(ssl, SECURITY_LEVEL);
    return SSL_CTX_set_min_proto_version(ssl, t->min_version) == 1 && SSL_CTX_set_max_proto_version(ssl, t->max_version) == 1 &&
           t->min_version >= TLS1_2_VERSION && t->max_version >= t->min_version;
}

static bool use_terms(struct making *m) {
    const struct fg_tls_terms *t = m->terms;
    SSL_CTX *ssl = m->c->ssl;
    SSL_CTX_set_app_data(ssl, m->c);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    return (use_versions(m) || fault(m, "the versions cannot be served")) &&
           use_list(m, SSL_CTX_set_cipher_list, t->ciphers, CIPHERS, "the ciphers cannot be used") &&
           use_list(m, set_ciphersuites, t->ciphersuites, CIPHERSUITES, "the ciphersuites cannot be used") &&
           use_list(m, set_groups, t->groups, NULL, "the groups cannot be used") && use_certificates(m) && use_alpn(m);
}

static bool make_server(struct making *m) {
    SSL_CTX *ssl = m->c->ssl;
    static const int modes[] = {[FG_VERIFY_NONE] = SSL_VERIFY_NONE, [FG_VERIFY_OPTIONAL] = SSL_VERIFY_PEER,
                                [FG_VERIFY_REQUIRED] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
    if (m->terms->npairs == 0 || !use_terms(m))
        return fault(m, "there is no certificate");
    SSL_CTX_set_verify(ssl, modes[m->terms->verify], m->terms->verify == FG_VERIFY_OPTIONAL ? accept_any : NULL);
    SSL_CTX_set_max_cert_list(ssl, CHAIN_BYTES);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl, SESSION_SECONDS);
    SSL_CTX_set_num_tickets(ssl, 1); /* each connection gets one for the next */
    SSL_CTX_set_max_early_data(ssl, 0);
    SSL_CTX_set_recv_max_early_data(ssl, 0);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, fg_tls_on_ticket);
    SSL_CTX_set_client_hello_cb(ssl, fg_tls_on_hello, NULL);
    SSL_CTX_set_tlsext_status_cb(ssl, on_status);
    SSL_CTX_set_tlsext_status_arg(ssl, m->c);
    return true;
}

static bool use_names(struct making *m) {
    struct fg_tls_context *c = m->c;
    const struct fg_tls_terms *t = m->terms;
    c->server_name = copy_text(t->server_name);
    c->names = calloc(t->nnames + 1, sizeof *c->names);
    bool fine = c->server_name && c->names;
    for (uint32_t i = 0; fine && i < t->nnames; i++) {
        c->names[i] = copy_text(t->names[i]);
        fine = c->names[i] != NULL;
        c->nnames++;
    }
    if (!fine)
        return fault(m, "no memory");
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(c->server_name);
    c->sni = address == NULL && c->server_name[0]; /* RFC 6066 section 3: addresses are no server names */
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return true;
}

static bool make_client(struct making *m) {
    SSL_CTX *ssl = m->c->ssl;
    if (!use_names(m) || !use_terms(m))
        return false;
    if (m->terms->system_trust && SSL_CTX_set_default_verify_paths(ssl) != 1)
        return fault(m, "the system's authorities cannot be read");
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, verify_endpoint);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, fg_tls_on_session);
    return true;
}

/* --- life ---------------------------------------------------------------------------------------------------------------------- */

struct fg_tls_context *fg_tls_context_new(struct fg_tls_common *common, const struct fg_tls_terms *terms, char *why, size_t why_size) {
    struct fg_tls_context *c = calloc(1, sizeof *c);
    struct making m = {c, terms, ""};
    ERR_clear_error();
    if (c) {
        *c = (struct fg_tls_context){.common = common, .refs = 1, .client = terms->client};
        c->verify = terms->client ? FG_VERIFY_REQUIRED : terms->verify;
        c->ssl = SSL_CTX_new(terms->client ? TLS_client_method() : TLS_server_method());
    }
    if (c && c->ssl && (terms->client ? make_client(&m) : make_server(&m)))
        return c;
    fault(&m, "no memory");
    snprintf(why, why_size, "%s", m.fault);
    fg_tls_context_unref(c);
    return NULL;
}

struct fg_tls_context *fg_tls_context_ref(struct fg_tls_context *c) {
    __atomic_fetch_add(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void fg_tls_context_unref(struct fg_tls_context *c) {
    if (c == NULL || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
        return;
    SSL_CTX_free(c->ssl);
    for (uint32_t i = 0; i < c->nstaples; i++) {
        X509_free(c->staples[i].of);
        free(c->staples[i].p);
    }
    for (uint32_t i = 0; i < c->nnames; i++)
        free(c->names[i]);
    free(c->staples);
    free(c->names);
    free(c->server_name);
    free(c->alpn);
    free(c);
}
