/* The loader of images: image.pyx. Input: a valid image of fuzz_tables.py, how to hand it over, and what to damage in it.
 *
 * The checksum is put right afterwards, so that the faults are of structure. What the loader accepts must be safe: every
 * reference that a reader follows lies in its segment, and matching in it reads nothing else. */
#include <Python.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fg_hash.h"
#include "fg_secrets.h"
#include "fg_table.h"
#include "fuzz.h"

static int (*image_check)(const uint8_t *, size_t, struct fg_image *, char *, size_t);
static fg_image_open_fn image_open;
static fg_image_close_fn image_close;
static fg_match_fn match;
static fg_find_host_fn find_host;

enum { BASES = 5, BELOW_HTTP = BASES - 1, LARGEST = 1 << 15 };
static struct { uint8_t *p; size_t size; } bases[BASES];

void fuzz_setup(void) {
    image_check = (int (*)(const uint8_t *, size_t, struct fg_image *, char *, size_t))fuzz_function("fastgate.core.image",
        "image_check", "int (uint8_t const *, size_t, struct fg_image *, char *, size_t)");
    image_open = (fg_image_open_fn)fuzz_function("fastgate.core.image", "image_open",
        "int (int, struct fg_image *, char *, size_t)");
    image_close = (fg_image_close_fn)fuzz_function("fastgate.core.image", "image_close", "void (struct fg_image *)");
    match = (fg_match_fn)fuzz_function("fastgate.core.router", "match",
        "void (struct fg_image const *, uint32_t, struct fg_match_query const *, struct fg_match_result *)");
    find_host = (fg_find_host_fn)fuzz_function("fastgate.core.router", "find_host",
        "uint32_t (struct fg_image const *, uint32_t, uint8_t const *, uint32_t)");
    PyObject *module = PyImport_ImportModule("fuzz_tables");
    PyObject *images = module ? PyObject_CallMethod(module, "images", NULL) : NULL;
    for (Py_ssize_t i = 0; i < BASES; i++) {
        PyObject *image = images ? PyList_GetItem(images, i) : NULL;
        char *p;
        Py_ssize_t size;
        if (!image || PyBytes_AsStringAndSize(image, &p, &size) || size > LARGEST) {
            PyErr_Print();
            exit(2);
        }
        bases[i].p = fuzz_copy((uint8_t *)p, (size_t)size);
        bases[i].size = (size_t)size;
    }
    Py_DECREF(images);
    Py_DECREF(module);
}

/* --- damage ------------------------------------------------------------------------------------------------------------------- */

/* Changes the image until the input ends; returns its new size. */
static size_t damage(uint8_t *p, size_t size, struct fuzz_bytes *in) {
    static const uint32_t edges[] = {0, 1, 2, 3, 4, 7, 8, 16, 64, 0xff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, 0xffffffff};
    while (in->left) {
        uint8_t what = fuzz_byte(in);
        size_t at = fuzz_u16(in) * 4;
        uint32_t word, value = fuzz_byte(in);
        if (at + 4 > size)
            at = size >= 4 ? at % (size - 3) & ~3u : 0;
        if (size < 4)
            break;
        memcpy(&word, p + at, 4);
        switch (what % 7) {
        case 0: word = edges[value % FG_COUNT_OF(edges)]; break;
        case 1: word += (uint32_t)(int8_t)value; break;
        case 2: word = value << 8 | fuzz_byte(in); break;
        case 3: memcpy(&word, p + (size_t)(value << 8 | fuzz_byte(in)) * 4 % (size - 3), 4); break;
        case 4: word = (word & ~(0xffu << 8 * (what >> 4 & 3))) | value << 8 * (what >> 4 & 3); break;
        case 5: word = (uint32_t)size - value; break;
        case 6: /* a shorter or longer image, 0 in what is new */
            if (what & 128 && size + value < LARGEST) {
                memset(p + size, 0, value);
                size += value;
            } else {
                size -= value < size ? value : size;
            }
            continue;
        }
        memcpy(p + at, &word, 4);
    }
    return size;
}

