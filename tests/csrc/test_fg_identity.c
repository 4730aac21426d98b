/* Identities, of a library that says what the test wants: every text lies in the identity's own memory, and what there is no
 * room for is left out. */
#include "fg_tls.h"

#include "fg_test.h"

static struct fg_tls_result told;
static const char *subject = "", *names = "";
static uint8_t der[16384];
static size_t der_len;

#define fg_tls_peer_subject stub_subject
#define fg_tls_peer_san stub_names
#define fg_tls_peer_der stub_der
#define fg_tls_peer_fingerprint stub_fingerprint

static size_t give(const char *text, char *out, size_t size) {
    size_t n = strlen(text);
    if (n > size)
        return 0;
    memcpy(out, text, n);
    return n;
}

static size_t stub_subject(const struct fg_io *io, char *out, size_t size) { (void)io; return give(subject, out, size); }
static size_t stub_names(const struct fg_io *io, char *out, size_t size) { (void)io; return give(names, out, size); }
static size_t stub_fingerprint(const struct fg_io *io, char out[64]) {
    (void)io;
    memset(out, 'a', 64);
    return 64;
}
static size_t stub_der(const struct fg_io *io, uint8_t *out, size_t size) {
    (void)io;
    if (der_len > size)
        return 0;
    memcpy(out, der, der_len);
    return der_len;
}

#define fg_tls_result(io, out) ((void)(io), *(out) = told) /* the function; the struct has no parentheses */
#include "fg_identity.c"

#define CHECK_TEXT(part, expected) CHECK_BYTES((part).p, (part).len, expected)

static struct fg_identity *identity(bool certificate) {
    static struct fg_client_hello hello;
    memcpy(hello.server_name, "a.example", 9);
    hello.server_name_len = 9;
    struct fg_identity *x = fg_identity_of(NULL, &hello, certificate);
    CHECK(x != NULL);
    return x;
}

static void a_client_without_certificate(void) {
    told = (struct fg_tls_result){.version = 0x0304, .cipher = "TLS_AES_128_GCM_SHA256", .alpn = {(const uint8_t *)"h2", 2}};
    struct fg_identity *x = identity(true);
    CHECK_TEXT(x->version, "TLSv1.3");
    CHECK_TEXT(x->cipher, "TLS_AES_128_GCM_SHA256");
    CHECK_TEXT(x->alpn, "h2");
    CHECK_TEXT(x->server_name, "a.example");
    CHECK_EQ(x->subject.len + x->names.len + x->fingerprint.len + x->client_cert.len, 0);
    free(x);
}

static void a_verified_client(void) {
    told = (struct fg_tls_result){.version = 0x0303, .verified = true};
    subject = "CN=x";
    names = "DNS:b.example\nURI:spiffe://c";
    memcpy(der, "\0\1\2\376", der_len = 4);
    struct fg_identity *x = identity(true);
    CHECK_TEXT(x->version, "TLSv1.2");
    CHECK_TEXT(x->subject, "CN=x");
    CHECK_TEXT(x->names, "DNS:b.example\nURI:spiffe://c");
    CHECK_EQ(x->fingerprint.len, 64);
    CHECK_TEXT(x->client_cert, ":AAEC/g==:");
    free(x);
    x = identity(false);
    CHECK_EQ(x->client_cert.len, 0);
    free(x);
}

static void every_rest_of_base64(void) {
    static const char *const expected[] = {"", ":+w==:", ":+/8=:", ":+/8A:", ":+/8A+w==:"};
    told = (struct fg_tls_result){.verified = true};
    memcpy(der, "\373\377\0\373", 4);
    for (der_len = 1; der_len < FG_COUNT_OF(expected); der_len++) {
        struct fg_identity *x = identity(true);
        CHECK_EQ(x->client_cert.len, strlen(expected[der_len]));
        CHECK(memcmp(x->client_cert.p, expected[der_len], x->client_cert.len) == 0);
        CHECK_EQ(x->version.len, 0); /* of no version that has a name */
        free(x);
    }
}

static void what_is_too_long_is_left_out(void) {
    static char much[TEXT + 1];
    memset(much, 'x', sizeof much - 1);
    told = (struct fg_tls_result){.verified = true};
    names = much;
    subject = "CN=x";
    der_len = CERTIFICATE + 1;
    struct fg_identity *x = identity(true);
    CHECK_EQ(x->names.len + x->client_cert.len, 0);
    CHECK_TEXT(x->subject, "CN=x");
    free(x);
    der_len = CERTIFICATE;
    x = identity(true);
    CHECK_EQ(x->client_cert.len, CERTIFICATE / 3 * 4 + 2);
    free(x);
}

int main(void) {
    RUN(a_client_without_certificate);
    RUN(a_verified_client);
    RUN(every_rest_of_base64);
    RUN(what_is_too_long_is_left_out);
    return 0;
}
