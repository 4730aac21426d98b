"""Certificates of listeners from store to store: what changed is read, and nothing else."""

from datetime import timedelta

import certificates as made
import pytest
from certificates import filled
from resources import store_of

from fastgate.translate import Translator, certificates, translate
from fastgate.translate.expiry import SOON, certificates_of

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

ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "r", "namespace": "default"},
    "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": []}]},
}
SECOND = timedelta(seconds=1)


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
    store = store_of([CLASS, GATEWAY, ROUTE, secret("a"), secret("b")])
    translator.translate(store)
    before = list(translator._placements.routes.values())
    translator.translate(store.replaced(secret("a", key="b")))
    assert [new is old for new, old in zip(translator._placements.routes.values(), before, strict=True)] == [True]


def test_another_certificate_changes_what_its_listener_shows_and_no_host():
    translator = Translator()
    store = store_of([CLASS, GATEWAY, ROUTE, secret("a"), secret("b")])
    before = translator.translate(store).ir
    renewed = filled(
        {**secret("a"), "data": {"tls.crt": "@certificate c.example.com", "tls.key": "@key c.example.com"}}
    )
    after = translator.translate(store.replaced(renewed)).ir
    (old, kept), (new, same) = ([s.listeners[0] for s in found.sockets] for found in (before, after))
    assert same is kept
    assert new.tls != old.tls
    assert all(x is y for x, y in zip(new.hosts, old.hosts, strict=True))
    shown = {digest for listener in (new, same) for choice in listener.tls.choices for digest in choice.certificates}
    assert [pair.digest for pair in after.key_pairs] == sorted(shown)
    assert {pair.names for pair in after.key_pairs} == {("b.example.com",), ("c.example.com",)}


def test_a_certificate_that_cannot_be_used_takes_its_listener_and_no_other():
    translator = Translator()
    store = store_of([CLASS, GATEWAY, ROUTE, secret("a"), secret("b")])
    first = translator.translate(store)
    broken = translator.translate(store.replaced(secret("a", key="b")))
    assert [s.port for s in broken.ir.sockets] == [444]
    assert broken.ir.sockets[0].listeners[0] is first.ir.sockets[1].listeners[0]
    assert translator.translate(store) == first


LISTENER_SET = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "ListenerSet",
    "metadata": {"name": "set", "namespace": "default"},
    "spec": {"parentRef": {"name": "gw"}, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
}


def test_authorities_decide_whether_a_gateway_and_its_listener_sets_are_accepted():
    reference = {"group": "", "kind": "ConfigMap", "name": "ca"}
    frontend = {"default": {"validation": {"caCertificateRefs": [reference]}}}
    admits = {"namespaces": {"from": "Same"}}
    gateway = {**GATEWAY, "spec": {**GATEWAY["spec"], "tls": {"frontend": frontend}, "allowedListeners": admits}}
    route = {**ROUTE, "spec": {**ROUTE["spec"], "parentRefs": [{"kind": "ListenerSet", "name": "set"}]}}
    authority = filled({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": "default"},
        "data": {"ca.crt": "@certificate ca"},
    })  # fmt: skip
    store = store_of([CLASS, gateway, LISTENER_SET, route, secret("a"), secret("b"), authority])
    translator = Translator()
    good = translator.translate(store)
    assert [s.port for s in good.ir.sockets] == [80, 443, 444]
    assert good.ir.sockets[0].listeners[0].hosts
    assert len(good.ir.authorities) == 1
    without = store.without("ConfigMap", "default", "ca")
    bad = translator.translate(without)
    assert bad == Translator().translate(without)
    assert bad.ir.sockets == ()
    assert translator.translate(store) == good


def test_every_listener_has_its_certificates_once():
    twice = {"name": "c", "port": 445, "protocol": "HTTPS"}
    twice["tls"] = {"certificateRefs": [{"name": "b"}, {"name": "a"}, {"name": "b"}]}
    listeners = [*GATEWAY["spec"]["listeners"], twice]
    gateway = {**GATEWAY, "spec": {**GATEWAY["spec"], "listeners": listeners}}
    ir = translate(store_of([CLASS, gateway, secret("a"), secret("b")])).ir
    assert [(one.listener.rpartition("/")[2], one.pair.names) for one in certificates_of(ir)] == [
        ("a", ("a.example.com",)),
        ("b", ("b.example.com",)),
        ("c", ("b.example.com",)),
        ("c", ("a.example.com",)),
    ]


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (made.BEGIN - SECOND, "not valid yet"),
        (made.BEGIN, "valid"),
        (made.END - SOON - SECOND, "valid"),
        (made.END - SOON, "expires soon"),
        (made.END - SECOND, "expires soon"),
        (made.END, "expired"),
    ],
)
def test_states(now, state):
    (one, _) = certificates_of(translate(store_of([CLASS, GATEWAY, secret("a"), secret("b")])).ir)
    assert one.state(now) == state
