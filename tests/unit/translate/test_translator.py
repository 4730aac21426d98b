from __future__ import annotations

import pytest
from filter_types import CATALOG
from resources import store_of

from fastgate.translate import Translator
from fastgate.translate import translate as translate_with


def translate(store):
    return translate_with(store, CATALOG)


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


def route(name, hostname, backend="web", path="/", filters=(), of_backend=()):
    refs = [
        [
            {"type": "ExtensionRef", "extensionRef": {"group": "fastgate.dev", "kind": "Filter", "name": name}}
            for name in names
        ]
        for names in (filters, of_backend)
    ]
    return {
        "kind": "HTTPRoute",
        "metadata": metadata(name),
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "hostnames": [hostname],
            "rules": [
                {
                    "name": "only",
                    "matches": [{"path": {"value": path}}],
                    "filters": refs[0],
                    "backendRefs": [{"name": backend, "port": 80, "filters": refs[1]}],
                }
            ],
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


def filter_(name, *targets, type_="Stamp", **spec):
    refs = [
        {"group": "gateway.networking.k8s.io", "kind": kind, "name": of, "sectionName": section}
        for kind, of, section in targets
    ]
    return {"kind": "Filter", "metadata": metadata(name), "spec": {"type": type_, "targetRefs": refs, **spec}}


def keys(name):
    return filter_(name, type_="Keys", config={"token": {"name": "token", "key": "a", "namespace": "vault"}})


def secret(value):
    return {"kind": "Secret", "metadata": {"name": "token", "namespace": "vault"}, "data": {"a": value}}


def grant(kind):
    return {
        "kind": "ReferenceGrant",
        "metadata": {"name": "token", "namespace": "vault"},
        "spec": {
            "from": [{"group": "fastgate.dev", "kind": kind, "namespace": "default"}],
            "to": [{"group": "", "kind": "Secret"}],
        },
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
            route("d", "d.example.com", filters=["stamp"], of_backend=["keys"]),
            filter_("stamp"),
            keys("keys"),
            secret("YQ=="),
            grant("Filter"),
        ]
    )


def hosts(translation):
    return {host.hostname: host for host in translation.ir.sockets[0].listeners[0].hosts}


