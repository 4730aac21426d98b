"""Which endpoint gets a request: least requests of two, weights, ejection, shares of limits, rounds that reloads keep."""

import select
from collections import Counter
from dataclasses import replace

import pytest

from fastgate import ir
from fastgate.core import engine
from wire import TIMEOUT, config, fields, forward, match

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def named(name):
    return b"HTTP/1.1 200 OK\r\nX-Name: " + name.encode() + b"\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def apps(backends):
    """Backends that answer everything with their names."""

    def make(names):
        made = []
        for name in names:
            made.append(backends())
            made[-1].answer_all(named(name))
        return made

    return make


def names(client, count):
    seen = []
    for _ in range(count):
        client.send(GET)
        head = client.head()
        seen.append(fields(head).get("x-name", head[9:12].decode()))
        client.exactly(int(fields(head)["content-length"]))
    return seen


def closed(backends, count):
    """Endpoints that refuse connections."""
    gone = [backends() for _ in range(count)]
    for one in gone:
        one.close()
    return [one.endpoint for one in gone]


def test_the_less_busy_of_two_is_chosen(proxies, backends):
    a, b = backends(), backends()
    proxy = proxies(config(), {"c": (a.endpoint, b.endpoint)})
    waiting = proxy.connect()
    waiting.send(GET)
    (listener,), _, _ = select.select([a.listener, b.listener], [], [], TIMEOUT)
    busy, idle = (a, b) if listener is a.listener else (b, a)
    busy.accept().head()
    idle.answer_all(named("idle"))
    assert names(proxy.connect(), 20) == ["idle"] * 20


def test_weights_of_endpoints(proxies, apps):
    a, b, c = apps("abc")
    endpoints = (replace(a.endpoint, weight=3), replace(b.endpoint, weight=1), replace(c.endpoint, weight=0))
    proxy = proxies(config(), {"c": endpoints})
    seen = Counter(names(proxy.connect(), 1000))
    assert set(seen) == {"a", "b"}
    assert 680 < seen["a"] < 820  # 750, and five standard deviations


def test_a_weight_of_a_million_is_no_work(proxies, apps):
    a, b = apps("ab")
    proxy = proxies(config(), {"c": (replace(a.endpoint, weight=1_000_000), b.endpoint)})
    assert Counter(names(proxy.connect(), 200))["a"] > 195


def test_endpoints_without_weight_are_none(proxies, apps):
    (a,) = apps("a")
    proxy = proxies(config(), {"c": (replace(a.endpoint, weight=0),)})
    assert names(proxy.connect(), 1) == ["503"]


def test_ipv6_endpoints(proxies, backends):
    six = backends("::1")
    six.answer_all(named("six"))
    proxy = proxies(config(), {"c": (six.endpoint,)})
    assert names(proxy.connect(), 3) == ["six"] * 3
    assert proxy.log()["upstream"] == f"[::1]:{six.endpoint.port}"


def test_an_endpoint_that_refuses_is_ejected_and_comes_back(proxies, apps, backends):
    (a,) = apps("a")
    (gone,) = closed(backends, 1)
    two = match(forward("c", "d"))
    proxy = proxies(config(two), {"c": (a.endpoint, gone), "d": (a.endpoint, gone)})
    client = proxy.connect()
    assert set(names(client, 60)) == {"a"}  # whoever met the other one tried again
    assert proxy.counter("upstream_connect_errors") == 3
    assert (proxy.counter("upstream_ejections"), proxy.counter("upstream_ejected")) == (1, 1)
    proxy.endpoints({"c": (a.endpoint, gone), "d": (gone, a.endpoint), "e": ()})
    assert set(names(client, 60)) == {"a"}  # also in the other cluster, and after a reload
    assert proxy.counter("upstream_connect_errors") == 3
    proxy.wait_for(lambda: proxy.counter("upstream_ejected") == 0)
    names(client, 20)
    assert proxy.counter("upstream_connect_errors") == 4
    assert proxy.counter("upstream_ejected") == 1


