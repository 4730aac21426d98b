"""GatewayParameters of a class and of a Gateway, put together."""

from __future__ import annotations

import pytest

from fastgate import api
from fastgate.store import Store
from fastgate.translate.parameters import infrastructure_of

REFERENCE = {"group": "fastgate.dev", "kind": "GatewayParameters"}


def parameters(name, infrastructure):
    spec = {} if infrastructure is None else {"infrastructure": infrastructure}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "fastgate.dev/v1alpha1", "kind": "GatewayParameters", "metadata": metadata, "spec": spec}


def said(*documents, of_class=None, of_gateway=None):
    """What is said of a Gateway whose class and which itself refer to parameters of these names."""
    ref = {"parametersRef": {**REFERENCE, "namespace": "default", "name": of_class}} if of_class else {}
    own = {"infrastructure": {"parametersRef": {**REFERENCE, "name": of_gateway}}} if of_gateway else {}
    head = {"apiVersion": "gateway.networking.k8s.io/v1"}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    found = [
        {**head, "kind": "GatewayClass", "metadata": {"name": "c"}, "spec": {"controllerName": "example.com/c", **ref}},
        {
            **head,
            "kind": "Gateway",
            "metadata": {"name": "g", "namespace": "default"},
            "spec": {"gatewayClassName": "c", "listeners": listeners, **own},
        },
        *documents,
    ]
    resources = [api.parse(each) for each in found]
    store = Store({(each.kind, each.metadata.namespace or "", each.metadata.name): each for each in resources})
    return infrastructure_of(store, resources[1])


OF_CLASS = parameters(
    "shared",
    {
        "replicas": 2,
        "networkPolicy": True,
        "service": {"type": "ClusterIP", "externalTrafficPolicy": "Local"},
        "drain": {"delay": "1s"},
        "resources": {"limits": {"cpu": "1"}},
    },
)


def test_nothing_is_said_by_nobody():
    assert said() == {}
    assert said(parameters("p", None), of_gateway="p") == {}


def test_a_gateways_parameters_are_over_those_of_its_class_field_by_field():
    own = {
        "replicas": 0,
        "networkPolicy": False,
        "service": {"annotations": {"a": "b"}, "externalTrafficPolicy": "Cluster"},
        "drain": {"timeout": "2s"},
        "resources": {"requests": {"cpu": "1"}},
    }
    assert said(OF_CLASS, parameters("own", own), of_class="shared", of_gateway="own") == {
        "replicas": 0,
        "network_policy": False,
        "service": {"type": "ClusterIP", "external_traffic_policy": "Cluster", "annotations": {"a": "b"}},
        "drain": {"delay": "1s", "timeout": "2s"},
        "resources": {"requests": {"cpu": "1"}},  # Kubernetes' own is one value
    }


@pytest.mark.parametrize("lost", [{"of_class": "gone"}, {"of_class": "shared", "of_gateway": "gone"}])
def test_what_is_wanted_is_not_known_when_a_reference_cannot_be_followed(lost):
    assert said(OF_CLASS, **lost) is None
