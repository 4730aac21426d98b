/* The contexts of an image: one for every choice of certificates of its listeners, one for every TLS that its clusters speak.
 *
 * They are keyed by content: what the generation before has is taken from it, so that a reload makes only what changed, and
 * connections and sessions know nothing of it. Equal ones of several listeners are one.
 */
#include "fg_tls.h"

#include "fg_worker.h"

#include <stdio.h>
#include <stdlib.h>

struct slot { uint64_t key; struct fg_tls_context *context; /* NULL: free */ };

struct fg_tls_set {
    uint32_t refs;      /* the loop's thread only */
    uint32_t mask;      /* slots - 1 */
    struct slot slots[];
};

/* What is being made, and what it is made of. Functions give false when they cannot go on, with the sentence in `why`. */
struct making {
    struct fg_tls_common *common;
    const struct fg_image *image;
    const struct fg_tls_set *base;
    struct fg_tls_set *set;
    struct fg_secrets secrets;
    struct fg_bytes owner; /* listener or cluster, for the sentence */
    char *why;
    size_t why_size;
};

static bool fault(struct making *m, const char *what) {
    snprintf(m->why, m->why_size, "%.*s: %s", (int)m->owner.len, (const char *)m->owner.p, what);
    return false;
}

/* --- the set ------------------------------------------------------------------------------------------------------------------ */

static struct slot *slot_of(struct fg_tls_set *s, uint64_t key) {
    uint32_t at = (uint32_t)key & s->mask;
    while (s->slots[at].context && s->slots[at].key != key)
        at = (at + 1) & s->mask;
    return &s->slots[at];
}

struct fg_tls_context *fg_tls_find(const struct fg_tls_set *s, uint64_t key) {
    return s ? slot_of((struct fg_tls_set *)s, key)->context : NULL;
}

static struct fg_tls_set *set_for(uint64_t contexts) {
    uint64_t n = 2;
    while (n < 2 * contexts) /* one is always free: it ends a search */
        n *= 2;
    struct fg_tls_set *s = n <= UINT32_MAX ? calloc(1, sizeof *s + n * sizeof s->slots[0]) : NULL;
    if (s) {
        s->refs = 1;
        s->mask = (uint32_t)n - 1;
    }
    return s;
}

struct fg_tls_set *fg_tls_set_ref(struct fg_tls_set *s) {
    if (s)
        s->refs++;
    return s;
}

void fg_tls_set_unref(struct fg_tls_set *s) {
    if (s == NULL || --s->refs)
        return;
    for (uint64_t i = 0; i <= s->mask; i++)
        fg_tls_context_unref(s->slots[i].context);
    free(s);
}

/* --- terms ---------------------------------------------------------------------------------------------------------------------- */

/* Digests that an array of an image names, as what the table of secrets has of them. */
static bool find_pairs(struct making *m, const uint8_t *seg, struct fg_ref digests, struct fg_tls_pair *out) {
    const struct fg_ref *refs = (const void *)(seg + digests.off);
    for (uint32_t i = 0; i < digests.len; i++) {
        const struct fg_secret *e = fg_secrets_find(&m->secrets, fg_str(seg, refs[i]));
        if (e == NULL)
            return fault(m, "its certificates or authorities are not among the secrets");
        const uint8_t *base = m->secrets.base;
        out[i] = (struct fg_tls_pair){fg_str(base, e->chain), fg_str(base, e->key), fg_str(base, e->staple)};
    }
    return true;
}

static void copy_strings(const uint8_t *seg, struct fg_ref array, struct fg_bytes *out) {
    const struct fg_ref *refs = (const void *)(seg + array.off);
    for (uint32_t i = 0; i < array.len; i++)
        out[i] = fg_str(seg, refs[i]);
}

/* Arrays of terms, in one piece of memory. */
struct arrays { struct fg_tls_pair *pairs, *authorities; struct fg_bytes *bundles, *alpn, *names; };

static bool arrays_init(struct making *m, struct arrays *a, uint32_t pairs, uint32_t authorities, uint32_t alpn, uint32_t names) {
    size_t npairs = (size_t)pairs + authorities, nstrings = (size_t)authorities + alpn + names;
    a->pairs = malloc(npairs * sizeof *a->pairs + nstrings * sizeof *a->bundles + 1);
    if (a->pairs == NULL)
        return fault(m, "the worker is out of memory");
    a->authorities = a->pairs + pairs;
    a->bundles = (struct fg_bytes *)(a->pairs + npairs);
    a->alpn = a->bundles + authorities;
    a->names = a->alpn + alpn;
    return true;
}

/* Puts the context for these terms into the set. */
static bool add(struct making *m, uint64_t key, struct fg_tls_terms *terms, struct arrays *a) {
    char what[180];
    for (uint32_t i = 0; i < terms->nauthorities; i++)
        a->bundles[i] = a->authorities[i].chain;
    terms->pairs = a->pairs;
    terms->authorities = a->bundles;
    terms->alpn = a->alpn;
    terms->names = a->names;
    struct fg_tls_context *c = fg_tls_context_new(m->common, terms, what, sizeof what);
    if (c == NULL)
        return fault(m, what);
    *slot_of(m->set, key) = (struct slot){key, c};
    return true;
}

/* Is it there by now? */
static bool have(struct making *m, uint64_t key) {
    struct slot *to = slot_of(m->set, key);
    struct fg_tls_context *old = to->context ? NULL : fg_tls_find(m->base, key);
    if (old)
        *to = (struct slot){key, fg_tls_context_ref(old)};
    return to->context != NULL;
}

