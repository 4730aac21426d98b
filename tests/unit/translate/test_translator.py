from __future__ import annotations

import pytest
from resources import store_of

from fastgate.translate import Translator, translate


def metadata(name, **more):
    return {"name": name, "namespace": "default", "generation": 1, **more}


def gateway(**listener):
    return {
        "kind": "Gateway",
        "metadata": metadata("gw"),
        "spec": {
            "gatewayClassName": "fastgate",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", **listener}],
        },
    }


def route(name, hostname, backend="web", path="/"):
    return {
        "kind": "HTTPRoute",
        "metadata": metadata(name),
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "hostnames": [hostname],
            "rules": [{"matches": [{"path": {"value": path}}], "backendRefs": [{"name": backend, "port": 80}]}],
        },
    }


def service(name):
    return {"kind": "Service", "metadata": metadata(name), "spec": {"ports": [{"name": "http", "port": 80}]}}


def endpoints(name, *addresses):
    return {
        "kind": "EndpointSlice",
        "metadata": metadata(f"{name}-1", labels={"kubernetes.io/service-name": name}),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


@pytest.fixture
def store():
    return store_of(
        [
            {
                "kind": "GatewayClass",
                "metadata": {"name": "fastgate"},
                "spec": {"controllerName": "fastgate.dev/gateway-controller"},
            },
            gateway(),
            service("web"),
            endpoints("web", "10.0.0.1"),
            route("a", "a.example.com"),
            route("b", "b.example.com"),
            route("c", "c.example.com", backend="gone"),
        ]
    )


def hosts(translation):
    return {host.hostname: host for host in translation.ir.sockets[0].listeners[0].hosts}


CHANGES = {
    "nothing": lambda store: store,
    "a route": lambda store: store.replaced(route("a", "a.example.com", path="/new")),
    "a route's hostname": lambda store: store.replaced(route("a", "b.example.com")),
    "a route is gone": lambda store: store.without("HTTPRoute", "default", "a"),
    "a route is new": lambda store: store.replaced(route("d", "a.example.com", path="/d")),
    "endpoints": lambda store: store.replaced(endpoints("web", "10.0.0.2", "10.0.0.3")),
    "a service is gone": lambda store: store.without("Service", "default", "web"),
    "a service is new": lambda store: store.replaced(service("gone")),
    "a listener's hostname": lambda store: store.replaced(gateway(hostname="a.example.com")),
    "a listener's protocol": lambda store: store.replaced(gateway(protocol="TCP")),
    "the gateway is gone": lambda store: store.without("Gateway", "default", "gw"),
    "the class is gone": lambda store: store.without("GatewayClass", "", "fastgate"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_gives_what_a_new_translator_gives_and_so_does_its_reversal(store, change):
    translator = Translator()
    before = translator.translate(store)
    changed = change(store)
    assert translator.translate(changed) == translate(changed)
    assert translator.translate(store) == before == translate(store)


@pytest.mark.parametrize("first", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("second", CHANGES.values(), ids=CHANGES)
def test_two_changes_at_once_give_what_a_new_translator_gives(store, first, second):
    translator = Translator()
    translator.translate(store)
    changed = second(first(store))
    assert translator.translate(changed) == translate(changed)


def test_a_changed_route_leaves_the_other_virtual_hosts_the_same_objects(store):
    translator = Translator()
    before = hosts(translator.translate(store))
    after = hosts(translator.translate(CHANGES["a route"](store)))
    assert after["a.example.com"] != before["a.example.com"]
    assert after["b.example.com"] is before["b.example.com"]


def test_changed_endpoints_leave_the_listener_the_same_object(store):
    translator = Translator()
    before = translator.translate(store)
    after = translator.translate(CHANGES["endpoints"](store))
    assert after.ir.sockets[0].listeners[0] is before.ir.sockets[0].listeners[0]
    assert [endpoint.address for endpoint in after.endpoints.clusters["Service/default/web/80"]] == [
        "10.0.0.2",
        "10.0.0.3",
    ]


def test_a_service_that_appears_resolves_the_routes_that_wait_for_it(store):
    translator = Translator()
    before = translator.translate(store)
    after = translator.translate(CHANGES["a service is new"](store))
    reasons = [
        translation.statuses.http_routes["default", "c"].parents[0].conditions[-1].reason
        for translation in (before, after)
    ]
    assert reasons == ["BackendNotFound", "ResolvedRefs"]


def test_conditions_carry_the_generation_of_their_object(store):
    document = {**route("a", "a.example.com"), "metadata": metadata("a", generation=41)}
    statuses = translate(store.replaced(document)).statuses
    assert {condition.generation for condition in statuses.http_routes["default", "a"].parents[0].conditions} == {41}
    assert {condition.generation for condition in statuses.gateways["default", "gw"].conditions} == {1}
