"""What each realm serves of a translation, against an oracle that looks at everything each time."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from resources import store_of

from fastgate.translate import Translator
from fastgate.translate.homes import Home
from fastgate.translate.realms import Portions

CLASS = {
    "kind": "GatewayClass",
    "metadata": {"name": "fastgate"},
    "spec": {"controllerName": "fastgate.dev/gateway-controller"},
}
HOMES = {("default", name): Home(realm=f"default/{name}") for name in "ab"}


def gateway(name):
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}, {"name": "tcp", "port": 81, "protocol": "TCP"}]
    return {
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"gatewayClassName": "fastgate", "listeners": listeners},
    }


def backend(name):
    return {
        "kind": "Backend",
        "apiVersion": "fastgate.dev/v1alpha1",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"endpoints": [{"address": f"192.0.2.{ord(name)}", "port": 80}]},
    }


def route(name, kind, parents, backends):
    to = [{"group": "fastgate.dev", "kind": "Backend", "name": each} for each in backends]
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": each, "sectionName": kind[:-5].lower()} for each in parents],
            **({"hostnames": [f"{name}.example.com"]} if kind == "HTTPRoute" else {}),
            "rules": [{"backendRefs": to}],
        },
    }


ROUTES = st.dictionaries(
    st.sampled_from(("r", "s", "t")),
    st.tuples(
        st.sampled_from(("HTTPRoute", "TCPRoute")),
        st.lists(st.sampled_from("ab"), unique=True, min_size=1),
        st.lists(st.sampled_from("xyz"), max_size=2),
    ),
)


def store(routes):
    return store_of(
        [CLASS, *map(gateway, "ab"), *map(backend, "xyz"), *(route(name, *how) for name, how in routes.items())]
    )


def expected(translation, realm):
    """Sockets, and what is named anywhere in them."""
    sockets = tuple(replace(s, realm="") for s in translation.ir.sockets if s.realm == realm)
    named = set(re.findall(r"'(Backend/default/[^']*)'", repr(sockets)))
    clusters = tuple(each for each in translation.ir.clusters if each.key in named)
    return sockets, clusters, {key: translation.endpoints.clusters[key] for key in named}


@given(st.lists(ROUTES, min_size=1, max_size=4))
def test_each_realm_has_what_its_sockets_lead_to_and_no_more(steps):
    translator, portions = Translator(), Portions()
    for routes in steps:
        translation = translator.translate(store(routes), HOMES)
        found = portions.of(translation)
        assert found.keys() == {"default/a", "default/b"}
        for realm, portion in found.items():
            seen = (portion.ir.sockets, portion.ir.clusters, dict(portion.endpoints.clusters))
            assert seen == expected(translation, realm)


def test_a_realm_that_nothing_changed_in_has_the_same_portion():
    translator, portions = Translator(), Portions()
    before = store({"r": ("HTTPRoute", "a", "x"), "s": ("TCPRoute", "b", "y")})
    first = portions.of(translator.translate(before, HOMES))
    after = before.replaced(route("r", "HTTPRoute", "a", "z"))
    second = portions.of(translator.translate(after, HOMES))
    assert second["default/b"] is first["default/b"]
    assert [cluster.key for cluster in second["default/a"].ir.clusters] == ["Backend/default/z"]


def test_a_realm_without_sockets_is_gone():
    portions = Portions()
    assert portions.of(Translator().translate(store({}), HOMES)).keys() == {"default/a", "default/b"}
    assert not portions.of(Translator().translate(store_of([CLASS]), HOMES))
