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
