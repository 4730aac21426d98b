/* Which keys open tickets, and which sessions are kept when there are too many. */
#include "fg_tls_openssl_session.c"

#include "fg_test.h"

static struct fg_tls_common *common;

static void zeros_are_no_key(void) {
    struct fg_ticket_keys keys = {0};
    const struct fg_ticket_key none = {0};
    struct fg_ticket_key found;
    fg_tls_tickets(common, &keys);
    CHECK(!find_key(common, none.name, false, &found));
    CHECK(!find_key(common, none.name, true, &found));
    memset(&keys.current, 1, sizeof keys.current);
    fg_tls_tickets(common, &keys);
    CHECK(!find_key(common, none.name, false, &found));
    CHECK(find_key(common, keys.current.name, false, &found));
    CHECK(find_key(common, none.name, true, &found)); /* the current one seals, whatever its name */
    memset(&keys.previous, 2, sizeof keys.previous);
    memset(&keys.next, 3, sizeof keys.next);
    fg_tls_tickets(common, &keys);
    CHECK(find_key(common, keys.previous.name, false, &found) && found.aes[0] == 2);
    CHECK(find_key(common, keys.next.name, false, &found) && found.aes[0] == 3);
    CHECK(find_key(common, keys.next.name, true, &found) && found.aes[0] == 1);
}

static void keep(uint64_t key) {
    struct fg_tls_session *s = place_of(common, key);
    SSL_SESSION_free(s->session);
    *s = (struct fg_tls_session){key, ++common->clock, SSL_SESSION_new()};
}

static void the_session_that_was_not_used_for_the_longest_time_goes(void) {
    keep(7);
    keep(8);
    for (uint64_t key = 1000; key < 1000 + FG_TLS_SESSIONS - 1; key++) {
        keep(key);
        CHECK(fg_tls_session_find(common, 7) != NULL);
    }
    CHECK(fg_tls_session_find(common, 8) == NULL);
    CHECK(fg_tls_session_find(common, 1000) != NULL);
    fg_tls_session_drop(common, 7);
    CHECK(fg_tls_session_find(common, 7) == NULL);
    fg_tls_session_drop(common, 7);
    keep(9); /* in the free place */
    CHECK(fg_tls_session_find(common, 1000) != NULL);
}

int main(void) {
    struct fg_pool pool;
    fg_pool_init(&pool, 0);
    common = fg_tls_common_new(&pool);
    CHECK(common != NULL);
    RUN(zeros_are_no_key);
    RUN(the_session_that_was_not_used_for_the_longest_time_goes);
    fg_tls_common_free(common);
    return 0;
}
