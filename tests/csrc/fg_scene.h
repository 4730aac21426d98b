/* An exchange that is on no loop: an engine, a client connection and its request, with a configuration of one socket and one rule
 * that a test fills in. Text and records that references lead to are put into `segment`. */
#ifndef FG_SCENE_H
#define FG_SCENE_H

#include "fg_head.h"
#include "fg_host.h"
#include "fg_test.h"

static _Alignas(8) uint8_t segment[16384];
static uint32_t segment_used;

static struct fg_engine engine;
static struct fg_slab slab;
static struct fg_generation generation;
static struct fg_img_socket sockets[1];
static struct fg_img_rule rule;
static struct fg_img_backend backend;
static struct fg_img_filters *rule_filters, *backend_filters; /* in `segment` */
static struct fg_listen listener;
static struct fg_down down;
static struct fg_req *req; /* with room for FG_MAX_FIELDS */

__attribute__((unused)) static struct fg_ref scene_record(const void *p, size_t size, uint32_t count) {
    segment_used = FG_ALIGN_UP(segment_used, 8u);
    struct fg_ref r = {segment_used, count};
    CHECK(segment_used + size * count <= sizeof segment);
    memcpy(segment + segment_used, p, size * count);
    segment_used += (uint32_t)(size * count);
    return r;
}

__attribute__((unused)) static struct fg_ref scene_text(const char *text) {
    struct fg_ref r = scene_record(text, 1, (uint32_t)strlen(text));
    return r;
}

/* Names, each as a string, up to a NULL. */
__attribute__((unused)) static struct fg_ref scene_names(const char *const *names) {
    struct fg_ref refs[16];
    uint32_t n = 0;
    for (; names[n]; n++)
        refs[n] = scene_text(names[n]);
    return scene_record(refs, sizeof *refs, n);
}

/* Names and values in turn, up to a NULL. */
__attribute__((unused)) static struct fg_ref scene_pairs(const char *const *texts) {
    struct fg_img_pair pairs[16];
    uint32_t n = 0;
    for (; texts[2 * n]; n++)
        pairs[n] = (struct fg_img_pair){scene_text(texts[2 * n]), scene_text(texts[2 * n + 1])};
    return scene_record(pairs, sizeof *pairs, n);
}

#define NAMES(...) scene_names((const char *const[]){__VA_ARGS__, NULL})
#define PAIRS(...) scene_pairs((const char *const[]){__VA_ARGS__, NULL})

__attribute__((unused)) static struct fg_img_filters *scene_filters(uint32_t *at) {
    static const struct fg_img_filters none;
    *at = scene_record(&none, sizeof none, 1).off;
    return (struct fg_img_filters *)(segment + *at);
}

/* Everything as it is at first: HTTP/1.1 over IPv4 from 192.0.2.7 to port 8080, a rule that changes nothing. */
__attribute__((unused)) static void scene_begin(void) {
    if (req == NULL) {
        req = malloc(sizeof *req + FG_MAX_FIELDS * sizeof(struct fg_field));
        engine.f = *fg_host_functions();
        fg_pool_init(&engine.pool, 0);
    }
    segment_used = 8; /* a reference to 0 means that there is none */
    memset(sockets, 0, sizeof sockets);
    memset(&rule, 0, sizeof rule);
    memset(&backend, 0, sizeof backend);
    rule_filters = scene_filters(&rule.filters);
    backend_filters = scene_filters(&backend.filters);
    fg_buf_release(&engine.pool, &down.in);
    memset(&down, 0, sizeof down);
    memset(req, 0, sizeof *req);
    memset(&slab, 0, sizeof slab);
    generation.image = (struct fg_image){.sockets_seg = segment, .sockets = sockets, .nsockets = 1};
    listener = (struct fg_listen){.e = &engine, .bound = {.ip = {127, 0, 0, 1}, .port = 8080, .family = 4}};
    engine.gen = &generation;
    engine.stats = &slab;
    down.e = &engine;
    down.listen = &listener;
    down.req = req;
    down.peer = (struct fg_address){.ip = {192, 0, 2, 7}, .port = 40000, .family = 4};
    req->down = &down;
    req->gen = &generation;
    req->socket = sockets;
    req->match = (struct fg_match_result){.rule = &rule, .seg = segment};
    req->backend = &backend;
    req->keep_alive = true;
}

__attribute__((unused)) static void scene_end(void) {
    fg_buf_release(&engine.pool, &down.in);
    fg_pool_fini(&engine.pool);
    free(req);
    req = NULL;
}

#endif
