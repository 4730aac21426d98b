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
