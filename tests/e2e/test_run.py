"""`fastgate run` as a user runs it: a process, files, signals, real clients."""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from server import GATEWAY, ROUTE, TIMEOUT, command, fastgate, free_port


def test_serves_reloads_and_drains(serve, tmp_path):
    server = serve("--workers", 2)
    assert server.get("/hello") == (200, "/hello")
    assert server.get("/", "body") == (200, "body")
    (tmp_path / "route.yaml").write_text(ROUTE % "/only")
    server.wait(lambda: server.get("/hello")[0] == 404)
    assert server.get("/only/x") == (200, "/only/x")
    code, text = server.stop()
    assert code == 0
    assert re.search(r"default/gw +http +HTTP +\* +\*:\d+ +1", text)
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    hello = next(line for line in lines if line["path"] == "/hello")  # two workers write it
    assert hello["route"] == "HTTPRoute/default/r"


def test_a_refused_change_keeps_the_last_good_configuration(serve, tmp_path):
    server = serve()
    good, since = "fastgate_config_last_reload_successful", "fastgate_config_last_reload_success_timestamp_seconds"
    first = server.metric(since)
    assert (server.metric(good), first > server.metric("process_start_time_seconds")) == (1, True)
    (tmp_path / "route.yaml").write_text((ROUTE % "/only").replace("matches", "matchs"))
    server.wait(lambda: "matchs" in server.admin_page("/status")[1])
    assert server.get("/hello")[0] == 200
    (tmp_path / "route.yaml").write_text("spec: {")
    server.wait(lambda: "while parsing" in server.admin_page("/status")[1])
    assert server.get("/hello")[0] == 200
    assert (server.metric(good), server.metric(since)) == (0, first)
    (tmp_path / "route.yaml").write_text(ROUTE % "/good")
    server.wait(lambda: server.get("/good")[0] == 200)
    server.wait(lambda: server.metric(good) == 1 and server.metric(since) > first)
    assert server.stop()[0] == 0


def test_killed_workers_are_replaced(serve):
    server = serve("--workers", 2)
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    server.wait(lambda: len(set(server.workers()) - set(before)) == 1 and server.admin_page("/readyz")[0] == 200)
    for _ in range(20):
        assert server.get("/x")[0] == 200
    assert "fastgate_workers_replaced_total 1" in server.admin_page("/metrics")[1]


