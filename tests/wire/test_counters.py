"""Counters as Prometheus sees them: none decreases, whatever becomes of workers and configurations."""

import os
import signal
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastgate import ir
from fastgate.admin.metrics import exposition
from fastgate.runtime import LastReload
from wire import config, forward, match

pytestmark = pytest.mark.parametrize("form", ["process"], indirect=True)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GONE = replace(forward("gone"), key="HTTPRoute/ns/gone/0", route="HTTPRoute/ns/gone")
ROUTES = (match(GONE, "/gone"), match(forward(), "/served"))


@pytest.fixture
def proxy(proxies, backends):
    backend, gone = backends(), backends()
    backend.answer_all(OK)
    gone.close()
    return proxies(config(*ROUTES), {"c": (backend.endpoint,), "gone": (gone.endpoint,)}, workers=2)


def counted(proxy):
    """Every sample of a counter or a histogram, by name and labels, read where the admin listener reads them."""

    async def read():
        statistics = proxy.manager.statistics
        return exposition(statistics.totals(), statistics.own, (), LastReload(), ready=True)

    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(proxy.run(read()))
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


def traffic(proxy):
    """Requests that succeed, fail and match nothing, a few on every worker."""
    for _ in range(8):
        for path in ("/served", "/gone", "/nowhere"):
            client = proxy.connect()
            client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx".encode())
            client.rest()


class Watch:
    """Scrapes, each compared with the one before it."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.last = counted(proxy)

    def __call__(self):
        now = counted(self.proxy)
        assert {key: (value, now.get(key)) for key, value in self.last.items() if now.get(key, -1) < value} == {}
        self.last = now
        return True

    def until(self, condition):
        self.proxy.wait_for(lambda: self() and condition())

    def value(self, name):
        return sum(value for key, value in self.last.items() if key[0] == name)


def begin(proxy):
    """A watch that has seen traffic of both workers in full."""
    watch = Watch(proxy)
    traffic(proxy)
    watch.until(lambda: watch.value("fastgate_request_duration_seconds_count") == 24)
    for name in ("ended", "upstream_errors", "upstream_connects", "request_body_bytes", "log_lines"):
        assert watch.value(f"fastgate_{name}_total") > 0
    return watch


def test_no_counter_decreases_when_workers_are_killed_and_replaced(proxy):
    watch = begin(proxy)
    for n, pid in enumerate(list(proxy.manager.pids)):
        os.kill(pid, signal.SIGKILL)
        watch.until(lambda n=n: watch.value("fastgate_workers_replaced_total") > n and not proxy.manager.missing)
    assert watch.value("fastgate_request_duration_seconds_count") == 24  # not one of the dead workers' is lost
    traffic(proxy)
    watch.until(lambda: watch.value("fastgate_request_duration_seconds_count") == 48)


def test_no_counter_decreases_through_reloads(proxy):
    watch = begin(proxy)
    endpoints = proxy.manager._publication.endpoints
    for routes in (ROUTES[1:], ROUTES, (match(forward(), "/other"),)):
        proxy.apply(config(*routes), endpoints)
        watch()
    elsewhere = ir.Ir((ir.Socket("127.0.0.1", 81, config(*ROUTES).sockets[0].listeners),), config(*ROUTES).clusters)
    proxy.apply(elsewhere, endpoints)  # the socket that was counted on is gone
    traffic(proxy)
    watch.until(lambda: watch.value("fastgate_request_duration_seconds_count") == 48)
