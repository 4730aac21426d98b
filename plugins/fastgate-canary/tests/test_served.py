"""Users who come again, and where they are sent, through a gateway."""

import httpx
import pytest

import fastgate
from fastgate.testing import Backend, Use
from fastgate_canary import Canary


@pytest.mark.parametrize("inline", [False, True])
def test_a_newcomer_stays(fastgate_gateway, inline):
    config = {"percentage": 50, "cookie": {}, "forward": {"header": "x-release"}}
    gateway = fastgate_gateway(Use(Canary, config, inline=inline))
    first = gateway.client.get("/", headers={"x-release": "forged"})
    cookie = first.headers["set-cookie"].partition(";")[0]
    again = gateway.client.get("/", headers={"cookie": cookie})
    assert "set-cookie" not in again.headers
    assert first.headers["vary"] == again.headers["vary"] == "Cookie"
    (side,) = {one.headers["x-release"] for one in gateway.backend.requests}
    assert side in ("canary", "stable")


RESOURCES = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: fastgate
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop}}
spec:
  parentRefs: [{{name: gw}}]
  rules:
  - backendRefs: [{{group: fastgate.dev, kind: Backend, name: shop}}]
    filters: [{{type: ExtensionRef, extensionRef: {{group: fastgate.dev, kind: Filter, name: canary}}}}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {{name: shop}}
spec: {{endpoints: [{{address: 127.0.0.1, port: {stable}}}, {{address: 127.0.0.1, port: {canary}}}]}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {{name: canary}}
spec:
  type: Canary
  timeout: 5s
  execution: {execution}
  config: {{percentage: 0, cookie: {{}}, override: {{header: x-canary}}, endpoints: ["127.0.0.1:{canary}"]}}
"""


@pytest.fixture
def servers():
    made = [Backend(), Backend()]
    yield made
    for server in made:
        server.close()


@pytest.mark.parametrize("execution", ["Offloaded", "Inline"])
def test_each_side_has_its_endpoints(servers, execution):
    stable, canary = servers
    text = RESOURCES.format(stable=stable.port, canary=canary.port, execution=execution)
    with fastgate.Gateway(text, ports={80: 0}) as gateway:
        host, port = gateway.address("http")
        with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False) as client:
            for _ in range(20):
                client.get("/users")
                client.get("/testers", headers={"x-canary": "always"})
    assert [one.target for one in stable.requests] == ["/users"] * 20
    assert [one.target for one in canary.requests] == ["/testers"] * 20