/* --- a reader that trusts nothing -------------------------------------------------------------------------------------------- */

struct segment { const uint8_t *p; uint64_t size; };

static const void *array(struct segment s, struct fg_ref r, size_t record) {
    FUZZ_CHECK(r.off % (record == 1 ? 1 : 8) == 0 && (uint64_t)r.off + (uint64_t)r.len * record <= s.size);
    return s.p + r.off;
}

static void text(struct segment s, struct fg_ref r) { array(s, r, 1); }

static void texts(struct segment s, struct fg_ref r) {
    const struct fg_ref *t = array(s, r, sizeof *t);
    for (uint32_t i = 0; i < r.len; i++)
        text(s, t[i]);
}

static void edits(struct segment s, const struct fg_img_edits *e) {
    for (int added = 0; added < 2; added++) {
        struct fg_ref r = added ? e->add : e->set;
        const struct fg_img_pair *pair = array(s, r, sizeof *pair);
        for (uint32_t i = 0; i < r.len; i++) {
            text(s, pair[i].name);
            text(s, pair[i].value);
        }
    }
    texts(s, e->remove);
}

static void filters(struct segment s, uint32_t at) {
    if (at == 0)
        return;
    const struct fg_img_filters *f = array(s, (struct fg_ref){at, 1}, sizeof *f);
    edits(s, &f->request);
    edits(s, &f->response);
    text(s, f->hostname);
    text(s, f->path);
    FUZZ_CHECK(f->path_kind <= FG_REWRITE_PREFIX);
}

static void rule(const struct fg_image *image, struct segment s, const struct fg_img_rule *r) {
    FUZZ_CHECK(r->action <= FG_ACTION_RESPOND);
    text(s, r->route);
    text(s, r->name);
    filters(s, r->filters);
    if (r->action == FG_ACTION_REDIRECT) {
        const struct fg_img_redirect *to = array(s, r->to, sizeof *to);
        FUZZ_CHECK(r->to.len == 1 && to->path_kind <= FG_REWRITE_PREFIX);
        text(s, to->scheme);
        text(s, to->hostname);
        text(s, to->path);
    }
    if (r->action == FG_ACTION_FORWARD) {
        const struct fg_img_backend *b = array(s, r->to, sizeof *b);
        for (uint32_t i = 0; i < r->to.len; i++) {
            FUZZ_CHECK(b[i].cluster <= image->nclusters);
            filters(s, b[i].filters);
        }
    }
}

static void group(const struct fg_image *image, struct segment s) {
    const struct fg_group *g = (const struct fg_group *)s.p;
    FUZZ_CHECK(s.size >= sizeof *g);
    text(s, g->hostname);
    texts(s, g->patterns);
    const struct fg_img_rule *r = array(s, g->rules, sizeof *r);
    for (uint32_t i = 0; i < g->rules.len; i++)
        rule(image, s, r + i);
}

static void digest(struct segment s, struct fg_ref r) {
    FUZZ_CHECK(r.len == FG_DIGEST);
    text(s, r);
}

static void digests(struct segment s, struct fg_ref r) {
    const struct fg_ref *t = array(s, r, sizeof *t);
    for (uint32_t i = 0; i < r.len; i++)
        digest(s, t[i]);
}

static void alpn(struct segment s, struct fg_ref r) {
    const struct fg_ref *t = array(s, r, sizeof *t);
    texts(s, r);
    for (uint32_t i = 0; i < r.len; i++)
        FUZZ_CHECK(t[i].len && t[i].len < 256);
}

static void versions(uint16_t lowest, uint16_t highest) {
    FUZZ_CHECK(lowest >= 0x0303 && lowest <= highest && highest <= 0x0304);
}

static const char *hosts[] = {"", "a.example", "b.a.example", "example", "x", "www.a.example", "p.b.example", "q.b.example"};

/* Every name leads to one of so many, or nowhere. */
static void names(const struct fg_image *image, uint32_t segment, uint32_t count) {
    FUZZ_CHECK(segment < image->nsegments && image->dir[segment].kind == FG_SEG_HOSTS);
    for (size_t i = 0; i < FG_COUNT_OF(hosts); i++)
        FUZZ_CHECK(find_host(image, segment, (const uint8_t *)hosts[i], (uint32_t)strlen(hosts[i])) <= count);
}

