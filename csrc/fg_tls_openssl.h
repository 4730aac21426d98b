/* What fg_tls_openssl*.c share; nobody else includes it, for nobody else knows the library. */
#ifndef FG_TLS_OPENSSL_H
#define FG_TLS_OPENSSL_H

#include "fg_tls.h"

#include <openssl/ssl.h>

#include <pthread.h>

enum { FG_TLS_SESSIONS = 256 };

struct fg_tls_session { uint64_t key, used; /* a clock of uses */ SSL_SESSION *session; /* NULL: free */ };

struct fg_tls_common {
    struct fg_pool *pool;
    BIO_METHOD *bio;
    EVP_CIPHER *cipher;         /* of session tickets */
    pthread_mutex_t lock;       /* of the keys: handshakes may run on several threads */
    struct fg_ticket_keys keys;
    uint64_t clock;
    struct fg_tls_session sessions[FG_TLS_SESSIONS]; /* the loop's thread only */
};

struct fg_tls_staple { X509 *of; uint8_t *p; size_t len; };

struct fg_tls_context {
    SSL_CTX *ssl;
    struct fg_tls_common *common;
    uint32_t refs;              /* atomic */
    uint32_t nnames, nstaples;
    bool client;
    bool slow;                  /* server: it has a key that takes long to sign with */
    bool sni;                   /* client: server_name is a name, not an address */
    uint8_t verify;             /* enum fg_tls_verify */
    char *server_name;          /* client */
    char **names;               /* client */
    uint8_t *alpn;              /* server: as on the wire */
    uint32_t alpn_len;
    struct fg_tls_staple *staples;
};

/* fg_tls_openssl.c */
const char *fg_tls_drain_errors(int *reason); /* of the last one, static; 0: not of TLS */
int fg_tls_on_hello(SSL *ssl, int *alert, void *unused);
uint64_t fg_tls_session_key(const SSL *ssl);

/* fg_tls_openssl_session.c */
int fg_tls_on_ticket(SSL *ssl, uint8_t name[16], uint8_t iv[EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal);
int fg_tls_on_session(SSL *ssl, SSL_SESSION *session);
SSL_SESSION *fg_tls_session_find(struct fg_tls_common *c, uint64_t key); /* stays the table's */
void fg_tls_session_drop(struct fg_tls_common *c, uint64_t key);

#endif
