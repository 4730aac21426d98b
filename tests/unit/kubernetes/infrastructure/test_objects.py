"""The objects of data planes, one file a case: `pytest --update-golden` rewrites what is expected."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from provisioned import DEFAULTS, gateway, wanted

from fastgate.kubernetes.infrastructure.objects import Defaults, documents

CASES = Path(__file__).with_name("cases")
EVERYTHING = {
    "replicas": 3,
    "image": "registry.example/other:2",
    "imagePullPolicy": "Always",
    "imagePullSecrets": ["pull"],
    "resources": {"limits": {"memory": "1Gi"}},
    "nodeSelector": {"edge": "true"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"team": "edge"},
    "podAnnotations": {"scrape": "true"},
    "args": ["--workers=4"],
    "env": [{"name": "A", "value": "b"}, {"name": "C"}],
    "service": {
        "annotations": {"balancer": "internal"},
        "externalTrafficPolicy": "Local",
        "loadBalancerClass": "example.com/lb",
        "loadBalancerSourceRanges": ["192.0.2.0/24"],
    },
    "podDisruptionBudget": {"minAvailable": "50%"},
    "networkPolicy": True,
    "drain": {"delay": "1500ms", "timeout": "2m"},
}
MADE = {
    "minimal": (wanted(), DEFAULTS),
    "everything": (
        wanted(
            gateway(infrastructure={"labels": {"a": "b", "app.kubernetes.io/instance": "x"}, "annotations": {"c": "d"}}),
            ("TCP", 80), ("TCP", 9901), ("UDP", 80),
            said=EVERYTHING, addresses=("192.0.2.9",),
        ),
        Defaults("fastgate", "c:1", "Never", ("default-pull",)),
    ),
    "daemonset": (wanted(said={"kind": "DaemonSet", "replicas": 2, "service": {"type": "ClusterIP", "externalTrafficPolicy": "Local", "loadBalancerClass": "x"}, "autoscaling": {"maxReplicas": 4}}), DEFAULTS),
    "autoscaled": (wanted(said={"replicas": 2, "autoscaling": {"maxReplicas": 4}, "service": {"type": "NodePort", "externalTrafficPolicy": "Local"}}), DEFAULTS),
    "long-name": (wanted(gateway("a." * 126 + "b")), DEFAULTS),
}  # fmt: skip


@pytest.mark.parametrize("case", MADE)
def test_what_is_made_is_what_the_case_says(case, request):
    found = yaml.safe_dump_all(documents(*MADE[case]), sort_keys=False, width=120)
    path = CASES / f"{case}.yaml"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text()


def test_every_object_is_owned_by_its_gateway_and_told_by_labels():
    for document in documents(*MADE["everything"]):
        metadata = document["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Gateway", "uid-of-gw", True)
        assert metadata["labels"]["gateway.networking.k8s.io/gateway-name"] == "gw"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "fastgate.dev_gateway-controller"
        assert metadata["labels"]["a"] == "b"
        assert metadata["annotations"]["c"] == "d"


def test_a_secret_is_not_shown():
    assert "key" not in repr(wanted()).replace("tls.key", "")
