"""Every rule of the CRDs refuses its faulty spec, and says so as the API server does."""

import re
from pathlib import Path

import faults
import pytest

from fastgate import api, ir


def document(kind, spec):
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "spec", "message"), faults.FAULTS, ids=[f"{k}: {m[:60]}" for k, _, m in faults.FAULTS]
)
def test_rules(kind, spec, message):
    with pytest.raises(api.Invalid) as e:
        api.parse(document(kind, spec))
    assert message.lower() in [problem.message.lower() for problem in e.value.problems]


def test_all_problems_come_at_once_with_their_paths():
    spec = {
        "parentRef": [],
        "hostnames": ["A", "b"],
        "rules": [{"backendRefs": [{"name": "b"}, {"name": "c", "port": "80"}]}],
    }
    with pytest.raises(api.Invalid) as e:
        api.parse(document("HTTPRoute", spec))
    assert {p.path for p in e.value.problems} == {
        ("spec", "parentRef"), ("spec", "hostnames", 0), ("spec", "rules", 0, "backendRefs", 0), ("spec", "rules", 0, "backendRefs", 1, "port"),
    }  # fmt: skip


def test_defaults():
    route = api.parse(document("HTTPRoute", {"parentRefs": [{"name": "a"}]}))
    assert (route.spec.rules[0].matches[0].path.type, route.spec.rules[0].matches[0].path.value) == ("PathPrefix", "/")
    assert (route.spec.parent_refs[0].group, route.spec.parent_refs[0].kind) == ("gateway.networking.k8s.io", "Gateway")


def test_nulls_and_status_mean_nothing():
    spec = {"parentRefs": None, "hostnames": ["a"], "rules": [{"name": None, "filters": None}]}
    route = api.parse({**document("HTTPRoute", spec), "status": {"parents": []}})
    assert route.spec.rules[0].filters is None


def test_unknown_fields_are_named_with_what_was_meant():
    for field, said in (
        ("hostname", "did you mean 'hostnames'"),
        ("sessionPersistence", "experimental"),
        ("xyz", "unknown field 'xyz'"),
    ):
        with pytest.raises(api.Invalid, match=said):
            api.parse(document("HTTPRoute", {field: 1}))


@pytest.mark.parametrize("version", ["v1", "v1alpha3"])
def test_versions_of_backend_tls_policies_differ_in_name_only(version):
    policy = {
        "apiVersion": f"gateway.networking.k8s.io/{version}",
        "kind": "BackendTLSPolicy",
        "metadata": {"name": "x"},
    }
    validation = api.parse({**policy, "spec": faults.policy()}).spec.validation
    assert (validation.well_known_ca_certificates, validation.hostname) == ("System", "a.example.com")


def test_routes_of_layer_4_have_several_rules_in_v1alpha2_only():
    route = document("TCPRoute", {"rules": [{"name": name, "backendRefs": faults.B} for name in ("a", "b")]})
    with pytest.raises(api.Invalid, match="at most 1 item"):
        api.parse(route)
    route["apiVersion"] = "gateway.networking.k8s.io/v1alpha2"
    assert [rule.name for rule in api.parse(route).spec.rules] == ["a", "b"]
    route["spec"]["rules"][1]["name"] = "a"
    with pytest.raises(api.Invalid, match="Rule name must be unique within the route"):
        api.parse(route)


def test_kinds_that_are_not_read_are_no_faults():
    with pytest.raises(api.UnknownKind, match="Deployment"):
        api.parse({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}})


@pytest.mark.parametrize("name", ["A", "-a", "a_b", "a" * 254, "a..b"])
def test_names_are_dns_names(name):
    with pytest.raises(api.Invalid, match="DNS"):
        api.parse({**document("HTTPRoute", {}), "metadata": {"name": name}})


