"""What an image says of connections below HTTP, as the structures of csrc/fg_image.h have it."""

import ctypes
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64
from dataclasses import replace

import pytest
from tables import below_http, digest, relay

from fastgate import ir
from fastgate.core import image
from fastgate.core.router import Batch, Table
from fastgate.core.snapshot import Builder, build, key

SOCKETS, CLUSTERS = 1, 2


class Ref(ctypes.Structure):
    _fields_ = (("off", c_uint32), ("len", c_uint32))


class Choice(ctypes.Structure):
    _fields_ = (("key", c_uint64), ("certificates", Ref))


class Tls(ctypes.Structure):
    _fields_ = (
        ("policy", c_uint64), ("choices", Ref), ("hosts_segment", c_uint32), ("min_version", c_uint16),
        ("max_version", c_uint16), ("ciphers", Ref), ("ciphersuites", Ref), ("groups", Ref), ("alpn", Ref),
        ("authorities", Ref), ("verify", c_uint8),
    )  # fmt: skip


class UpstreamTls(ctypes.Structure):
    _fields_ = (
        ("key", c_uint64), ("server_name", Ref), ("names", Ref), ("authorities", Ref), ("certificate", Ref), ("alpn", Ref),
        ("min_version", c_uint16), ("max_version", c_uint16), ("system_trust", c_uint8),
    )  # fmt: skip


class Backend(ctypes.Structure):
    _fields_ = (
        ("cluster", c_uint64), ("weight", c_uint32), ("status", c_uint16), ("reason", c_uint16), ("filters", c_uint32),
    )  # fmt: skip


class Relay(ctypes.Structure):
    _fields_ = (
        ("key", c_uint64), ("route_key", c_uint64), ("route", Ref), ("name", Ref), ("backends", Ref),
        ("total_weight", c_uint32), ("passthrough", c_uint8),
    )  # fmt: skip


class Listener(ctypes.Structure):
    _fields_ = (
        ("key", c_uint64), ("key_name", Ref), ("gateway", Ref), ("name", Ref), ("hostname", Ref), ("protocol", c_uint32),
        ("hosts_segment", c_uint32), ("filters", c_uint32), ("reserved", c_uint32), ("tls", Ref), ("relays", Ref),
    )  # fmt: skip


class Socket(ctypes.Structure):
    _fields_ = (
        ("key", c_uint64), ("address", Ref), ("port", c_uint32), ("trusted_hops", c_uint32), ("listeners", Ref),
        ("hosts_segment", c_uint32), ("reserved2", c_uint32), ("via", Ref), ("server", Ref), ("log_format", Ref),
        ("trailers", Ref), ("underscores", c_uint8), ("request_id", c_uint8), ("access_log", c_uint8),
        ("datagrams", c_uint8), ("proxy_protocol", c_uint8), ("client_cert", c_uint8), ("reserved", c_uint8 * 2),
        ("limits", c_uint32 * 20),
    )  # fmt: skip


class Cluster(ctypes.Structure):
    _fields_ = (
        ("key", c_uint64), ("name", Ref), ("health_key", c_uint64), ("health_path", Ref), ("health_host", Ref),
        ("health_statuses", Ref), ("health_numbers", c_uint32 * 4), ("protocol", c_uint32), ("send_proxy", c_uint32),
        ("tls", Ref),
    )  # fmt: skip


class Segment:
    """Reads a segment of an image."""

    def __init__(self, data, kind):
        count = int.from_bytes(data[12:16], "little")
        entries = [data[64 + 32 * n : 96 + 32 * n] for n in range(count)]
        at = next(e for e in entries if int.from_bytes(e[28:32], "little") == kind)
        start, size = int.from_bytes(at[16:24], "little"), int.from_bytes(at[24:28], "little")
        self.data = data[start : start + size]

    def all(self, what, ref):
        return [what.from_buffer_copy(self.data, ref.off + n * ctypes.sizeof(what)) for n in range(ref.len)]

    def top(self, what):
        return self.all(what, Ref.from_buffer_copy(self.data))

    def text(self, ref):
        return self.data[ref.off : ref.off + ref.len].decode()

    def texts(self, ref):
        return [self.text(r) for r in self.all(Ref, ref)]


def listeners(config, socket=0):
    segment = Segment(build(config), SOCKETS)
    return segment, segment.all(Listener, segment.top(Socket)[socket].listeners)


def test_tls_of_a_listener():
    segment, (https, _) = listeners(below_http())
    assert https.protocol == 1
    (tls,) = segment.all(Tls, https.tls)
    assert (tls.min_version, tls.max_version, tls.verify) == (0x0304, 0x0304, 1)
    assert [segment.text(r) for r in (tls.ciphers, tls.ciphersuites, tls.groups)] == ["C", "S", "G"]
    assert segment.texts(tls.alpn) == ["h2", "http/1.1"]
    assert segment.texts(tls.authorities) == [digest(8)]
    certificates = [segment.texts(c.certificates) for c in segment.all(Choice, tls.choices)]
    assert certificates == [[digest(1), digest(2)], [digest(3)], [digest(1), digest(2)]]


