"""The matcher: from (socket, host, path, method, headers, query) to a rule, over the tables of csrc/fg_table.h.

Precedence was decided by the translator: candidates stand in their final order, and the tries only skip those that cannot
match. Order of a virtual host: the exact path, patterns, prefixes from the longest; of a listener: the host, wildcards from the
longest, any host. A request belongs to its most specific listener and to no other (listener isolation).
"""

from itertools import chain

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy, memset

from fastgate.core.http1 cimport fg_field, header_token, path_normalize
from fastgate.core.image cimport (
    FG_LISTENER_HTTPS, fg_candidate, fg_candidates, fg_condition, fg_group, fg_hosts, fg_img_choice, fg_img_listener,
    fg_img_relay, fg_img_rule, fg_img_socket, fg_img_tls, fg_name, fg_named, fg_node, fg_part_hash, fg_ref, fg_slot, image_check,
    image_close, image_tables,
)
from fastgate.core.regex cimport fg_re2, re2_search

cdef extern from "fg_http1.h" nogil:
    """
    /* Fields that the engine does not forward count as absent when they say who the client is or have an underscore; others
     * that it drops (hop-by-hop) may still decide a match. */
    static const unsigned char router_client[] = {0,
    #define X(token, name, flags) ((flags) & FG_HDR_CLIENT) != 0,
        FG_HEADERS(X)
    #undef X
    };
    static inline int router_absent(const struct fg_field *f) {
        return (f->flags & FG_FIELD_DROP) && ((f->flags & FG_FIELD_UNDERSCORE) || router_client[f->token]);
    }
    """
    bint router_absent(const fg_field *f)
    enum: FG_FIELD_UNDERSCORE

cdef extern from * nogil:
    void __builtin_prefetch(const void *at)

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **at, size_t alignment, size_t size)

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *at, size_t size, int advice)
    enum: MADV_HUGEPAGE


# --- tries --------------------------------------------------------------------------------------------------------------------

cdef inline bint leads(const uint8_t *seg, uint32_t node, const uint8_t *rest, size_t size, bint from_right) noexcept nogil:
    """Whether the edge to a node is what the rest begins with (ends with, from the right), to the end of a part."""
    cdef fg_ref label = (<const fg_node *>(seg + node)).label
    if label.len > size:
        return False
    if from_right:
        rest += size - label.len
        return memcmp(rest, seg + label.off, label.len) == 0 and (label.len == size or rest[-1] == c'.')
    return memcmp(rest, seg + label.off, label.len) == 0 and (label.len == size or rest[label.len] == c'/')


cdef inline uint32_t child(const uint8_t *seg, const fg_node *n, const uint8_t *rest, size_t size, const uint8_t *part,
                           size_t part_size, uint32_t seed, bint from_right) noexcept nogil:
    """Offset of the child whose edge leads on; 0 when there is none. Several parts may have the same hash."""
    cdef uint32_t hash_, at
    cdef const fg_slot *slots
    if n.mask == 0:
        return n.children if leads(seg, n.children, rest, size, from_right) else 0
    hash_ = fg_part_hash(part, part_size, seed)
    slots = <const fg_slot *>(seg + n.children)
    at = hash_ & n.mask
    while slots[at].to:
        if slots[at].hash == hash_ and leads(seg, slots[at].to, rest, size, from_right):
            return slots[at].to
        at = (at + 1) & n.mask
    return 0


# --- hosts --------------------------------------------------------------------------------------------------------------------

cdef enum:
    AHEAD = 4  # cache lines of a group that are asked for with its first: one of one route, whole

ctypedef struct hosts_cursor:
    const fg_image *image
    const uint8_t *seg  # of a listener's hosts: values are groups
    const uint8_t *host
    uint32_t size
    int state      # what is given out next: 0 the host itself, 1 wildcards, 2 any
    uint32_t node  # of the next wildcard


cdef inline const uint8_t *group_at(const fg_image *image, uint32_t value) noexcept nogil:
    """A group, all of its beginning asked for at once: a match reads it in steps of which each waits for the one before."""
    cdef const uint8_t *seg = image.base + <uint64_t>value * 64
    cdef size_t i
    for i in range(AHEAD + 1):
        __builtin_prefetch(seg + 64 * i)
    return seg


