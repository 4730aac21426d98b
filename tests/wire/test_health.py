"""Active health checks: who probes, what a probe says, what follows from it, and what reloads and deaths change of that."""

import os
import signal
from collections import Counter
from dataclasses import replace

import pytest

from fastgate import ir
from wire import config, fields, forward, match

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHECK = ir.HealthCheck("/healthz", interval=20, timeout=5000, unhealthy=2)


def checked(check=CHECK, configuration=None):
    configuration = configuration or config()
    clusters = tuple(replace(c, health_check=check) for c in configuration.clusters)
    return replace(configuration, clusters=clusters)


class App:
    """Says its name to everybody, and to probes whatever `health` is."""

    def __init__(self, backend, name):
        self.backend, self.name = backend, name
        self.endpoint = backend.endpoint
        self.health = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        self.probes = []
        backend.answer_all(self._answer)

    def _answer(self, head):
        if head.startswith(b"GET /healthz"):
            self.probes.append(head)
            return self.health
        return b"HTTP/1.1 200 OK\r\nX-Name: " + self.name.encode() + b"\r\nContent-Length: 0\r\n\r\n"

    def sicken(self, response=b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n"):
        self.health = response


@pytest.fixture
def apps(backends):
    return lambda names: [App(backends(), name) for name in names]


def names(proxy, count=20):
    """Who answers to so many requests on as many connections."""
    seen = Counter()
    for _ in range(count):
        client = proxy.connect()
        client.send(GET)
        seen[fields(client.head())["x-name"]] += 1
        client.close()
    return seen


def health(proxy):
    return {one.endpoint: one.healthy for one in proxy.manager.health.endpoints()}


def wait_for_health(proxy, endpoint, *, healthy):
    proxy.wait_for(lambda: health(proxy)[endpoint] is healthy)


def why(proxy, endpoint):
    return next(one.why for one in proxy.manager.health.endpoints() if one.endpoint == endpoint)


def test_an_endpoint_goes_and_comes_back(proxies, apps):
    a, b = apps("ab")
    proxy = proxies(checked(), {"c": (a.endpoint, b.endpoint)})
    assert set(names(proxy)) == {"a", "b"}
    a.sicken()
    wait_for_health(proxy, a.endpoint, healthy=False)
    assert why(proxy, a.endpoint) == f"127.0.0.1:{a.endpoint.port} GET /healthz: status 503"
    assert names(proxy) == {"b": 20}
    assert proxy.counter("health_failures") >= 2
    a.health = b.health
    wait_for_health(proxy, a.endpoint, healthy=True)
    assert set(names(proxy)) == {"a", "b"}


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "status 400"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 x\r\n\r\n", "status 500"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 17, "malformed response"),
        (b"nonsense\r\n\r\n", "malformed response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "malformed response"),
        (b"", "closed before its response"),
    ],
)
def test_what_makes_a_probe_fail(proxies, apps, response, said):
    (a,) = apps("a")
    a.sicken(response)
    proxy = proxies(checked(), {"c": (a.endpoint,)})
    wait_for_health(proxy, a.endpoint, healthy=False)
    assert why(proxy, a.endpoint).endswith(f": {said}")


def test_interim_responses_of_a_probe_are_passed_over(proxies, apps):
    (a,) = apps("a")
    a.sicken()
    proxy = proxies(checked(), {"c": (a.endpoint,)})
    wait_for_health(proxy, a.endpoint, healthy=False)
    a.health = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    wait_for_health(proxy, a.endpoint, healthy=True)


def test_an_endpoint_that_refuses_connections_is_unhealthy(proxies, backends):
    gone = backends(listens=False)
    proxy = proxies(checked(), {"c": (gone.endpoint,)})
    wait_for_health(proxy, gone.endpoint, healthy=False)
    assert why(proxy, gone.endpoint).endswith(": Connection refused")


def test_an_endpoint_that_does_not_answer_in_time_is_unhealthy(proxies, backend):
    proxy = proxies(checked(replace(CHECK, timeout=50)), {"c": (backend.endpoint,)})
    first = backend.accept()
    assert first.head().startswith(b"GET /healthz HTTP/1.1\r\n")
    assert first.rest() == b""  # the probe was given up
    wait_for_health(proxy, backend.endpoint, healthy=False)
    assert why(proxy, backend.endpoint).endswith(": timeout")


def test_host_and_statuses_are_the_checks(proxies, apps):
    (a,) = apps("a")
    proxy = proxies(checked(replace(CHECK, host="a.example", statuses=((204, 204), (300, 399)))), {"c": (a.endpoint,)})
    wait_for_health(proxy, a.endpoint, healthy=False)
    assert why(proxy, a.endpoint).endswith(": status 200")
    sent = fields(a.probes[0])
    assert (sent["host"], sent["connection"]) == ("a.example", "close")
    a.health = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
    wait_for_health(proxy, a.endpoint, healthy=True)


