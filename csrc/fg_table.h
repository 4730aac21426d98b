/* The matching tables inside the image: segments FG_SEG_HOSTS and FG_SEG_GROUP. Written by core/snapshot.pyx, walked by
 * core/router.pyx; the engine knows nothing of them.
 *
 * Wildcard hosts and paths are radix tries over whole parts: labels of a host from the right, segments of a path from the left.
 * An edge carries one part or more; children are found by a hash of the edge's first part, so that a step costs the same among
 * ten children and among a hundred thousand. Hosts without a wildcard are one hash table. With many routes a match waits for
 * memory more than it works: a virtual host costs the miss of its slot and that of its group, where its name is compared.
 * Offsets are relative to the segment's first byte; 0 means none.
 */
#ifndef FG_TABLE_H
#define FG_TABLE_H

#include <string.h>

#include "fg_image.h"

struct fg_node {           /* half a cache line */
    struct fg_ref label;   /* of the edge that leads here: "example.com", "api/v1" */
    uint32_t children;     /* of fg_slot; with mask 0 the one child itself */
    uint32_t mask;         /* slots - 1 */
    uint32_t exact;        /* paths: fg_candidates of the path itself */
    uint32_t below;        /* hosts: value of "*." + host; paths: fg_candidates of the prefix */
    uint32_t up;           /* nearest node above with `below` */
    uint32_t depth;        /* bytes from the root to the end of this edge, separators included */
};

struct fg_slot {           /* open addressing, linear probing, at most half full */
    uint32_t hash;
    uint32_t to;           /* fg_node of a child; value of a host */
};

/* At the start of FG_SEG_HOSTS. Values are of one kind: where a group begins in the image, in cache lines (virtual hosts of a
 * listener), or a position + 1, of a listener, a relay or a choice of certificates. The name of an exact host stands in its group,
 * and only there; with positions in `named`. */
struct fg_hosts {
    struct fg_ref exact;   /* of fg_slot, a power of two or none, by the hash of the whole name */
    uint32_t exact_seed;   /* of that hash */
    uint32_t any;          /* value of the host "" */
    uint32_t root;         /* fg_node of the wildcards */
    uint32_t seed;         /* of their parts' hash */
    struct fg_ref nodes;   /* of fg_node: all of them, parents first */
    struct fg_ref named;   /* positions: of fg_named, which slots of `exact` then name by their positions + 1 */
};

struct fg_named {          /* an exact host */
    struct fg_ref name;
    uint32_t value;
    uint32_t reserved;
};

/* At the start of FG_SEG_GROUP: the candidates of one virtual host. What a match reads comes next, in the order of its reading:
 * name, nodes, candidates with their conditions, rules, backends; their cache lines are asked for together with this one. */
struct fg_group {              /* one cache line */
    struct fg_ref hostname;
    uint32_t root;             /* fg_node */
    uint32_t seed;
    uint32_t regexes;          /* fg_candidates whose path is a pattern; tried between exact and prefix */
    uint32_t position;         /* of this segment in the directory */
    struct fg_ref headers;     /* of fg_name: header names that conditions look at */
    struct fg_ref queries;     /* of fg_name */
    struct fg_ref patterns;    /* of fg_ref: regular expressions, compiled when the image is opened */
    struct fg_ref nodes;       /* of fg_node: all of them, parents first */
    struct fg_ref rules;       /* of fg_img_rule: all of them */
};
_Static_assert(sizeof(struct fg_group) == 64, "a group begins with a cache line of its own");

struct fg_name {
    struct fg_ref text;        /* headers in lower case */
    uint32_t token;            /* enum fg_header */
    uint32_t reserved;
};

struct fg_condition {
    uint32_t name;             /* position in fg_group.headers or .queries */
    uint32_t pattern;          /* position in fg_group.patterns + 1; 0: equal to `value` */
    struct fg_ref value;
};

struct fg_candidate {          /* in order of precedence */
    uint32_t rule;             /* fg_img_rule */
    uint32_t pattern;          /* of the path, position in fg_group.patterns + 1 */
    struct fg_ref method;      /* len 0: any */
    struct fg_ref headers;     /* of fg_condition: all must hold */
    struct fg_ref queries;
};

struct fg_candidates {
    uint32_t count;
    uint32_t reserved;
    struct fg_candidate at[];
};

/* Hash of one part, eight bytes at a time. The builder chooses a seed that keeps probes short, so that nobody who may write
 * routes can make a table slow. */
static inline uint32_t fg_part_hash(const uint8_t *p, size_t n, uint32_t seed) {
    const uint64_t k = 0x9e3779b97f4a7c15ull;
    uint64_t h = (seed ^ n) * k, x;
    while (n >= 8) {
        memcpy(&x, p, 8);
        h = (h ^ x) * k;
        h ^= h >> 29;
        p += 8;
        n -= 8;
    }
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        x = (uint64_t)a << 32 | b;
    } else if (n) {
        x = (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1];
    } else {
        x = 0;
    }
    h = (h ^ x) * k;
    h ^= h >> 32;
    return (uint32_t)((h * k) >> 32);
}

#endif
