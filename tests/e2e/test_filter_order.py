"""Which filters a request meets, and in which order: from files to answers."""

import json

import pytest
from distributions import distribution
from server import fastgate

FILTERS = """
    import fastgate
    from pydantic import BaseModel

    class Config(BaseModel):
        name: str

    class Way(fastgate.Filter[Config]):
        async def on_request(self, request, context):
            request.headers["x-way"] = f"{request.headers.get('x-way', '')} {self.config.name}".strip()
            if self.config.name == "before":
                request.path = request.path.removeprefix("/alias")

    class Tell(fastgate.Filter[Config]):
        async def on_request(self, request, context):
            if request.path == "/rule":
                return fastgate.Response(200, request.headers["x-way"])
"""
ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: fastgate
  listeners: [{name: http, port: 80, protocol: HTTP}, {name: other, port: 80, protocol: HTTP, hostname: other.example.com}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{address: 127.0.0.1, port: %d}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - name: named
    matches: [{path: {value: /rule}}]
    filters:
    - {type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: listed}}
    - {type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: listed-last}}
    backendRefs:
    - group: fastgate.dev
      kind: Backend
      name: b
      filters:
      - {type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: backend}}
      - {type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: tell}}
  - matches: [{path: {value: /other}}]
    backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]
"""
TARGETS = {
    "backend": None,
    "listed": None,
    "listed-last": None,
    "rule": "kind: HTTPRoute, name: r, sectionName: named",
    "route": "kind: HTTPRoute, name: r",
    "listener": "kind: Gateway, name: gw, sectionName: http",
    "gateway": "kind: Gateway, name: gw",
    "before": "kind: Gateway, name: gw",
}
FILTER = """---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: %s}
spec:
  type: %s
  config: {name: %s}
  execution: %s
"""


def filters(execution):
    """A Filter for each place, in another order than that in which they are met."""
    yield FILTER % ("tell", "Tell", "tell", "Offloaded")
    for number, (name, target) in enumerate(TARGETS.items()):
        yield FILTER % (name, "Way", name, execution or ("Inline", "Offloaded")[number % 2])
        if target:
            yield f"  targetRefs: [{{group: gateway.networking.k8s.io, {target}}}]\n"
        if name == "before":
            yield "  position: BeforeRouting\n"


@pytest.mark.parametrize("execution", ["Offloaded", "Inline", None])
def test_the_wider_a_target_the_earlier_its_filters(serve, tmp_path, monkeypatch, backend, execution):
    types = {"Way": "acme_filters:Way", "Tell": "acme_filters:Tell"}
    distribution(tmp_path / "acme", "acme", types, acme_filters=FILTERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "acme"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "all.yaml").write_text(ROUTES % backend + "".join(filters(execution)))
    server = serve("--workers", 1, files=[tmp_path / "files"])
    way = "before gateway listener route rule listed listed-last backend"
    for path in ("/rule", "/alias/rule"):
        assert server.get(path) == (200, way)
    there = ("-f", tmp_path / "files", "GET", "http://a/rule", "--json")
    (explained,) = json.loads(fastgate("explain", *there).stdout)["answers"]
    names = [line.split()[0] for line in explained["filtersBeforeRouting"] + explained["filters"]]
    assert names == [f"default/{name}" for name in way.split()[:-1]]
