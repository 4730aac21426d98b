"""Writes the image (csrc/fg_image.h, csrc/fg_table.h) and the endpoint table from the IR.

A `Builder` keeps the segments of virtual hosts that did not change: it is told so by the translator, which hands over the
same object again.
"""

import fcntl
import hashlib
import os
import socket

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cpython.bytes cimport PyBytes_FromStringAndSize

from fastgate import ir
from fastgate.stages import stages_of
from fastgate.core.image cimport (
    FG_ACTION_FORWARD, FG_ACTION_REDIRECT, FG_ACTION_RESPOND, FG_ENDPOINTS_MAGIC, FG_IMAGE_MAGIC, FG_IMAGE_VERSION,
    FG_LISTENER_HTTP, FG_LISTENER_HTTPS, FG_LISTENER_TCP, FG_LISTENER_TLS, FG_LISTENER_UDP, FG_PHASE_COUNT, FG_REWRITE_FULL,
    FG_REWRITE_NONE, FG_REWRITE_PREFIX, FG_SEG_CLUSTERS, FG_SEG_GROUP, FG_SEG_HOSTS, FG_SEG_SOCKETS, FG_UPSTREAM_H2C,
    FG_UPSTREAM_HTTP1, FG_UPSTREAM_TCP, FG_UPSTREAM_UDP, FG_UPSTREAM_WEBSOCKET, fg_candidate, fg_candidates, fg_checksum,
    fg_condition, fg_ep_cluster, fg_ep_endpoint, fg_ep_header, fg_group, fg_health_key, fg_img_backend,
    fg_img_cluster, fg_img_edits, fg_img_filters, fg_img_header, fg_img_limits, fg_img_listener, fg_img_member, fg_img_pair,
    fg_img_redirect, fg_img_rule, fg_img_segment, fg_img_socket, fg_img_stage, fg_img_statuses, fg_name, fg_node, fg_part_hash,
    fg_ref,
)
from fastgate.core.http1 cimport header_token
from fastgate.core.layer4 cimport relays_of, tls_of, upstream_tls_of
from fastgate.core.segment cimport Segment, array_of, key_of, texts_of
from fastgate.core.tables cimport hosts_of, hosts_of_groups, place_hosts, trie
from fastgate.core.tables import Part, descend

cdef extern from "fg_phases.h" nogil:
    """
    #include "fg_phases.h"
    static const char *const filter_phases[] = {
    #define X(NAME, name) name,
        FG_PHASES(X)
    #undef X
    };
    """
    const char *const filter_phases[]

cdef extern from "fg_reasons.h" nogil:
    """
    #include "fg_reasons.h"
    static const struct { const char *name; int status; const char *text; } snapshot_reasons[] = {
    #define X(NAME, name, status, side, retryable, text) {name, status, text},
        FG_REASONS(X)
    #undef X
    };
    """
    ctypedef struct reason_t:
        const char *name
        int status
        const char *text
    const reason_t snapshot_reasons[]
    enum: FG_R_COUNT


def key(text):
    """Return the 64-bit key of a name, as csrc/fg_hash.h computes it."""
    return key_of(text)


def part_hash(bytes part, uint32_t seed=0):
    """Return the hash of a part of a host or path, as csrc/fg_table.h computes it."""
    return fg_part_hash(<const uint8_t *><const char *>part, len(part), seed)


def reasons():
    """Every reason of the access log: (name, status, text), in the order of csrc/fg_reasons.h."""
    return [(snapshot_reasons[i].name.decode(), snapshot_reasons[i].status, snapshot_reasons[i].text.decode())
            for i in range(FG_R_COUNT)]


_REASONS = {name: number for number, (name, _, _) in enumerate(reasons())}
_PROTOCOLS = {ir.Protocol.HTTP1: FG_UPSTREAM_HTTP1, ir.Protocol.H2C: FG_UPSTREAM_H2C,
              ir.Protocol.WEBSOCKET: FG_UPSTREAM_WEBSOCKET, ir.Protocol.TCP: FG_UPSTREAM_TCP, ir.Protocol.UDP: FG_UPSTREAM_UDP}
