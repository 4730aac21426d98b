"""CustomResourceDefinitions of fastgate.dev: made of the models, and of one mind with them."""

from __future__ import annotations

import crd_oracle
import make_crds as crds
import pytest

from fastgate import api

HEALTH = {"path": "/healthz"}
ENDPOINT = {"address": "192.0.2.1", "port": 80}
TLS = {"hostname": "backend.example", "wellKnownCACertificates": "System"}
GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}
ROUTE = {**GATEWAY, "kind": "HTTPRoute", "name": "r"}

PROVISIONED = {
    "kind": "Deployment",
    "replicas": 2,
    "image": "registry.example/fastgate:1",
    "imagePullPolicy": "Always",
    "imagePullSecrets": ["pull"],
    "resources": {"requests": {"cpu": "1"}, "claims": [{"name": "gpu"}]},
    "nodeSelector": {"edge": "true"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "priorityClassName": "edge",
    "podLabels": {"team": "edge"},
    "podAnnotations": {"scrape": ""},
    "args": ["--workers=4"],
    "env": [{"name": "A", "value": "b"}, {"name": "B"}],
    "service": {
        "type": "NodePort",
        "annotations": {"balancer": "internal"},
        "externalTrafficPolicy": "Local",
        "loadBalancerClass": "example.com/lb",
        "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"],
    },
    "podDisruptionBudget": {"minAvailable": "50%"},
    "autoscaling": {"minReplicas": 1, "maxReplicas": 4, "averageCpuUtilization": 80},
    "networkPolicy": True,
    "drain": {"delay": "1500ms", "timeout": "2m"},
}


def backend(**spec):
    return "Backend", {"endpoints": [ENDPOINT], **spec}


def filter_(**spec):
    return "Filter", {"type": "Stamp", **spec}


def parameters(**spec):
    return "GatewayParameters", spec


def infrastructure(**spec):
    return parameters(infrastructure=spec)


def document(kind, spec):
    return {
        "apiVersion": "fastgate.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "n", "namespace": "ns"},
        "spec": spec,
    }


def model_takes(found):
    try:
        api.parse(found)
    except api.Invalid:
        return False
    return True


