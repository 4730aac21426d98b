/* Heads on their way out, byte by byte: what is dropped, what is edited, what is said of the client, and how a head ends that does
 * not fit. */
#include "fg_head.c"

#include "fg_host.h"
#include "fg_scene.h"

static uint8_t out[8192];
static const struct fg_h1_limits limits = {.max_head = 8192, .max_line = 8192, .max_fields = 100};

static void ask(const char *text) {
    size_t len = strlen(text);
    CHECK_EQ(fg_buf_reserve(&engine.pool, &down.in, FG_BUF_MEDIUM), 0);
    memcpy(down.in.p, text, len);
    down.in.end = (uint32_t)len;
    req->head.fields = req->fields;
    CHECK_EQ(engine.f.parse_request(down.in.p, len, &limits, &req->head), len);
    req->path_len = req->head.path.len;
    req->request.out = req->head.framing;
    fg_head_mark(&req->head, down.in.p, sockets[0].underscores, sockets[0].trusted_hops == 0);
}

static size_t request_head(size_t cap) {
    return fg_head_request(&engine, req, out, cap);
}

static uint8_t response_text[4096];

static void answer(const char *text) {
    size_t len = strlen(text);
    memcpy(response_text, text, len);
    engine.response = (struct fg_h1_head){.fields = engine.response_fields};
    CHECK_EQ(engine.f.parse_response(response_text, len, &limits, &engine.response), len);
    fg_head_mark(&engine.response, response_text, true, false);
    req->response.out = engine.response.framing;
}

static size_t response_head(size_t cap) {
    return fg_head_response(&engine, req, response_text, out, cap);
}

#define PLAIN "GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n"
#define CLIENT                                                                                  \
    "x-forwarded-for: 192.0.2.7\r\nx-real-ip: 192.0.2.7\r\nx-forwarded-proto: http\r\nx-forwarded-host: a.example\r\n"  \
    "x-forwarded-port: 8080\r\nforwarded: for=192.0.2.7;proto=http;host=\"a.example\"\r\n"

static void a_plain_request(void) {
    scene_begin();
    ask(PLAIN);
    CHECK_BYTES(out, request_head(sizeof out), "GET /a?b HTTP/1.1\r\nhost: a.example\r\n" CLIENT "\r\n");
}

static void what_belongs_to_the_hop_is_dropped(void) {
    scene_begin();
    ask("POST / HTTP/1.1\r\nKeep-Alive: 5\r\nA: 1\r\nHost: a.example\r\nConnection: close, X-Hop , Authorization,Content-Type\r\n"
        "x-hop: 1\r\nauthorization: b\r\nContent-Type: c\r\nTransfer-Encoding: chunked\r\nx_y: 1\r\nX-Real-IP: evil\r\n"
        "X-Forwarded-Anything: evil\r\nForwarded: for=evil\r\nUpgrade: h2c\r\nProxy-Authorization: p\r\nTrailer: ETag\r\nB: 2\r\n\r\n");
    CHECK_BYTES(out, request_head(sizeof out),
                "POST / HTTP/1.1\r\nhost: a.example\r\nA: 1\r\nauthorization: b\r\nContent-Type: c\r\nB: 2\r\n" CLIENT
                "transfer-encoding: chunked\r\n\r\n");
    scene_begin();
    sockets[0].underscores = 1;
    ask("GET / HTTP/1.1\r\nHost: a.example\r\nx_y: 1\r\n\r\n");
    CHECK_BYTES(out, request_head(sizeof out), "GET / HTTP/1.1\r\nhost: a.example\r\nx_y: 1\r\n" CLIENT "\r\n");
}

static void what_trusted_proxies_said_is_the_beginning(void) {
    scene_begin();
    sockets[0].trusted_hops = 1;
    down.peer = (struct fg_address){.ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 9}, .port = 1, .family = 6};
    ask("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 198.51.100.1\r\nForwarded: for=198.51.100.1\r\n"
        "x-forwarded-for: 198.51.100.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 198.51.100.1\r\n\r\n");
    CHECK_BYTES(out, request_head(sizeof out),
                "GET / HTTP/1.1\r\nhost: a.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 198.51.100.1\r\n"
                "x-forwarded-for: 198.51.100.1, 198.51.100.2, 2001:db8::9\r\nx-forwarded-host: a.example\r\n"
                "forwarded: for=198.51.100.1, for=\"[2001:db8::9]\";proto=http;host=\"a.example\"\r\n\r\n");
}