_LISTENERS = {"HTTP": FG_LISTENER_HTTP, "HTTPS": FG_LISTENER_HTTPS, "TLS": FG_LISTENER_TLS, "TCP": FG_LISTENER_TCP,
              "UDP": FG_LISTENER_UDP}
_ACCESS_LOGS = {ir.AccessLog.OFF: 0, ir.AccessLog.JSON: 1, ir.AccessLog.TEXT: 2}


# --- segments ------------------------------------------------------------------------------------------------------------------

cdef class _Piece:
    """A segment of the image that is written: its content, and what of it depends on the places of others."""

    cdef uint32_t kind
    cdef bytes content
    cdef bytes digest
    cdef bint to_groups         # of hosts: whether their values are groups
    cdef list patches           # of others: [(offset of a backend, name of its cluster)]
    cdef list places            # likewise: [(offset of a backend, position of its cluster + 1)]

    def __cinit__(self, uint32_t kind, bytes content, list patches=None, bint to_groups=False):
        self.kind = kind
        self.content = content
        self.digest = hashlib.blake2b(content, digest_size=16).digest()
        self.to_groups = to_groups
        self.patches = patches if patches is not None else []
        self.places = []

    cdef _Piece placed(self, dict clusters):
        self.places = [(off, clusters[name]) for off, name in self.patches]
        return self


# --- rules ------------------------------------------------------------------------------------------------------------------

cdef fg_ref _pairs(Segment seg, object items) except *:
    cdef fg_ref array = array_of(seg, items, sizeof(fg_img_pair))
    cdef fg_ref name, value
    for i, (n, v) in enumerate(items):
        name = seg.text(n)
        value = seg.text(v)
        (<fg_img_pair *>(seg.p + array.off) + <size_t>i).name = name
        (<fg_img_pair *>(seg.p + array.off) + <size_t>i).value = value
    return array


cdef fg_img_edits _edits(Segment seg, object edits) except *:
    cdef fg_img_edits out
    out.set = _pairs(seg, edits.set)
    out.add = _pairs(seg, edits.add)
    out.remove = texts_of(seg, edits.remove)
    return out


cdef uint32_t _path_kind(object path) except? 255:
    if path is None:
        return FG_REWRITE_NONE
    return FG_REWRITE_PREFIX if path.kind is ir.PathKind.PREFIX else FG_REWRITE_FULL


_PHASES = {filter_phases[i].decode(): 1 << i for i in range(FG_PHASE_COUNT)}


cdef uint32_t _phases(object names) except? 0:
    return sum(_PHASES[name] for name in names)


cdef fg_ref _members(Segment seg, object members) except *:
    cdef fg_ref array = array_of(seg, members, sizeof(fg_img_member))
    cdef fg_img_member out
    for i, (name, phases) in enumerate(members):
        memset(&out, 0, sizeof(out))
        out.key, out.name, out.phases = key_of(name), seg.text(name), _phases(phases)
        (<fg_img_member *>(seg.p + array.off) + <size_t>i)[0] = out
    return array


cdef fg_ref _stages(Segment seg, object plugins) except *:
    stages = stages_of(plugins)
    cdef fg_ref array = array_of(seg, stages, sizeof(fg_img_stage))
    cdef fg_img_stage out
    for i, stage in enumerate(stages):
        memset(&out, 0, sizeof(out))
        out.key = key_of(stage.spec)
        out.timeout = stage.timeout
        out.phases = _phases(stage.phases)
        out.members = _members(seg, stage.members)
        out.runs_inline, out.deny, out.buffer_body = stage.inline, stage.deny, stage.buffer_body
        if stage.inline:
            out.spec = seg.text(stage.spec)
        (<fg_img_stage *>(seg.p + array.off) + <size_t>i)[0] = out
    return array


