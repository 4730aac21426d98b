"""What can be seen of filters: counters by Filter, what they count themselves, fields of the access log, slow calls."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest
from filtered import OK, children, filtered, get, name_of, plugin, read

from fastgate import ir

pytestmark = pytest.mark.usefixtures("installed")


def of(proxy, name="ns/tell"):
    """The counters of a Filter."""
    return proxy.manager.statistics.totals().filters[name]


def errors(proxy, name):
    """Those of a Filter: failed, timeout, overloaded, open."""
    return tuple(of(proxy, name).errors)


def asked(proxy, *lines, times=1):
    client = proxy.connect()
    for _ in range(times):
        get(client, "/", *lines)
        head, _ = read(client)
    return head


def test_calls_and_their_time_are_counted_by_filter(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Tell", inline, sleep=0.03), plugin("Answer", inline)), {"c": (backend.endpoint,)})
    asked(proxy, times=3)
    proxy.wait_for(lambda: sum(of(proxy).latency) == 6)  # the request, and the log, which nobody waits for
    told, answer = of(proxy), of(proxy, "ns/answer")
    assert (told.calls, answer.calls, sum(answer.latency)) == (6, 3, 3)
    assert 0.09e9 <= told.latency_sum < 60e9
    assert 0 < answer.latency_sum < told.latency_sum
    assert told.waiting == answer.waiting == 0


@pytest.mark.parametrize("deny", [True, False])
def test_who_fails_is_who_is_counted(proxies, backend, inline, deny):
    backend.answer_all(OK)
    one, two = plugin("Tell", inline), plugin("Misbehave", inline, deny=deny, how="raise")
    proxy = proxies(filtered(one, two), {"c": (backend.endpoint,)})
    asked(proxy, "X-Misbehave: 1")
    asked(proxy)
    assert errors(proxy, "ns/misbehave") == (1, 0, 0, 0)
    assert errors(proxy, "ns/tell") == (0, 0, 0, 0)
    assert proxy.counter("filter_failures") == 1


@pytest.mark.parametrize("deny", [True, False])
def test_a_call_that_waits_and_comes_too_late(proxies, backend, tmp_path, deny):
    backend.answer_all(OK)
    file = tmp_path / "how"
    slow = plugin("Slow", deny=deny, timeout=300, file=str(file))
    proxy = proxies(filtered(plugin("Wrap", timeout=200), slow), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    proxy.wait_for(file.exists)
    proxy.wait_for(lambda: of(proxy, "ns/slow").waiting == 1)  # counted after it was handed over
    read(client)
    assert of(proxy, "ns/slow").waiting == 0
    assert errors(proxy, "ns/slow") == errors(proxy, "ns/wrap") == (0, 1, 0, 0)  # one call ran both
    proxy.wait_for(lambda: sum(of(proxy, "ns/slow").latency) == 1)  # it was cancelled, and says how long it took


@pytest.mark.parametrize("state", [(), ("response",)], ids=["without-state", "with-state"])
def test_a_call_is_over_when_its_client_leaves(proxies, backend, tmp_path, state):
    file = tmp_path / "how"
    slow = plugin("Slow", timeout=60_000, file=str(file))
    slow = replace(slow, phases=slow.phases.union(state))  # of an exchange that has later phases
    proxy = proxies(filtered(slow), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    proxy.wait_for(file.exists)
    client.reset()
    proxy.wait_for(lambda: sum(of(proxy, "ns/slow").latency) == 1)
    assert of(proxy, "ns/slow").waiting == 0
    assert errors(proxy, "ns/slow") == (0, 0, 0, 0)


def test_pieces_of_bodies_are_calls(proxies, backend, inline):
    backend.answer_all(OK)
    proxy = proxies(filtered(plugin("Pieces", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    client.until(b"\r\n0\r\n\r\n")
    proxy.wait_for(lambda: of(proxy, "ns/pieces").waiting == 0)
    assert of(proxy, "ns/pieces").calls == sum(of(proxy, "ns/pieces").latency) >= 1


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_what_was_counted_outlives_reloads_plugin_processes_and_workers(proxies, backend, inline):
    backend.answer_all(OK)
    proxy = proxies(filtered(plugin("Tell", inline, counts={"a": 1})), {"c": (backend.endpoint,)})

    def counted(n):
        proxy.wait_for(lambda: of(proxy).counts == {"a": n, "responses": n, "logged": 2 * n})
        assert of(proxy).calls == sum(of(proxy).latency) == 3 * n

    def works():
        client = proxy.connect()
        get(client)
        return read(client)[0].startswith(b"HTTP/1.1 200")

    asked(proxy)
    counted(1)
    proxy.apply(filtered(plugin("Tell", inline, counts={"a": 1}, fields={"b": "c"})), {"c": (backend.endpoint,)})
    asked(proxy)
    counted(2)
    if not inline:
        (beside,) = [child for child in children() if name_of(child) == "fastgate-plugin"]
        os.kill(beside, signal.SIGKILL)
        proxy.wait_for(lambda: proxy.manager.statistics.own["plugin_processes_replaced"] == 1)
        proxy.apply(filtered(plugin("Tell", inline, counts={"a": 1})), {"c": (backend.endpoint,)})
        proxy.wait_for(works)
        proxy.wait_for(lambda: of(proxy).counts["logged"] == 6)
    before = of(proxy)
    (pid,) = proxy.manager.pids
    os.kill(pid, signal.SIGKILL)
    proxy.wait_for(lambda: proxy.manager.pids not in ([], [pid]))
    assert of(proxy) == before
    proxy.wait_for(works)
    proxy.wait_for(lambda: of(proxy).counts["logged"] == before.counts["logged"] + 2)
    assert of(proxy).calls == before.calls + 3


def test_a_filter_has_a_bounded_number_of_names(proxies, backend, inline):
    many = [plugin("Tell", inline, counts={f"c{n}_{i}": 1 for n in range(30)}) for i in range(3)]
    backend.answer_all(OK)
    proxy = proxies(filtered(many[0]), {"c": (backend.endpoint,)})
    for one in many:
        proxy.apply(filtered(one), {"c": (backend.endpoint,)})
        asked(proxy)
    proxy.wait_for(lambda: sum(of(proxy).counts.values()) == 3 * (30 + 1 + 2))
    assert len(of(proxy).counts) == 32
    assert of(proxy).counts["other"] == 3 * 33 - 30 - 3  # all but the first 30 names and `responses`


def test_fields_of_the_access_log(proxies, backend, inline):
    fields = {"user": 'a"\\\n€', "n": 1.5, "gone": "x", "status": "before"}
    backend.answer_all(OK)
    proxy = proxies(
        filtered(plugin("Tell", inline, fields=fields), plugin("Tell", not inline)), {"c": (backend.endpoint,)}
    )
    asked(proxy)
    assert proxy.log()["log"] == {"user": 'a"\\\n€', "n": 1.5, "status": 200}
    proxy.apply(filtered(plugin("Edit", inline)), {"c": (backend.endpoint,)})
    asked(proxy)
    assert "log" not in proxy.log()


def test_fields_of_the_access_log_as_text(proxies, backend, inline):
    text = ir.Settings(
        access_log=ir.AccessLog.TEXT, access_log_format="{log.user} {log.n} {log.status} {log.none} {log}"
    )
    told = plugin("Tell", inline, fields={"user": 'a" 200\n', "n": 7})
    backend.answer_all(OK)
    proxy = proxies(filtered(told, settings=text), {"c": (backend.endpoint,)})
    asked(proxy)
    assert proxy.log_line() == r'a\" 200\n 7.0 200 - {"n":7.0,"user":"a\" 200\n","status":200}'


def test_fields_of_the_access_log_have_a_bounded_size(proxies, backend, inline):
    fields = dict.fromkeys("abcdefghij", "x" * 1024)
    backend.answer_all(OK)
    proxy = proxies(filtered(plugin("Tell", inline, fields=fields)), {"c": (backend.endpoint,)})
    asked(proxy)
    said = proxy.log()["log"]
    assert said == {**dict.fromkeys("abcdefg", "x" * 1024), "status": 200}
    assert asked(proxy, f"User-Agent: {'é' * 800}").startswith(b"HTTP/1.1 200")
    line = proxy.log()
    assert len(line["user_agent"]) == 2 * 800
    assert "log" not in line  # the escapes of the other left no room for it


@pytest.fixture
def logged(capfd, caplog):
    """Return a function that returns the lines that this process and those that it started have logged about slow calls."""
    said = []

    def lines():
        said.append(capfd.readouterr().err)
        return [line for line in (caplog.text + "".join(said)).splitlines() if "of its timeout" in line]

    return lines


def test_a_slow_call_is_logged_with_its_filter_and_phase(proxies, backend, inline, logged):
    one = plugin("Tell", inline, timeout=100, sleep=0.08)
    proxy = proxies(filtered(one, plugin("Answer", inline)), {"c": (backend.endpoint,)})
    asked(proxy)
    proxy.wait_for(logged)
    (line,) = logged()
    assert "Filter ns/tell: request " in line
    assert ": on_request took 0." in line
    assert line.endswith("s of its timeout of 0.100 s")


def test_a_call_that_is_late_is_logged_with_its_filter(proxies, backend, tmp_path, logged):
    slow = plugin("Slow", timeout=100, file=str(tmp_path / "how"))
    proxy = proxies(filtered(plugin("Wrap", timeout=100), slow), {"c": (backend.endpoint,)})
    asked(proxy)
    proxy.wait_for(logged)
    assert "Filter ns/slow: request " in logged()[0]


def test_slow_calls_are_logged_at_a_bounded_rate(proxies, backend, inline, logged):
    one = plugin("Tell", inline, timeout=40, sleep=0.03)
    proxy = proxies(filtered(one, plugin("Answer", inline)), {"c": (backend.endpoint,)})
    began = time.monotonic()
    asked(proxy, times=8)
    proxy.wait_for(lambda: sum(of(proxy).latency) == 16)
    assert 1 <= len(logged()) <= 1 + (time.monotonic() - began)
