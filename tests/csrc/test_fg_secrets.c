/* Every fault that a table of secrets may have, and what is found in one that has none. */
#include "fg_secrets.c"

#include "fg_vault.h"

static struct vault vault;
static char why[200];

static int open_vault(struct fg_secrets *s, size_t size) {
    int fd = vault_file(&vault, size);
    int result = fg_secrets_open(s, fd, why, sizeof why);
    close(fd);
    return result;
}

static void fill(void) {
    static const struct vault_entry entries[] = {{'a', "chain", "key"}, {'b', "bundle", ""}, {'c', "other", "its key"}};
    vault_fill(&vault, entries, 3);
}

static struct fg_bytes digest(char letter, size_t n) {
    static uint8_t text[80];
    memset(text, letter, sizeof text);
    return (struct fg_bytes){text, n};
}

static void entries_are_found_by_digest(void) {
    struct fg_secrets s;
    fill();
    CHECK_EQ(open_vault(&s, vault.size), 0);
    for (char letter = 'a'; letter <= 'c'; letter++)
        CHECK_EQ(fg_secrets_find(&s, digest(letter, FG_DIGEST)) - s.entries, letter - 'a');
    CHECK(fg_secrets_find(&s, digest('A', FG_DIGEST)) == NULL);
    CHECK(fg_secrets_find(&s, digest('d', FG_DIGEST)) == NULL);
    CHECK(fg_secrets_find(&s, digest('a', FG_DIGEST - 1)) == NULL);
    const struct fg_secret *c = fg_secrets_find(&s, digest('c', FG_DIGEST));
    CHECK_BYTES(s.base + c->key.off, c->key.len, "its key");
    fg_secrets_close(&s);
    CHECK_EQ(fg_secrets_open(&s, -1, why, sizeof why), 0);
    CHECK(fg_secrets_find(&s, digest('a', FG_DIGEST)) == NULL);
    fg_secrets_close(&s);
}

static void refused(const char *words) {
    struct fg_secrets s;
    why[0] = 0;
    CHECK_EQ(open_vault(&s, vault.size), -1);
    CHECK(strstr(why, words) != NULL);
    CHECK(s.base == NULL);
}

static void faults_are_found(void) {
    struct fg_secrets s;
    struct fg_secrets_header *h = (void *)vault.p;
    struct fg_secret *e = vault_entries(&vault);
    fill();
    for (size_t size = 0; size < vault.size; size++)
        CHECK_EQ(open_vault(&s, size), -1);
    for (size_t i = 0; i < vault.size; i++) {
        if (i >= offsetof(struct fg_secrets_header, nentries) && i < sizeof *h)
            continue; /* less entries than there are is no fault */
        vault.p[i] ^= 1;
        CHECK_EQ(open_vault(&s, vault.size), -1);
        vault.p[i] ^= 1;
    }
    h->nentries = 1000;
    refused("less entries");
    struct fg_ref *refs[] = {&e[2].chain, &e[2].key, &e[0].staple};
    for (unsigned i = 0; i < 3; i++) {
        fill();
        *refs[i] = (struct fg_ref){(uint32_t)vault.size - 1, 2};
        vault_seal(&vault);
        refused("leads out");
        *refs[i] = (struct fg_ref){0xffffffff, 0xffffffff};
        vault_seal(&vault);
        refused("leads out");
    }
    fill();
    memset(e[1].digest, 'a', sizeof e[1].digest);
    vault_seal(&vault);
    refused("not in order");
}

int main(void) {
    RUN(entries_are_found_by_digest);
    RUN(faults_are_found);
    return 0;
}
