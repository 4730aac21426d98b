"""What the harnesses of the image and the matcher ask of Python: images, by the builder that the gateway uses."""

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
    return [build(forward), build(ir.Ir()), build(ir.Ir((plain, plain))), build(ir.Ir((regex,), forward.clusters))]


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
