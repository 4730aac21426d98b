"""The loader of images: validates every offset once, then compiles the patterns. Runs in workers and in `Router`.

An image comes from this machine's listener manager or from a file; either may be damaged or of another version, and a
worker that trusted it would read where it must not. So nothing here follows a reference before it was checked, and
csrc/fg_image.h promises the readers that they need not check again.
"""

from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastgate.core.regex cimport re2_free, re2_new

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *addr, size_t size, int prot, int flags, int fd, long offset)
    int munmap(void *addr, size_t size)
    int madvise(void *addr, size_t size, int advice)
    enum: PROT_READ, MAP_SHARED, MADV_DONTDUMP
    void *MAP_FAILED

cdef extern from "<sys/stat.h>" nogil:
    ctypedef struct stat_t "struct stat":
        long st_size
    int fstat(int fd, stat_t *st)


# --- references ---------------------------------------------------------------------------------------------------------------

ctypedef struct seg_t:
    const uint8_t *p
    uint64_t size


cdef inline bint text_ok(seg_t s, fg_ref r) noexcept nogil:
    return <uint64_t>r.off + r.len <= s.size


cdef inline bint array_ok(seg_t s, fg_ref r, size_t record) noexcept nogil:
    return r.off % 8 == 0 and <uint64_t>r.off + <uint64_t>r.len * record <= s.size


cdef inline bint member_ok(fg_ref array, uint32_t off, size_t record) noexcept nogil:
    """Whether `off` is the start of a record of this array."""
    return array.off <= off and (off - array.off) % record == 0 and (off - array.off) // record < array.len


cdef bint texts_ok(seg_t s, fg_ref array) noexcept nogil:
    """An array of strings."""
    cdef uint32_t i
    if not array_ok(s, array, sizeof(fg_ref)):
        return False
    for i in range(array.len):
        if not text_ok(s, (<const fg_ref *>(s.p + array.off))[i]):
            return False
    return True


cdef bint digests_ok(seg_t s, fg_ref array) noexcept nogil:
    """An array of names in the table of secrets."""
    cdef uint32_t i
    if not texts_ok(s, array):
        return False
    for i in range(array.len):
        if (<const fg_ref *>(s.p + array.off))[i].len != FG_DIGEST:
            return False
    return True


cdef bint pairs_ok(seg_t s, fg_ref array) noexcept nogil:
    return array.len <= 0x7fffffff and array_ok(s, array, sizeof(fg_img_pair)) and \
        texts_ok(s, fg_ref(array.off, array.len * 2))


cdef bint edits_ok(seg_t s, const fg_img_edits *e) noexcept nogil:
    return pairs_ok(s, e.set) and pairs_ok(s, e.add) and texts_ok(s, e.remove)


cdef bint members_ok(seg_t s, fg_ref array) noexcept nogil:
    cdef const fg_img_member *member
    cdef uint32_t i
    if not array_ok(s, array, sizeof(fg_img_member)):
        return False
    for i in range(array.len):
        member = <const fg_img_member *>(s.p + array.off) + i
        if member.phases >> FG_PHASE_COUNT or not text_ok(s, member.name):
            return False
    return True


cdef bint stages_ok(seg_t s, fg_ref array) noexcept nogil:
    cdef const fg_img_stage *stage
    cdef uint32_t i
    if array.len > FG_FILTER_STAGES or not array_ok(s, array, sizeof(fg_img_stage)):
        return False
    for i in range(array.len):
        stage = <const fg_img_stage *>(s.p + array.off) + i
        if stage.buffer_body > FG_FILTER_BODY:
            return False
        if stage.timeout == 0 or stage.phases >> FG_PHASE_COUNT or not text_ok(s, stage.spec):
            return False
        if not members_ok(s, stage.members):
            return False
    return True


