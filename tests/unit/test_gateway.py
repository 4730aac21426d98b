"""The gateway inside of another program, and the matcher as a library."""

import asyncio
import signal
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

import fastgate

YAML = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: fastgate
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r}}
spec:
  parentRefs: [{{name: gw}}]
  rules:
  - name: api
    matches: [{{path: {{value: {path}}}, headers: [{{name: x-user, value: "1"}}]}}, {{path: {{value: {path}}}}}]
    backendRefs: [{{group: fastgate.dev, kind: Backend, name: b}}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {{name: b}}
spec: {{endpoints: [{{address: localhost, port: {port}}}]}}
"""


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def resources(port=1, path="/"):
    return YAML.format(port=port, path=path)


def get(gateway, path="/"):
    host, port = gateway.address("http")
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
        return answer.read()


def test_serves_and_changes(port):
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with fastgate.Gateway(resources(port), ports={80: 0}) as gateway:
        gateway.wait_ready()
        assert get(gateway) == b"hello"
        report = gateway.apply(resources(port, "/only"))
        assert report.applied
        assert report.generation == 2
        assert get(gateway, "/only") == b"hello"
        with pytest.raises(urllib.error.HTTPError, match="404") as e:
            get(gateway)
        e.value.close()
        assert gateway.metrics().counters["requests"] == 3
        conditions = gateway.status()["HTTPRoute/default/r"]["parents"][0]["conditions"]
        assert {c["type"]: c["status"] for c in conditions} == {"Accepted": "True", "ResolvedRefs": "True"}
        with pytest.raises(KeyError):
            gateway.address("https")
    assert handlers == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with pytest.raises(fastgate.StoppedError):
        gateway.status()


FILTER = """
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: f}
spec: {type: Gone}
"""


def test_a_rule_whose_filter_cannot_be_used_answers_500(port):
    refs = (
        "filters: [{type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: f}}]\n    backendRefs"
    )
    text = resources(port).replace("backendRefs", refs) + "---" + FILTER
    with fastgate.Gateway(text, ports={80: 0}) as gateway:
        with pytest.raises(urllib.error.HTTPError, match="500") as e:
            get(gateway)
        e.value.close()
        end = time.monotonic() + 10  # the answer may be here before it is counted
        while gateway.metrics().reasons.get("invalid_filter") != 1:
            assert time.monotonic() < end
        (accepted,) = gateway.status()["Filter/default/f"]["conditions"]
        assert (accepted["status"], accepted["reason"]) == ("False", "InvalidType")
        resolved = gateway.status()["HTTPRoute/default/r"]["parents"][0]["conditions"][-1]
        assert resolved["reason"] == "fastgate.dev/InvalidFilter"
        assert gateway.apply(resources(port)).applied
        assert get(gateway) == b"hello"


def test_several_in_one_process(port):
    with fastgate.Gateway(resources(port), ports={80: 0}) as a, fastgate.Gateway(resources(port), ports={80: 0}) as b:
        assert a.address("http") != b.address("http")
        assert get(a) == get(b) == b"hello"


async def test_asynchronous_context_manager(port):
    async with fastgate.Gateway(resources(port), ports={80: 0}) as gateway:
        assert await asyncio.to_thread(get, gateway) == b"hello"


def test_what_is_wrong_is_raised_and_nothing_runs(capfd):
    gateway = fastgate.Gateway(resources(path="relative"), ports={80: 0})
    with pytest.raises(fastgate.ConfigurationError) as e:
        gateway.start()
    assert e.value.problems[0].field == "spec.rules[0].matches[0].path"
    gateway.stop()
    assert capfd.readouterr() == ("", "")


def test_a_refused_change_is_reported_and_changes_nothing(port):
    with fastgate.Gateway(resources(port), ports={80: 0}) as gateway:
        report = gateway.apply(resources(port, "relative"))
        assert report.errors
        assert get(gateway) == b"hello"


def test_stop_ends_a_connection_that_is_open(port):
    gateway = fastgate.Gateway(resources(port), ports={80: 0})
    gateway.start()
    with socket.create_connection(gateway.address("http")) as client:
        client.sendall(b"GET / HT")
        assert not gateway.stop(drain=0.2)
        assert client.recv(100) == b""


def test_router():
    router = fastgate.Router(resources(path="/api"))
    match = router.match("GET", "Shop.Example.", "/api/./x", {"X-User": "1"}, "a=b")
    assert (match.route, match.index, match.name, match.prefix_length) == ("HTTPRoute/default/r", 0, "api", 4)
    assert match.listener == "Gateway/default/gw/http"
    assert match.action.backends[0].cluster == "Backend/default/b"
    assert router.match("GET", "a", "/other") is None
    assert router.match("GET", "a", "/api", port=81) is None
    with pytest.raises(fastgate.ParseError):
        router.match("GET", "a", "/%00")
    with pytest.raises(fastgate.ConfigurationError):
        fastgate.Router("a: b")


def test_router_knows_that_listeners_have_filters_of_their_own():
    text = resources().replace("HTTP}]", "HTTP}, {name: other, port: 81, protocol: HTTP}]")
    target = "{group: gateway.networking.k8s.io, kind: Gateway, name: gw, sectionName: http}"
    document = (
        "apiVersion: fastgate.dev/v1alpha1\nkind: Filter\nmetadata: {name: f}\nspec: {type: Gone, targetRefs: [%s]}"
    )
    router = fastgate.Router(f"{text}---\n{document % target}")
    actions = [type(router.match("GET", "a", "/", port=port).action).__name__ for port in (80, 81)]
    assert actions == ["Respond", "Forward"]


def test_router_from_many_threads():
    router = fastgate.Router(resources(path="/api"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: router.match("GET", "a", f"/api/{n}"), range(2000)))
    assert all(match.index == 0 for match in found)


def test_everything_public_is_there():
    for name in fastgate.__all__:
        assert getattr(fastgate, name) is not None
    assert set(fastgate.__all__) <= set(dir(fastgate))
    with pytest.raises(AttributeError):
        _ = fastgate.nothing


def test_hooks_are_called_by_an_embedded_gateway():
    """A plugin's source has a route, whose path a resource of a kind of its own says."""
    calls, asked, second = [], [], threading.Event()

    class Path(fastgate.Resource):
        spec: str

    class Paths:
        name = "paths"
        path = "/first"

        def read(self):
            return [
                {"apiVersion": "acme.dev/v1", "kind": "Path", "metadata": {"name": "p"}, "spec": self.path},
                *yaml.safe_load_all(YAML.format(path=self.path, port=9)),
            ]

    class Plugin:
        source = Paths()

        @fastgate.hookimpl
        async def fastgate_startup(self):
            calls.append("startup")

        @fastgate.hookimpl
        def fastgate_shutdown(self):
            calls.append("shutdown")

        @fastgate.hookimpl
        def fastgate_resource_kinds(self):
            return {("acme.dev/v1", "Path"): Path}

        @fastgate.hookimpl
        def fastgate_config_sources(self, changed):
            asked.append(changed)
            return [self.source]

        @fastgate.hookimpl
        def fastgate_amend_ir(self, resources):
            calls.append(resources.get("Path", "default", "p").spec)
            if calls[-1] == "/second":
                second.set()

    with fastgate.Gateway([], ports={80: 0}, plugins={"acme": Plugin()}) as gateway:
        gateway.address("http")
        assert calls == ["startup", "/first", "/first"]
        Plugin.source.path = "/second"
        asked[0]()
        assert second.wait(10)
    assert calls[-1] == "shutdown"