_NO_FILTERS = ir.Filters()


cdef uint32_t _filters(Segment seg, object filters) except? 1:
    """Offset of fg_img_filters; 0 when there is nothing to do."""
    cdef fg_img_filters out
    cdef uint32_t at
    if filters == _NO_FILTERS:
        return 0
    at = seg.room(sizeof(out))
    memset(&out, 0, sizeof(out))
    out.request = _edits(seg, filters.request)
    out.response = _edits(seg, filters.response)
    out.hostname = seg.text(filters.hostname or "")
    out.path = seg.text(filters.path.value if filters.path else "")
    out.path_kind = _path_kind(filters.path)
    out.stages = _stages(seg, filters.plugins)
    (<fg_img_filters *>(seg.p + at))[0] = out
    return at


cdef fg_ref _redirect(Segment seg, object action) except *:
    cdef fg_ref at = array_of(seg, (action,), sizeof(fg_img_redirect))
    cdef fg_img_redirect out
    memset(&out, 0, sizeof(out))
    out.scheme = seg.text(action.scheme or "")
    out.hostname = seg.text(action.hostname or "")
    out.path = seg.text(action.path.value if action.path else "")
    out.path_kind = <uint8_t>_path_kind(action.path)
    out.port = action.port or 0
    out.status = action.status
    (<fg_img_redirect *>(seg.p + at.off))[0] = out
    return at


cdef fg_ref _backends(Segment seg, object backends, list patches) except *:
    cdef fg_ref array = array_of(seg, backends, sizeof(fg_img_backend))
    cdef fg_img_backend out
    cdef size_t at
    for i, b in enumerate(backends):
        memset(&out, 0, sizeof(out))
        out.weight = b.weight
        if b.respond is not None:
            out.status = b.respond.status
            out.reason = _REASONS[b.respond.reason]
        out.filters = _filters(seg, b.filters)
        at = array.off + <size_t>i * sizeof(fg_img_backend)
        (<fg_img_backend *>(seg.p + at))[0] = out
        if b.cluster is not None:
            patches.append((at, b.cluster))
    return array


cdef fg_img_rule _rule(Segment seg, object rule, list patches) except *:
    cdef fg_img_rule out
    memset(&out, 0, sizeof(out))
    action = rule.action
    out.key = key_of(rule.key)
    out.route_key = key_of(rule.route)
    last = rule.key.rpartition("/")[2]
    out.index = int(last) if last.isdecimal() else 0
    if isinstance(action, ir.Forward):
        out.action = FG_ACTION_FORWARD
        out.request_timeout = action.request_timeout
        out.backend_timeout = action.backend_timeout
        out.total_weight = sum(b.weight for b in action.backends)
        out.to = _backends(seg, action.backends, patches)
    elif isinstance(action, ir.Redirect):
        out.action = FG_ACTION_REDIRECT
        out.status = action.status
        out.to = _redirect(seg, action)
    else:
        out.action = FG_ACTION_RESPOND
        out.status = action.status
        out.reason = _REASONS[action.reason]
    out.filters = _filters(seg, rule.filters)
    out.route = seg.text(rule.route)
    out.name = seg.text(rule.name)
    return out


# --- groups -----------------------------------------------------------------------------------------------------------------

class _Index:
    """Positions of distinct values in the order of their first appearance."""

    def __init__(self):
        self.at = {}

    def __call__(self, value):
        return self.at.setdefault(value, len(self.at))


cdef fg_ref _conditions(Segment seg, object conditions, object names, object patterns) except *:
    cdef fg_ref array = array_of(seg, conditions, sizeof(fg_condition))
    cdef fg_condition out
    for i, c in enumerate(conditions):
        memset(&out, 0, sizeof(out))
        out.name = names(c.name)
        if c.kind is ir.ValueKind.REGEX:
            out.pattern = patterns(c.value) + 1
        else:
            out.value = seg.text(c.value)
        (<fg_condition *>(seg.p + array.off) + <size_t>i)[0] = out
    return array