cdef bint filters_ok(seg_t s, uint32_t at) noexcept nogil:
    cdef const fg_img_filters *f = <const fg_img_filters *>(s.p + at)
    if at == 0:
        return True
    return (array_ok(s, fg_ref(at, 1), sizeof(fg_img_filters)) and edits_ok(s, &f.request) and edits_ok(s, &f.response)
            and text_ok(s, f.hostname) and text_ok(s, f.path)
            and f.path_kind <= FG_REWRITE_PREFIX and stages_ok(s, f.stages))


# --- tries ------------------------------------------------------------------------------------------------------------------------

cdef inline bint child_ok(seg_t s, fg_ref nodes, const fg_node *parent, uint32_t off) noexcept nogil:
    """Whether a child is a node, and as deep as its edge leads: a matcher reports the depth as bytes of its input."""
    cdef const fg_node *n = <const fg_node *>(s.p + off)
    return member_ok(nodes, off, sizeof(fg_node)) and n.depth == <uint64_t>parent.depth + n.label.len + 1


cdef const char *nodes_fault(seg_t s, fg_ref nodes, uint32_t root) noexcept nogil:
    """Everything about nodes but their values. Links upwards point to earlier nodes that are less deep, so that following them
    ends; a step downwards always uses up input."""
    cdef const fg_node *n
    cdef const fg_slot *slots
    cdef uint32_t i, j, at
    if not array_ok(s, nodes, sizeof(fg_node)) or not member_ok(nodes, root, sizeof(fg_node)):
        return "nodes"
    if (<const fg_node *>(s.p + root)).depth:
        return "root"
    for i in range(nodes.len):
        at = nodes.off + i * <uint32_t>sizeof(fg_node)
        n = <const fg_node *>(s.p + at)
        if not text_ok(s, n.label):
            return "node label"
        if n.up and (n.up >= at or not member_ok(nodes, n.up, sizeof(fg_node))):
            return "node link"
        if n.up and (<const fg_node *>(s.p + n.up)).depth >= n.depth:
            return "node link"
        if n.children == 0:
            continue
        if n.mask == 0:
            if not child_ok(s, nodes, n, n.children):
                return "node child"
            continue
        if (n.mask & (n.mask + 1)) != 0 or n.mask >= 0x7fffffff or not array_ok(s, fg_ref(n.children, n.mask + 1), sizeof(fg_slot)):
            return "node children"
        slots = <const fg_slot *>(s.p + n.children)
        at = 0
        for j in range(n.mask + 1):
            if slots[j].to == 0:
                at += 1
            elif not child_ok(s, nodes, n, slots[j].to):
                return "node slot"
        if at == 0:
            return "full table"  # a probe would not end
    return NULL


cdef bint value_ok(const fg_image *image, uint32_t value, bint groups, uint32_t count) noexcept nogil:
    """Whether a value of hosts is none, or the beginning of a group, or otherwise a position of so many + 1."""
    cdef uint32_t low = 0, high = image.nsegments, middle
    if value == 0 or not groups:
        return value <= count
    while low < high:  # the first segment that does not begin before it
        middle = low + (high - low) // 2
        if image.dir[middle].offset < <uint64_t>value * 64:
            low = middle + 1
        else:
            high = middle
    return low < image.nsegments and image.dir[low].offset == <uint64_t>value * 64 and image.dir[low].kind == FG_SEG_GROUP


cdef bint named_ok(seg_t s, fg_ref array, uint32_t count) noexcept nogil:
    """Exact hosts, each of which leads to one of so many."""
    cdef const fg_named *named
    cdef uint32_t i
    if not array_ok(s, array, sizeof(fg_named)):
        return False
    for i in range(array.len):
        named = <const fg_named *>(s.p + array.off) + i
        if not text_ok(s, named.name) or named.value == 0 or named.value > count:
            return False
    return True


