"""What a bad filter plugin costs, inline and offloaded: its own requests, and nobody else's."""

from __future__ import annotations

import importlib
import os
import resource
import signal

import pytest
from filtered import OK, children, fields, filtered, get, name_of, plugin, read

from fastgate import ir
from wire import config, forward, match

pytestmark = pytest.mark.usefixtures("installed")


@pytest.mark.filterwarnings(
    "ignore:coroutine 'sleep' was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("how", ["raise", "split", "type", "forget"])
@pytest.mark.parametrize("deny", [True, False])
def test_a_filter_that_fails_denies_or_is_skipped(proxies, backend, inline, how, deny):
    proxy = proxies(filtered(plugin("Misbehave", inline, deny=deny, how=how)), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()
    get(client, "/", "X-Misbehave: 1")
    head, _ = read(client)
    assert head.startswith(b"HTTP/1.1 500" if deny else b"HTTP/1.1 200")
    assert proxy.log().get("reason", "") == ("filter_failed" if deny else "")
    get(client)
    assert read(client)[0].startswith(b"HTTP/1.1 200")  # the connection and the filter go on


def test_a_request_that_was_kept_cannot_be_used(proxies, backend, inline):
    importlib.import_module("example_filters").KEPT.clear()
    proxy = proxies(filtered(plugin("Misbehave", inline, how="keep")), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()
    get(client, "/", "X-Misbehave: 1")
    assert read(client)[0].startswith(b"HTTP/1.1 200")
    get(client, "/", "X-Misbehave: 1")
    assert read(client)[0].startswith(b"HTTP/1.1 500")


@pytest.mark.parametrize("deny", [True, False])
def test_a_late_filter_is_cancelled(proxies, backend, tmp_path, deny):
    file = tmp_path / "how"
    proxy = proxies(filtered(plugin("Slow", deny=deny, timeout=200, file=str(file))), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()
    get(client)
    head, _ = read(client)
    assert head.startswith(b"HTTP/1.1 504" if deny else b"HTTP/1.1 200")
    assert proxy.counter("filter_timeouts") == 1
    proxy.wait_for(lambda: file.read_text() == "cancelled")


def test_a_filter_is_cancelled_when_the_client_leaves(proxies, backend, tmp_path):
    file = tmp_path / "how"
    proxy = proxies(filtered(plugin("Slow", timeout=60_000, file=str(file))), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    proxy.wait_for(lambda: file.exists() and file.read_text() == "waits")
    client.reset()
    proxy.wait_for(lambda: file.read_text() == "cancelled")
    assert proxy.counter("filter_waiting") == 0


def test_an_inline_filter_cannot_wait(proxies, backend, tmp_path):
    proxy = proxies(filtered(plugin("Slow", True, file=str(tmp_path / "f"))), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    assert read(client)[0].startswith(b"HTTP/1.1 500")


def beside_good_requests(proxies, backends, bad_filter, *good_filters):
    """Make a filter misbehave, and 50 requests of another route meanwhile, which are answered. The proxy, and the connection whose
    answer has not been read."""
    good, bad = backends(), backends()
    rules = [
        match(forward("bad", filters=ir.Filters(plugins=(bad_filter,))), "/bad"),
        match(forward("good", filters=ir.Filters(plugins=good_filters), index=1)),
    ]
    proxy = proxies(config(*rules), {"good": (good.endpoint,), "bad": (bad.endpoint,)})
    for backend in (good, bad):
        backend.answer_all(OK)
    one, two = proxy.connect(), proxy.connect()
    get(one, "/bad", "X-Misbehave: 1")
    for _ in range(50):
        get(two, "/good")
        assert read(two)[0].startswith(b"HTTP/1.1 200")
    return proxy, one


@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("how", ["exit", "segfault", "loop", "block", "system"])
def test_a_plugin_process_that_dies_or_hangs_is_replaced(proxies, backends, how):
    """Requests on another route, on the same connection and at the same time, notice nothing."""
    proxy, one = beside_good_requests(proxies, backends, plugin("Misbehave", timeout=400, how=how))
    assert read(one)[0].startswith((b"HTTP/1.1 500", b"HTTP/1.1 504"))

    def works() -> bool:
        get(one, "/bad")
        return read(one)[0].startswith(b"HTTP/1.1 200")

    proxy.wait_for(works)
    assert proxy.manager.statistics.own["plugin_processes_replaced"] == 1


@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("deny", [True, False])
def test_a_filter_that_fills_the_memory_fails(proxies, backends, capfd, deny):
    """It cannot have a GiB; its process and other routes go on."""
    proxy, one = beside_good_requests(proxies, backends, plugin("Misbehave", deny=deny, how="garbage"), plugin("Edit"))
    assert read(one)[0].startswith(b"HTTP/1.1 500" if deny else b"HTTP/1.1 200")
    assert proxy.manager.statistics.totals().filters["ns/misbehave"].errors[0] == 1
    assert proxy.manager.statistics.own["plugin_processes_replaced"] == 0
    said = capfd.readouterr().err
    assert "ns/misbehave" in said
    assert "MemoryError" in said


@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("how", ["exit", "loop"])
def test_a_stage_that_processes_die_over_gets_no_calls_for_a_while(proxies, backend, how):
    proxy = proxies(filtered(plugin("Misbehave", timeout=300, how=how)), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()

    def reason(*headers: str) -> str:
        get(client, "/", *headers)
        read(client)
        return proxy.log().get("reason", "")

    def lost() -> int:
        reason("X-Misbehave: 1")
        return proxy.manager.statistics.own["plugin_processes_replaced"]

    for n in range(1, 4):
        proxy.wait_for(lambda n=n: lost() >= n)
    proxy.wait_for(lambda: reason("X-Misbehave: 1") == "filter_open")
    assert lost() == 3
    proxy.wait_for(lambda: reason() == "")  # the first call after the pause does well
    assert reason() == ""


@pytest.mark.parametrize("deny", [True, False])
def test_an_inline_stage_that_takes_too_long_gets_no_calls_for_a_while(proxies, backend, deny):
    tell = plugin("Tell", True, deny=deny, timeout=10, sleep=0.02, fields={"told": 1})
    proxy = proxies(filtered(tell), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()

    def lines(n: int) -> list[tuple[str, object]]:
        for _ in range(n):
            get(client)
            read(client)
        return [(line.get("reason", ""), line.get("log", {}).get("told")) for line in (proxy.log() for _ in range(n))]

    assert lines(3) == [("", 1)] * 3  # each came late, and came
    assert lines(1) == [("filter_open", None) if deny else ("", None)]


@pytest.fixture
def many_descriptors():
    """As many as the tests with a thousand connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("deny", [True, False])
def test_calls_in_flight_are_bounded_by_number(many_descriptors, proxies, backend, tmp_path, deny):
    """Above the bound a call fails at once; whoever leaves makes room."""
    bound = 1024  # FG_FILTER_WAITING
    slow = plugin("Slow", deny=deny, timeout=60_000, file=str(tmp_path / "file"))
    proxy = proxies(filtered(slow), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    clients = [proxy.connect() for _ in range(bound)]
    for client in clients:
        get(client)
    proxy.wait_for(lambda: proxy.counter("filter_waiting") == bound)
    more = proxy.connect()
    get(more)
    assert read(more)[0].startswith(b"HTTP/1.1 503" if deny else b"HTTP/1.1 200")
    assert proxy.log().get("reason", "") == ("filter_overloaded" if deny else "")
    assert proxy.counter("filter_overloads") == 1
    clients.pop().reset()
    proxy.wait_for(lambda: proxy.counter("filter_waiting") == bound - 1)
    get(more)
    proxy.wait_for(lambda: proxy.counter("filter_waiting") == bound)


@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("how", ["block", "loop", "exit", "segfault", "system"])
def test_a_worker_whose_inline_filter_hangs_or_crashes_is_replaced(proxies, backend, how):
    """What it had open is lost; the gateway goes on."""
    proxy = proxies(filtered(plugin("Misbehave", True, how=how)), {"c": (backend.endpoint,)}, workers=2)
    backend.answer_all(OK)
    bad = proxy.connect()
    get(bad, "/", "X-Misbehave: 1")
    assert bad.rest() == b""
    proxy.wait_for(lambda: proxy.manager.missing == 0 and proxy.manager.statistics.own["workers_replaced"] == 1)
    for _ in range(20):  # both workers
        good = proxy.connect()
        get(good)
        assert read(good)[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_the_plugin_process_of_a_dead_worker_is_waited_for(proxies, backend):
    proxy = proxies(filtered(plugin("Edit")), {"c": (backend.endpoint,)})
    (pid,) = proxy.manager.pids
    (beside,) = [child for child in children() if child != pid and name_of(child) == "fastgate-plugin"]
    os.kill(pid, signal.SIGKILL)
    proxy.wait_for(lambda: proxy.manager.pids not in ([], [pid]))
    proxy.wait_for(lambda: beside not in children())  # a zombie would be among them


def test_a_changed_filter_is_another_instance(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Edit", inline, value="1")), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    server = backend.accept()
    assert ("x-edit", "1") in fields(server.head())
    proxy.apply(filtered(plugin("Edit", inline, value="2")), {"c": (backend.endpoint,)})
    server.send(OK)
    assert ("x-order", "1") in fields(read(client)[0])  # who began it ends it
    get(client)
    assert ("x-edit", "2") in fields(server.head())


def test_no_filter_costs_no_call(proxies, backends):
    with_filter, without = backends(), backends()
    rules = [
        match(forward("f", filters=ir.Filters(plugins=(plugin("Edit", True),))), "/f"),
        match(forward("g", index=1)),
    ]
    proxy = proxies(config(*rules), {"f": (with_filter.endpoint,), "g": (without.endpoint,)})
    without.answer_all(OK)
    client = proxy.connect()
    get(client)
    read(client)
    assert proxy.counter("py_enter") == proxy.counter("filter_calls") == 0