cdef uint32_t _candidates(Segment seg, list matches, dict rules, object headers, object queries, object patterns,
                          list places) except? 1:
    """A list of candidates, their rules as positions in `rules`; `places` gains the offset of each."""
    cdef uint32_t top
    cdef fg_candidate out
    if not matches:
        return 0
    top = seg.room(8 + sizeof(fg_candidate) * len(matches))
    (<fg_candidates *>(seg.p + top)).count = <uint32_t>len(matches)
    for i, m in enumerate(matches):
        memset(&out, 0, sizeof(out))
        out.rule = rules[m.rule.key]
        if m.path.kind is ir.PathKind.REGEX:
            out.pattern = patterns(m.path.value) + 1
        out.method = seg.text(m.method)
        out.headers = _conditions(seg, m.headers, headers, patterns)
        out.queries = _conditions(seg, m.query, queries, patterns)
        places.append(top + 8 + i * sizeof(fg_candidate))
        (<fg_candidate *>(seg.p + top + 8) + <size_t>i)[0] = out
    return top


cdef fg_ref _names(Segment seg, object index, bint headers) except *:
    cdef fg_ref array = array_of(seg, index.at, sizeof(fg_name))
    cdef fg_name out
    cdef bytes data
    for i, name in enumerate(index.at):
        memset(&out, 0, sizeof(out))
        out.text = seg.text(name)
        data = name.encode("latin-1", "replace")
        out.token = header_token(<const uint8_t *><const char *>data, <uint32_t>len(data)) if headers else 0
        (<fg_name *>(seg.p + array.off) + <size_t>i)[0] = out
    return array


cdef object _pathtrie(object vhost):
    """The virtual host's paths as a trie of Part, and its matches by pattern."""
    root = Part()
    regexes = []
    for m in vhost.matches:
        if m.path.kind is ir.PathKind.REGEX:
            regexes.append(m)
            continue
        path = m.path.value.encode("latin-1", "replace")
        part = descend(root, path[1:].split(b"/")) if path else root
        if m.path.kind is ir.PathKind.EXACT:
            if part.exact is None:
                part.exact = []
            part.exact.append(m)
        else:
            if part.below is None:
                part.below = []
            part.below.append(m)
    return root, regexes


cdef _Piece _group(object vhost):
    """FG_SEG_GROUP of a virtual host, written in the order of a match's reading."""
    cdef Segment seg = Segment()
    cdef uint32_t top = seg.room(sizeof(fg_group)), at, exact, below
    cdef fg_group out
    cdef fg_img_rule rule
    cdef fg_candidate *c
    cdef list patches = [], candidates = []
    rules, headers, queries, patterns = {}, _Index(), _Index(), _Index()
    memset(&out, 0, sizeof(out))
    out.hostname = seg.text(vhost.hostname)
    root, regexes = _pathtrie(vhost)
    array, seed, places = trie(seg, root, b"/", False)
    for m in vhost.matches:
        rules.setdefault(m.rule.key, m.rule)
    positions = {key: position for position, key in enumerate(rules)}
    for at, part in places:
        exact = _candidates(seg, part.exact, positions, headers, queries, patterns, candidates) if part.exact else 0
        below = _candidates(seg, part.below, positions, headers, queries, patterns, candidates) if part.below else 0
        (<fg_node *>(seg.p + at)).exact = exact
        (<fg_node *>(seg.p + at)).below = below
    out.regexes = _candidates(seg, regexes, positions, headers, queries, patterns, candidates)
    out.headers = _names(seg, headers, True)
    out.queries = _names(seg, queries, False)
    out.patterns = texts_of(seg, list(patterns.at))
    out.rules = array_of(seg, rules, sizeof(fg_img_rule))
    for at in candidates:
        c = <fg_candidate *>(seg.p + at)
        c.rule = out.rules.off + c.rule * <uint32_t>sizeof(fg_img_rule)
    for i, r in enumerate(rules.values()):
        rule = _rule(seg, r, patches)
        (<fg_img_rule *>(seg.p + out.rules.off) + <size_t>i)[0] = rule
    out.root = array[0]
    out.seed = seed
    out.nodes.off, out.nodes.len = array
    (<fg_group *>(seg.p + top))[0] = out
    return _Piece(FG_SEG_GROUP, seg.done(), patches)