cdef const char *hosts_fault(const fg_image *image, seg_t s, bint groups, uint32_t count) noexcept nogil:
    """A FG_SEG_HOSTS: values are groups, or positions of so many + 1."""
    cdef const fg_hosts *h = <const fg_hosts *>s.p
    cdef const fg_slot *slots
    cdef const fg_node *n
    cdef const char *fault
    cdef uint32_t i, used = 0
    if s.size < sizeof(fg_hosts) or not array_ok(s, h.exact, sizeof(fg_slot)):
        return "hosts"
    fault = nodes_fault(s, h.nodes, h.root)
    if fault != NULL:
        return fault
    if not value_ok(image, h.any, groups, count):
        return "host value"
    if not named_ok(s, h.named, count) or (groups and h.named.len):
        return "host names"
    slots = <const fg_slot *>(s.p + h.exact.off)
    for i in range(h.exact.len):
        if not value_ok(image, slots[i].to, groups, h.named.len):
            return "host value"
        used += slots[i].to != 0
    if h.exact.len and (h.exact.len & (h.exact.len - 1) or used == h.exact.len):
        return "full table"  # a probe would not end
    for i in range(h.nodes.len):
        n = <const fg_node *>(s.p + h.nodes.off) + i
        if not value_ok(image, n.below, groups, count):
            return "host value"
    return NULL


cdef bint conditions_ok(seg_t s, fg_ref array, uint32_t names, uint32_t patterns) noexcept nogil:
    cdef const fg_condition *c
    cdef uint32_t i
    if not array_ok(s, array, sizeof(fg_condition)):
        return False
    for i in range(array.len):
        c = <const fg_condition *>(s.p + array.off) + i
        if c.name >= names or c.pattern > patterns or not text_ok(s, c.value):
            return False
    return True


cdef bint candidates_ok(seg_t s, uint32_t at, bint patterns) noexcept nogil:
    """A list of candidates; `patterns` says whether their paths are patterns."""
    cdef const fg_group *g = <const fg_group *>s.p
    cdef const fg_candidate *c
    cdef uint32_t i
    if at == 0:
        return True
    if at % 8 or <uint64_t>at + 8 > s.size:
        return False
    if not array_ok(s, fg_ref(at + 8, (<const fg_candidates *>(s.p + at)).count), sizeof(fg_candidate)):
        return False
    for i in range((<const fg_candidates *>(s.p + at)).count):
        c = &(<const fg_candidates *>(s.p + at)).at[i]
        if not member_ok(g.rules, c.rule, sizeof(fg_img_rule)) or not text_ok(s, c.method):
            return False
        if c.pattern > g.patterns.len or (c.pattern != 0) != patterns:
            return False
        if not conditions_ok(s, c.headers, g.headers.len, g.patterns.len):
            return False
        if not conditions_ok(s, c.queries, g.queries.len, g.patterns.len):
            return False
    return True


cdef bint names_ok(seg_t s, fg_ref array) noexcept nogil:
    cdef uint32_t i
    if not array_ok(s, array, sizeof(fg_name)):
        return False
    for i in range(array.len):
        if not text_ok(s, (<const fg_name *>(s.p + array.off) + i).text):
            return False
    return True


cdef bint redirect_ok(seg_t s, fg_ref at) noexcept nogil:
    cdef const fg_img_redirect *to = <const fg_img_redirect *>(s.p + at.off)
    return (array_ok(s, at, sizeof(fg_img_redirect)) and text_ok(s, to.scheme) and text_ok(s, to.hostname)
            and text_ok(s, to.path) and to.path_kind <= FG_REWRITE_PREFIX)


cdef bint rule_ok(seg_t s, const fg_img_rule *r, uint32_t clusters) noexcept nogil:
    cdef const fg_img_backend *b
    cdef uint32_t i
    if not text_ok(s, r.route) or not text_ok(s, r.name) or not filters_ok(s, r.filters):
        return False
    if r.action == FG_ACTION_REDIRECT:
        return r.to.len == 1 and redirect_ok(s, r.to)
    if r.action != FG_ACTION_FORWARD:
        return r.action == FG_ACTION_RESPOND
    if not array_ok(s, r.to, sizeof(fg_img_backend)):
        return False
    for i in range(r.to.len):
        b = <const fg_img_backend *>(s.p + r.to.off) + i
        if b.cluster > clusters or not filters_ok(s, b.filters):
            return False
    return True