CHANGES = {
    "nothing": lambda store: store,
    "a route": lambda store: store.replaced(route("a", "a.example.com", path="/new")),
    "a route's hostname": lambda store: store.replaced(route("a", "b.example.com")),
    "a route is gone": lambda store: store.without("HTTPRoute", "default", "a"),
    "a route is new": lambda store: store.replaced(route("e", "a.example.com", path="/e")),
    "endpoints": lambda store: store.replaced(endpoints("web", "10.0.0.2", "10.0.0.3")),
    "a service is gone": lambda store: store.without("Service", "default", "web"),
    "a service is new": lambda store: store.replaced(service("gone")),
    "a listener's hostname": lambda store: store.replaced(gateway(hostname="a.example.com")),
    "a listener's protocol": lambda store: store.replaced(gateway(protocol="TCP")),
    "a filter": lambda store: store.replaced(filter_("stamp", config={"header": "x-b"})),
    "a filter is faulty": lambda store: store.replaced(filter_("stamp", config={"heder": "x-b"})),
    "a filter is gone": lambda store: store.without("Filter", "default", "keys"),
    "a filter of the gateway": lambda store: store.replaced(filter_("of-gateway", ("Gateway", "gw", None))),
    "a filter of a listener": lambda store: store.replaced(filter_("of-listener", ("Gateway", "gw", "http"))),
    "a faulty filter of the gateway": lambda store: store.replaced(
        filter_("of-gateway", ("Gateway", "gw", None), type_="Gone")
    ),
    "a filter of a route": lambda store: store.replaced(
        filter_("of-route", ("HTTPRoute", "a", None), ("HTTPRoute", "b", "only"), ("HTTPRoute", "b", "none"))
    ),
    "a secret": lambda store: store.replaced(secret("Yg==")),
    "a secret is gone": lambda store: store.without("Secret", "vault", "token"),
    "a grant": lambda store: store.replaced(grant("HTTPRoute")),
    "the gateway is gone": lambda store: store.without("Gateway", "default", "gw"),
    "the class is gone": lambda store: store.without("GatewayClass", "", "fastgate"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_gives_what_a_new_translator_gives_and_so_does_its_reversal(store, change):
    translator = Translator(CATALOG)
    before = translator.translate(store)
    changed = change(store)
    assert translator.translate(changed) == translate(changed)
    assert translator.translate(store) == before == translate(store)


@pytest.mark.parametrize("first", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("second", CHANGES.values(), ids=CHANGES)
def test_two_changes_at_once_give_what_a_new_translator_gives(store, first, second):
    translator = Translator(CATALOG)
    translator.translate(store)
    changed = second(first(store))
    assert translator.translate(changed) == translate(changed)


def test_a_changed_route_leaves_the_other_virtual_hosts_the_same_objects(store):
    translator = Translator(CATALOG)
    before = hosts(translator.translate(store))
    after = hosts(translator.translate(CHANGES["a route"](store)))
    assert after["a.example.com"] != before["a.example.com"]
    assert after["b.example.com"] is before["b.example.com"]


def test_changed_endpoints_leave_the_listener_the_same_object(store):
    translator = Translator(CATALOG)
    before = translator.translate(store)
    after = translator.translate(CHANGES["endpoints"](store))
    assert after.ir.sockets[0].listeners[0] is before.ir.sockets[0].listeners[0]
    assert [endpoint.address for endpoint in after.endpoints.clusters["Service/default/web/80"]] == [
        "10.0.0.2",
        "10.0.0.3",
    ]


def test_a_service_that_appears_resolves_the_routes_that_wait_for_it(store):
    translator = Translator(CATALOG)
    before = translator.translate(store)
    after = translator.translate(CHANGES["a service is new"](store))
    reasons = [
        translation.statuses.routes["HTTPRoute", "default", "c"].parents[0].conditions[-1].reason
        for translation in (before, after)
    ]
    assert reasons == ["BackendNotFound", "ResolvedRefs"]


def test_conditions_carry_the_generation_of_their_object(store):
    document = {**route("a", "a.example.com"), "metadata": metadata("a", generation=41)}
    statuses = translate(store.replaced(document)).statuses
    assert {
        condition.generation for condition in statuses.routes["HTTPRoute", "default", "a"].parents[0].conditions
    } == {41}
    assert {condition.generation for condition in statuses.gateways["default", "gw"].conditions} == {1}


class Counting:
    """A catalog that notes what it is asked."""

    def __init__(self):
        self.asked = []

    def check(self, type_, config=None):
        self.asked.append((type_, config))
        return CATALOG.check(type_, config)


def plugins(translation, route_name):
    (match,) = hosts(translation)[f"{route_name}.example.com"].matches
    return [plugin.name for plugin in match.rule.filters.plugins]


def test_a_changed_filter_is_validated_again_and_no_other_and_moves_its_routes_only(store):
    catalog = Counting()
    translator = Translator(catalog)
    before = hosts(translator.translate(store))
    catalog.asked.clear()
    after = hosts(translator.translate(CHANGES["a filter"](store)))
    assert catalog.asked == [("Stamp", {"header": "x-b"})]
    assert [name for name in before if after[name] is not before[name]] == ["d.example.com"]


def test_a_changed_secret_changes_what_the_filter_is_given_and_validates_nothing(store):
    catalog = Counting()
    translator = Translator(catalog)
    before = hosts(translator.translate(store))
    catalog.asked.clear()
    after = hosts(translator.translate(CHANGES["a secret"](store)))
    assert catalog.asked == []
    assert [name for name in before if after[name] is not before[name]] == ["d.example.com"]
    (match,) = after["d.example.com"].matches
    (plugin,) = match.rule.action.backends[0].filters.plugins
    assert '"value":"Yg=="' in plugin.config


def test_a_secret_that_no_filter_uses_moves_nothing(store):
    translator = Translator(CATALOG)
    before = translator.translate(store)
    other = {"kind": "Secret", "metadata": {"name": "other", "namespace": "vault"}, "data": {"a": ""}}
    after = translator.translate(store.replaced(other))
    assert after.ir.sockets[0].listeners[0] is before.ir.sockets[0].listeners[0]


def test_a_filter_of_one_route_leaves_the_others_the_same_objects(store):
    translator = Translator(CATALOG)
    before = hosts(translator.translate(store))
    translation = translator.translate(CHANGES["a filter of a route"](store))
    after = hosts(translation)
    assert [name for name in before if after[name] is not before[name]] == ["a.example.com", "b.example.com"]
    assert plugins(translation, "a") == plugins(translation, "b") == ["default/of-route"]


def test_a_filter_of_the_gateway_precedes_those_of_the_rules_and_goes_again(store):
    translator = Translator(CATALOG)
    translation = translator.translate(CHANGES["a filter of the gateway"](store))
    assert plugins(translation, "d") == ["default/of-gateway", "default/stamp"]
    assert plugins(translation, "a") == ["default/of-gateway"]
    assert plugins(translator.translate(store), "a") == []


def test_without_a_catalog_no_filter_can_be_used(store):
    (match,) = hosts(translate_with(store))["d.example.com"].matches
    assert match.rule.action.reason == "invalid_filter"
    assert match.rule.filters.plugins == ()