def test_workers_have_no_privileges(serve):
    server = serve()
    (worker,) = server.workers()[:1]
    status = Path(f"/proc/{worker}/status").read_text()
    assert re.search(r"CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"CapPrm:\s+0+$", status, re.MULTILINE)
    assert re.search(r"NoNewPrivs:\s+1$", status, re.MULTILINE)
    assert server.get("/x")[0] == 200


def test_signals(serve, tmp_path):
    server = serve()
    server.get("/one")
    server.wait(lambda: (tmp_path / "access.log").read_text().count("\n") == 1)
    (tmp_path / "access.log").rename(tmp_path / "old.log")
    server.process.send_signal(signal.SIGUSR1)
    server.wait((tmp_path / "access.log").exists)
    server.get("/two")
    server.wait(lambda: "/two" in (tmp_path / "access.log").read_text() + (tmp_path / "old.log").read_text())
    server.process.send_signal(signal.SIGHUP)
    assert server.get("/x")[0] == 200
    assert server.stop(signal.SIGINT)[0] == 0


def test_the_admin_listener_is_for_its_own_host(serve):
    server = serve()
    assert server.admin_page("/healthz")[0] == 200
    assert server.admin_page("/status", Host="evil.example")[0] == 403
    assert server.admin_page("/config", Origin="http://evil.example")[0] == 403
    assert server.admin_page("/nothing")[0] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{server.admin}/config", method="POST", data=b"")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=5)
    server.get("/x")
    counted = (
        'fastgate_requests_by_route_total{listener="Gateway/default/gw/http",route="HTTPRoute/default/r",code="2xx"} 1'
    )
    server.wait(lambda: counted in server.admin_page("/metrics")[1])
    assert len(list(text_string_to_metric_families(server.admin_page("/metrics")[1]))) > 40
    assert "HTTPRoute/default/r" in server.admin_page("/config")[1]


def test_status_shows_conditions_and_addresses(serve):
    server = serve()
    shown = fastgate("status", "--admin", f"127.0.0.1:{server.admin}")
    assert shown.returncode == 0, shown.stderr
    assert f"*:{server.port}" in shown.stdout
    assert "HTTPRoute/default/r -> gw" in shown.stdout
    nobody = fastgate("status", "--admin", f"127.0.0.1:{free_port()}")
    assert (nobody.returncode, nobody.stderr.endswith(": Connection refused\n")) == (2, True)


def test_a_second_instance_does_not_share_the_port(serve, tmp_path):
    server = serve()
    line, environment = command("run", tmp_path, "--port-map", f"80={server.port}", "--admin", "off", "--instance", "b")
    second = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert second.returncode == 1
    assert "another process serves this address" in second.stderr


def test_a_first_start_with_a_refused_object_ends_with_its_place(tmp_path, backend):
    file = tmp_path / "all.yaml"
    file.write_text(GATEWAY % backend + "---" + (ROUTE % "relative"))
    refused = fastgate("run", file, "--admin", "off")
    assert refused.returncode == 1
    assert re.search(
        r"all\.yaml:20:\d+: error: HTTPRoute/default/r: spec\.rules\[0\]\.matches\[0\]\.path: value must be an absolute",
        refused.stderr,
    )
    checked = fastgate("validate", "--json", file)
    assert checked.returncode == 1
    assert json.loads(checked.stdout.splitlines()[0])["field"] == "spec.rules[0].matches[0].path"


def test_explain_tells_where_a_request_goes_and_what_is_never_reached(tmp_path, backend):
    file = tmp_path / "all.yaml"
    second = (ROUTE % "/x").replace("name: r}", "name: shadowed}")
    file.write_text(GATEWAY % backend + "---" + (ROUTE % "/x") + "---" + second)
    found = fastgate("explain", "-f", file, "GET", "http://shop.example/x/y", "-H", "a: b")
    assert found.returncode == 0
    assert "route     HTTPRoute/default/r" in found.stdout
    assert "HTTPRoute/default/shadowed/0 can never match" in found.stdout
    assert fastgate("explain", "-f", file, "GET", "http://shop.example/y").returncode == 1
    shown = json.loads(fastgate("explain", "-f", file, "GET", "http://shop.example/x", "--json").stdout)
    assert [answer["rule"] for answer in shown["answers"]] == ["HTTPRoute/default/r/0"]
    assert [(e["rule"], e["candidates"][0]["takenBy"]) for e in shown["unreachable"]] == [
        ("HTTPRoute/default/shadowed/0", "HTTPRoute/default/r/0")
    ]
    nobody = fastgate("explain", "-f", file, "GET", "http://shop.example:81/x", "--json")
    assert (nobody.returncode, json.loads(nobody.stdout)["answers"]) == (1, [])


def test_help_has_examples():
    for name in ("run", "validate", "explain", "status"):
        text = fastgate(name, "--help").stdout
        assert "Example: fastgate " + name in text


def test_before_it_drains_it_accepts_on_for_a_while_and_says_that_it_is_not_ready(serve):
    server = serve("--drain-delay", 2)
    server.process.send_signal(signal.SIGTERM)
    server.wait(lambda: server.admin_page("/readyz") == (503, "draining\n"))
    assert server.get("/x") == (200, "/x")
    assert server.process.wait(TIMEOUT) == 0


def test_a_second_signal_ends_it_at_once(serve):
    server = serve("--drain-timeout", 60)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")  # and nothing more
        server.wait(lambda: server.metric("fastgate_requests_active") == 1)
        server.process.send_signal(signal.SIGTERM)
        server.wait(lambda: server.admin_page("/readyz")[0] == 503)
        code, text = server.stop()
    assert code == 0
    assert "stopped with requests open" in text


def test_a_configuration_that_kills_workers_is_reported_and_the_next_change_tried(serve, tmp_path):
    server = serve("--workers", 1)
    (tmp_path / "route.yaml").write_text(ROUTE % "/bad")
    server.wait(lambda: server.get("/x")[0] == 404)
    for n in range(3):
        os.kill(server.workers()[0], signal.SIGKILL)
        server.wait(lambda n=n: server.metric("fastgate_workers_replaced_total") == n + 1 and server.workers())
    reason = "workers died over generation 2: the configuration before it is served again"
    assert any(reason in problem for problem in json.loads(server.admin_page("/status")[1])["problems"])
    assert server.get("/x")[0] == 200
    assert server.metric("fastgate_roll_backs_total") == 1
    assert server.metric("fastgate_config_last_reload_successful") == 0
    assert f"{reason}, as generation 3" in server.text
    (tmp_path / "route.yaml").write_text(ROUTE % "/next")
    server.wait(lambda: server.get("/x")[0] == 404)
    assert server.get("/next")[0] == 200
    assert reason not in server.admin_page("/status")[1]