cdef const char *group_fault(seg_t s, uint32_t position, uint32_t clusters) noexcept nogil:
    cdef const fg_group *g = <const fg_group *>s.p
    cdef const fg_node *n
    cdef const char *fault
    cdef uint32_t i
    if s.size < sizeof(fg_group) or not text_ok(s, g.hostname) or g.position != position:
        return "group"
    if not names_ok(s, g.headers) or not names_ok(s, g.queries) or not texts_ok(s, g.patterns):
        return "names"
    if not array_ok(s, g.rules, sizeof(fg_img_rule)):
        return "rules"
    for i in range(g.rules.len):
        if not rule_ok(s, <const fg_img_rule *>(s.p + g.rules.off) + i, clusters):
            return "rule"
    fault = nodes_fault(s, g.nodes, g.root)
    if fault != NULL:
        return fault
    if not candidates_ok(s, g.regexes, True):
        return "candidates"
    for i in range(g.nodes.len):
        n = <const fg_node *>(s.p + g.nodes.off) + i
        if not candidates_ok(s, n.exact, False) or not candidates_ok(s, n.below, False):
            return "candidates"
    return NULL


# --- the whole ----------------------------------------------------------------------------------------------------------------------

ctypedef struct top_t:  # at the start of FG_SEG_SOCKETS and FG_SEG_CLUSTERS
    fg_ref array


cdef bint hosts_segment_ok(const fg_image *image, uint32_t position) noexcept nogil:
    return position < image.nsegments and image.dir[position].kind == FG_SEG_HOSTS


cdef bint versions_ok(uint16_t lowest, uint16_t highest) noexcept nogil:
    return 0x0303 <= lowest <= highest <= 0x0304


cdef bint alpn_ok(seg_t s, fg_ref array) noexcept nogil:
    """Names that have room in the extension (RFC 7301 section 3.1)."""
    cdef uint32_t i, size
    if not texts_ok(s, array):
        return False
    for i in range(array.len):
        size = (<const fg_ref *>(s.p + array.off))[i].len
        if size == 0 or size > 255:
            return False
    return True


cdef bint tls_ok(const fg_image *image, seg_t s, fg_ref at) noexcept nogil:
    cdef const fg_img_tls *t = <const fg_img_tls *>(s.p + at.off)
    cdef const fg_img_choice *choices
    cdef uint32_t i
    if at.len == 0:
        return True
    if at.len != 1 or not array_ok(s, at, sizeof(fg_img_tls)) or not array_ok(s, t.choices, sizeof(fg_img_choice)):
        return False
    choices = <const fg_img_choice *>(s.p + t.choices.off)
    for i in range(t.choices.len):
        if choices[i].certificates.len == 0 or not digests_ok(s, choices[i].certificates):
            return False
    if t.verify > FG_VERIFY_REQUIRED or (t.verify == FG_VERIFY_NONE) != (t.authorities.len == 0):
        return False
    return (t.choices.len != 0 and hosts_segment_ok(image, t.hosts_segment) and versions_ok(t.min_version, t.max_version)
            and text_ok(s, t.ciphers) and text_ok(s, t.ciphersuites) and text_ok(s, t.groups) and alpn_ok(s, t.alpn)
            and digests_ok(s, t.authorities))


cdef bint relays_ok(const fg_image *image, seg_t s, const fg_img_listener *l) noexcept nogil:
    cdef const fg_img_relay *r
    cdef const fg_img_backend *b
    cdef uint32_t i, j
    if not array_ok(s, l.relays, sizeof(fg_img_relay)):
        return False
    for i in range(l.relays.len):
        r = <const fg_img_relay *>(s.p + l.relays.off) + i
        if not text_ok(s, r.route) or not text_ok(s, r.name) or not array_ok(s, r.backends, sizeof(fg_img_backend)):
            return False
        if l.protocol == FG_LISTENER_TLS and l.tls.len == 0 and not r.passthrough:
            return False
        for j in range(r.backends.len):
            b = <const fg_img_backend *>(s.p + r.backends.off) + j
            if b.cluster > image.nclusters or b.filters:
                return False
    return True