static void tls(const struct fg_image *image, struct segment s, struct fg_ref at) {
    const struct fg_img_tls *t = array(s, at, sizeof *t);
    const struct fg_img_choice *c = array(s, t->choices, sizeof *c);
    FUZZ_CHECK(at.len == 1 && t->choices.len);
    for (uint32_t i = 0; i < t->choices.len; i++) {
        FUZZ_CHECK(c[i].certificates.len);
        digests(s, c[i].certificates);
    }
    text(s, t->ciphers);
    text(s, t->ciphersuites);
    text(s, t->groups);
    alpn(s, t->alpn);
    digests(s, t->authorities);
    versions(t->min_version, t->max_version);
    FUZZ_CHECK(t->verify <= FG_VERIFY_REQUIRED && (t->verify == FG_VERIFY_NONE) == !t->authorities.len);
    names(image, t->hosts_segment, t->choices.len);
}

static void relays(const struct fg_image *image, struct segment s, const struct fg_img_listener *l) {
    const struct fg_img_relay *r = array(s, l->relays, sizeof *r);
    for (uint32_t i = 0; i < l->relays.len; i++) {
        text(s, r[i].route);
        text(s, r[i].name);
        FUZZ_CHECK(l->protocol != FG_LISTENER_TLS || r[i].passthrough || l->tls.len);
        const struct fg_img_backend *b = array(s, r[i].backends, sizeof *b);
        for (uint32_t j = 0; j < r[i].backends.len; j++)
            FUZZ_CHECK(b[j].cluster <= image->nclusters && !b[j].filters);
    }
}

static void listener(const struct fg_image *image, struct segment s, const struct fg_img_listener *l) {
    text(s, l->key_name);
    text(s, l->gateway);
    text(s, l->name);
    text(s, l->hostname);
    FUZZ_CHECK(l->protocol <= FG_LISTENER_UDP);
    if (l->tls.len)
        tls(image, s, l->tls);
    FUZZ_CHECK(l->tls.len || l->protocol != FG_LISTENER_HTTPS);
    relays(image, s, l);
    if (l->protocol > FG_LISTENER_HTTPS)
        names(image, l->hosts_segment, l->relays.len);
    else
        FUZZ_CHECK(!l->relays.len);
}

static void upstream_tls(struct segment s, struct fg_ref at) {
    const struct fg_img_upstream_tls *t = array(s, at, sizeof *t);
    FUZZ_CHECK(at.len == 1);
    text(s, t->server_name);
    texts(s, t->names);
    digests(s, t->authorities);
    if (t->certificate.len)
        digest(s, t->certificate);
    alpn(s, t->alpn);
    versions(t->min_version, t->max_version);
}

static void clusters(const struct fg_image *image, struct segment s) {
    for (uint32_t i = 0; i < image->nclusters; i++) {
        const struct fg_img_cluster *c = &image->clusters[i];
        text(s, c->name);
        text(s, c->health_path);
        FUZZ_CHECK(c->protocol <= FG_UPSTREAM_UDP && c->send_proxy <= 2);
        if (c->tls.len)
            upstream_tls(s, c->tls);
    }
}

static void sockets(const struct fg_image *image, struct segment s) {
    for (uint32_t i = 0; i < image->nsockets; i++) {
        const struct fg_img_socket *x = &image->sockets[i];
        text(s, x->address);
        text(s, x->via);
        text(s, x->server);
        text(s, x->log_format);
        FUZZ_CHECK(x->access_log <= 2);
        const struct fg_img_listener *l = array(s, x->listeners, sizeof *l);
        FUZZ_CHECK(!x->datagrams || x->listeners.len == 1);
        for (uint32_t j = 0; j < x->listeners.len; j++) {
            FUZZ_CHECK((l[j].protocol == FG_LISTENER_UDP) == !!x->datagrams);
            listener(image, s, l + j);
        }
        names(image, x->hosts_segment, x->listeners.len);
    }
}

