"""The objects of data planes at a real API server, which has the last word on what is valid."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml
from provisioned import DEFAULTS, wanted

from fastgate.kubernetes.infrastructure.objects import documents

CASES = sorted((Path(__file__).parents[1] / "unit/kubernetes/infrastructure/cases").glob("*.yaml"))
LOCAL = {"externalTrafficPolicy": "Local"}
EVERY_CHANGE = ("LoadBalancer", "NodePort", "LoadBalancer", "ClusterIP", "NodePort", "ClusterIP", "LoadBalancer")
SERVICES = {
    "LoadBalancer": {"type": "LoadBalancer", **LOCAL, "loadBalancerSourceRanges": ["192.0.2.0/24"]},
    "NodePort": {"type": "NodePort", **LOCAL},
    "ClusterIP": {"type": "ClusterIP"},
}

pytestmark = pytest.mark.timeout(1200)  # the cluster's programs may have to be built


def applied(cluster, found, *options):
    """Apply as the controller does."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(found)})
    manager = ("--server-side", "--field-manager=fastgate", "--force-conflicts", "--validate=strict")
    return cluster.kubectl("apply", *manager, *options, "-f", "-", text=text)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_an_api_server_takes_every_case(cluster, path):
    found = list(yaml.safe_load_all(path.read_text()))
    assert applied(cluster, found, "--dry-run=server").count("(server dry run)") == len(found)


def test_a_service_becomes_one_of_another_type(cluster, namespace):
    ports = itertools.cycle([(("TCP", 80), ("UDP", 80)), (("UDP", 80), ("TCP", 81))])
    for type_, each in zip(EVERY_CHANGE, ports, strict=False):
        found = documents(wanted(None, *each, said={"service": SERVICES[type_]}), DEFAULTS)
        (service,) = (document for document in found if document["kind"] == "Service")
        service["metadata"]["namespace"] = namespace.name
        del service["metadata"]["ownerReferences"]  # the Gateway is not there, and the Service would be collected
        applied(cluster, [service])
        spec = namespace.get("service", "gw-fastgate")["spec"]
        assert spec["type"] == type_
        assert sorted((port["protocol"], port["port"]) for port in spec["ports"]) == sorted(each)
        assert spec.get("externalTrafficPolicy") == SERVICES[type_].get("externalTrafficPolicy")
        assert spec.get("loadBalancerSourceRanges") == SERVICES[type_].get("loadBalancerSourceRanges")
