"""The plugins of this repository, as they are installed, in a gateway of two workers with a plugin process each."""

import base64
import hashlib
import http.client
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import bcrypt
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from server import GATEWAY

FILTERS = """
apiVersion: v1
kind: Secret
metadata: {name: known}
stringData: {keys: "%(keys)s", users: "%(users)s"}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: token}
spec: {type: JWT, timeout: 5s, config: {keys: {url: "http://127.0.0.1:%(port)d/jwks"}, claimsToHeaders: {x-user: sub}}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: key}
spec: {type: APIKey, timeout: 5s, config: {keys: {name: known, key: keys}, identityHeader: x-user}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: password}
spec: {type: BasicAuth, timeout: 5s, config: {users: {name: known, key: users}, identityHeader: x-user}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: limit}
spec:
  type: RateLimit
  timeout: 5s
  config: {requests: 10, per: 3600, key: "{claim:sub}", store: {type: local, directory: "%(folder)s"}}
"""
ROUTE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %(path)s}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {value: /%(path)s}}]
    filters: [%(filters)s]
    backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]
"""


def route(path, *filters):
    refs = ", ".join(
        f"{{type: ExtensionRef, extensionRef: {{group: fastgate.dev, kind: Filter, name: {name}}}}}" for name in filters
    )
    return ROUTE % {"path": path, "filters": refs}


class Origin(BaseHTTPRequestHandler):
    """Answers with the fields that it got; at /jwks with the issuer's keys."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    keys = b""

    def do_GET(self):
        fields = {name.lower(): value for name, value in self.headers.items()}
        body = self.keys if self.path == "/jwks" else json.dumps(fields).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def issuer():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def backend(issuer):
    key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(issuer.public_key()))
    key.pop("key_ops", None)
    handler = type("Publishing", (Origin,), {"keys": json.dumps({"keys": [key]}).encode()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def gateway(serve, backend, tmp_path):
    (tmp_path / "buckets").mkdir()
    known = {
        "keys": "ada:" + hashlib.sha256(b"key of ada").hexdigest(),
        "users": "ada:" + bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode(),
        "port": backend,
        "folder": tmp_path / "buckets",
    }
    routes = (
        route("token", "token") + route("key", "key") + route("password", "password") + route("limit", "token", "limit")
    )
    (tmp_path / "all.yaml").write_text(GATEWAY % backend + "---" + FILTERS % known + routes)
    return serve("--workers", "2", files=[tmp_path / "all.yaml"])


def get(server, path, **fields):
    """A request on a connection of its own: status, fields and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def bearer(issuer, subject="ada", **claims):
    return "Bearer " + jwt.encode({"sub": subject, "exp": time.time() + 600, **claims}, issuer, "ES256")


def test_who_is_known_passes(gateway, issuer):
    credentials = {
        "/token": {"authorization": bearer(issuer)},
        "/key": {"x_api_key": "key of ada"},
        "/password": {"authorization": "Basic " + base64.b64encode(b"ada:password").decode()},
    }
    for path, fields in credentials.items():
        for _ in range(6):  # by both workers
            status, _, body = get(gateway, path, x_user="root", **fields)
            assert status == 200, gateway.text + body.decode()
            seen = json.loads(body)
            assert seen["x-user"] == "ada"
            assert not {"authorization", "x-api-key"} & seen.keys()


def test_who_is_not_known_is_challenged(gateway, issuer):
    expired = bearer(issuer, exp=1)
    for path, fields, said in (
        ("/token", {}, 'Bearer realm="fastgate"'),
        ("/token", {"authorization": expired}, 'Bearer realm="fastgate", error="invalid_token", error_description="the token has expired"'),
        ("/key", {"x_api_key": "another"}, 'ApiKey realm="fastgate"'),
        ("/password", {"authorization": "Basic YTpi"}, 'Basic realm="fastgate", charset="UTF-8"'),
    ):  # fmt: skip
        status, answer, _ = get(gateway, path, x_user="root", **fields)
        assert (status, answer["www-authenticate"]) == (401, said)


def test_all_workers_count_together_and_a_death_forgets_nothing(gateway, issuer):
    def ask(subject):
        return get(gateway, "/limit", authorization=bearer(issuer, subject))

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(ask, ["ada"] * 16))
    assert sorted(status for status, _, _ in answers) == [200] * 10 + [429] * 6
    passed = sorted(answer["ratelimit"] for status, answer, _ in answers if status == 200)
    assert [said.split(";")[1] for said in passed] == sorted(f"r={n}" for n in range(10))
    limited = next(answer for status, answer, _ in answers if status == 429)
    assert 300 <= int(limited["retry-after"]) <= 360
    assert limited["ratelimit-policy"] == '"default";q=10;w=3600'
    first, second = plugin_processes(gateway)
    os.kill(first, signal.SIGKILL)
    gateway.wait(lambda: len(set(plugin_processes(gateway)) - {first, second}) == 1)
    seen = []

    def limited_again():
        seen.append(ask("ada")[0])
        return seen[-1] == 429

    gateway.wait(lambda: all(limited_again() for _ in range(8)))  # by both workers
    assert 200 not in seen


def plugin_processes(server):
    """The plugin processes of a gateway, which has a process group of its own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it has ended
            if path.read_text() == "fastgate-plugin\n" and os.getpgid(int(path.parent.name)) == server.process.pid:
                found.append(int(path.parent.name))
    return sorted(found)