static void read_all(const struct fg_image *image) {
    for (uint32_t i = 0; i < image->nsegments; i++) {
        struct segment s = {image->base + image->dir[i].offset, image->dir[i].size};
        FUZZ_CHECK(image->dir[i].offset % 64 == 0 && image->dir[i].offset + s.size <= image->size);
        if (image->dir[i].kind == FG_SEG_GROUP) {
            group(image, s);
        } else if (image->dir[i].kind == FG_SEG_SOCKETS) {
            sockets(image, s);
        } else if (image->dir[i].kind == FG_SEG_CLUSTERS) {
            clusters(image, s);
        }
    }
}

static void match_all(const struct fg_image *image) {
    static const char *paths[] = {"/", "/p1", "/p1/x", "/r", "/0", "*"};
    static const uint8_t base[] = "x-abb";
    static const struct fg_field field = {.name = 0, .name_len = 3, .value = 3, .value_len = 2};
    for (uint32_t socket = 0; socket < image->nsockets && socket < 4; socket++)
        for (size_t i = 0; i < FG_COUNT_OF(hosts) * FG_COUNT_OF(paths); i++) {
            const char *host = hosts[i % FG_COUNT_OF(hosts)], *path = paths[i / FG_COUNT_OF(hosts)];
            struct fg_match_query q = {.host = (const uint8_t *)host, .host_len = (uint32_t)strlen(host),
                .path = (const uint8_t *)path, .path_len = (uint32_t)strlen(path), .query = (const uint8_t *)"x=y",
                .query_len = 3, .method = (const uint8_t *)"GET", .method_len = 3, .base = base, .fields = &field, .nfields = 1};
            struct fg_match_result r;
            match(image, socket, &q, &r);
            if (!r.rule)
                continue;
            const struct fg_group *g = (const struct fg_group *)r.seg;
            const struct fg_img_rule *first = (const struct fg_img_rule *)(r.seg + g->rules.off);
            FUZZ_CHECK(r.rule >= first && r.rule < first + g->rules.len && r.prefix_len <= q.path_len);
            FUZZ_CHECK(r.listener);
        }
}

/* --- the whole ---------------------------------------------------------------------------------------------------------------- */

static int by_descriptor(const uint8_t *p, size_t size, bool writable_only, struct fg_image *image, char *why, size_t n) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, p, size) == (ssize_t)size);
    if (writable_only) { /* cannot be mapped for reading */
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        int other = open(name, O_WRONLY | O_CLOEXEC);
        FUZZ_CHECK(other >= 0);
        close(fd);
        fd = other;
    }
    int result = image_open(fd, image, why, n);
    close(fd);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t draft[LARGEST];
    struct fuzz_bytes in = {data, size};
    uint8_t how = fuzz_byte(&in);
    size_t base = how >> 6 == 2 ? BELOW_HTTP : how % BELOW_HTTP, n = bases[base].size;
    memcpy(draft, bases[base].p, n);
    if (in.left)
        n = damage(draft, n, &in);
    struct fg_img_header *h = (struct fg_img_header *)draft;
    if (!(how & 4) && n >= sizeof *h) {
        h->size = n;
        h->checksum = fg_checksum(draft + sizeof *h, n - sizeof *h);
    }
    struct fg_image image;
    char why[256] = "";
    bool descriptor = (how & 24) == 24, unreadable = descriptor && how & 32;
    uint8_t *p = fuzz_copy(draft, n);
    int result = descriptor ? by_descriptor(p, n, unreadable, &image, why, sizeof why) : image_check(p, n, &image, why, sizeof why);
    FUZZ_CHECK(result == 0 || (result == -1 && why[0]));
    FUZZ_CHECK(!unreadable || result == -1);
    if (result == 0) {
        FUZZ_CHECK(!memcmp(image.base, p, n) && image.size == n);
        read_all(&image);
        match_all(&image);
        image_close(&image);
    }
    fuzz_drop(p);
    return 0;
}
