/* Certificates and keys for C tests, made when they are asked for. */
#ifndef FG_PKI_H
#define FG_PKI_H

#include "fg_test.h"
#include "fg_tls.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct pki {
    EVP_PKEY *key;
    X509 *x;
    char chain[16384], pem[8192]; /* in PEM: the certificate and its issuers but for the root; the key */
};

__attribute__((unused)) static void pki_text(char *to, size_t size, BIO *b) {
    char *p;
    long n = BIO_get_mem_data(b, &p);
    CHECK(n > 0 && (size_t)n < size);
    memcpy(to, p, (size_t)n);
    to[n] = 0;
    BIO_free(b);
}

__attribute__((unused)) static void pki_extend(X509 *x, int nid, const char *value) {
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    CHECK(e != NULL);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* `kind`: "EC" or "RSA" with so many bits. `san`: as in a configuration of OpenSSL's; NULL: an authority. */
__attribute__((unused)) static void pki_make(struct pki *out, const char *kind, unsigned bits, const char *name, const char *san,
                                             const struct pki *issuer) {
    static long serial;
    *out = (struct pki){.key = *kind == 'E' ? EVP_EC_gen("P-256") : EVP_RSA_gen(bits), .x = X509_new()};
    X509_set_version(out->x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(out->x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(out->x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(out->x), 36000);
    X509_set_pubkey(out->x, out->key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out->x), "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0);
    X509_set_issuer_name(out->x, X509_get_subject_name(issuer ? issuer->x : out->x));
    pki_extend(out->x, NID_basic_constraints, san ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (san)
        pki_extend(out->x, NID_subject_alt_name, san);
    CHECK(X509_sign(out->x, issuer ? issuer->key : out->key, EVP_sha256()) > 0);
    BIO *chain = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(chain, out->x);
    pki_text(out->chain, sizeof out->chain, chain);
    PEM_write_bio_PKCS8PrivateKey(key, out->key, NULL, NULL, 0, NULL, NULL);
    pki_text(out->pem, sizeof out->pem, key);
}

__attribute__((unused)) static void pki_free(struct pki *p) {
    X509_free(p->x);
    EVP_PKEY_free(p->key);
}

static inline struct fg_bytes pki_bytes(const char *text) {
    return (struct fg_bytes){(const uint8_t *)text, strlen(text)};
}

static inline struct fg_tls_pair pki_pair(const struct pki *p) {
    return (struct fg_tls_pair){pki_bytes(p->chain), pki_bytes(p->pem), {0}};
}

#endif
