/* What lets a handshake be short: session tickets for clients (RFC 5077 section 4, RFC 8446 section 4.6.1), whose keys all
 * workers share, and a table of the sessions with endpoints. */
#include "fg_tls_openssl.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>

/* --- tickets ------------------------------------------------------------------------------------------------------------------ */

void fg_tls_tickets(struct fg_tls_common *c, const struct fg_ticket_keys *keys) {
    pthread_mutex_lock(&c->lock);
    c->keys = *keys;
    pthread_mutex_unlock(&c->lock);
}

/* A place that holds no key yet is zeros, which anybody could encrypt with. */
static bool is_key(const struct fg_ticket_key *k) {
    static const struct fg_ticket_key none;
    return memcmp(k->aes, none.aes, sizeof none.aes) != 0;
}

static bool find_key(struct fg_tls_common *c, const uint8_t name[16], bool seal, struct fg_ticket_key *out) {
    const struct fg_ticket_key *keys[] = {&c->keys.current, &c->keys.next, &c->keys.previous};
    bool found = false;
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < (seal ? 1 : FG_COUNT_OF(keys)) && !found; i++) {
        found = is_key(keys[i]) && (seal || memcmp(keys[i]->name, name, 16) == 0);
        if (found)
            *out = *keys[i];
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static bool arm(struct fg_tls_common *c, const struct fg_ticket_key *k, const uint8_t *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac, int seal) {
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)k->hmac, sizeof k->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1 && EVP_CipherInit_ex(cipher, c->cipher, NULL, k->aes, iv, seal) == 1;
}

/* 1: armed; 2: armed, and the ticket is of a key that others will replace; 0: none of our keys; -1: failed. */
int fg_tls_on_ticket(SSL *ssl, uint8_t name[16], uint8_t iv[EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
    const struct fg_tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct fg_tls_common *c = context->common;
    struct fg_ticket_key k;
    if (!find_key(c, name, seal, &k))
        return 0;
    if (seal) {
        memcpy(name, k.name, sizeof k.name);
        if (RAND_bytes(iv, 16) != 1)
            return -1;
    }
    bool armed = arm(c, &k, iv, cipher, mac, seal);
    OPENSSL_cleanse(&k, sizeof k);
    return !armed ? -1 : seal ? 1 : 2;
}

/* --- sessions with endpoints ------------------------------------------------------------------------------------------------ */

/* The key's place; else the one that was not used for the longest time. */
static struct fg_tls_session *place_of(struct fg_tls_common *c, uint64_t key) {
    struct fg_tls_session *oldest = c->sessions;
    for (struct fg_tls_session *s = c->sessions; s < c->sessions + FG_TLS_SESSIONS; s++) {
        if (s->session && s->key == key)
            return s;
        if (s->used < oldest->used)
            oldest = s;
    }
    return oldest;
}

SSL_SESSION *fg_tls_session_find(struct fg_tls_common *c, uint64_t key) {
    struct fg_tls_session *s = place_of(c, key);
    if (s->session == NULL || s->key != key)
        return NULL;
    s->used = ++c->clock;
    return s->session;
}

void fg_tls_session_drop(struct fg_tls_common *c, uint64_t key) {
    struct fg_tls_session *s = place_of(c, key);
    if (s->session == NULL || s->key != key)
        return;
    SSL_SESSION_free(s->session);
    *s = (struct fg_tls_session){0};
}

int fg_tls_on_session(SSL *ssl, SSL_SESSION *session) {
    const struct fg_tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct fg_tls_common *c = context->common;
    uint64_t key = fg_tls_session_key(ssl);
    struct fg_tls_session *s = place_of(c, key);
    SSL_SESSION_free(s->session);
    *s = (struct fg_tls_session){key, ++c->clock, session};
    return 1; /* it is ours now */
}