def test_an_ipv6_endpoint_is_probed_by_its_address(proxies, backends):
    six = App(backends("::1"), "six")
    proxy = proxies(checked(), {"c": (six.endpoint,)})
    proxy.wait_for(lambda: six.probes)
    assert fields(six.probes[0])["host"] == f"[::1]:{six.endpoint.port}"
    assert names(proxy, 3) == {"six": 3}


def test_below_half_all_are_used(proxies, apps):
    a, b, c = apps("abc")
    proxy = proxies(checked(), {"c": (a.endpoint, b.endpoint, c.endpoint)})
    a.sicken()
    wait_for_health(proxy, a.endpoint, healthy=False)
    assert "a" not in names(proxy)
    assert proxy.counter("upstream_panics") == 0
    b.sicken()
    wait_for_health(proxy, b.endpoint, healthy=False)
    assert set(names(proxy, 60)) == {"a", "b", "c"}
    assert proxy.counter("upstream_panics") == 60


def test_reloads_keep_what_is_known(proxies, apps):
    a, b = apps("ab")
    endpoints = {"c": (a.endpoint, b.endpoint)}
    check = replace(CHECK, unhealthy=20)  # it would take long to find out again
    proxy = proxies(checked(check), endpoints)
    a.sicken()
    wait_for_health(proxy, a.endpoint, healthy=False)
    proxy.apply(checked(check, config(match(forward(), "/only"), match(forward()))), endpoints)
    assert names(proxy) == {"b": 20}
    proxy.endpoints({"c": (a.endpoint, b.endpoint), "d": ()})
    assert names(proxy) == {"b": 20}
    assert health(proxy) == {a.endpoint: False, b.endpoint: True}


def test_another_check_starts_afresh(proxies, apps):
    a, b = apps("ab")
    endpoints = {"c": (a.endpoint, b.endpoint)}
    proxy = proxies(checked(), endpoints)
    a.sicken()
    wait_for_health(proxy, a.endpoint, healthy=False)
    proxy.apply(checked(replace(CHECK, interval=3_600_000)), endpoints)
    assert health(proxy) == {a.endpoint: True, b.endpoint: True}
    assert set(names(proxy)) == {"a", "b"}
    a.sicken(b.health)
    proxy.apply(config(), endpoints)
    assert health(proxy) == {}


def test_a_removed_endpoint_ends_its_probe(proxies, backends):
    a, b = backends(), backends()
    proxy = proxies(checked(replace(CHECK, timeout=60_000)), {"c": (a.endpoint, b.endpoint)})
    probe = a.accept()
    probe.head()
    proxy.endpoints({"c": (b.endpoint,)})
    assert probe.rest() == b""
    assert list(health(proxy)) == [b.endpoint]
    assert a.nobody_comes()


def test_drains_end_probes(proxies, backends):
    a, b = backends(), backends()
    proxy = proxies(
        checked(replace(CHECK, timeout=60_000), config(match(forward("c", "d")))), {"c": (a.endpoint,), "d": ()}
    )
    probe = a.accept()
    probe.head()
    client = proxy.connect()
    client.send(GET)
    up = a.accept()
    assert up.head().startswith(b"GET / ")
    proxy.start_drain()
    assert probe.rest() == b""
    assert a.nobody_comes()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 200")
    assert b.nobody_comes(0.01)


def test_one_worker_probes_and_all_know(proxies, apps):
    a, b = apps("ab")
    proxy = proxies(checked(), {"c": (a.endpoint, b.endpoint)}, workers=3)
    a.sicken()
    wait_for_health(proxy, a.endpoint, healthy=False)
    proxy.wait_for(lambda: len({names(proxy)["a"] for _ in range(3)} - {0}) == 0)
    a.probes.clear()
    b.probes.clear()
    proxy.wait_for(lambda: len(b.probes) >= 30)
    assert len(a.probes) < 60  # three workers that all probe one of them would send 90


def test_who_replaces_a_dead_worker_knows(proxies, apps):
    a, b = apps("ab")
    check = replace(CHECK, interval=100, unhealthy=20)
    proxy = proxies(checked(check), {"c": (a.endpoint, b.endpoint)}, threads=False)
    a.sicken()
    wait_for_health(proxy, a.endpoint, healthy=False)
    os.kill(proxy.manager.pids[0], signal.SIGKILL)
    proxy.wait_for(lambda: proxy.manager.statistics.own["workers_replaced"] == 1)
    assert names(proxy) == {"b": 20}
    a.health = b.health
    wait_for_health(proxy, a.endpoint, healthy=True)


def test_changes_are_logged_at_a_bounded_rate(proxies, backends, caplog):
    endpoints = tuple(backends(listens=False).endpoint for _ in range(25))
    with caplog.at_level("INFO", "fastgate.health"):
        proxy = proxies(checked(), {"c": endpoints})
        proxy.wait_for(lambda: not any(health(proxy).values()))
    lines = [r.getMessage() for r in caplog.records if r.name == "fastgate.health"]
    assert len(lines) == 20
    assert lines[-1].startswith("endpoint of c is unhealthy: 127.0.0.1:")