def choice_keys(config):
    segment, (https, _) = listeners(config)
    return [c.key for c in segment.all(Choice, segment.all(Tls, https.tls)[0].choices)]


def with_tls(config, **changes):
    """The same but for the TLS of its first listener."""
    first, *others = config.sockets
    https, tls = first.listeners
    changed = replace(https, tls=replace(https.tls, **changes))
    return replace(config, sockets=(replace(first, listeners=(changed, tls)), *others))


@pytest.mark.parametrize(
    "changes",
    [
        {"min_version": ir.TLS12},
        {"min_version": ir.TLS12, "max_version": ir.TLS12},
        {"ciphers": "D"},
        {"ciphersuites": "T"},
        {"groups": "H"},
        {"alpn": ("http/1.1",)},
        {"clients": None},
        {"clients": ir.ClientValidation((digest(8),), required=True)},
        {"clients": ir.ClientValidation((digest(7),), required=False)},
    ],
)
def test_contexts_are_shared_by_all_that_they_are_made_of(changes):
    config = below_http()
    first, second, third = choice_keys(config)
    assert first == third != second  # names are not of a context
    changed = choice_keys(with_tls(config, **changes))
    assert changed[0] == changed[2]
    assert not {first, second} & set(changed)


def test_what_clients_had_to_show_is_a_policy():
    def policy(clients):
        segment, (https, _) = listeners(with_tls(below_http(), clients=clients))
        return segment.all(Tls, https.tls)[0].policy

    asked = [ir.ClientValidation((digest(n),), required) for n in (7, 8) for required in (False, True)]
    assert policy(None) == 0
    assert len({policy(clients) for clients in asked} | {0}) == 5


def test_relays_stand_once_and_name_clusters_by_position():
    config = below_http()
    segment, (https, tls) = listeners(config)
    assert https.relays.len == 0
    passed, ended = segment.all(Relay, tls.relays)
    assert (segment.text(passed.route), segment.text(passed.name)) == ("TLSRoute/ns/r", "rule-0")
    assert (passed.key, passed.route_key) == (key("TLSRoute/ns/r/0"), key("TLSRoute/ns/r"))
    assert (passed.passthrough, ended.passthrough, ended.total_weight) == (1, 0, 3)
    assert [(b.cluster, b.weight) for b in segment.all(Backend, passed.backends)] == [(3, 1)]
    assert [(b.cluster, b.weight) for b in segment.all(Backend, ended.backends)] == [(0, 1), (2, 2)]


def test_clusters_that_move_move_in_relays():
    config, builder = below_http(), Builder()
    assert builder.build(config, 1) == build(config)
    moved = replace(config, clusters=config.clusters[::-1])
    assert builder.build(moved, 1) == build(moved)
    segment, (_, tls) = listeners(moved)
    passed, _ = segment.all(Relay, tls.relays)
    assert [b.cluster for b in segment.all(Backend, passed.backends)] == [2]
    with pytest.raises(KeyError, match="c2"):
        build(replace(config, clusters=()))


def test_sockets():
    segment = Segment(build(below_http()), SOCKETS)
    sockets = segment.top(Socket)
    assert [(s.datagrams, s.proxy_protocol, s.client_cert) for s in sockets] == [(0, 1, 1), (0, 0, 0), (1, 0, 0)]
    assert sockets[2].key == key("udp::53")
    assert [x.protocol for s in sockets for x in segment.all(Listener, s.listeners)] == [1, 2, 3, 4]


def test_clusters():
    segment = Segment(build(below_http()), CLUSTERS)
    clusters = segment.top(Cluster)
    assert [(c.protocol, c.send_proxy, c.tls.len) for c in clusters] == [(0, 0, 0), (0, 2, 1), (3, 1, 0), (4, 0, 0)]
    (tls,) = segment.all(UpstreamTls, clusters[1].tls)
    assert segment.text(tls.server_name) == "s.example"
    assert segment.texts(tls.names) == ["DNS:n.example", "URI:spiffe://n"]
    assert segment.texts(tls.authorities) == [digest(9)]
    assert segment.text(tls.certificate) == digest(3)
    assert segment.texts(tls.alpn) == ["http/1.1"]
    assert (tls.min_version, tls.max_version, tls.system_trust) == (0x0304, 0x0304, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"server_name": "t.example"},
        {"names": ()},
        {"authorities": ()},
        {"system_trust": False},
        {"certificate": ""},
        {"alpn": ("h2",)},
        {"min_version": ir.TLS12},
    ],
)
def test_an_identity_of_a_backend_is_all_of_it(changes):
    def identity(tls):
        segment = Segment(build(ir.Ir(clusters=(ir.Cluster("c", tls=tls),))), CLUSTERS)
        return segment.all(UpstreamTls, segment.top(Cluster)[0].tls)[0].key

    tls = below_http().clusters[1].tls
    assert identity(replace(tls, **changes)) != identity(tls) == identity(replace(tls))