cdef bint listener_ok(const fg_image *image, seg_t s, const fg_img_listener *l) noexcept nogil:
    if not text_ok(s, l.key_name) or not text_ok(s, l.gateway) or not text_ok(s, l.name) or not text_ok(s, l.hostname):
        return False
    if not hosts_segment_ok(image, l.hosts_segment) or not filters_ok(s, l.filters):
        return False
    if not tls_ok(image, s, l.tls) or not relays_ok(image, s, l):
        return False
    if l.protocol == FG_LISTENER_HTTP:
        return l.tls.len == 0 and l.relays.len == 0
    if l.protocol == FG_LISTENER_HTTPS:
        return l.tls.len == 1 and l.relays.len == 0
    if l.protocol == FG_LISTENER_TLS:
        return True
    return l.protocol <= FG_LISTENER_UDP and l.tls.len == 0 and l.relays.len <= 1


cdef const char *sockets_fault(const fg_image *image, seg_t s) noexcept nogil:
    cdef const fg_img_socket *x
    cdef const fg_img_listener *l
    cdef uint32_t i, j
    for i in range(image.nsockets):
        x = &image.sockets[i]
        if not text_ok(s, x.address) or not text_ok(s, x.via) or not text_ok(s, x.server) or not text_ok(s, x.log_format):
            return "socket"
        if not array_ok(s, x.listeners, sizeof(fg_img_listener)) or x.access_log > 2 or not texts_ok(s, x.trailers):
            return "socket"
        if x.limits.head_fields > FG_MAX_FIELDS:
            return "head_fields is more than a head has room for"
        if not hosts_segment_ok(image, x.hosts_segment) or (x.datagrams and x.listeners.len != 1):
            return "socket"
        for j in range(x.listeners.len):
            l = <const fg_img_listener *>(s.p + x.listeners.off) + j
            if not listener_ok(image, s, l) or (l.protocol == FG_LISTENER_UDP) != (x.datagrams != 0):
                return "listener"
    return NULL


cdef seg_t segment(const fg_image *image, uint32_t position) noexcept nogil:
    return seg_t(image.base + image.dir[position].offset, image.dir[position].size)


cdef const char *every_hosts_fault(const fg_image *image) noexcept nogil:
    """The hosts of sockets, of their listeners, and of the certificates of those."""
    cdef const fg_img_socket *x
    cdef const fg_img_listener *l
    cdef const fg_img_tls *t
    cdef uint32_t i, j
    cdef bint groups
    for i in range(image.nsockets):
        x = &image.sockets[i]
        if hosts_fault(image, segment(image, x.hosts_segment), False, x.listeners.len) != NULL:
            return "hosts of a socket"
        for j in range(x.listeners.len):
            l = <const fg_img_listener *>(image.sockets_seg + x.listeners.off) + j
            groups = l.protocol <= FG_LISTENER_HTTPS
            if hosts_fault(image, segment(image, l.hosts_segment), groups, l.relays.len) != NULL:
                return "hosts of a listener"
            if l.tls.len == 0:
                continue
            t = <const fg_img_tls *>(image.sockets_seg + l.tls.off)
            if hosts_fault(image, segment(image, t.hosts_segment), False, t.choices.len) != NULL:
                return "names of certificates"
    return NULL


cdef bint upstream_tls_ok(seg_t s, fg_ref at) noexcept nogil:
    cdef const fg_img_upstream_tls *t = <const fg_img_upstream_tls *>(s.p + at.off)
    if at.len == 0:
        return True
    return (at.len == 1 and array_ok(s, at, sizeof(fg_img_upstream_tls)) and t.key != 0 and text_ok(s, t.server_name)
            and texts_ok(s, t.names)
            and digests_ok(s, t.authorities) and text_ok(s, t.certificate)
            and (t.certificate.len == 0 or t.certificate.len == FG_DIGEST)
            and alpn_ok(s, t.alpn) and versions_ok(t.min_version, t.max_version))


