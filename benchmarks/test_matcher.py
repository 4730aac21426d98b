"""The matcher in batches without the GIL, keys shuffled over the whole table: ns per match in `extra_info`."""

import random

import pytest

from fastgate import ir
from fastgate.core.router import Batch, Table
from fastgate.core.snapshot import build

BATCH = 100_000
PATHS = [b"/api/v1/users", b"/api/v1/orders/17", b"/static/app.js", b"/", b"/other", b"/a%2fb/../c"]
FIELDS = ((b"host", b"x"), (b"user-agent", b"curl"), (b"accept", b"*/*"), (b"x-canary", b"0"))


def rule(n: int) -> ir.Rule:
    return ir.Rule(f"HTTPRoute/ns/r/{n}", "HTTPRoute/ns/r", "", ir.Respond(200, "no_route"))


def host(n: int) -> ir.VirtualHost:
    """A route with a header candidate before its general one; two of three paths of the batch miss it."""
    path = ir.PathMatch(ir.PathKind.PREFIX, "/api/v1")
    canary = (ir.ValueMatch("x-canary", ir.ValueKind.EXACT, "1"),)
    query = (ir.ValueMatch("v", ir.ValueKind.EXACT, "2"),)
    matches = (
        ir.Match(path, "", canary, (), rule(0)),
        ir.Match(path, "", (), query, rule(1)),
        ir.Match(path, "", (), (), rule(2)),
    )
    return ir.VirtualHost(f"host-{n}.example.com", matches)


def image(routes: int) -> bytes:
    hosts = tuple(host(n) for n in range(routes))
    listener = ir.Listener("Gateway/ns/g/l", "ns/g", "l", "", "HTTP", hosts)
    return build(ir.Ir((ir.Socket("", 80, (listener,)),)))


def requests(routes: int, keys: str, size: int) -> list[tuple[object, ...]]:
    """Requests for hosts drawn by Zipf's law with exponent 1, or uniformly, over the whole table."""
    draw = random.Random(1)
    if keys == "zipf":
        chosen = draw.choices(range(routes), [1 / (k + 1) for k in range(routes)], k=size)
    else:
        chosen = [draw.randrange(routes) for _ in range(size)]
    return [(b"GET", b"host-%d.example.com" % n, draw.choice(PATHS), b"v=2&x=y", FIELDS) for n in chosen]


@pytest.mark.parametrize("routes", [1000, 10_000, 100_000])
@pytest.mark.parametrize("keys", ["zipf", "uniform"])
def test_match(benchmark, routes, keys):
    whole = Table(image(routes))
    batch = Batch(requests(routes, keys, BATCH))
    benchmark(whole.match_many, 0, batch, 1, True)
    benchmark.extra_info["ns_per_match"] = benchmark.stats["min"] / BATCH * 1e9