cdef inline uint32_t named(const fg_image *image, const uint8_t *seg, uint32_t to, const uint8_t *host,
                           uint32_t size) noexcept nogil:
    """The value of a slot if the host is what it names, else 0."""
    cdef const fg_hosts *h = <const fg_hosts *>seg
    cdef fg_ref name
    cdef uint32_t value = to
    if h.named.len:
        name = (<const fg_named *>(seg + h.named.off))[to - 1].name
        value = (<const fg_named *>(seg + h.named.off))[to - 1].value
    else:
        seg = group_at(image, to)
        name = (<const fg_group *>seg).hostname
    return value if name.len == size and memcmp(seg + name.off, host, size) == 0 else 0


cdef inline uint32_t hosts_exact(const fg_image *image, const uint8_t *seg, const uint8_t *host, uint32_t size) noexcept nogil:
    """The value of the host itself."""
    cdef const fg_hosts *h = <const fg_hosts *>seg
    cdef const fg_slot *slots = <const fg_slot *>(seg + h.exact.off)
    cdef uint32_t hash_, at, value
    if h.exact.len == 0:
        return 0
    hash_ = fg_part_hash(host, size, h.exact_seed)
    at = hash_ & (h.exact.len - 1)
    while slots[at].to:
        if slots[at].hash == hash_:
            value = named(image, seg, slots[at].to, host, size)
            if value:
                return value
        at = (at + 1) & (h.exact.len - 1)
    return 0


cdef uint32_t hosts_wildcard(const uint8_t *seg, const uint8_t *host, uint32_t size) noexcept nogil:
    """The node of the longest wildcard of a host; 0: none."""
    cdef const fg_hosts *h = <const fg_hosts *>seg
    cdef const fg_node *n
    cdef uint32_t at = h.root, end = size, start, next_
    while True:
        n = <const fg_node *>(seg + at)
        if n.children == 0 or size == 0:
            break
        start = end
        while start and host[start - 1] != c'.':
            start -= 1
        next_ = child(seg, n, host, end, host + start, end - start, h.seed, True)
        if next_ == 0:
            break
        at = next_
        n = <const fg_node *>(seg + at)
        if n.label.len == end:  # the wildcard's own base is not one of its hosts
            return n.up
        end -= n.label.len + 1
    return at if n.below else n.up


cdef uint32_t hosts_next(hosts_cursor *c) noexcept nogil:
    """The next value for the host, the most specific first; 0 at the end."""
    cdef const fg_node *n
    cdef uint32_t value
    if c.state == 0:
        c.state = 1
        value = hosts_exact(c.image, c.seg, c.host, c.size)
        if value:
            return value
    if c.state == 1:
        c.state = 2
        c.node = hosts_wildcard(c.seg, c.host, c.size)
    if c.node:
        n = <const fg_node *>(c.seg + c.node)
        c.node = n.up
        return n.below
    if c.state == 2:
        c.state = 3
        return (<const fg_hosts *>c.seg).any
    return 0


cdef uint32_t find_host(const fg_image *image, uint32_t hosts_segment, const uint8_t *name, uint32_t size) noexcept nogil:
    """Contract: fg_find_host_fn of csrc/fg_image.h."""
    cdef const uint8_t *seg = image.base + image.dir[hosts_segment].offset
    cdef uint32_t value = hosts_exact(image, seg, name, size), node
    if value:
        return value
    node = hosts_wildcard(seg, name, size)
    return (<const fg_node *>(seg + node)).below if node else (<const fg_hosts *>seg).any


# --- paths --------------------------------------------------------------------------------------------------------------------

cdef uint32_t path_find(const uint8_t *seg, const fg_group *g, const uint8_t *path, uint32_t size, bint *whole) noexcept nogil:
    """The deepest node on the path; `whole` when it stands for all of it."""
    cdef const fg_node *n
    cdef const uint8_t *slash
    cdef uint32_t at = g.root, pos = 1, part, next_
    whole[0] = False
    while True:
        n = <const fg_node *>(seg + at)
        if n.children == 0:
            return at
        part = 0
        if n.mask:
            slash = <const uint8_t *>memchr(path + pos, c'/', size - pos)
            part = <uint32_t>(slash - path - pos) if slash != NULL else size - pos
        next_ = child(seg, n, path + pos, size - pos, path + pos, part, g.seed, False)
        if next_ == 0:
            return at
        pos += (<const fg_node *>(seg + next_)).label.len
        if pos == size:
            whole[0] = True
            return next_
        pos += 1
        at = next_


