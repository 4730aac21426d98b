/* Endpoint tables for tests: two clusters, one with all ENDPOINTS endpoints of 127.0.0.1, ports from 1 on, and an empty one. */
#ifndef FG_TABLES_H
#define FG_TABLES_H

#include "fg_table.h"
#include "fg_test.h"
#include "fg_worker.h"

#include <sys/mman.h>
#include <unistd.h>

enum { ENDPOINTS = 4 };

static struct fg_engine *e;

struct table {
    struct fg_ep_header h;
    struct fg_ep_cluster c[2];
    struct fg_ep_endpoint x[ENDPOINTS];
};

static struct table sound(void) {
    struct table t = {.h = {FG_ENDPOINTS_MAGIC, 1, sizeof t, 0, 2, ENDPOINTS}, .c = {{21, 0, ENDPOINTS}, {22, 1, 0}}};
    for (uint16_t i = 0; i < ENDPOINTS; i++)
        t.x[i] = (struct fg_ep_endpoint){.address = {127, 0, 0, 1}, .port = (uint16_t)(i + 1), .family = 4, .weight = 1};
    return t;
}

static struct fg_endpoints *load(const struct table *t, size_t n) {
    char why[100] = "";
    int fd = memfd_create("endpoints", 0);
    CHECK_EQ(write(fd, t, n), n);
    struct fg_endpoints *loaded = fg_endpoints_load(e, fd, why, sizeof why);
    CHECK_EQ(loaded == NULL, why[0] != 0);
    close(fd);
    return loaded;
}

static void serve(struct table t) {
    struct fg_endpoints *old = e->endpoints;
    CHECK((e->endpoints = load(&t, sizeof t)) != NULL);
    fg_endpoints_free(e, old);
}

#endif