# --- sockets and clusters -----------------------------------------------------------------------------------------------------

cdef void _limits(fg_img_limits *out, object x) except *:
    out.request_line, out.head_bytes, out.head_fields = x.request_line, x.head_bytes, x.head_fields
    out.response_head_bytes, out.body_bytes = x.response_head_bytes, x.body_bytes
    out.first_byte_timeout, out.head_timeout, out.idle_timeout = x.first_byte_timeout, x.head_timeout, x.idle_timeout
    out.body_min_rate, out.body_rate_window = x.body_min_rate, x.body_rate_window
    out.connect_timeout, out.response_timeout = x.connect_timeout, x.response_timeout
    out.stream_idle_timeout = x.stream_idle_timeout
    out.upstream_idle_timeout, out.tunnel_idle_timeout = x.upstream_idle_timeout, x.tunnel_idle_timeout
    out.keepalive_requests, out.connections = x.keepalive_requests, x.connections
    out.upstream_connections, out.interim_responses = x.upstream_connections, x.interim_responses


def _relays(listener):
    """The relays of a listener, once each, by their keys."""
    return {n.relay.key: n.relay for n in listener.names}


cdef fg_img_listener _listener(Segment seg, object l, uint32_t hosts, uint32_t names, list patches) except *:
    """`hosts`, and `names` of its choices of certificates, are directory positions."""
    cdef fg_img_listener out
    memset(&out, 0, sizeof(out))
    out.key = key_of(l.key)
    out.key_name = seg.text(l.key)
    out.gateway = seg.text(l.gateway)
    out.name = seg.text(l.name)
    out.hostname = seg.text(l.hostname)
    out.protocol = _LISTENERS[l.protocol]
    out.hosts_segment = hosts
    out.filters = _filters(seg, ir.Filters(plugins=l.plugins))
    out.tls = tls_of(seg, l.tls, names)
    out.relays = relays_of(seg, list(_relays(l).values()), patches)
    return out


cdef fg_img_socket _socket(Segment seg, object s, uint32_t hosts, list places, list patches) except *:
    """`hosts` is a directory position, `places` are those of each listener."""
    cdef fg_img_socket out
    cdef fg_img_listener listener
    settings = s.settings
    memset(&out, 0, sizeof(out))
    out.key = key_of(s.key)
    out.address = seg.text(s.address)
    out.port = s.port
    out.trusted_hops = settings.trusted_hops
    out.hosts_segment = hosts
    out.via = seg.text(settings.via)
    out.server = seg.text(settings.server)
    out.log_format = seg.text(settings.access_log_format)
    out.trailers = texts_of(seg, settings.trailers)
    out.underscores = settings.underscores
    out.request_id = settings.request_id
    out.access_log = _ACCESS_LOGS[settings.access_log]
    out.datagrams = s.datagrams
    out.proxy_protocol = settings.proxy_protocol
    out.client_cert = settings.client_cert
    _limits(&out.limits, settings.limits)
    out.listeners = array_of(seg, s.listeners, sizeof(fg_img_listener))
    for i, l in enumerate(s.listeners):
        listener = _listener(seg, l, places[i][0], places[i][1], patches)
        (<fg_img_listener *>(seg.p + out.listeners.off) + <size_t>i)[0] = listener
    return out