def test_ejection_never_empties_a_cluster(proxies, apps, backends):
    (a,) = apps("a")
    gone = closed(backends, 2)
    proxy = proxies(config(), {"c": (a.endpoint, *gone)})
    client = proxy.connect()
    names(client, 60)
    assert proxy.counter("upstream_ejected") == 2
    assert proxy.counter("upstream_panics") > 0
    before = proxy.counter("upstream_connect_errors")
    names(client, 60)
    assert proxy.counter("upstream_connect_errors") > before  # all are tried: a third is less than half


def test_a_removed_endpoint_is_no_longer_ejected(proxies, apps, backends):
    (a,) = apps("a")
    (gone,) = closed(backends, 1)
    proxy = proxies(config(), {"c": (a.endpoint, gone)})
    names(client := proxy.connect(), 60)
    assert proxy.counter("upstream_ejected") == 1
    proxy.endpoints({"c": (a.endpoint,)})
    names(client, 1)
    assert proxy.counter("upstream_ejected") == 0


def backends_of(*weights):
    action = ir.Forward(tuple(ir.WeightedBackend(weight, cluster) for cluster, weight in weights))
    return ir.Rule("HTTPRoute/ns/r/0", "HTTPRoute/ns/r", "", action)


def test_every_cycle_has_the_weights_and_no_runs(proxies, apps):
    a, b, c = apps("abc")
    rule = backends_of(("a", 5), ("b", 1), ("c", 1))
    proxy = proxies(config(match(rule)), {"a": (a.endpoint,), "b": (b.endpoint,), "c": (c.endpoint,)})
    client = proxy.connect()
    first = names(client, 7)
    assert "".join(first) == "aabacaa"
    assert names(client, 70) == first * 10


def test_reloads_do_not_restart_a_round(proxies, apps):
    a, b = apps("ab")
    endpoints = {"a": (a.endpoint,), "b": (b.endpoint,)}
    rule = backends_of(("a", 1), ("b", 1))
    proxy = proxies(config(match(rule)), endpoints)
    client = proxy.connect()
    seen = []
    for n in range(6):
        seen += names(client, 1)
        proxy.apply(config(match(rule), match(forward("a"), f"/{n}")), endpoints)
    assert seen == ["a", "b"] * 3
    proxy.apply(config(match(backends_of(("a", 2), ("b", 1)))), endpoints)
    assert Counter(names(client, 3)) == {"a": 2, "b": 1}  # other weights are another round


def requests_of(proxy):
    return [engine.read_stats(slab)[1]["requests"] for slab in proxy.manager.statistics._slabs]


def test_workers_start_their_rounds_at_different_places(proxies, apps):
    a, b = apps("ab")
    rule = backends_of(("a", 1), ("b", 1))
    proxy = proxies(config(match(rule)), {"a": (a.endpoint,), "b": (b.endpoint,)}, workers=2)
    first = {}
    while len(first) < 2:
        before = requests_of(proxy)
        client = proxy.connect()
        (name,) = names(client, 1)
        proxy.wait_for(lambda before=before: requests_of(proxy) != before)
        worker = next(n for n, (x, y) in enumerate(zip(before, requests_of(proxy), strict=True)) if x != y)
        first.setdefault(worker, name)
        client.close()
    assert first == {0: "a", 1: "b"}


def test_a_limit_is_shared_by_the_workers(proxies, backend):
    proxy = proxies(config(limits={"upstream_connections": 2}), {"c": (backend.endpoint,)}, workers=2)
    clients = [proxy.connect() for _ in range(12)]
    for client in clients:
        client.send(GET)
    proxy.wait_for(lambda: proxy.reason("upstream_limit") + proxy.counter("requests_active") == 12)
    assert proxy.counter("requests_active") == 2
