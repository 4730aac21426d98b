"""Names, labels and annotations: the same rules for every kind, each with the place of what is wrong."""

import pytest

from fastgate import api

LONG = "a" * 64


def refused(kind="Service", **metadata):
    """(path, message) of all that is wrong with an object of this metadata."""
    version = {"Service": "v1", "Namespace": "v1", "GatewayClass": "gateway.networking.k8s.io/v1"}[kind]
    spec = {"controllerName": "a.b/c"} if kind == "GatewayClass" else {}
    try:
        api.parse({"apiVersion": version, "kind": kind, "metadata": {"name": "a", **metadata}, "spec": spec})
    except api.Invalid as e:
        return [(problem.path, problem.message) for problem in e.problems]
    return []


@pytest.mark.parametrize(
    ("field", "value", "path", "message"),
    [
        ("name", "A", ("name",), "'A' is not a DNS label"),
        ("name", LONG, ("name",), "at most 63"),
        ("namespace", "a.b", ("namespace",), "'a.b' is not a DNS label"),
        ("labels", {"a": "b c"}, ("labels", "a"), "'b c' is not a label's value"),
        ("labels", {"a": LONG}, ("labels", "a"), "at most 63"),
        ("labels", {"a": "b\n"}, ("labels", "a"), "not a label's value"),
        ("labels", {"a b": ""}, ("labels", "a b"), "the key's name 'a b'"),
        ("labels", {"A.b/c": ""}, ("labels", "A.b/c"), "the key's prefix 'A.b'"),
        ("labels", {"a/b/c": ""}, ("labels", "a/b/c"), "the key's prefix 'a/b'"),
        ("labels", {"a": 1}, ("labels", "a"), "valid string, not 1"),
        ("annotations", {"": "a"}, ("annotations", ""), "the key's name ''"),
        ("annotations", {"a": "é" * 128 * 1024}, ("annotations",), "262145 bytes, of which 262144 are allowed"),
        ("finalizers", ["a", "b c"], ("finalizers", 1), "'b c'"),
        ("creationTimestamp", "yesterday", ("creationTimestamp",), "RFC 3339"),
        ("ownerReferences", [{"kind": "a", "name": "b", "uid": "c"}], ("ownerReferences", 0, "apiVersion"), "required"),
        ("label", {}, ("label",), "did you mean 'labels'"),
    ],
)
def test_faults(field, value, path, message):
    ((at, said),) = refused(**{field: value})
    assert at == ("metadata", *path)
    assert message in said


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"a": "", "x.y/B_c.d": "E-f"}},
        {"labels": {"a" * 63: "b" * 63}},
        {"annotations": {"A.b/c": "anything: é\n"}},
        {"namespace": ""},
        {
            "uid": "a", "resourceVersion": "1", "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z",
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}], "finalizers": ["a.b/c"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "c", "controller": True}],
        },
    ],
)  # fmt: skip
def test_what_an_api_server_takes(metadata):
    assert refused(**metadata) == []


def test_objects_outside_of_namespaces_lose_a_namespace_rather_than_be_refused():
    assert refused("GatewayClass", namespace="A") == []
    assert refused("Namespace", namespace="A") == []


def test_long_values_are_quoted_in_part():
    ((_, message),) = refused(labels={"a": "x" * 100_000})
    assert len(message) < 250