static bool make_choice(struct making *m, const struct fg_img_tls *tls, const struct fg_img_choice *choice) {
    const uint8_t *seg = m->image->sockets_seg;
    struct arrays a;
    if (have(m, choice->key))
        return true;
    if (!arrays_init(m, &a, choice->certificates.len, tls->authorities.len, tls->alpn.len, 0))
        return false;
    struct fg_tls_terms terms = {.npairs = choice->certificates.len, .nauthorities = tls->authorities.len,
        .nalpn = tls->alpn.len, .ciphers = fg_str(seg, tls->ciphers), .ciphersuites = fg_str(seg, tls->ciphersuites),
        .groups = fg_str(seg, tls->groups), .min_version = tls->min_version, .max_version = tls->max_version, .verify = tls->verify};
    copy_strings(seg, tls->alpn, a.alpn);
    bool fine = find_pairs(m, seg, choice->certificates, a.pairs) && find_pairs(m, seg, tls->authorities, a.authorities) &&
                add(m, choice->key, &terms, &a);
    free(a.pairs);
    return fine;
}

static bool make_upstream(struct making *m, const struct fg_img_upstream_tls *tls) {
    const uint8_t *seg = m->image->clusters_seg;
    bool shown = tls->certificate.len != 0;
    struct arrays a;
    if (have(m, tls->key))
        return true;
    if (!arrays_init(m, &a, shown, tls->authorities.len, tls->alpn.len, tls->names.len))
        return false;
    struct fg_tls_terms terms = {.client = true, .npairs = shown, .nauthorities = tls->authorities.len, .nalpn = tls->alpn.len,
        .nnames = tls->names.len, .server_name = fg_str(seg, tls->server_name), .min_version = tls->min_version,
        .max_version = tls->max_version, .system_trust = tls->system_trust};
    copy_strings(seg, tls->alpn, a.alpn);
    copy_strings(seg, tls->names, a.names);
    const struct fg_ref one = {(uint32_t)((const uint8_t *)&tls->certificate - seg), shown};
    bool fine = find_pairs(m, seg, one, a.pairs) && find_pairs(m, seg, tls->authorities, a.authorities) && add(m, tls->key, &terms, &a);
    free(a.pairs);
    return fine;
}

/* --- all of an image -------------------------------------------------------------------------------------------------------------- */

/* The next listener of the image that ends TLS, behind (*socket, *listener), which are moved there; NULL: none. */
static const struct fg_img_listener *next_listener(const struct fg_image *image, uint32_t *socket, uint32_t *listener) {
    for (; *socket < image->nsockets; ++*socket, *listener = 0) {
        struct fg_ref r = image->sockets[*socket].listeners;
        const struct fg_img_listener *all = (const void *)(image->sockets_seg + r.off);
        while (*listener < r.len) {
            const struct fg_img_listener *l = &all[(*listener)++];
            if (l->tls.len)
                return l;
        }
    }
    return NULL;
}

static const struct fg_img_tls *tls_of_listener(const struct fg_image *image, const struct fg_img_listener *l) {
    return (const void *)(image->sockets_seg + l->tls.off);
}

static bool make_choices(struct making *m) {
    uint32_t socket = 0, at = 0;
    for (const struct fg_img_listener *l; (l = next_listener(m->image, &socket, &at));) {
        const struct fg_img_tls *tls = tls_of_listener(m->image, l);
        const struct fg_img_choice *choices = (const void *)(m->image->sockets_seg + tls->choices.off);
        m->owner = fg_str(m->image->sockets_seg, l->key_name);
        for (uint32_t i = 0; i < tls->choices.len; i++)
            if (!make_choice(m, tls, &choices[i]))
                return false;
    }
    return true;
}

static const struct fg_img_upstream_tls *tls_of_cluster(const struct fg_image *image, uint32_t cluster) {
    struct fg_ref r = image->clusters[cluster].tls;
    return r.len ? (const void *)(image->clusters_seg + r.off) : NULL;
}

static bool make_upstreams(struct making *m) {
    for (uint32_t i = 0; i < m->image->nclusters; i++) {
        const struct fg_img_upstream_tls *tls = tls_of_cluster(m->image, i);
        m->owner = fg_str(m->image->clusters_seg, m->image->clusters[i].name);
        if (tls && !make_upstream(m, tls))
            return false;
    }
    return true;
}

static uint64_t contexts_of(const struct fg_image *image) {
    uint64_t n = 0;
    uint32_t socket = 0, at = 0;
    for (const struct fg_img_listener *l; (l = next_listener(image, &socket, &at));)
        n += tls_of_listener(image, l)->choices.len;
    for (uint32_t i = 0; i < image->nclusters; i++)
        n += image->clusters[i].tls.len != 0;
    return n;
}

struct fg_tls_set *fg_tls_set_new(struct fg_tls_common *c, const struct fg_image *image, int secrets_fd,
                                  const struct fg_tls_set *base, char *why, size_t why_size) {
    struct making m = {.common = c, .image = image, .base = base, .why = why, .why_size = why_size};
    if (fg_secrets_open(&m.secrets, secrets_fd, why, why_size) < 0)
        return NULL;
    m.set = set_for(contexts_of(image));
    if (m.set == NULL)
        snprintf(why, why_size, "the worker is out of memory");
    if (m.set && !(make_choices(&m) && make_upstreams(&m))) {
        fg_tls_set_unref(m.set);
        m.set = NULL;
    }
    fg_secrets_close(&m.secrets);
    return m.set;
}

struct fg_tls_context *fg_tls_of_cluster(const struct fg_generation *g, uint32_t cluster) {
    const struct fg_img_upstream_tls *tls = tls_of_cluster(&g->image, cluster);
    return tls ? fg_tls_find(g->tls, tls->key) : NULL;
}