cdef _Piece _sockets(object sockets, list places):
    """FG_SEG_SOCKETS; `places` are what _socket is told of each."""
    cdef Segment seg = Segment()
    cdef uint32_t top = seg.room(sizeof(fg_ref))
    cdef fg_ref array = array_of(seg, sockets, sizeof(fg_img_socket))
    cdef fg_img_socket out
    cdef list patches = []
    (<fg_ref *>(seg.p + top))[0] = array
    for i, s in enumerate(sockets):
        out = _socket(seg, s, places[i][0], places[i][1], patches)
        (<fg_img_socket *>(seg.p + array.off) + <size_t>i)[0] = out
    return _Piece(FG_SEG_SOCKETS, seg.done(), patches)


cdef uint64_t _check_key(object cluster) except 0:
    """What is checked, and in what words: whoever speaks other TLS may find something else."""
    check = cluster.health_check if cluster.tls is None else (cluster.health_check, cluster.tls)
    return key_of(repr(check)) | 1


cdef fg_ref _statuses(Segment seg, object ranges) except *:
    cdef fg_ref array = array_of(seg, ranges, sizeof(fg_img_statuses))
    for i, (first, last) in enumerate(ranges):
        (<fg_img_statuses *>(seg.p + array.off) + <size_t>i).first = first
        (<fg_img_statuses *>(seg.p + array.off) + <size_t>i).last = last
    return array


cdef bytes _clusters(object clusters):
    cdef Segment seg = Segment()
    cdef uint32_t top = seg.room(sizeof(fg_ref))
    cdef fg_ref array = array_of(seg, clusters, sizeof(fg_img_cluster))
    cdef fg_img_cluster out
    (<fg_ref *>(seg.p + top))[0] = array
    for i, c in enumerate(clusters):
        memset(&out, 0, sizeof(out))
        out.key = key_of(c.key)
        out.name = seg.text(c.key)
        out.protocol = _PROTOCOLS[c.protocol]
        out.send_proxy = c.send_proxy
        out.tls = upstream_tls_of(seg, c.tls)
        if c.health_check is not None:
            out.health_key = _check_key(c)
            out.health_path = seg.text(c.health_check.path)
            out.health_host = seg.text(c.health_check.host)
            out.health_statuses = _statuses(seg, c.health_check.statuses)
            out.health_interval = c.health_check.interval
            out.health_timeout = c.health_check.timeout
            out.health_healthy = c.health_check.healthy
            out.health_unhealthy = c.health_check.unhealthy
        (<fg_img_cluster *>(seg.p + array.off) + <size_t>i)[0] = out
    return seg.done()


cdef bytes _image(list pieces, uint64_t generation):
    """Header, directory, segments."""
    cdef size_t number = len(pieces), i, at, where
    cdef _Piece piece
    cdef uint64_t position
    cdef list offsets = [0] * number
    at = sizeof(fg_img_header) + sizeof(fg_img_segment) * number
    for i in range(number):
        piece = <_Piece>pieces[i]
        at = (at + 63) & ~<size_t>63
        offsets[i] = at
        at += <size_t>len(piece.content)
    at = (at + 7) & ~<size_t>7
    cdef bytes out = PyBytes_FromStringAndSize(NULL, at)
    cdef uint8_t *p = <uint8_t *><char *>out
    cdef fg_img_header *h = <fg_img_header *>p
    cdef fg_img_segment *d = <fg_img_segment *>(p + sizeof(fg_img_header))
    cdef size_t end = sizeof(fg_img_header) + sizeof(fg_img_segment) * number
    memset(h, 0, sizeof(fg_img_header))
    for i in range(number):
        piece = <_Piece>pieces[i]
        where = <size_t>offsets[i]
        memset(p + end, 0, where - end)
        end = where + <size_t>len(piece.content)
        memcpy(p + where, <const char *>piece.content, end - where)
        if piece.kind == FG_SEG_GROUP:
            (<fg_group *>(p + where)).position = <uint32_t>i
        for off, position in piece.places:
            (<fg_img_backend *>(p + where + <size_t>off)).cluster = position
        if piece.to_groups:
            place_hosts(p + where, offsets)
        memcpy(d[i].hash, <const char *>piece.digest, 16)
        d[i].offset = where
        d[i].size = <uint32_t>(end - where)
        d[i].kind = piece.kind
    memset(p + end, 0, at - end)
    h.magic = FG_IMAGE_MAGIC
    h.version = FG_IMAGE_VERSION
    h.nsegments = <uint32_t>number
    h.size = at
    h.generation = generation
    h.checksum = fg_checksum(p + sizeof(fg_img_header), at - sizeof(fg_img_header))
    return out


