/* The contexts of an image: what is made, what is taken from the generation before, what is wrong and whose it is. */
#include "fg_tls.c"

#include "fg_host.h"
#include "fg_pki.h"
#include "fg_scene.h"
#include "fg_vault.h"

static struct fg_tls_common *common;
static struct pki root, first, second;
static struct vault vault;
static struct fg_image image;
static struct fg_img_cluster clusters[2];
static char why[200];

static struct fg_ref digests(const char *letters) {
    struct fg_ref refs[8];
    uint32_t n = 0;
    for (; letters[n]; n++) {
        char text[FG_DIGEST + 1] = "";
        memset(text, letters[n], FG_DIGEST);
        refs[n] = scene_text(text);
    }
    return scene_record(refs, sizeof *refs, n);
}

struct listener_spec { const char *name, *pairs[3]; uint64_t keys[3]; const char *authorities; };

static struct fg_img_listener listener_of(const struct listener_spec *spec) {
    struct fg_img_listener l = {.key_name = scene_text(spec->name)};
    struct fg_img_choice choices[3];
    uint32_t n = 0;
    for (; n < 3 && spec->pairs[n]; n++)
        choices[n] = (struct fg_img_choice){.key = spec->keys[n], .certificates = digests(spec->pairs[n])};
    if (n == 0)
        return l;
    const struct fg_img_tls tls = {.choices = scene_record(choices, sizeof *choices, n), .min_version = 0x0303, .max_version = 0x0304,
        .alpn = NAMES("http/1.1"), .authorities = digests(spec->authorities), .verify = *spec->authorities ? FG_VERIFY_REQUIRED : 0};
    l.tls = scene_record(&tls, sizeof tls, 1);
    return l;
}

static void upstream(uint64_t key, const char *authorities, const char *certificate) {
    struct fg_img_upstream_tls tls = {.key = key, .server_name = scene_text("a.example"), .min_version = 0x0303,
        .max_version = 0x0304, .authorities = digests(authorities), .alpn = NAMES("http/1.1"), .names = NAMES("DNS:a.example")};
    const struct fg_ref *shown = (const void *)(segment + digests(certificate).off);
    tls.certificate = *certificate ? *shown : (struct fg_ref){0};
    clusters[1].name = scene_text("Service/ns/secure/443");
    clusters[1].tls = scene_record(&tls, sizeof tls, 1);
}

static void configure(const struct listener_spec *specs, uint32_t n) {
    struct fg_img_listener all[4];
    segment_used = 8;
    for (uint32_t i = 0; i < n; i++)
        all[i] = listener_of(&specs[i]);
    memset(clusters, 0, sizeof clusters);
    sockets[0].listeners = scene_record(all, sizeof *all, n);
    image = (struct fg_image){.sockets_seg = segment, .sockets = sockets, .nsockets = 1, .clusters_seg = segment,
                              .clusters = clusters, .nclusters = 2};
}

static struct fg_tls_set *made(const struct fg_tls_set *base) {
    const struct vault_entry entries[] = {{'a', first.chain, first.pem}, {'b', second.chain, second.pem}, {'r', root.chain, ""},
                                          {'x', first.chain, second.pem}};
    vault_fill(&vault, entries, 4);
    int fd = vault_file(&vault, vault.size);
    why[0] = 0;
    struct fg_tls_set *s = fg_tls_set_new(common, &image, fd, base, why, sizeof why);
    close(fd);
    return s;
}

static void each_choice_has_a_context_and_equal_ones_share_it(void) {
    const struct listener_spec specs[] = {
        {"Gateway/ns/gw/one", {"a", "ab"}, {1, 2}, ""}, {"Gateway/ns/gw/two", {"a", "b"}, {1, 3}, "r"}, {"Gateway/ns/gw/plain", {NULL}, {0}, ""}};
    configure(specs, 3);
    upstream(4, "r", "a");
    CHECK_EQ(contexts_of(&image), 5);
    struct fg_tls_set *s = made(NULL);
    CHECK(s != NULL);
    for (uint64_t key = 1; key <= 4; key++)
        CHECK(fg_tls_find(s, key) != NULL);
    CHECK(fg_tls_find(s, 5) == NULL);
    CHECK(fg_tls_find(NULL, 1) == NULL);
    const struct fg_generation g = {.image = image, .tls = s};
    CHECK(fg_tls_of_cluster(&g, 0) == NULL);
    CHECK(fg_tls_of_cluster(&g, 1) == fg_tls_find(s, 4));
    fg_tls_set_unref(s);
}