cdef const char *clusters_fault(const fg_image *image, seg_t s) noexcept nogil:
    cdef const fg_img_cluster *c
    cdef uint32_t i
    for i in range(image.nclusters):
        c = &image.clusters[i]
        if not text_ok(s, c.name) or not text_ok(s, c.health_path) or not text_ok(s, c.health_host):
            return "cluster"
        if not array_ok(s, c.health_statuses, sizeof(fg_img_statuses)):
            return "statuses of a health check"
        if c.protocol > FG_UPSTREAM_UDP or c.send_proxy > 2 or not upstream_tls_ok(s, c.tls):
            return "cluster"
        if c.health_key and not (c.health_interval and c.health_timeout and c.health_healthy and c.health_unhealthy):
            return "health check"
    return NULL


cdef const char *header_fault(const uint8_t *base, size_t size, fg_image *image) noexcept nogil:
    """Header and directory; fills image's own fields."""
    cdef const fg_img_header *h = <const fg_img_header *>base
    cdef const fg_img_segment *d
    cdef seg_t s
    cdef fg_ref top
    cdef uint64_t end = 0
    cdef uint32_t i
    if size < sizeof(fg_img_header) or h.magic != FG_IMAGE_MAGIC:
        return "not an image"
    if h.version != FG_IMAGE_VERSION:
        return "version"
    if h.size != size or h.nsegments > (size - sizeof(fg_img_header)) // sizeof(fg_img_segment):
        return "size"
    if fg_checksum(base + sizeof(fg_img_header), size - sizeof(fg_img_header)) != h.checksum:
        return "checksum"
    image.base = base
    image.size = size
    image.generation = h.generation
    image.nsegments = h.nsegments
    image.dir = <const fg_img_segment *>(base + sizeof(fg_img_header))
    for i in range(h.nsegments):
        d = &image.dir[i]
        if d.offset % 64 or d.offset > size or d.size > size - d.offset or d.kind < FG_SEG_SOCKETS or d.kind > FG_SEG_GROUP:
            return "directory"
        if d.offset < end:
            return "directory"
        end = d.offset + d.size
        if d.kind > FG_SEG_CLUSTERS:
            continue
        if d.size < sizeof(top_t):
            return "directory"
        s = seg_t(base + d.offset, d.size)
        top = (<const top_t *>s.p).array
        if d.kind == FG_SEG_SOCKETS:
            if image.sockets_seg != NULL or not array_ok(s, top, sizeof(fg_img_socket)):
                return "sockets"
            image.sockets_seg = s.p
            image.sockets = <const fg_img_socket *>(s.p + top.off)
            image.nsockets = top.len
        else:
            if image.clusters_seg != NULL or not array_ok(s, top, sizeof(fg_img_cluster)):
                return "clusters"
            image.clusters_seg = s.p
            image.clusters = <const fg_img_cluster *>(s.p + top.off)
            image.nclusters = top.len
    if image.sockets_seg == NULL or image.clusters_seg == NULL:
        return "directory"
    return NULL


cdef const char *image_fault(const uint8_t *base, size_t size, fg_image *image) noexcept nogil:
    cdef const char *fault = header_fault(base, size, image)
    cdef const fg_img_segment *d
    cdef seg_t s
    cdef uint32_t i
    for i in range(image.nsegments if fault == NULL else 0):
        d = &image.dir[i]
        s = seg_t(base + d.offset, d.size)
        if d.kind == FG_SEG_SOCKETS:
            fault = sockets_fault(image, s)
        elif d.kind == FG_SEG_CLUSTERS:
            fault = clusters_fault(image, s)
        elif d.kind == FG_SEG_GROUP:
            fault = group_fault(s, i, image.nclusters)
        if fault != NULL:
            return fault
    return every_hosts_fault(image) if fault == NULL else fault


