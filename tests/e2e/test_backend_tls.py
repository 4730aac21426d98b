"""TLS to a backend from YAML: examples/backend-tls.yaml with an authority, a client certificate and a backend of the test's."""

from pathlib import Path

import pytest
import yaml
from secure import Authority
from tls_backend import TlsBackend, server_context

EXAMPLE = Path(__file__).parents[2] / "examples" / "backend-tls.yaml"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def secure(authority):
    """A backend with a name of the example's policy, which wants a certificate of its clients."""
    backend = TlsBackend(server_context(authority.issue("accounts.example.com"), authority))
    backend.answer_all(OK)
    yield backend
    backend.close()


def documents(backend, trusted, identity=None):
    found = {(each["kind"]): each for each in yaml.safe_load_all(EXAMPLE.read_text())}
    found["Backend"]["spec"]["endpoints"][0]["port"] = backend.endpoint.port
    found["ConfigMap"]["data"]["ca.crt"] = trusted.pem
    if identity is not None:
        data = {"tls.crt": identity.chain.decode(), "tls.key": identity.key.decode()}
        metadata = {"name": "identity"}
        found["Secret"] = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata}
        found["Secret"]["stringData"] = data
        found["Gateway"]["spec"]["tls"] = {"backend": {"clientCertificateRef": {"name": "identity"}}}
    return yaml.safe_dump_all(found.values())


def test_the_example_is_served_verified_and_says_when_it_is_not(serve, tmp_path, secure, authority):
    place = tmp_path / "example.yaml"
    place.write_text(documents(secure, authority, authority.issue("gateway.example.com")))
    server = serve(files=[place])
    assert server.get("/") == (200, "ok")
    place.write_text(documents(secure, authority))
    server.wait(lambda: server.get("/")[0] == 502)
    place.write_text(documents(secure, Authority("other"), authority.issue("gateway.example.com")))
    server.wait(lambda: server.get("/")[0] == 502 and '"upstream_unverified"' in (tmp_path / "access.log").read_text())
    place.write_text(documents(secure, authority, authority.issue("gateway.example.com")))
    server.wait(lambda: server.get("/")[0] == 200)