static void what_did_not_change_is_taken_from_the_generation_before(void) {
    const struct listener_spec before[] = {{"Gateway/ns/gw/one", {"a", "b"}, {1, 2}, ""}};
    const struct listener_spec after[] = {{"Gateway/ns/gw/one", {"a", "a"}, {1, 3}, ""}};
    configure(before, 1);
    struct fg_tls_set *old = made(NULL);
    CHECK(old != NULL);
    struct fg_tls_context *kept = fg_tls_find(old, 1), *gone = fg_tls_find(old, 2);
    configure(after, 1);
    struct fg_tls_set *s = made(fg_tls_set_ref(old));
    fg_tls_set_unref(old);
    fg_tls_set_unref(old);
    CHECK(s != NULL && fg_tls_find(s, 1) == kept);
    CHECK(fg_tls_find(s, 2) == NULL && fg_tls_find(s, 3) != NULL && fg_tls_find(s, 3) != gone);
    configure(after, 1);
    const struct fg_tls_set *base = s;
    struct fg_tls_set *again = fg_tls_set_new(common, &image, -1, base, why, sizeof why); /* no secret is needed */
    CHECK(again != NULL && fg_tls_find(again, 3) == fg_tls_find(s, 3));
    fg_tls_set_unref(again);
    fg_tls_set_unref(s);
}

static void refused(const char *sentence) {
    CHECK(made(NULL) == NULL);
    if (strcmp(why, sentence) != 0)
        fprintf(stderr, "%s\n", why);
    CHECK(strcmp(why, sentence) == 0);
}

static void a_fault_names_its_owner(void) {
    struct listener_spec specs[] = {{"Gateway/ns/gw/fine", {"a"}, {1}, ""}, {"Gateway/ns/gw/bad", {"z"}, {2}, ""}};
    configure(specs, 2);
    refused("Gateway/ns/gw/bad: its certificates or authorities are not among the secrets");
    specs[1].pairs[0] = "x";
    configure(specs, 2);
    refused("Gateway/ns/gw/bad: the key is not the certificate's");
    specs[1].pairs[0] = "b";
    specs[1].authorities = "z";
    configure(specs, 2);
    refused("Gateway/ns/gw/bad: its certificates or authorities are not among the secrets");
    configure(specs, 1);
    upstream(4, "z", "");
    refused("Service/ns/secure/443: its certificates or authorities are not among the secrets");
    configure(specs, 1);
    upstream(4, "r", "x");
    refused("Service/ns/secure/443: the key is not the certificate's");
    configure(specs, 1);
    int fd = vault_file(&vault, vault.size - 1);
    CHECK(fg_tls_set_new(common, &image, fd, NULL, why, sizeof why) == NULL);
    CHECK(strstr(why, "table of secrets") != NULL);
    close(fd);
}

int main(void) {
    pki_make(&root, "EC", 0, "root", NULL, NULL);
    pki_make(&first, "EC", 0, "a", "DNS:a.example", &root);
    pki_make(&second, "RSA", 2048, "a", "DNS:a.example", &root);
    scene_begin();
    common = fg_tls_common_new(&engine.pool);
    RUN(each_choice_has_a_context_and_equal_ones_share_it);
    RUN(what_did_not_change_is_taken_from_the_generation_before);
    RUN(a_fault_names_its_owner);
    fg_tls_common_free(common);
    pki_free(&root);
    pki_free(&first);
    pki_free(&second);
    scene_end();
    return 0;
}
