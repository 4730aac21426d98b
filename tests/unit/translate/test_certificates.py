"""Certificates of listeners from store to store: what changed is read, and nothing else."""

import pytest
from certificates import filled
from resources import store_of

from fastgate.translate import Translator, certificates

GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "gw", "namespace": "default"},
    "spec": {
        "gatewayClassName": "fastgate",
        "listeners": [
            {"name": name, "port": port, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": name}]}}
            for port, name in enumerate("ab", 443)
        ],
    },
}
CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "fastgate"},
    "spec": {"controllerName": "fastgate.dev/gateway-controller"},
}


def secret(name, key=None):
    return filled({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": f"@certificate {name}.example.com", "tls.key": f"@key {key or name}.example.com"},
    })  # fmt: skip


@pytest.fixture
def read(monkeypatch):
    """Names of the Secrets that were read."""
    names = []

    def key_pair_of(source):
        names.append(source.metadata.name)
        return original(source)

    original = certificates.key_pair_of
    monkeypatch.setattr(certificates, "key_pair_of", key_pair_of)
    return names


def reasons(translation):
    listeners = translation.statuses.gateways["default", "gw"].listeners
    return [next(c.reason for c in listener.conditions if c.type == "ResolvedRefs") for listener in listeners]


def test_a_secret_is_read_once_and_again_when_it_changed(read):
    translator = Translator()
    store = store_of([CLASS, GATEWAY, secret("a"), secret("b", key="a")])
    assert reasons(translator.translate(store)) == ["ResolvedRefs", "InvalidCertificateRef"]
    assert read == ["a", "b"]
    store = store.replaced(secret("b"))
    assert reasons(translator.translate(store)) == ["ResolvedRefs", "ResolvedRefs"]
    assert read == ["a", "b", "b"]
    store = store.replaced({**GATEWAY, "metadata": {**GATEWAY["metadata"], "generation": 2}})
    assert reasons(translator.translate(store)) == ["ResolvedRefs", "ResolvedRefs"]
    assert read == ["a", "b", "b"]
    assert reasons(translator.translate(store.without("Secret", "default", "a")))[0] == "InvalidCertificateRef"


def test_a_changed_secret_places_no_route_again():
    translator = Translator()
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": []}]},
    }
    store = store_of([CLASS, GATEWAY, route, secret("a"), secret("b")])
    translator.translate(store)
    before = list(translator._routes.values())
    translator.translate(store.replaced(secret("a", key="b")))
    assert [new is old for new, old in zip(translator._routes.values(), before, strict=True)] == [True]
