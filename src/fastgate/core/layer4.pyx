"""Writes what the image says of connections below HTTP: how TLS ends at a listener, how it is spoken to a cluster, and where
relays lead."""

import hashlib
from dataclasses import replace

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fastgate.core.image cimport (
    FG_VERIFY_NONE, FG_VERIFY_OPTIONAL, FG_VERIFY_REQUIRED, fg_img_backend, fg_img_choice, fg_img_relay, fg_img_tls,
    fg_img_upstream_tls, fg_ref,
)
from fastgate.core.segment cimport Segment, array_of, key_of, texts_of


cdef uint64_t _content_key(object content) except? 0:
    """The key that contexts, sessions and pooled connections are shared by. Different owners choose what goes into it, so that
    it is of a hash for which nobody can find the other content of a key."""
    return int.from_bytes(hashlib.blake2b(repr(content).encode(), digest_size=8).digest(), "little")


cdef fg_ref _choices(Segment seg, object tls) except *:
    cdef fg_ref array = array_of(seg, tls.choices, sizeof(fg_img_choice))
    cdef fg_img_choice out
    for i, choice in enumerate(tls.choices):
        memset(&out, 0, sizeof(out))
        out.key = _content_key(replace(tls, choices=(replace(choice, hostname=""),)))  # its names are not of the context
        out.certificates = texts_of(seg, choice.certificates)
        (<fg_img_choice *>(seg.p + array.off) + <size_t>i)[0] = out
    return array


cdef fg_ref tls_of(Segment seg, object tls, uint32_t hosts) except *:
    """One fg_img_tls, or none. `hosts` is the directory position of the names of its choices."""
    cdef fg_ref array = array_of(seg, () if tls is None else (tls,), sizeof(fg_img_tls))
    cdef fg_img_tls out
    if tls is None:
        return array
    memset(&out, 0, sizeof(out))
    out.choices = _choices(seg, tls)
    out.hosts_segment = hosts
    out.min_version, out.max_version = tls.min_version, tls.max_version
    out.ciphers = seg.text(tls.ciphers)
    out.ciphersuites = seg.text(tls.ciphersuites)
    out.groups = seg.text(tls.groups)
    out.alpn = texts_of(seg, tls.alpn)
    out.verify = FG_VERIFY_NONE
    if tls.clients is not None:
        out.policy = _content_key(tls.clients)
        out.authorities = texts_of(seg, tls.clients.authorities)
        out.verify = FG_VERIFY_REQUIRED if tls.clients.required else FG_VERIFY_OPTIONAL
    (<fg_img_tls *>(seg.p + array.off))[0] = out
    return array


cdef fg_ref upstream_tls_of(Segment seg, object tls) except *:
    """One fg_img_upstream_tls, or none."""
    cdef fg_ref array = array_of(seg, () if tls is None else (tls,), sizeof(fg_img_upstream_tls))
    cdef fg_img_upstream_tls out
    if tls is None:
        return array
    memset(&out, 0, sizeof(out))
    out.key = _content_key(tls)
    out.server_name = seg.text(tls.server_name)
    out.names = texts_of(seg, tls.names)
    out.authorities = texts_of(seg, tls.authorities)
    out.certificate = seg.text(tls.certificate)
    out.alpn = texts_of(seg, tls.alpn)
    out.min_version, out.max_version = tls.min_version, tls.max_version
    out.system_trust = tls.system_trust
    (<fg_img_upstream_tls *>(seg.p + array.off))[0] = out
    return array


cdef fg_ref _backends(Segment seg, object backends, list patches) except *:
    cdef fg_ref array = array_of(seg, backends, sizeof(fg_img_backend))
    cdef size_t at
    for i, b in enumerate(backends):
        at = array.off + <size_t>i * sizeof(fg_img_backend)
        (<fg_img_backend *>(seg.p + at)).weight = b.weight
        if b.cluster is not None:
            patches.append((at, b.cluster))
    return array


cdef fg_ref relays_of(Segment seg, list relays, list patches) except *:
    """An array of fg_img_relay; `patches` gains (offset of a backend, its cluster)."""
    cdef fg_ref array = array_of(seg, relays, sizeof(fg_img_relay))
    cdef fg_img_relay out
    for i, relay in enumerate(relays):
        memset(&out, 0, sizeof(out))
        out.key = key_of(relay.key)
        out.route_key = key_of(relay.route)
        out.route = seg.text(relay.route)
        out.name = seg.text(relay.name)
        out.backends = _backends(seg, relay.backends, patches)
        out.total_weight = sum(b.weight for b in relay.backends)
        out.passthrough = relay.passthrough
        (<fg_img_relay *>(seg.p + array.off) + <size_t>i)[0] = out
    return array