static void edits_of_the_rule_come_before_those_of_the_backend(void) {
    scene_begin();
    rule_filters->request = (struct fg_img_edits){PAIRS("X-Set", "rule", "X-Both", "rule"), PAIRS("X-Add", "rule", "X-Gone", "rule"),
                                                   NAMES("x-removed")};
    backend_filters->request = (struct fg_img_edits){PAIRS("X-Both", "backend"), PAIRS("X-Add", "backend"), NAMES("x-gone")};
    ask("GET / HTTP/1.1\r\nHost: a.example\r\nx-set: old\r\nX-ADD: old\r\nX-Removed: old\r\nx-both: old\r\nx-gone: old\r\n\r\n");
    CHECK_BYTES(out, request_head(sizeof out),
                "GET / HTTP/1.1\r\nhost: a.example\r\nX-ADD: old\r\n" CLIENT
                "X-Set: rule\r\nX-Add: rule\r\nX-Both: backend\r\nX-Add: backend\r\n\r\n");
}

static void a_host_that_is_set_replaces_the_one_that_came(void) {
    scene_begin();
    rule_filters->hostname = scene_text("rule.example");
    ask(PLAIN);
    CHECK_BYTES(out, request_head(sizeof out), "GET /a?b HTTP/1.1\r\nhost: rule.example\r\n" CLIENT "\r\n");
    backend_filters->hostname = scene_text("backend.example");
    CHECK_BYTES(out, request_head(sizeof out), "GET /a?b HTTP/1.1\r\nhost: backend.example\r\n" CLIENT "\r\n");
    backend_filters->request.set = PAIRS("Host", "set.example");
    CHECK_BYTES(out, request_head(sizeof out), "GET /a?b HTTP/1.1\r\n" CLIENT "Host: set.example\r\n\r\n");
}

static void lengths_are_written_anew(void) {
    scene_begin();
    ask("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length:   007\r\n\r\n");
    CHECK_BYTES(out, request_head(sizeof out), "POST / HTTP/1.1\r\nhost: a.example\r\n" CLIENT "content-length: 7\r\n\r\n");
}