cdef class _Groups:
    """The virtual hosts of a listener as they were written last, in their order."""

    cdef tuple hosts            # ir.VirtualHost
    cdef list pieces            # of each
    cdef object clusters        # what the pieces' places are positions in
    cdef _Piece table           # the FG_SEG_HOSTS that leads to them
    cdef size_t first           # directory position + 1 of the first group that `table` leads to

    cdef bint follow(self, tuple hosts, object clusters, dict positions) except -1:
        """Write what differs. Returns whether the hostnames, or how many there are, differ as well."""
        cdef size_t before = len(self.hosts) if self.hosts is not None else 0, after = len(hosts)
        cdef size_t head = 0, tail = 0, shorter = min(before, after), i
        cdef bint moved = before != after
        cdef list pieces
        while head < shorter and <void *>self.hosts[head] == <void *>hosts[head]:
            head += 1
        while tail < shorter - head and <void *>self.hosts[before - tail - 1] == <void *>hosts[after - tail - 1]:
            tail += 1
        known = {id(self.hosts[i]): self.pieces[i] for i in range(head, before - tail)} if before else {}
        pieces = []
        for i in range(head, after - tail):
            vhost = hosts[i]
            moved |= i >= before or self.hosts[i].hostname != vhost.hostname
            piece = known.get(id(vhost))
            pieces.append(_group(vhost).placed(positions) if piece is None else piece)
        self.pieces = [*self.pieces[:head], *pieces, *self.pieces[before - tail:]] if before else pieces
        self.hosts = hosts
        if self.clusters is not clusters:
            self.clusters = clusters
            for piece in self.pieces:
                (<_Piece>piece).placed(positions)
        return moved


