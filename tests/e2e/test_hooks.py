"""Plugins of the process under `fastgate run`: each hook that is called, and a plugin that fails everywhere."""

import json
import os
import signal
import urllib.request

import pytest
from distributions import distribution
from server import ROUTE

HOOKS = """
    import pathlib
    import threading
    from dataclasses import replace

    import yaml

    import fastgate

    FILE = pathlib.Path(__file__).with_name("vault.yaml")
    ready = threading.Event()

    class Vault:
        name = "vault"

        def read(self):
            return list(yaml.safe_load_all(FILE.read_text()))

    @fastgate.hookimpl
    async def fastgate_startup():
        print("acme has started", file=__import__("sys").stderr, flush=True)

    @fastgate.hookimpl
    def fastgate_shutdown():
        print("acme has stopped", file=__import__("sys").stderr, flush=True)

    @fastgate.hookimpl
    def fastgate_config_sources(changed):
        threading.Thread(target=watch, args=(changed,), daemon=True).start()
        return [Vault()]

    def watch(changed):
        before = FILE.read_text()
        while not ready.wait(0.01):
            if (now := FILE.read_text()) != before:
                before = now
                changed()

    @fastgate.hookimpl
    def fastgate_metrics():
        return [fastgate.Metric("acme_things", "Things.", "counter", [({}, 7)])]

    @fastgate.hookimpl
    def fastgate_amend_ir(ir):
        return replace(ir, sockets=tuple(replace(s, settings=replace(s.settings, server="acme")) for s in ir.sockets))
"""
FAILING = """
    import fastgate

    @fastgate.hookimpl
    def fastgate_startup(): raise RuntimeError("startup")
    @fastgate.hookimpl
    async def fastgate_shutdown(): raise RuntimeError("shutdown")
    @fastgate.hookimpl
    def fastgate_metrics(): raise RuntimeError("metrics")
    @fastgate.hookimpl
    def fastgate_config_sources(): raise RuntimeError("sources")
"""
SINKS = """
    import json
    import pathlib
    import threading

    import fastgate

    class Copy:
        def write(self, lines):
            with pathlib.Path(__file__).with_name("copy").open("a") as file:
                for line in lines:
                    file.write(json.dumps(line) + "\\n")

    class Stuck:
        def write(self, lines):
            threading.Event().wait()

    @fastgate.hookimpl
    def fastgate_access_log_sinks():
        return [Copy(), Stuck()]
"""
IMPURE = """
    import fastgate

    calls = []

    @fastgate.hookimpl
    def fastgate_amend_ir(ir):
        calls.append(ir)
        return ir if len(calls) % 2 or len(calls) == 2 else None
"""


@pytest.fixture
def plugged(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("plugins")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_hooks_are_called(serve, plugged):
    distribution(plugged, "acme-hooks", {"acme": "acme_hooks"}, "fastgate", acme_hooks=HOOKS)
    vault = plugged / "vault.yaml"
    vault.write_text((ROUTE % "/vault").replace("{name: r}", "{name: v}"))
    server = serve(route="/file")
    assert "acme has started" in server.text
    assert server.get("/vault")[0] == server.get("/file")[0] == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/file", timeout=5) as answer:
        assert answer.headers["Server"] == "acme"
    assert server.metric("acme_things_total") == 7
    vault.write_text((ROUTE % "/moved").replace("{name: r}", "{name: v}"))
    server.wait(lambda: server.get("/moved")[0] == 200)
    assert server.get("/vault")[0] == 404
    code, text = server.stop()
    assert code == 0
    assert "acme has stopped" in text


def test_hooks_that_fail_keep_nothing_from_working(serve, plugged):
    distribution(plugged, "acme-failing", {"acme": "acme_failing"}, "fastgate", acme_failing=FAILING)
    distribution(plugged, "acme-broken", {"acme": "acme_broken"}, "fastgate", acme_broken="import nothing_like_this")
    server = serve(route="/file")
    assert server.get("/file")[0] == 200
    assert server.admin_page("/metrics")[0] == 200
    code, text = server.stop()
    assert code == 0
    for hook in ("startup", "shutdown", "metrics", "config_sources"):
        assert f"fastgate_{hook} of acme-failing failed" in text
    assert "acme-broken is disabled: acme_broken cannot be imported: ModuleNotFoundError" in text


def test_sinks_get_access_logs_and_hold_up_nobody(serve, plugged, tmp_path):
    distribution(plugged, "acme-sinks", {"acme": "acme_sinks"}, "fastgate", acme_sinks=SINKS)
    copy = plugged / "copy"
    server = serve("--access-log", "json", "--workers", 1)
    server.wait(lambda: server.get("/a")[0] == 200 and server.metric("fastgate_log_sink_dropped_total") > 0)
    logged = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    server.wait(lambda: [json.loads(line) for line in copy.read_text().splitlines()] == logged)
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait(lambda: server.get("/after")[0] == 200)
    server.wait(lambda: '"/after"' in copy.read_text())


def test_text_logs_are_lines_to_sinks(serve, plugged):
    distribution(plugged, "acme-sinks", {"acme": "acme_sinks"}, "fastgate", acme_sinks=SINKS.replace(", Stuck()", ""))
    server = serve("--access-log", "text")
    assert server.get("/a")[0] == 200
    assert server.stop()[0] == 0  # which waits for the last line
    (line,) = (plugged / "copy").read_text().splitlines()
    assert '"GET /a HTTP/1.1" 200' in json.loads(line)["text"]


def test_a_configuration_that_is_not_amended_purely_is_refused(serve, plugged, tmp_path):
    distribution(plugged, "acme-odd", {"acme": "acme_odd"}, "fastgate", acme_odd=IMPURE)
    server = serve(route="/first")
    assert server.get("/first")[0] == 200
    (tmp_path / "route.yaml").write_text(ROUTE % "/second")
    server.wait(lambda: "fastgate_amend_ir of acme-odd is not pure" in server.text)
    assert server.get("/first")[0] == 200
