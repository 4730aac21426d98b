from types import SimpleNamespace

import pytest

from fastgate.kubernetes.addresses import Addresses, Pool, hostnames, own_gateways
from fastgate.store import Store
from fastgate.translate.homes import Home

POOL = Pool.parse("192.0.2.1-192.0.2.3, 2001:db8::8")


def gateway(name, *addresses, created="2026-01-01T00:00:00Z", class_name="fastgate"):
    entries = [SimpleNamespace(type=type_, value=value) for type_, value in addresses]
    metadata = SimpleNamespace(namespace="ns", name=name, creation_timestamp=created)
    return SimpleNamespace(
        metadata=metadata, spec=SimpleNamespace(addresses=entries or None, gateway_class_name=class_name)
    )


def homes(*gateways, addresses=None, shown=None, hosts=None):
    addresses = addresses or Addresses(POOL)
    found = addresses.homes(gateways, lambda name: (shown or {}).get(name[1], ()), hosts or {})
    return {name: home for (_, name), home in found.items()}


def at(*literals, **others):
    return Home(bind=literals, shown=tuple(("IPAddress", each) for each in literals), **others)


def test_each_gateway_gets_an_address_of_its_own():
    assert homes(gateway("a"), gateway("b")) == {"a": at("192.0.2.1"), "b": at("192.0.2.2")}


def test_an_address_stays_where_it_is_when_others_leave():
    addresses = Addresses(POOL)
    homes(gateway("a"), gateway("b"), addresses=addresses)
    assert homes(gateway("b"), gateway("c"), addresses=addresses) == {"b": at("192.0.2.2"), "c": at("192.0.2.1")}


def test_after_a_restart_the_status_says_who_had_which():
    shown = {"b": ["192.0.2.1"], "a": ["203.0.113.9"]}
    assert homes(gateway("a"), gateway("b"), shown=shown) == {"a": at("192.0.2.2"), "b": at("192.0.2.1")}


def test_the_pool_can_be_exhausted():
    found = homes(*map(gateway, "abcde"))
    assert found["d"] == at("2001:db8::8")
    assert found["e"] == Home(
        bind=(), shown=(), unusable=("AddressNotAssigned", "every address of the address pool is taken")
    )


def test_who_asks_by_name_precedes_who_does_not():
    addresses = Addresses(POOL)
    assert homes(gateway("a"), addresses=addresses) == {"a": at("192.0.2.1")}
    asking = gateway("b", ("IPAddress", "192.0.2.1"))
    assert homes(gateway("a"), asking, addresses=addresses) == {"a": at("192.0.2.2"), "b": at("192.0.2.1")}


def test_two_gateways_may_ask_for_the_same_address():
    first, second = (gateway(name, (None, "192.0.2.1")) for name in "ab")
    assert homes(first, second) == {"a": at("192.0.2.1"), "b": at("192.0.2.1")}


def test_an_empty_value_is_any_address():
    assert homes(gateway("a", ("IPAddress", ""), (None, None))) == {"a": at("192.0.2.1")}


def test_an_address_of_elsewhere_is_not_usable_and_the_others_are_served():
    found = homes(gateway("a", (None, "203.0.113.9"), (None, "192.0.2.3")))["a"]
    assert found == at("192.0.2.3", unusable=("AddressNotUsable", "not of this gateway's address pool: 203.0.113.9"))


def test_a_host_name_is_the_addresses_of_the_pool_that_it_stands_for():
    hosts = {"gw.example.com": ("203.0.113.9", "192.0.2.2")}
    asking = gateway("a", ("Hostname", "gw.example.com"))
    assert homes(asking, hosts=hosts)["a"] == Home(bind=("192.0.2.2",), shown=(("Hostname", "gw.example.com"),))
    assert homes(asking)["a"].unusable == ("AddressNotUsable", "not of this gateway's address pool: gw.example.com")
    assert hostnames([asking, gateway("b", ("IPAddress", "192.0.2.1"))]) == {"gw.example.com"}


def test_another_type_is_refused():
    found = homes(gateway("a", ("example.com/cidr", "x")))["a"]
    assert found.refusal == ("UnsupportedAddress", "addresses of type example.com/cidr are not supported")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("192.0.2.0/33", "'192.0.2.0/33' is not an address, a range FIRST-LAST or a network"),
        ("192.0.2.9-192.0.2.1", "'192.0.2.9-192.0.2.1' is not"),
        ("192.0.2.1-2001:db8::1", "'192.0.2.1-2001:db8::1' is not"),
        ("here", "'here' is not"),
    ],
)
def test_a_pool_that_is_none_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        Pool.parse(text)


def test_networks_are_pools():
    assert [str(address) for address in Pool.parse("192.0.2.4/31,2001:db8::1")] == [
        "192.0.2.4",
        "192.0.2.5",
        "2001:db8::1",
    ]


def test_gateways_of_this_controller_come_oldest_first():
    ours = SimpleNamespace(metadata=SimpleNamespace(name="fastgate"), spec=SimpleNamespace(controller_name="us"))
    theirs = SimpleNamespace(metadata=SimpleNamespace(name="other"), spec=SimpleNamespace(controller_name="them"))
    store = Store(
        {
            ("GatewayClass", "", "fastgate"): ours,
            ("GatewayClass", "", "other"): theirs,
            ("Gateway", "ns", "a"): gateway("a", created="2026-01-02T00:00:00Z"),
            ("Gateway", "ns", "b"): gateway("b"),
            ("Gateway", "ns", "c"): gateway("c", class_name="other"),
            ("Gateway", "ns", "d"): gateway("d", class_name="none"),
        }
    )
    assert [g.metadata.name for g in own_gateways(store, "us")] == ["b", "a"]