# --- conditions -----------------------------------------------------------------------------------------------------------------

cdef enum:
    CACHED = 32      # names whose values are looked up once per request
    SCRATCH = 8192   # bytes for joined and decoded values

ctypedef struct value_t:
    const uint8_t *p  # NULL: absent
    uint32_t size

ctypedef struct context_t:
    const fg_match_query *q
    const uint8_t *seg
    const fg_group *g
    fg_re2 **patterns
    uint32_t known_headers, known_queries  # bits
    uint32_t used                          # of scratch
    value_t headers[CACHED]
    value_t queries[CACHED]
    uint8_t scratch[SCRATCH]


cdef inline bint same_name(const uint8_t *a, const uint8_t *lower, size_t n) noexcept nogil:
    cdef size_t i
    cdef uint8_t c
    for i in range(n):
        c = a[i]
        if (c | 0x20 if c'A' <= c <= c'Z' else c) != lower[i]:
            return False
    return True


cdef inline bint is_field(const fg_match_query *q, const fg_field *f, const uint8_t *name, const fg_name *n) noexcept nogil:
    if n.token:
        return f.token == n.token
    return f.token == 0 and f.name_len == n.text.len and same_name(q.base + f.name, name, n.text.len)


cdef value_t header_value(context_t *x, const fg_name *n) noexcept nogil:
    """The field's value; those of several field lines are joined by "," (RFC 9110 section 5.3)."""
    cdef const fg_match_query *q = x.q
    cdef const uint8_t *name = x.seg + n.text.off
    cdef const fg_field *f
    cdef value_t v
    cdef uint32_t i, start = 0
    cdef bint joined = False
    v.p = NULL
    v.size = 0
    for i in range(q.nfields):
        f = &q.fields[i]
        if not is_field(q, f, name, n) or router_absent(f):
            continue
        if v.p == NULL:
            v.p = q.base + f.value
            v.size = f.value_len
            continue
        if not joined:
            start = x.used
            if v.size > SCRATCH - x.used:
                v.p = NULL
                return v
            memcpy(x.scratch + x.used, v.p, v.size)
            x.used += v.size
            joined = True
        if f.value_len + 1 > SCRATCH - x.used:
            v.p = NULL
            return v
        x.scratch[x.used] = c','
        memcpy(x.scratch + x.used + 1, q.base + f.value, f.value_len)
        x.used += f.value_len + 1
        v.p = x.scratch + start
        v.size = x.used - start
    return v


