"""Filters from files to answers: an installed filter, its Filter, a route; and what of it is shown."""

import base64
import json
import re
from pathlib import Path

import pytest
from distributions import distribution
from server import GATEWAY, ROUTE, fastgate

FILTERS = """
    import fastgate
    from pydantic import BaseModel, Field

    class Config(BaseModel):
        token: fastgate.SecretRef
        status: int = Field(default=200, ge=200)

    class Tell(fastgate.Filter[Config]):
        async def on_request(self, request, context):
            return fastgate.Response(self.config.status, self.config.token.value)
"""
FILTER = """
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: tell}
spec:
  type: Tell
  config:
    token: {name: token, key: a}
    status: %d
%s"""
TARGET = "  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]\n"
PLACES = {
    "offloaded": "",
    "inline": "  execution: Inline\n",
    "inline before routing": f"  execution: Inline\n  position: BeforeRouting\n{TARGET}",
}
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {a: %s}\n"
REF = "filters: [{type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: tell}}]"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Install the filter for everything that is started, and return a folder for resources."""
    distribution(tmp_path / "acme", "acme", {"Tell": "acme_filters:Tell"}, acme_filters=FILTERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "acme"))
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "secret.yaml").write_text(SECRET % "first-secret")
    return folder


ANSWERING = """
  - matches: [{path: {value: /redirect}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{name: gone, port: 80}]
  - matches: [{path: {value: /unsupported}}]
    filters: [{type: CORS, cors: {allowOrigins: ["https://a.example"]}}]
    backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]
"""


def route(path="/"):
    return (ROUTE % path).replace("backendRefs", f"{REF}\n    backendRefs")


def images_of(pid):
    """The flags of each image that a process has mapped (proc(5))."""
    mapping, found = "", []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            mapping = line
        elif line.startswith("VmFlags:") and "/memfd:fastgate-image" in mapping:
            found.append(line.split()[1:])
    return found


@pytest.mark.parametrize("more", PLACES.values(), ids=PLACES)
def test_a_changed_secret_reaches_the_filter_and_is_not_shown(serve, files, backend, more):
    taken = ROUTE % "/" if TARGET in more else route()
    (files / "all.yaml").write_text(f"{GATEWAY % backend}---{taken}---{FILTER % (201, more)}")
    server = serve(files=[files])
    assert server.get("/") == (201, "first-secret")
    (files / "secret.yaml").write_text(SECRET % "other-secret")
    server.wait(lambda: server.get("/") == (201, "other-secret"))
    made = re.search(r'fastgate_filter_calls_total{filter="default/tell"} (\d+)\n', server.admin_page("/metrics")[1])
    assert made is not None
    assert int(made[1]) >= 2  # one of the Filter before, and one after
    shown = "".join(server.admin_page(path)[1] for path in ("/config", "/status", "/metrics"))
    shown += fastgate("explain", "-f", files, "GET", "http://a/", "--json").stdout
    assert '"name": "default/tell"' in shown
    assert "default/tell (Tell" in shown
    for secret in ("first-secret", "other-secret"):
        assert secret not in shown + server.text
        assert base64.b64encode(secret.encode()).decode() not in shown + server.text
    for pid in server.workers():
        assert images_of(pid)
        assert all("dd" in flags for flags in images_of(pid))  # no core dump has one
    table = fastgate("status", "--admin", f"127.0.0.1:{server.admin}")
    assert (table.returncode, "Filter/default/tell" in table.stdout) == (0, True), table.stdout


def test_a_filter_of_the_gateway_is_met_on_every_route_also_by_what_the_gateway_answers(serve, files, backend):
    route_text = (ROUTE % "/").rstrip() + ANSWERING
    (files / "all.yaml").write_text(f"{GATEWAY % backend}---{route_text}---{FILTER % (403, TARGET)}")
    server = serve(files=[files])
    paths = ("/any", "/redirect", "/gone", "/unsupported")
    assert {path: server.get(path) for path in paths} == dict.fromkeys(paths, (403, "first-secret"))
    (files / "all.yaml").write_text(f"{GATEWAY % backend}---{route_text}---{FILTER % (403, '')}")
    server.wait(lambda: [server.get(path)[0] for path in paths] == [200, 302, 500, 500])  # in every worker


def test_a_first_start_with_a_faulty_configuration_ends_at_its_line(serve, files, backend):
    text = f"{GATEWAY % backend}---{route('/x')}---{FILTER % (7, '')}"
    (files / "all.yaml").write_text(text)
    line = text[: text.index("status: 7")].count("\n") + 1
    said = f"all.yaml:{line}:13: error: Filter/default/tell: spec.config.status: must be greater than or equal to 200"
    refused = fastgate("run", files, "--admin", "off")
    assert refused.returncode == 1
    assert said in refused.stderr
    server = serve("--keep-going", files=[files])
    server.wait(lambda: said in server.text)
    assert server.get("/x")[0] == 500
    server.wait(lambda: 'fastgate_ended_total{reason="invalid_filter"} 1\n' in server.admin_page("/metrics")[1])
    (files / "all.yaml").write_text(text.replace("status: 7", "status: 207"))
    server.wait(lambda: server.get("/x") == (207, "first-secret"))
    status = json.loads(server.admin_page("/status")[1])
    assert [condition["status"] for condition in status["objects"]["Filter/default/tell"]["conditions"]] == ["True"]
