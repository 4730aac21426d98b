"""Rules of nftables for Services."""

from __future__ import annotations

from kubelab.services import Backend, Frontend, rules, script

SERVICE = {
    "metadata": {"namespace": "ns", "name": "web"},
    "spec": {"clusterIP": "198.19.0.7", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "198.18.250.1"}]}},
}
HEADLESS = {"metadata": {"namespace": "ns", "name": "web"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}
FRONTENDS = {
    Frontend("198.19.0.7", "tcp", 80),
    Frontend("198.18.250.1", "tcp", 80),
    Frontend("198.18.0.1", "tcp", 30080),
}


def endpoint_slice(*endpoints, name="http", kind="IPv4"):
    listed = [{"addresses": [address], "conditions": conditions} for address, conditions in endpoints]
    return {"addressType": kind, "ports": [{"name": name, "port": 3000}], "endpoints": listed}


def found(*slices, service=SERVICE):
    return rules([service], {"ns/web": list(slices)})


def test_every_address_of_a_service_leads_to_its_ready_endpoints():
    made = found(
        endpoint_slice(("198.18.64.2", {"ready": True}), ("198.18.64.3", {"ready": False})),
        endpoint_slice(("198.18.64.1", {})),
        endpoint_slice(("198.18.64.9", {}), name="other"),
        endpoint_slice(("2001:db8::1", {}), kind="IPv6"),
    )
    assert made == dict.fromkeys(FRONTENDS, (Backend("198.18.64.1", 3000), Backend("198.18.64.2", 3000)))


def test_nothing_leads_nowhere():
    assert found() == {}
    assert found(endpoint_slice(("198.18.64.2", {"ready": False}))) == {}
    assert found(endpoint_slice(("198.18.64.2", {}), name=""), service=HEADLESS) == {}


def test_only_what_changed_is_written():
    one, two, three = (
        Frontend("198.19.0.1", "tcp", 1),
        Frontend("198.19.0.2", "udp", 2),
        Frontend("198.19.0.3", "tcp", 3),
    )
    a, b = (Backend("198.18.64.1", 3000),), (Backend("198.18.64.2", 3000),)
    old, new = {one: a, two: a, three: a}, {one: a, two: b}
    assert script(old, old) == ""
    written = script(old, new)
    assert "198.19.0.1" not in written
    assert "delete element ip services frontends { 198.19.0.3 . tcp . 3 }" in written
    assert "meta l4proto udp dnat ip to numgen random mod 1 map { 0 : 198.18.64.2 . 3000 }" in written
    assert "add element ip services frontends" not in written
    assert "add element ip services frontends { 198.19.0.1 . tcp . 1 :" in script({}, new)
