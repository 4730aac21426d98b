"""Filters written in Python as a user has them: an installed distribution, YAML, `fastgate run`; and embedded."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import pytest
from server import GATEWAY
from server import fastgate as command

import fastgate

INSTALLED = str(Path(__file__).parents[1] / "support" / "installed")
FILTER = """
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: one}
spec: {type: %s, execution: %s, config: %s}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]
    filters: [{type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: one}}]
"""


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [INSTALLED, os.environ.get("PYTHONPATH")])))


@pytest.mark.parametrize("execution", ["Offloaded", "Inline"])
def test_a_filter_is_served_changed_and_refused(serve, tmp_path, execution):
    file = tmp_path / "route.yaml"
    server = serve("--workers", 2)
    file.write_text(ROUTE + "---" + FILTER % ("Target", execution, "{}"))
    server.wait(lambda: server.get("/in") == (200, "/changed?n=1"))
    file.write_text(ROUTE + "---" + FILTER % ("Answer", execution, "{status: 418}"))
    server.wait(lambda: server.get("/in") == (418, "no"))
    file.write_text(ROUTE + "---" + FILTER % ("Answer", execution, "{status: many}"))
    server.wait(lambda: server.get("/in")[0] == 500)
    checked = command("validate", file)
    assert checked.returncode == 1
    line = 1 + next(n for n, text in enumerate(file.read_text().splitlines()) if "many" in text)
    assert f"{file}:{line}:" in checked.stderr
    assert "spec.config.status: must be a valid integer" in checked.stderr
    file.write_text(ROUTE + "---" + FILTER % ("Target", execution, "{}"))
    server.wait(lambda: server.get("/in") == (200, "/changed?n=1"))


@pytest.mark.parametrize("execution", ["Offloaded", "Inline"])
def test_an_embedded_gateway_takes_classes(execution):
    class Stamp(fastgate.Filter):
        async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
            return fastgate.Response(200, f"stamped {request.path}")

    resources = GATEWAY % 9 + "---" + ROUTE + "---" + FILTER % (f"Embedded{execution}", execution, "{}")
    with fastgate.Gateway(resources, ports={80: 0}, filters={f"Embedded{execution}": Stamp}) as gateway:
        host, port = gateway.address("http")
        with urllib.request.urlopen(f"http://{host}:{port}/a") as answer:
            assert answer.read() == b"stamped /a"