cdef int compile_patterns(fg_image *image, image_tables *t, char *why, size_t why_size) noexcept nogil:
    """Compiles the patterns of every group."""
    cdef const fg_group *g
    cdef const uint8_t *seg
    cdef const fg_ref *r
    cdef char text[160]
    cdef uint32_t i, j, n = 0
    t.first = <uint32_t *>calloc(image.nsegments + 1, sizeof(uint32_t))
    if t.first == NULL:
        return -1
    for i in range(image.nsegments):
        t.first[i] = n
        if image.dir[i].kind == FG_SEG_GROUP:
            n += (<const fg_group *>(image.base + image.dir[i].offset)).patterns.len
    t.patterns = <fg_re2 **>calloc(n + 1, sizeof(fg_re2 *))
    if t.patterns == NULL:
        return -1
    for i in range(image.nsegments):
        if image.dir[i].kind != FG_SEG_GROUP:
            continue
        seg = image.base + image.dir[i].offset
        g = <const fg_group *>seg
        for j in range(g.patterns.len):
            r = <const fg_ref *>(seg + g.patterns.off) + j
            t.patterns[t.npatterns] = re2_new(seg + r.off, r.len, text, sizeof(text))
            if t.patterns[t.npatterns] == NULL:
                snprintf(why, why_size, "pattern %.*s: %s", <int>(r.len if r.len < 60 else 60), <const char *>seg + r.off, text)
                return -1
            t.npatterns += 1
    return 0


cdef int image_check(const uint8_t *base, size_t size, fg_image *image, char *why, size_t why_size) noexcept nogil:
    """Validates the image at `base` (64-byte aligned, owned by the caller for as long as the image is used) and builds its
    side tables. 0, or -1 with a sentence."""
    cdef const char *fault
    cdef image_tables *t
    memset(image, 0, sizeof(fg_image))
    fault = image_fault(base, size, image)
    if fault != NULL:
        snprintf(why, why_size, "the image is damaged or of another version: %s", fault)
        return -1
    t = <image_tables *>calloc(1, sizeof(image_tables))
    image.tables = t
    snprintf(why, why_size, "out of memory")
    if t == NULL:
        return -1
    if compile_patterns(image, t, why, why_size) < 0:
        image_close(image)
        return -1
    return 0


cdef int image_open(int fd, fg_image *image, char *why, size_t why_size) noexcept nogil:
    """Maps a descriptor and checks what is there. fg_image_open_fn of csrc/fg_image.h."""
    cdef stat_t st
    cdef void *base
    if fstat(fd, &st) < 0 or st.st_size <= 0:
        snprintf(why, why_size, "the image's descriptor cannot be read")
        return -1
    base = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0)
    if base == MAP_FAILED:
        snprintf(why, why_size, "the image cannot be mapped")
        return -1
    madvise(base, st.st_size, MADV_DONTDUMP)  # header edits and configurations of inline filters may hold credentials
    if image_check(<const uint8_t *>base, st.st_size, image, why, why_size) < 0:
        munmap(base, st.st_size)
        return -1
    (<image_tables *>image.tables).mapped = True
    return 0


cdef void image_close(fg_image *image) noexcept nogil:
    """Undoes image_open or image_check; also after a failure of either."""
    cdef image_tables *t = <image_tables *>image.tables
    cdef uint32_t i
    if t == NULL:
        return
    for i in range(t.npatterns):
        re2_free(t.patterns[i])
    free(t.patterns)
    free(t.first)
    if t.mapped:
        munmap(<void *>image.base, image.size)
    free(t)
    image.tables = NULL


def check(bytes data):
    """Return why a loader refuses these bytes as an image, or None when it accepts them."""
    cdef fg_image image
    cdef char why[256]
    cdef bytearray aligned = bytearray(len(data) + 64)
    cdef uint8_t *p = <uint8_t *><char *>aligned
    p += (64 - <size_t>p % 64) % 64
    cdef size_t i
    for i in range(<size_t>len(data)):
        p[i] = (<const uint8_t *>data)[i]
    if image_check(p, len(data), &image, why, sizeof(why)) < 0:
        return why.decode("latin-1")
    image_close(&image)
    return None