static void only_trailers_that_may_go_are_announced(void) {
    scene_begin();
    sockets[0].trailers = NAMES("etag", "repr-digest");
    ask("POST / HTTP/1.1\r\nHost: a.example\r\nTE: gzip, Trailers\r\nTrailer: X-Secret, ETag\r\nTrailer: Repr-Digest,Host\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
    req->request.pass_trailers = true;
    CHECK_BYTES(out, request_head(sizeof out),
                "POST / HTTP/1.1\r\nhost: a.example\r\n" CLIENT
                "transfer-encoding: chunked\r\ntrailer: ETag, Repr-Digest\r\nte: trailers\r\nconnection: te\r\n\r\n");
    const struct fg_field *te = &req->fields[1], *host = &req->fields[0];
    CHECK(!fg_head_may_trail(&down, down.in.p, te));
    CHECK(!fg_head_may_trail(&down, down.in.p, host));
}

static void a_websocket_is_asked_for_again(void) {
    scene_begin();
    ask("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, x-hop\r\nUpgrade: websocket\r\nx-hop: 1\r\n\r\n");
    req->upgrade = true;
    CHECK_BYTES(out, request_head(sizeof out),
                "GET / HTTP/1.1\r\nhost: a.example\r\n" CLIENT "connection: upgrade\r\nupgrade: websocket\r\n\r\n");
}

static void paths_are_rewritten(void) {
    static const struct { int kind; const char *value, *path; uint32_t prefix; const char *wanted; } cases[] = {
        {FG_REWRITE_NONE, "", "/a/b", 2, "/a/b"},       {FG_REWRITE_FULL, "/x", "/a/b", 2, "/x"},
        {FG_REWRITE_FULL, "", "/a/b", 2, "/"},          {FG_REWRITE_PREFIX, "/x", "/a/b", 2, "/x/b"},
        {FG_REWRITE_PREFIX, "/x/", "/a/b", 2, "/x/b"},  {FG_REWRITE_PREFIX, "/x", "/a", 2, "/x"},
        {FG_REWRITE_PREFIX, "", "/a/b", 2, "/b"},       {FG_REWRITE_PREFIX, "", "/a", 2, "/"},
        {FG_REWRITE_PREFIX, "/", "/a/b", 2, "/b"},      {FG_REWRITE_PREFIX, "/", "/a", 2, "/"},
        {FG_REWRITE_PREFIX, "/x", "/a/b", 0, "/x/a/b"}, {FG_REWRITE_PREFIX, "/x", "/a/", 2, "/x/"}};
    for (unsigned i = 0; i < FG_COUNT_OF(cases); i++) {
        struct fg_put o = {out, out + sizeof out, false};
        fg_put_path(&o, cases[i].kind, (struct fg_bytes){(const uint8_t *)cases[i].value, strlen(cases[i].value)},
                    (struct fg_bytes){(const uint8_t *)cases[i].path, strlen(cases[i].path)}, cases[i].prefix);
        CHECK_EQ(o.at - out, strlen(cases[i].wanted));
        CHECK(memcmp(out, cases[i].wanted, strlen(cases[i].wanted)) == 0);
    }
}

static void our_name_is_counted_in_via(void) {
    scene_begin();
    struct fg_bytes name = {(const uint8_t *)"gate", 4};
    ask("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 gate, 1.0 gate (x),1.1 gatehouse, 1.1 floodgate\r\nvia: 1.1 gate\r\n\r\n");
    CHECK_EQ(fg_head_via_count(&req->head, down.in.p, name), 3);
    CHECK_EQ(fg_head_via_count(&req->head, down.in.p, (struct fg_bytes){NULL, 0}), 0);
}

#define DATE "Date: now\r\n"

static void a_response_is_framed_for_its_client(void) {
    scene_begin();
    ask(PLAIN);
    answer("HTTP/1.1 200 Fine\r\n" DATE "Content-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\nA: 1\r\n\r\n");
    CHECK_BYTES(out, response_head(sizeof out), "HTTP/1.1 200 Fine\r\n" DATE "A: 1\r\ncontent-length: 5\r\n\r\n");
    req->keep_alive = false;
    CHECK_BYTES(out, response_head(sizeof out), "HTTP/1.1 200 Fine\r\n" DATE "A: 1\r\ncontent-length: 5\r\nconnection: close\r\n\r\n");
    req->keep_alive = true;
    req->head.minor_version = 0;
    CHECK_BYTES(out, response_head(sizeof out), "HTTP/1.1 200 Fine\r\n" DATE "A: 1\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n");
}

static void a_response_without_body_says_how_long_it_would_be(void) {
    scene_begin();
    ask("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    answer("HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n");
    req->response.out = FG_FRAMING_NONE;
    CHECK_BYTES(out, response_head(sizeof out), "HTTP/1.1 200 OK\r\n" DATE "content-length: 5\r\n\r\n");
    scene_begin();
    ask(PLAIN);
    answer("HTTP/1.1 304 Not Modified\r\n" DATE "\r\n");
    req->response.out = FG_FRAMING_NONE;
    CHECK_BYTES(out, response_head(sizeof out), "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n");
}

static void a_response_is_edited_and_signed(void) {
    scene_begin();
    sockets[0].server = scene_text("us");
    sockets[0].via = scene_text("gate");
    rule_filters->response = (struct fg_img_edits){PAIRS("X-Set", "1"), {0}, NAMES("x-powered-by")};
    ask(PLAIN);
    answer("HTTP/1.0 200 OK\r\n" DATE "Server: them\r\nX-Powered-By: y\r\nx-set: 0\r\nx_kept: 1\r\nContent-Length: 0\r\n\r\n");
    CHECK_BYTES(out, response_head(sizeof out),
                "HTTP/1.1 200 OK\r\n" DATE "x_kept: 1\r\nserver: us\r\nvia: 1.0 gate\r\nX-Set: 1\r\ncontent-length: 0\r\n\r\n");
}

static void an_interim_response_has_no_length(void) {
    scene_begin();
    answer("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    CHECK_BYTES(out, fg_head_interim(&engine, response_text, out, sizeof out), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}

/* One byte less than a head needs is none of it, and nothing is written behind the end. */
static void a_head_that_does_not_fit_is_none(void) {
    uint8_t *page = fg_guarded();
    scene_begin();
    rule_filters->request.add = PAIRS("X-Add", "1");
    ask(PLAIN);
    size_t whole = request_head(sizeof out);
    for (size_t cap = 0; cap < whole; cap++)
        CHECK_EQ(fg_head_request(&engine, req, page + FG_GUARDED_SIZE - cap, cap), 0);
    CHECK_EQ(fg_head_request(&engine, req, page + FG_GUARDED_SIZE - whole, whole), whole);
    answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    whole = response_head(sizeof out);
    for (size_t cap = 0; cap < whole; cap++)
        CHECK_EQ(fg_head_response(&engine, req, response_text, page + FG_GUARDED_SIZE - cap, cap), 0);
    CHECK_EQ(fg_head_response(&engine, req, response_text, page + FG_GUARDED_SIZE - whole, whole), whole);
}

int main(void) {
    RUN(a_plain_request);
    RUN(what_belongs_to_the_hop_is_dropped);
    RUN(what_trusted_proxies_said_is_the_beginning);
    RUN(edits_of_the_rule_come_before_those_of_the_backend);
    RUN(a_host_that_is_set_replaces_the_one_that_came);
    RUN(lengths_are_written_anew);
    RUN(only_trailers_that_may_go_are_announced);
    RUN(a_websocket_is_asked_for_again);
    RUN(paths_are_rewritten);
    RUN(our_name_is_counted_in_via);
    RUN(a_response_is_framed_for_its_client);
    RUN(a_response_without_body_says_how_long_it_would_be);
    RUN(a_response_is_edited_and_signed);
    RUN(an_interim_response_has_no_length);
    RUN(a_head_that_does_not_fit_is_none);
    scene_end();
    return 0;
}