cdef inline int hex_digit(uint8_t c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef uint32_t percent_decode(const uint8_t *p, uint32_t size, uint8_t *out) noexcept nogil:
    """Decode escapes, faulty ones stay; returns the length, never more than `size`."""
    cdef uint32_t i = 0, n = 0
    cdef int high, low
    while i < size:
        if p[i] == c'%' and i + 2 < size:
            high = hex_digit(p[i + 1])
            low = hex_digit(p[i + 2])
            if high >= 0 and low >= 0:
                out[n] = <uint8_t>(high << 4 | low)
                n += 1
                i += 3
                continue
        out[n] = p[i]
        n += 1
        i += 1
    return n


cdef value_t decoded(context_t *x, const uint8_t *p, uint32_t size, bint keep) noexcept nogil:
    """The bytes without escapes, in place or in the scratch; p NULL when there is no room. `keep` keeps the scratch."""
    cdef value_t v
    v.p = p
    v.size = size
    if size == 0 or memchr(p, c'%', size) == NULL:
        return v
    v.p = NULL
    if size <= SCRATCH - x.used:
        v.p = x.scratch + x.used
        v.size = percent_decode(p, size, x.scratch + x.used)
        if keep:
            x.used += v.size
    return v


cdef value_t query_value(context_t *x, const fg_name *n) noexcept nogil:
    """The value of the first parameter of this name, escapes decoded; a key without '=' has an empty value."""
    cdef const uint8_t *p = x.q.query
    cdef const uint8_t *end = p + x.q.query_len
    cdef const uint8_t *stop
    cdef const uint8_t *equals
    cdef value_t v
    while p < end:
        stop = <const uint8_t *>memchr(p, c'&', end - p)
        if stop == NULL:
            stop = end
        equals = <const uint8_t *>memchr(p, c'=', stop - p)
        if equals == NULL:
            equals = stop
        v = decoded(x, p, <uint32_t>(equals - p), False)
        if v.p != NULL and v.size == n.text.len and memcmp(v.p, x.seg + n.text.off, v.size) == 0:
            if equals == stop:
                v.p = stop
                v.size = 0
                return v
            return decoded(x, equals + 1, <uint32_t>(stop - equals - 1), True)
        p = stop + 1
    v.p = NULL
    v.size = 0
    return v


cdef value_t condition_value(context_t *x, uint32_t name, bint header) noexcept nogil:
    cdef const fg_name *n = <const fg_name *>(x.seg + (x.g.headers.off if header else x.g.queries.off)) + name
    if name >= CACHED:
        return header_value(x, n) if header else query_value(x, n)
    if header:
        if not x.known_headers >> name & 1:
            x.headers[name] = header_value(x, n)
            x.known_headers |= <uint32_t>1 << name
        return x.headers[name]
    if not x.known_queries >> name & 1:
        x.queries[name] = query_value(x, n)
        x.known_queries |= <uint32_t>1 << name
    return x.queries[name]


cdef bint conditions_hold(context_t *x, fg_ref array, bint header) noexcept nogil:
    cdef const fg_condition *c = <const fg_condition *>(x.seg + array.off)
    cdef value_t v
    cdef uint32_t i
    for i in range(array.len):
        v = condition_value(x, c[i].name, header)
        if v.p == NULL:
            return False
        if c[i].pattern:
            if not re2_search(x.patterns[c[i].pattern - 1], v.p, v.size):
                return False
        elif v.size != c[i].value.len or memcmp(v.p, x.seg + c[i].value.off, v.size) != 0:
            return False
    return True


cdef const fg_img_rule *first_that_holds(context_t *x, uint32_t list_) noexcept nogil:
    """The first candidate of the list whose every condition holds."""
    cdef const fg_candidates *all_ = <const fg_candidates *>(x.seg + list_)
    cdef const fg_candidate *c
    cdef uint32_t i
    for i in range(all_.count):
        c = &all_.at[i]
        if c.method.len and (c.method.len != x.q.method_len or
                             memcmp(x.q.method, x.seg + c.method.off, c.method.len) != 0):
            continue
        if c.headers.len and not conditions_hold(x, c.headers, True):
            continue
        if c.queries.len and not conditions_hold(x, c.queries, False):
            continue
        if c.pattern and not re2_search(x.patterns[c.pattern - 1], x.q.path, x.q.path_len):
            continue
        return <const fg_img_rule *>(x.seg + c.rule)
    return NULL


# --- the whole ------------------------------------------------------------------------------------------------------------------------

cdef bint group_match(const fg_image *image, uint32_t value, const fg_match_query *q, fg_match_result *result) noexcept nogil:
    """Whether the virtual host of this value has a rule for the request."""
    cdef const image_tables *tables = <const image_tables *>image.tables
    cdef context_t x
    cdef const fg_node *n
    cdef const fg_img_rule *rule = NULL
    cdef bint whole
    cdef uint32_t at
    x.q = q
    x.seg = group_at(image, value)
    x.g = <const fg_group *>x.seg
    x.patterns = NULL
    if x.g.patterns.len:  # `first` is one more miss of the cache, for nothing in most tables
        x.patterns = tables.patterns + tables.first[x.g.position]
    x.known_headers = x.known_queries = x.used = 0
    if q.path_len == 1 and q.path[0] == c'*':  # OPTIONS *: about the host as a whole, so the root decides
        at = x.g.root
        whole = False
    elif q.path_len and q.path[0] == c'/':
        at = path_find(x.seg, x.g, q.path, q.path_len, &whole)
    else:
        return False
    n = <const fg_node *>(x.seg + at)
    result.prefix_len = q.path_len
    if whole and n.exact:
        rule = first_that_holds(&x, n.exact)
    if rule == NULL and x.g.regexes:
        rule = first_that_holds(&x, x.g.regexes)
    if rule == NULL:
        if n.below == 0:
            at = n.up
        while at:
            n = <const fg_node *>(x.seg + at)
            rule = first_that_holds(&x, n.below)
            if rule != NULL:
                result.prefix_len = n.depth
                break
            at = n.up
    if rule == NULL:
        return False
    result.rule = rule
    result.seg = x.seg
    result.hostname.p = x.seg + x.g.hostname.off
    result.hostname.len = x.g.hostname.len
    return True


cdef void match(const fg_image *image, uint32_t socket, const fg_match_query *query, fg_match_result *result) noexcept nogil:
    """Contract: fg_match_fn of csrc/fg_image.h."""
    cdef const fg_img_socket *s = &image.sockets[socket]
    cdef hosts_cursor cursor
    cdef uint32_t value = find_host(image, s.hosts_segment, query.host, query.host_len)
    memset(result, 0, sizeof(fg_match_result))
    if value == 0:
        return
    result.listener = <const fg_img_listener *>(image.sockets_seg + s.listeners.off) + (value - 1)
    if result.listener.protocol > FG_LISTENER_HTTPS:  # beside one of HTTPS: its names lead to relays
        return
    cursor.image = image
    cursor.host = query.host
    cursor.size = query.host_len
    cursor.seg = image.base + image.dir[result.listener.hosts_segment].offset
    cursor.state = 0
    while True:
        value = hosts_next(&cursor)
        if value == 0 or group_match(image, value, query, result):
            return


# --- the Python interface -----------------------------------------------------------------------------------------------------------

cdef class Batch:
    """Requests laid out for `Table.match_many`: (method, host, path, query, ((name, value), ...)), all bytes."""

    cdef fg_match_query *queries
    cdef fg_field *fields
    cdef readonly size_t size
    cdef bytearray texts

    def __cinit__(self, requests):
        requests = list(requests)
        cdef size_t i = 0, nfields = sum(len(r[4]) for r in requests)
        cdef fg_field *f
        cdef fg_match_query *q
        cdef uint8_t *base
        cdef bytes block
        self.size = len(requests)
        self.queries = <fg_match_query *>calloc(self.size + 1, sizeof(fg_match_query))
        self.fields = <fg_field *>calloc(nfields + 1, sizeof(fg_field))
        self.texts = bytearray(sum(len(text) for r in requests for text in (*r[:4], *chain.from_iterable(r[4]))) + 1)
        base = <uint8_t *><char *>self.texts
        if self.queries == NULL or self.fields == NULL:
            raise MemoryError()
        f = self.fields
        for method, host, path, query, headers in requests:
            q = &self.queries[i]
            block = b"".join((host, path, query, method, *chain.from_iterable(headers)))
            memcpy(base, <const char *>block, len(block))
            q.base = base
            q.host_len, q.path_len, q.query_len, q.method_len = len(host), len(path), len(query), len(method)
            q.host = base
            q.path = q.host + q.host_len
            q.query = q.path + q.path_len
            q.method = q.query + q.query_len
            q.fields = f
            q.nfields = <uint32_t>len(headers)
            at = len(host) + len(path) + len(query) + len(method)
            for name, value in headers:
                f.name = at
                f.name_len = len(name)
                f.value = at + len(name)
                f.value_len = len(value)
                f.token = header_token(base + f.name, f.name_len)
                f.flags = FG_FIELD_UNDERSCORE if b"_" in name else 0
                at += len(name) + len(value)
                f += 1
            base += len(block)
            i += 1

    def __dealloc__(self):
        free(self.queries)
        free(self.fields)


cdef class Table:
    """An image in this process, for matching. Immutable; every method may be called from any thread."""

    cdef fg_image image
    cdef void *room

    def __cinit__(self, bytes data):
        cdef char why[256]
        cdef size_t size = len(data), page = 2 << 20
        if posix_memalign(&self.room, page if size >= page else 64, size) != 0:
            raise MemoryError()
        madvise(self.room, size, MADV_HUGEPAGE)  # a match of a large table reads a page or two that no other has
        memcpy(self.room, <const char *>data, size)
        if image_check(<const uint8_t *>self.room, size, &self.image, why, sizeof(why)) < 0:
            raise ValueError(why.decode("latin-1"))

    def __dealloc__(self):
        image_close(&self.image)
        free(self.room)

    @property
    def sockets(self):
        """(address, port) of every socket; the position is what `match` takes."""
        cdef const fg_img_socket *s
        out = []
        for i in range(self.image.nsockets):
            s = &self.image.sockets[i]
            out.append((text(self.image.sockets_seg, s.address), s.port))
        return out

    def match(self, uint32_t socket, Batch request):
        """Match a batch of one: None when no rule matches, else (listener, hostname, route, index of the rule, its name,
        bytes of the path that a prefix matched)."""
        cdef fg_match_result r
        if socket >= self.image.nsockets or request.size != 1:
            raise IndexError("no such socket, or not one request")
        with nogil:
            match(&self.image, socket, request.queries, &r)
        if r.rule == NULL:
            return None
        return (text(self.image.sockets_seg, r.listener.key_name), (<const char *>r.hostname.p)[:r.hostname.len].decode("latin-1"),
                text(r.seg, r.rule.route), r.rule.index, text(r.seg, r.rule.name), r.prefix_len)

    def find_host(self, uint32_t socket, bytes name):
        """Return what a server name in lower case leads to: (listener, digests of the certificates that it shows, rule of its
        relay or None), or None when no listener has the name."""
        cdef const fg_img_socket *s
        cdef const fg_img_listener *l
        cdef const fg_img_tls *tls
        cdef const fg_img_relay *relay
        cdef const uint8_t *seg = self.image.sockets_seg
        cdef const uint8_t *p = name
        cdef uint32_t at, size = <uint32_t>len(name)
        if socket >= self.image.nsockets:
            raise IndexError("no such socket")
        s = &self.image.sockets[socket]
        at = find_host(&self.image, s.hosts_segment, p, size)
        if at == 0:
            return None
        l = <const fg_img_listener *>(seg + s.listeners.off) + (at - 1)
        certificates, rule = (), None
        if l.tls.len:
            tls = <const fg_img_tls *>(seg + l.tls.off)
            at = find_host(&self.image, tls.hosts_segment, p, size)
            certificates = texts(seg, (<const fg_img_choice *>(seg + tls.choices.off) + (at - 1 if at else 0)).certificates)
        if l.relays.len:
            at = find_host(&self.image, l.hosts_segment, p, size)
            relay = <const fg_img_relay *>(seg + l.relays.off) + (at - 1 if at else 0)
            rule = (text(seg, relay.route), text(seg, relay.name)) if at else None
        return text(seg, l.key_name), certificates, rule

    def match_many(self, uint32_t socket, Batch requests, unsigned int rounds=1, bint normalize=False):
        """Match a batch `rounds` times without the GIL; returns how many of its requests have a rule. `normalize` brings
        every path into normal form first, as the gateway does."""
        cdef fg_match_result r
        cdef fg_match_query *q
        cdef size_t i, found = 0
        cdef int64_t n
        cdef unsigned int turn
        cdef uint8_t path[4096]
        cdef fg_match_query copy
        if socket >= self.image.nsockets:
            raise IndexError("no such socket")
        with nogil:
            for turn in range(rounds):
                found = 0
                for i in range(requests.size):
                    q = &requests.queries[i]
                    if normalize and q.path_len <= sizeof(path):
                        copy = q[0]
                        memcpy(path, q.path, q.path_len)
                        n = path_normalize(path, q.path_len)
                        if n < 0:
                            continue
                        copy.path = path
                        copy.path_len = <uint32_t>n
                        match(&self.image, socket, &copy, &r)
                    else:
                        match(&self.image, socket, q, &r)
                    found += r.rule != NULL
        return found


cdef str text(const uint8_t *seg, fg_ref r):
    return (<const char *>seg + r.off)[:r.len].decode("latin-1")


cdef tuple texts(const uint8_t *seg, fg_ref array):
    cdef const fg_ref *r = <const fg_ref *>(seg + array.off)
    return tuple([text(seg, r[i]) for i in range(array.len)])
