"""Small IRs for tests of the matcher: sockets, listeners, virtual hosts."""

from fastgate import ir

KINDS = {ir.PathKind.EXACT: 0, ir.PathKind.REGEX: 1, ir.PathKind.PREFIX: 2}


def rule(number: int) -> ir.Rule:
    return ir.Rule(f"HTTPRoute/ns/r/{number}", "HTTPRoute/ns/r", "", ir.Respond(200, "no_route"))


def match(number, path, kind=ir.PathKind.PREFIX, method="", headers=(), query=()):
    return ir.Match(ir.PathMatch(kind, path), method, tuple(headers), tuple(query), rule(number))


def in_order(matches):
    """Exact, patterns, prefixes; the longest first; the rest as given, as precedence does."""
    return tuple(sorted(matches, key=lambda m: (KINDS[m.path.kind], -len(m.path.value))))


def listener(name, hostname, hosts):
    return ir.Listener(f"Gateway/ns/g/{name}", "ns/g", name, hostname, "HTTP", tuple(hosts))


def socket(*listeners):
    return ir.Socket("", 80, tuple(listeners))


def hosts_of(**vhosts):
    return socket(listener("l", "", [ir.VirtualHost(h, in_order(m)) for h, m in vhosts.items()]))


def everything():
    """An IR that has some of everything that an image can hold."""
    backends = (
        ir.WeightedBackend(1, "c1", ir.Filters(hostname="h", path=ir.PathRewrite(ir.PathKind.PREFIX, "/y"))),
        ir.WeightedBackend(2, None, respond=ir.Respond(500, "invalid_backend")),
    )
    edits = ir.HeaderEdits((("X-A", "1"),), (("X-B", "2"),), ("x-c",))
    forward = ir.Rule(
        "HTTPRoute/ns/f/0", "HTTPRoute/ns/f", "name", ir.Forward(backends, 5, 6), ir.Filters(edits, edits)
    )
    redirect = ir.Rule("HTTPRoute/ns/f/1", "HTTPRoute/ns/f", "", ir.Redirect(302, "https", "b", 8443))
    s = hosts_of(
        **{
            "a.example": [
                match(0, f"/p{n}", headers=[ir.ValueMatch("x-a", ir.ValueKind.REGEX, "b+")]) for n in range(9)
            ],
            "*.example": [ir.Match(ir.PathMatch(ir.PathKind.PREFIX, ""), "", (), (), forward)],
            "": [ir.Match(ir.PathMatch(ir.PathKind.EXACT, "/r"), "", (), (), redirect)],
        }
    )
    return ir.Ir((s,), (ir.Cluster("c0"), ir.Cluster("c1", health_check=ir.HealthCheck("/h"))))


def digest(number):
    return f"{number:064x}"


def relay(kind, number, *clusters, passthrough=False):
    backends = tuple(ir.WeightedBackend(n, cluster) for n, cluster in enumerate(clusters, 1))
    return ir.Relay(f"{kind}/ns/r/{number}", f"{kind}/ns/r", f"rule-{number}", backends, passthrough)


def below_http():
    """An IR with all that an image says of connections below HTTP: TLS of listeners and clusters, relays, UDP."""
    choices = (
        ir.CertificateChoice("", (digest(1), digest(2))),
        ir.CertificateChoice("www.a.example", (digest(3),)),
        ir.CertificateChoice("*.a.example", (digest(1), digest(2))),
    )
    clients = ir.ClientValidation((digest(8),), required=False)
    tls = ir.Tls(choices, ir.TLS13, ir.TLS13, "C", "S", "G", ("h2", "http/1.1"), clients)
    passed, ended = relay("TLSRoute", 0, "c2", passthrough=True), relay("TLSRoute", 1, None, "c1")
    names = (ir.ServerName("p.b.example", passed), ir.ServerName("*.b.example", ended), ir.ServerName("", passed))
    https = ir.Listener(
        "Gateway/ns/g/https", "ns/g", "https", "*.a.example", "HTTPS",
        (ir.VirtualHost("", (match(0, ""),)),), tls=tls,
    )  # fmt: skip
    tls_listener = ir.Listener(
        "Gateway/ns/g/tls", "ns/g", "tls", "*.b.example", "TLS", tls=ir.Tls((choices[0],)), names=names
    )
    tcp = ir.Listener(
        "Gateway/ns/g/tcp", "ns/g", "tcp", "", "TCP", names=(ir.ServerName("", relay("TCPRoute", 0, "c1")),)
    )
    udp = ir.Listener(
        "Gateway/ns/g/udp", "ns/g", "udp", "", "UDP", names=(ir.ServerName("", relay("UDPRoute", 0, "c3")),)
    )
    settings = ir.Settings(proxy_protocol=True, client_cert=True)
    upstream = ir.UpstreamTls(
        "s.example", ("DNS:n.example", "URI:spiffe://n"), (digest(9),), True, digest(3), ("http/1.1",), ir.TLS13
    )  # fmt: skip
    clusters = (
        ir.Cluster("c0"),
        ir.Cluster("c1", tls=upstream, send_proxy=2),
        ir.Cluster("c2", ir.Protocol.TCP, send_proxy=1),
        ir.Cluster("c3", ir.Protocol.UDP),
    )
    sockets = (
        ir.Socket("", 443, (https, tls_listener), settings),
        ir.Socket("", 5432, (tcp,)),
        ir.Socket("", 53, (udp,), datagrams=True),
    )
    return ir.Ir(sockets, clusters)
