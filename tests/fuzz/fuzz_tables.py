"""What harnesses ask of Python: images, by the builder that the gateway uses."""

import tables

from fastgate import ir
from fastgate.core.snapshot import build

PATHS = (ir.PathKind.EXACT, ir.PathKind.REGEX, ir.PathKind.PREFIX)
VALUES = (ir.ValueKind.EXACT, ir.ValueKind.REGEX)


def images():
    """Valid images, to be damaged."""
    forward = tables.everything()
    plain = tables.hosts_of(**{"": [tables.match(n, f"/{n}") for n in range(3)], "a.example": [tables.match(9, "")]})
    regex = tables.hosts_of(
        **{"": [tables.match(0, "/p[0-9]+$", ir.PathKind.REGEX), tables.match(1, "/", ir.PathKind.EXACT)]}
    )
    below = tables.below_http()
    configs = (forward, ir.Ir(), ir.Ir((plain, plain)), ir.Ir((regex,), forward.clusters), below)
    return [build(config) for config in configs]


def conditions(described):
    return [ir.ValueMatch(name, VALUES[kind], value) for name, kind, value in described]


def table(described):
    """The image of one socket, described as [(hostname of a listener, [(hostname, [match])])]; the matches stand in order of
    precedence: (number, kind, path, method, [header], [query parameter])."""
    listeners = []
    for number, (hostname, hosts) in enumerate(described):
        vhosts = [
            ir.VirtualHost(
                name,
                tuple(
                    tables.match(n, path, PATHS[kind], method, conditions(headers), conditions(query))
                    for n, kind, path, method, headers, query in matches
                ),
            )
            for name, matches in hosts
        ]
        listeners.append(tables.listener(str(number), hostname, vhosts))
    return build(ir.Ir((tables.socket(*listeners),)))


MESSAGES = frozenset(("request", "response"))
BODIES = frozenset(("request_body", "response_body"))
EVERY = MESSAGES | BODIES | {"upstream", "local_reply", "log"}


def filtered():
    """The image of rules with filter plugins, which verdict.c names by their paths."""

    def plugin(number, phases, *, deny=True, inline=False, buffer_body=0):
        return ir.Plugin(f"ns/{number}", "Any", "{}", 1000, deny, inline, phases, buffer_body)

    def rule(path, *plugins, action=None):
        forward = ir.Forward((ir.WeightedBackend(1, "c"),), 30_000, 20_000)
        name = f"HTTPRoute/ns{path}"
        filters = ir.Filters(plugins=plugins)
        return ir.Match(
            ir.PathMatch(ir.PathKind.EXACT, path),
            "",
            (),
            (),
            ir.Rule(f"{name}/0", name, "", action or forward, filters),
        )

    turns = MESSAGES | BODIES
    many = [plugin(n, frozenset(("upstream", "response")), inline=bool(n % 2)) for n in range(16)]
    rules = (
        rule("/plain", plugin(1, MESSAGES | {"log"})),
        rule("/bodies", plugin(2, EVERY, deny=False)),
        rule("/inline", plugin(3, EVERY), plugin(4, turns, inline=True), plugin(5, turns, deny=False)),
        rule("/whole", plugin(6, EVERY - {"request_body"}, buffer_body=64)),
        rule("/page", plugin(7, EVERY), plugin(8, EVERY, inline=True), action=ir.Respond(503, "no_endpoints")),
        rule("/many", *many),
    )
    listener = tables.listener("l", "", [ir.VirtualHost("", rules)])
    return build(ir.Ir((tables.socket(listener),), (ir.Cluster("c"),)))