@pytest.mark.parametrize(
    ("address", "good"),
    [("10.0.0.1", True), ("::1", True), ("a.example", True), ("a b", False), ("1.2.3", False), ("[::1]", False)],
)
def test_backends(address, good):
    backend = {
        "apiVersion": "fastgate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "b"},
        "spec": {"endpoints": [{"address": address, "port": 1}]},
    }
    if good:
        assert api.parse(backend).spec.endpoints[0].weight == 1
    else:
        with pytest.raises(api.Invalid):
            api.parse(backend)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"hostnames": ["A.b"]}, "must be a DNS name in lower case, or '*.' and such a name, not 'A.b'"),
        ({"rules": [{"timeouts": {"request": "1.5s"}}]},
         "must be a duration of whole numbers with units, such as 1h30m, 10s or 250ms, not '1.5s'"),
        ({"rules": [{"matches": [{"path": {"type": "Prefix"}}]}]},
         "must be 'Exact', 'PathPrefix' or 'RegularExpression', not 'Prefix': did you mean 'PathPrefix'?"),
        ({"rules": [{"backendRefs": [{"name": "a", "port": "80"}]}]}, "must be a valid integer, not '80'"),
        ({"rules": []}, "must have at least 1 item after validation, not 0"),
    ],
)  # fmt: skip
def test_words(spec, message):
    with pytest.raises(api.Invalid) as e:
        api.parse(document("HTTPRoute", spec))
    assert [problem.message for problem in e.value.problems] == [message]


@pytest.mark.parametrize(
    ("version", "kind", "meant"),
    [
        ("gateway.networking.k8s.io/v1", "HttpRoute", "did you mean 'HTTPRoute'?"),
        ("networking.k8s.io/v1", "HTTPRoute", "did you mean the HTTPRoute of gateway.networking.k8s.io?"),
        ("apps/v1", "Deployment", "left alone"),
    ],
)
def test_unknown_kinds_are_told_what_was_meant(version, kind, meant):
    with pytest.raises(api.UnknownKind) as e:
        api.parse({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}})
    assert str(e.value).endswith(meant)


def parameters(**spec):
    return api.parse({
        "apiVersion": "fastgate.dev/v1alpha1",
        "kind": "GatewayParameters",
        "metadata": {"name": "p"},
        "spec": spec,
    }).spec  # fmt: skip


def table_of(header):
    return (Path(__file__).resolve().parents[3] / "csrc" / header).read_text()


@pytest.mark.parametrize("name", ["Host", "content-length", "X-Forwarded-Ssl", "Sec-Fetch-Mode", "Authorization", "TE"])
def test_fields_of_the_head_are_no_trailers(name):
    with pytest.raises(api.Invalid, match="cannot be a trailer field"):
        parameters(trailers=["etag", name])


def test_trailers_are_a_set_of_names():
    assert parameters(trailers=[]).trailers == []
    assert parameters(trailers=["Etag", "x-checksum"]).trailers == ["Etag", "x-checksum"]
    with pytest.raises(api.Invalid):
        parameters(trailers=["etag", "etag"])
    with pytest.raises(api.Invalid):
        parameters(trailers=["x y"])


def test_the_engine_marks_no_trailer_that_may_be_allowed():
    marked = re.findall(r'"([a-z0-9-]+)", [^)]*FG_HDR_NO_TRAILER', table_of("fg_headers.h"))
    assert len(marked) > 30
    for name in marked:
        with pytest.raises(api.Invalid, match="cannot be a trailer field"):
            parameters(trailers=[name])
    assert parameters(trailers=list(ir.TRAILERS)).trailers == list(ir.TRAILERS)


def test_more_fields_than_the_engine_has_room_for_are_refused():
    room = int(re.search(r"FG_MAX_FIELDS = (\d+)", table_of("fg_http1.h"))[1])
    assert parameters(limits={"headFields": room}).limits.head_fields == room
    with pytest.raises(api.Invalid, match=f"less than or equal to {room}, not {room + 1}"):
        parameters(limits={"headFields": room + 1})


def test_a_server_name_is_a_field_value():
    assert parameters(server="fast gate/1").server == "fast gate/1"
    for faulty in ("a\r\nb: c", "a\n", " a", "ü"):
        with pytest.raises(api.Invalid):
            parameters(server=faulty)