VALID = [
    backend(),
    backend(protocol="https", tls=TLS),
    backend(healthCheck={**HEALTH, "interval": "1m30s", "timeout": "250ms", "expectedStatuses": [204, "300-399"]}),
    backend(endpoints=[ENDPOINT, {**ENDPOINT, "port": 81, "weight": 0}], proxyProtocol="V2"),
    filter_(),
    filter_(type="acme/Stamp", config={"deep": [{"er": None}], "n": 1.5}, timeout="1s", onError="Skip"),
    filter_(position="BeforeRouting", targetRefs=[GATEWAY]),
    filter_(targetRefs=[{**ROUTE, "sectionName": "a"}, {**ROUTE, "sectionName": "b"}, GATEWAY]),
    parameters(),
    parameters(limits={"requestLine": 1024, "headBytes": 1024, "bodyBytes": 2**53}, trailers=["x-a", "x-b"]),
    parameters(accessLog={"template": "{status}"}, via="edge"),
    infrastructure(),
    infrastructure(**PROVISIONED),
    infrastructure(kind="DaemonSet", replicas=0, networkPolicy=False, podDisruptionBudget={"maxUnavailable": 1}),
    infrastructure(autoscaling={"maxReplicas": 2}, service={}, drain={}),
]
INVALID = [
    backend(endpoints=[]),
    backend(endpoints=[ENDPOINT, ENDPOINT]),
    backend(endpoints=[{"address": "192.0.2.1"}]),
    backend(endpoints=[{**ENDPOINT, "port": 65536}]),
    backend(protocol="https"),
    backend(protocol="ftp"),
    backend(tls={"hostname": "backend.example"}),
    backend(tls={**TLS, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "c"}]}),
    backend(healthCheck={}),
    backend(healthCheck={**HEALTH, "timeout": "0s"}),
    backend(healthCheck={**HEALTH, "interval": "50ms", "timeout": "10ms"}),
    backend(healthCheck={**HEALTH, "interval": "1s", "timeout": "2s"}),
    backend(healthCheck={**HEALTH, "timeout": "11s"}),
    backend(healthCheck={**HEALTH, "interval": "soon"}),
    filter_(type=""),
    filter_(type="a b"),
    filter_(config=[]),
    filter_(timeout="61s"),
    filter_(timeout="0ms"),
    filter_(position="BeforeRouting"),
    filter_(position="BeforeRouting", targetRefs=[ROUTE]),
    filter_(targetRefs=[{**GATEWAY, "group": ""}]),
    filter_(targetRefs=[GATEWAY, GATEWAY]),
    filter_(targetRefs=[GATEWAY, {**GATEWAY, "sectionName": "a"}]),
    parameters(trustedHops=33),
    parameters(limits={"requestLine": 4096, "headBytes": 1024}),
    parameters(accessLog={"template": "{status}", "format": "json"}),
    parameters(trailers=["x-a", "x-a"]),
    parameters(requestId="yes"),
    infrastructure(kind="StatefulSet"),
    infrastructure(replicas=-1),
    infrastructure(image=""),
    infrastructure(imagePullPolicy="Sometimes"),
    infrastructure(resources=["cpu"]),
    infrastructure(nodeSelector={"edge": True}),
    infrastructure(tolerations=["all"]),
    infrastructure(podLabels={"n": 1}),
    infrastructure(args=[1]),
    infrastructure(env=[{"value": "b"}]),
    infrastructure(service={"type": "ExternalName"}),
    infrastructure(service={"externalTrafficPolicy": "Nearby"}),
    infrastructure(service={"loadBalancerSourceRanges": ["192.0.2.0/24"] * 65}),
    infrastructure(podDisruptionBudget={}),
    infrastructure(podDisruptionBudget={"minAvailable": 1, "maxUnavailable": 1}),
    infrastructure(podDisruptionBudget={"minAvailable": "half"}),
    infrastructure(podDisruptionBudget={"minAvailable": -1}),
    infrastructure(autoscaling={}),
    infrastructure(autoscaling={"maxReplicas": 1}),
    infrastructure(autoscaling={"minReplicas": 3, "maxReplicas": 2}),
    infrastructure(autoscaling={"maxReplicas": 2, "averageCpuUtilization": 0}),
    infrastructure(networkPolicy="yes"),
    infrastructure(drain={"delay": 5}),
    infrastructure(drain={"timeout": "soon"}),
]


def test_the_files_are_made_of_the_models():
    assert {crds.path(kind): crds.text(kind) for kind in crds.KINDS} == {
        path: path.read_text() for path in sorted(crds.CRDS.iterdir())
    }


def test_there_is_one_for_each_kind():
    assert {kind.__name__ for kind in crds.KINDS} == {kind for group, kind in api.KINDS if group == "fastgate.dev"}


def test_an_api_server_takes_what_the_models_take():
    documents = [document(*case) for case in VALID]
    assert [model_takes(each) for each in documents] == [True] * len(documents)
    assert [verdict.errors for verdict in crd_oracle.judge(documents, crds=crds.CRDS)] == [()] * len(documents)


@pytest.mark.parametrize("case", INVALID, ids=str)
def test_an_api_server_refuses_what_the_models_refuse(case):
    assert not model_takes(document(*case))
    (verdict,) = crd_oracle.judge([document(*case)], crds=crds.CRDS)
    assert verdict.errors
    assert all(field.startswith("spec") for field, _ in verdict.errors)


@pytest.mark.parametrize("case", [filter_(config={"anything": {"at": ["all"]}}), infrastructure(**PROVISIONED)])
def test_what_is_not_ours_to_define_is_kept_as_it_is(case):
    kind, spec = case
    (verdict,) = crd_oracle.judge([document(kind, spec)], crds=crds.CRDS)
    assert verdict.object["spec"] == spec
