from __future__ import annotations

import pytest
from certificates import common_names, filled
from resources import store_of

from fastgate.translate import Translator, translate


def metadata(name, **more):
    return {"name": name, "namespace": "default", "generation": 1, **more}


def gateway(**tls):
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    return {
        "kind": "Gateway",
        "metadata": metadata("gw"),
        "spec": {"gatewayClassName": "fastgate", "listeners": listeners, **tls},
    }


def service(app_protocol="https"):
    port = {"name": "https", "port": 443, "appProtocol": app_protocol}
    return {"kind": "Service", "metadata": metadata("secure"), "spec": {"ports": [port]}}


def policy(hostname="a.example.com", name="policy", born="2026-01-02T00:00:00Z"):
    return {
        "kind": "BackendTLSPolicy",
        "metadata": metadata(name, creationTimestamp=born),
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "secure"}],
            "validation": {
                "hostname": hostname,
                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
            },
        },
    }


def authority(name):
    return filled({"kind": "ConfigMap", "metadata": metadata("ca"), "data": {"ca.crt": f"@certificate {name}"}})


def identity(name):
    data = {"tls.crt": f"@certificate {name}", "tls.key": f"@key {name}"}
    return filled({"kind": "Secret", "metadata": metadata("identity"), "type": "kubernetes.io/tls", "data": data})


SHOWING = {"tls": {"backend": {"clientCertificateRef": {"name": "identity"}}}}


@pytest.fixture
def store():
    return store_of(
        [
            {
                "kind": "GatewayClass",
                "metadata": {"name": "fastgate"},
                "spec": {"controllerName": "fastgate.dev/gateway-controller"},
            },
            gateway(**SHOWING),
            service(),
            {
                "kind": "HTTPRoute",
                "metadata": metadata("r"),
                "spec": {
                    "parentRefs": [{"name": "gw"}],
                    "rules": [{"backendRefs": [{"name": "secure", "port": 443}]}],
                },
            },
            policy(),
            authority("ca"),
            identity("one"),
        ]
    )


CHANGES = {
    "a policy goes": lambda store: store.without("BackendTLSPolicy", "default", "policy"),
    "a policy has another name": lambda store: store.replaced(policy("b.example.com")),
    "an older policy comes": lambda store: store.replaced(policy("b.example.com", "older", "2026-01-01T00:00:00Z")),
    "authorities change": lambda store: store.replaced(authority("other")),
    "authorities go": lambda store: store.without("ConfigMap", "default", "ca"),
    "the identity changes": lambda store: store.replaced(identity("two")),
    "the identity goes": lambda store: store.without("Secret", "default", "identity"),
    "the gateway shows nothing": lambda store: store.replaced(gateway()),
    "the protocol changes": lambda store: store.replaced(service("http")),
    "nothing asks for TLS": lambda store: store.replaced(service("http")).without(
        "BackendTLSPolicy", "default", "policy"
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_gives_what_a_new_translator_gives_and_so_does_its_reversal(store, change):
    translator = Translator()
    before = translator.translate(store)
    assert translator.translate(change(store)) == translate(change(store))
    assert translator.translate(store) == before == translate(store)


def test_changed_authorities_change_the_cluster_and_nothing_of_the_routes(store):
    translator = Translator()
    before, after = translator.translate(store), translator.translate(store.replaced(authority("other")))
    assert after.ir.sockets[0].listeners[0] is before.ir.sockets[0].listeners[0]
    assert after.ir.clusters[0].tls.authorities == (after.ir.authorities[0].digest,)
    assert common_names(after.ir.authorities[0].bundle) == ["other"]


def test_a_renewed_client_certificate_keeps_the_key_of_the_cluster(store):
    translator = Translator()
    before, after = translator.translate(store), translator.translate(store.replaced(identity("two")))
    assert after.ir.sockets[0].listeners[0] is before.ir.sockets[0].listeners[0]
    (old,), (new,) = before.ir.clusters, after.ir.clusters
    assert new.key == old.key == "Service/default/secure/443@default/gw"
    assert (old.tls.certificate, new.tls.certificate) == (before.ir.key_pairs[0].digest, after.ir.key_pairs[0].digest)
    assert common_names(after.ir.key_pairs[0].chain) == ["two"]


def test_relays_speak_it_where_tls_is_not_passed_through(store):
    shown = gateway(**SHOWING)
    certificate = {"certificateRefs": [{"name": "identity"}]}
    shown["spec"]["listeners"] = [
        {"name": "ends", "port": 443, "protocol": "TLS", "hostname": "a.example.com", "tls": certificate},
        {"name": "passes", "port": 443, "protocol": "TLS", "hostname": "b.example.com", "tls": {"mode": "Passthrough"}},
        {"name": "tcp", "port": 5432, "protocol": "TCP"},
    ]
    routes = [
        {
            "kind": kind,
            "metadata": metadata("r"),
            "spec": {
                "parentRefs": [{"name": "gw"}],
                "rules": [{"backendRefs": [{"name": "secure", "port": 443}]}],
            },
        }
        for kind in ("TLSRoute", "TCPRoute")
    ]
    changed = store.replaced(shown).replaced(routes[0]).replaced(routes[1])
    own = "Service/default/secure/443/tls@default/gw"
    assert ways(translate(changed)) == {"ends": own, "passes": "Service/default/secure/443/tcp", "tcp": own}
    assert translate(changed).ir.clusters[-1].tls.alpn == ()
    barred = changed.without("ConfigMap", "default", "ca")
    assert ways(translate(barred)) == {"ends": None, "passes": "Service/default/secure/443/tcp", "tcp": None}
    plain = barred.without("BackendTLSPolicy", "default", "policy")
    assert set(ways(translate(plain)).values()) == {"Service/default/secure/443/tcp"}


def ways(translation):
    """Where the only backend of each listener leads."""
    listeners = [listener for socket in translation.ir.sockets for listener in socket.listeners]
    return {listener.name: listener.names[0].relay.backends[0].cluster for listener in listeners}


def test_conditions_carry_the_generation_of_the_policy(store):
    """As BackendTLSPolicyObservedGenerationBump asks for."""
    translator = Translator()
    for generation in (1, 2):
        changed = policy()
        changed["metadata"]["generation"] = generation
        statuses = translator.translate(store.replaced(changed)).statuses.backend_tls_policies
        (ancestor,) = statuses["default", "policy"].ancestors
        assert [(c.type, c.status, c.generation) for c in ancestor.conditions] == [
            ("Accepted", "True", generation),
            ("ResolvedRefs", "True", generation),
        ]


def test_secrets_that_nothing_names_are_not_carried_along(store):
    plain = store.replaced(service("http")).without("BackendTLSPolicy", "default", "policy")
    ir = translate(plain).ir
    assert [cluster.key for cluster in ir.clusters] == ["Service/default/secure/443"]
    assert (ir.key_pairs, ir.authorities) == ((), ())