def test_server_names():
    table = Table(build(below_http()))
    two, one = (digest(1), digest(2)), (digest(3),)
    https, tls = "Gateway/ns/g/https", "Gateway/ns/g/tls"
    for name, expected in (
        (b"www.a.example", (https, one, None)),
        (b"x.www.a.example", (https, two, None)),
        (b"ww.a.example", (https, two, None)),
        (b"a.example", None),
        (b"p.b.example", (tls, two, ("TLSRoute/ns/r", "rule-0"))),
        (b"q.b.example", (tls, two, ("TLSRoute/ns/r", "rule-1"))),
        (b"x.p.b.example", (tls, two, ("TLSRoute/ns/r", "rule-1"))),
        (b"c.example", None),
        (b"", None),
    ):
        assert table.find_host(0, name) == expected, name
    assert table.find_host(1, b"") == ("Gateway/ns/g/tcp", (), ("TCPRoute/ns/r", "rule-0"))


def test_requests_find_no_relay():
    table = Table(build(below_http()))
    requests = [(b"GET", host, b"/", b"", ()) for host in (b"p.b.example", b"www.a.example")]
    assert [table.match(0, Batch([r])) is not None for r in requests] == [False, True]


def tcp(*relays):
    names = tuple(ir.ServerName("" if n == 0 else f"{n}.example", r) for n, r in enumerate(relays))
    return ir.Listener("l", "g", "l", "", "TCP", names=names)


HTTPS = ir.Listener("l", "g", "l", "", "HTTPS", tls=ir.Tls((ir.CertificateChoice("", (digest(1),)),)))
CLIENTS = ir.ClientValidation((digest(1),), required=True)
RELAY = relay("TLSRoute", 0)


@pytest.mark.parametrize(
    "listener",
    [
        replace(HTTPS, tls=None),
        replace(HTTPS, tls=ir.Tls(())),
        replace(HTTPS, tls=ir.Tls((ir.CertificateChoice("", ()),))),
        replace(HTTPS, tls=ir.Tls((ir.CertificateChoice("", (digest(1)[1:],)),))),
        replace(HTTPS, tls=replace(HTTPS.tls, min_version=0x0302)),
        replace(HTTPS, tls=replace(HTTPS.tls, max_version=0x0305)),
        replace(HTTPS, tls=replace(HTTPS.tls, min_version=ir.TLS13, max_version=ir.TLS12)),
        replace(HTTPS, tls=replace(HTTPS.tls, alpn=("",))),
        replace(HTTPS, tls=replace(HTTPS.tls, alpn=("x" * 256,))),
        replace(HTTPS, tls=replace(HTTPS.tls, clients=replace(CLIENTS, authorities=()))),
        replace(HTTPS, tls=replace(HTTPS.tls, clients=replace(CLIENTS, authorities=("short",)))),
        replace(HTTPS, protocol="HTTP"),
        replace(HTTPS, protocol="TCP"),
        replace(HTTPS, names=(ir.ServerName("", RELAY),)),
        replace(HTTPS, protocol="TLS", tls=None, names=(ir.ServerName("", RELAY),)),
        tcp(relay("TCPRoute", 0), relay("TCPRoute", 1)),
        replace(tcp(relay("UDPRoute", 0)), protocol="UDP"),
    ],
)
def test_what_an_engine_could_not_serve_is_refused(listener):
    assert image.check(build(ir.Ir((ir.Socket("", 1, (listener,)),)))) is not None


@pytest.mark.parametrize(
    "listener",
    [
        HTTPS,
        replace(HTTPS, tls=replace(HTTPS.tls, clients=CLIENTS, alpn=("x" * 255,))),
        replace(HTTPS, protocol="TLS", names=(ir.ServerName("", RELAY),)),
        replace(HTTPS, protocol="TLS", tls=None, names=(ir.ServerName("", replace(RELAY, passthrough=True)),)),
        tcp(relay("TCPRoute", 0)),
        tcp(),
    ],
)
def test_what_an_engine_can_serve_is_not(listener):
    assert image.check(build(ir.Ir((ir.Socket("", 1, (listener,)),)))) is None


def test_a_socket_of_datagrams_has_one_listener_of_them():
    udp = replace(tcp(relay("UDPRoute", 0)), protocol="UDP")
    for found, refused in (((udp,), False), ((), True), ((udp, replace(udp, hostname="a")), True), ((tcp(),), True)):
        config = ir.Ir((ir.Socket("", 1, found, datagrams=True),))
        assert (image.check(build(config)) is not None) == refused


@pytest.mark.parametrize(
    "cluster",
    [
        ir.Cluster("c", send_proxy=3),
        ir.Cluster("c", tls=ir.UpstreamTls("n", certificate="short")),
        ir.Cluster("c", tls=ir.UpstreamTls("n", authorities=("short",))),
        ir.Cluster("c", tls=ir.UpstreamTls("n", alpn=("",))),
        ir.Cluster("c", tls=ir.UpstreamTls("n", max_version=0x0300)),
    ],
)
def test_clusters_that_are_refused(cluster):
    assert image.check(build(ir.Ir(clusters=(cluster,)))) is not None