cdef class Builder:
    """Builds images one after another, and keeps what comes again as the same object: virtual hosts, clusters."""

    cdef dict _groups           # of listeners, by key
    cdef object _clusters       # what was written last, the piece, and positions + 1 by name
    cdef _Piece _clusters_piece
    cdef dict _positions

    def __init__(self):
        self._groups = {}
        self._clusters = None

    def build(self, config, generation):
        """Return the image of an `ir.Ir`. It raises KeyError when a rule names a cluster that the Ir does not have."""
        if self._clusters is not config.clusters:
            self._positions = {c.key: number + 1 for number, c in enumerate(config.clusters)}
            self._clusters_piece = _Piece(FG_SEG_CLUSTERS, _clusters(config.clusters))
            self._clusters = config.clusters
        pieces = [None, self._clusters_piece]
        kept, written = {}, {}

        def table(piece):
            pieces.append(piece)
            return len(pieces) - 1

        def positions_of(names):
            return table(_Piece(FG_SEG_HOSTS, hosts_of(names)))

        def hosts_of_listener(listener):
            """Of the listener itself, and of its choices of certificates."""
            numbers = {key: number for number, key in enumerate(_relays(listener), 1)}
            if listener.names:
                itself = positions_of([(n.hostname, numbers[n.relay.key]) for n in listener.names])
            elif id(listener) in written:
                itself = written[id(listener)]
            else:
                itself = written[id(listener)] = table(self._table_of(listener, kept, pieces))
            choices = listener.tls.choices if listener.tls is not None else ()
            if not choices:
                return itself, 0
            return itself, positions_of([(c.hostname, number) for number, c in enumerate(choices, 1)])

        places = []
        for s in config.sockets:
            of_socket = positions_of([(l.hostname, number) for number, l in enumerate(s.listeners, 1)])
            places.append((of_socket, [hosts_of_listener(l) for l in s.listeners]))
        pieces[0] = _sockets(config.sockets, places).placed(self._positions)
        image = _image(pieces, generation)
        self._groups = kept
        return image

    cdef _Piece _table_of(self, object listener, dict kept, list pieces):
        """Write the groups of a listener; returns the hosts that lead to them."""
        cdef _Groups groups = self._groups.get(listener.key)
        cdef size_t first = len(pieces) + 1
        if groups is None:
            groups = _Groups()
        if groups.follow(listener.hosts, self._clusters, self._positions) or groups.table is None or groups.first != first:
            groups.table = _Piece(FG_SEG_HOSTS, hosts_of_groups(listener.hosts, first), None, True)
            groups.first = first
        kept[listener.key] = groups
        pieces += groups.pieces
        return groups.table


def build(config, generation=1):
    """Return the image of an `ir.Ir`, without keeping anything."""
    return Builder().build(config, generation)


cdef void _address(fg_ep_endpoint *out, object endpoint) except *:
    cdef bytes packed
    memset(out, 0, sizeof(out[0]))
    out.family = 6 if ":" in endpoint.address else 4
    packed = socket.inet_pton(socket.AF_INET6 if out.family == 6 else socket.AF_INET, endpoint.address)
    memcpy(out.address, <const char *>packed, len(packed))
    out.port = endpoint.port
    out.weight = endpoint.weight


def build_endpoints(clusters, version):
    """Return the endpoint table of a mapping from cluster key to `ir.Endpoint`s whose addresses are IP literals."""
    by_key = sorted((key_of(name), endpoints) for name, endpoints in clusters.items())
    cdef size_t total = sum(len(e) for _, e in by_key)
    cdef size_t size = sizeof(fg_ep_header) + sizeof(fg_ep_cluster) * len(by_key) + sizeof(fg_ep_endpoint) * total
    cdef bytearray out = bytearray(size)
    cdef uint8_t *p = <uint8_t *><char *>out
    cdef fg_ep_header *h = <fg_ep_header *>p
    cdef fg_ep_cluster *c = <fg_ep_cluster *>(p + sizeof(fg_ep_header))
    cdef fg_ep_endpoint *e = <fg_ep_endpoint *>(p + sizeof(fg_ep_header) + sizeof(fg_ep_cluster) * len(by_key))
    cdef uint32_t at = 0
    for number, endpoints in by_key:
        c.key = number
        c.first = at
        c.count = <uint32_t>len(endpoints)
        c += 1
        for x in endpoints:
            _address(e, x)
            e += 1
            at += 1
    h.magic = FG_ENDPOINTS_MAGIC
    h.version = version
    h.size = size
    h.nclusters = <uint32_t>len(by_key)
    h.nendpoints = at
    h.checksum = fg_checksum(p + sizeof(fg_ep_header), size - sizeof(fg_ep_header))
    return bytes(out)


def health_key(cluster, endpoint):
    """Return what workers call the check of an `ir.Endpoint` of an `ir.Cluster`: the key of HEALTH messages."""
    cdef fg_ep_endpoint e
    _address(&e, endpoint)
    return fg_health_key(_check_key(cluster), e.address, e.port, e.family)


def seal(data, name):
    """Return the descriptor of a memfd that holds `data` and that nobody can change any more; CLOEXEC; the caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd
