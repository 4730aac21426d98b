"""Gateways whose addresses somebody assigns, and endpoints of a cluster that not everybody may be led to."""

from __future__ import annotations

import pytest
from resources import store_of

from fastgate.ir import Endpoint
from fastgate.translate import Translator
from fastgate.translate.conditions import condition_of
from fastgate.translate.homes import Home
from fastgate.translate.mode import Mode
from fastgate.translate.programmed import Bound, resolve

CLASS = {
    "kind": "GatewayClass",
    "metadata": {"name": "fastgate", "generation": 1},
    "spec": {"controllerName": "fastgate.dev/gateway-controller"},
}


def of_class(*objects):
    return store_of([CLASS, *objects])


def gateway(name, **spec):
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    return {
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "default", "generation": 1},
        "spec": {"gatewayClassName": "fastgate", "listeners": [listener], **spec},
    }


def programmed(statuses, name):
    condition = condition_of(statuses.gateways["default", name].conditions, "Programmed")
    return condition.status, condition.reason, condition.message


def test_a_home_says_where_a_gateway_binds_whatever_it_asks_for():
    store = of_class(gateway("a", addresses=[{"type": "Hostname", "value": "a.example.com"}]), gateway("b"))
    homes = {
        ("default", "a"): Home(bind=("192.0.2.1",), shown=(("Hostname", "a.example.com"),)),
        ("default", "b"): Home(bind=("192.0.2.2", "2001:db8::2")),
    }
    translation = Translator().translate(store, homes)
    assert [socket.key for socket in translation.ir.sockets] == ["192.0.2.1:80", "192.0.2.2:80", "[2001:db8::2]:80"]
    fates = {socket.key: Bound((socket.address,)) for socket in translation.ir.sockets}
    statuses = resolve(translation.statuses, {"": fates})
    assert statuses.gateways["default", "a"].addresses == (("Hostname", "a.example.com"),)
    assert statuses.gateways["default", "b"].addresses == (("IPAddress", "192.0.2.2"), ("IPAddress", "2001:db8::2"))
    assert programmed(statuses, "a")[0] == "True"


def test_a_home_that_is_no_good_is_said_and_what_it_has_is_bound():
    usable = Home(
        bind=("192.0.2.1",), shown=(("IPAddress", "192.0.2.1"),), unusable=("AddressNotUsable", "not ours: x")
    )
    homes = {
        ("default", "a"): usable,
        ("default", "b"): Home(bind=(), shown=(), unusable=("AddressNotAssigned", "none is left")),
        ("default", "c"): Home(bind=(), refusal=("UnsupportedAddress", "of no known type")),
    }
    translation = Translator().translate(of_class(gateway("a"), gateway("b"), gateway("c")), homes)
    statuses = resolve(translation.statuses, {"": {"192.0.2.1:80": Bound(("192.0.2.1",))}})
    assert [socket.key for socket in translation.ir.sockets] == ["192.0.2.1:80"]
    assert programmed(statuses, "a") == ("False", "AddressNotUsable", "not ours: x")
    assert programmed(statuses, "b") == ("False", "AddressNotAssigned", "none is left")
    accepted = condition_of(statuses.gateways["default", "c"].conditions, "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "UnsupportedAddress")


def test_gateways_of_different_realms_share_ports_and_each_realm_decides_its_own():
    homes = {("default", name): Home(realm=name) for name in "ab"}
    translation = Translator().translate(of_class(gateway("a"), gateway("b")), homes)
    assert [(socket.realm, socket.key) for socket in translation.ir.sockets] == [("a", ":80"), ("b", ":80")]
    statuses = resolve(translation.statuses, {"a": {":80": Bound(error="taken")}})
    assert programmed(statuses, "a") == ("False", "AddressNotUsable", "taken")
    assert programmed(statuses, "b")[0] == "Unknown"


def test_another_home_moves_a_gateway_and_what_is_attached_to_it():
    translator, store = Translator(), of_class(gateway("a"))
    first = translator.translate(store, {("default", "a"): Home(bind=("192.0.2.1",))})
    again = translator.translate(store, {("default", "a"): Home(bind=("192.0.2.2",))})
    assert [socket.key for t in (first, again) for socket in t.ir.sockets] == ["192.0.2.1:80", "192.0.2.2:80"]
    assert again == Translator().translate(store, {("default", "a"): Home(bind=("192.0.2.2",))})


def test_the_mode_says_whose_classes_are_ours_and_what_they_support():
    class_ = {
        "kind": "GatewayClass",
        "metadata": {"name": "ours", "generation": 1},
        "spec": {"controllerName": "example.com/c"},
    }
    translator = Translator(mode=Mode(controller="example.com/c", features=("Gateway",)))
    statuses = translator.translate(store_of([class_])).statuses
    assert list(statuses.gateway_classes) == ["ours"]
    assert statuses.gateway_classes["ours"].supported_features == ("Gateway",)


def endpoints_of(*endpoints, mode=Mode(guarded=True)):
    objects = [
        gateway("gw"),
        {
            "kind": "HTTPRoute",
            "metadata": {"name": "r", "namespace": "default"},
            "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": [{"name": "s", "port": 80}]}]},
        },
        {"kind": "Service", "metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}},
        {
            "kind": "EndpointSlice",
            "metadata": {"name": "s-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv6" if ":" in endpoints[0]["addresses"][0] else "IPv4",
            "endpoints": list(endpoints),
            "ports": [{"port": 8080}],
        },
    ]
    return Translator(mode=mode).translate(of_class(*objects)).endpoints.clusters["Service/default/s/80"]


def endpoint(address, **conditions):
    return {"addresses": [address], **({"conditions": conditions} if conditions else {})}


ENDING = {"ready": False, "serving": True, "terminating": True}


def test_endpoints_that_end_and_serve_are_used_while_no_other_is_ready():
    ending, ready = endpoint("192.0.2.1", **ENDING), endpoint("192.0.2.2", ready=True)
    assert endpoints_of(ending, ready) == (Endpoint("192.0.2.2", 8080),)
    assert endpoints_of(ending, endpoint("192.0.2.3", ready=False)) == (Endpoint("192.0.2.1", 8080),)
    assert endpoints_of(endpoint("192.0.2.3", ready=False, serving=False, terminating=True)) == ()


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::", "::ffff:127.0.0.1"]
)
def test_who_publishes_endpoints_cannot_lead_to_this_host_or_its_link(address):
    assert endpoints_of(endpoint(address)) == ()
    assert endpoints_of(endpoint(address), mode=Mode()) == (Endpoint(address, 8080),)


def meant_for(address, *zones, **conditions):
    hints = {"hints": {"forZones": [{"name": zone} for zone in zones]}} if zones else {}
    return {**endpoint(address, **conditions), **hints}


A, B, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.mark.parametrize(
    ("zone", "endpoints", "used"),
    [
        ("a", [meant_for(A, "a"), meant_for(B, "b"), meant_for(OTHER, "b", "a")], [A, OTHER]),
        ("", [meant_for(A, "a"), meant_for(B, "b")], [A, B]),
        ("c", [meant_for(A, "a"), meant_for(B, "b")], [A, B]),
        ("a", [meant_for(A, "a"), meant_for(B)], [A, B]),  # while hints come or go
        ("a", [meant_for(A, "a"), meant_for(B, ready=False)], [A]),
        ("a", [meant_for(A, "a", ready=False), meant_for(B, "b")], [B]),
        ("a", [meant_for(A, "a", **ENDING), meant_for(B, "b", **ENDING)], [A, B]),
    ],
)
def test_endpoints_that_are_meant_for_the_zone_are_preferred_when_all_have_hints(zone, endpoints, used):
    found = endpoints_of(*endpoints, mode=Mode(guarded=True, zone=zone))
    assert found == tuple(Endpoint(address, 8080) for address in used)
