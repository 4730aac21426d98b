"""What the official suite, and a data plane in Pods, need of a cluster."""

from __future__ import annotations

import json
import os
import signal

import pytest
from kubelab import network
from kubelab.cluster import run, until

pytestmark = pytest.mark.timeout(1200)  # the cluster's programs may have to be built

ECHO = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "echo"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "echo"}},
        "template": {
            "metadata": {"labels": {"app": "echo"}},
            "spec": {
                "containers": [
                    {
                        "name": "echo",
                        "image": "registry.example/echo-basic:v0.1.0",
                        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "readinessProbe": {"httpGet": {"path": "/health", "port": 3000}, "periodSeconds": 1},
                    }
                ]
            },
        },
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "echo"},
    "spec": {"type": "LoadBalancer", "selector": {"app": "echo"}, "ports": [{"port": 80, "targetPort": 3000}]},
}
ASKS_THE_API = """
cd /var/run/secrets/kubernetes.io/serviceaccount
curl -sS --cacert ca.crt -H "Authorization: Bearer $(cat token)" https://$KUBERNETES_SERVICE_HOST/api/v1/nodes
"""
ONCE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "once"},
    "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "once", "image": "sh", "command": ["sh", "-c", ASKS_THE_API]}],
    },
}


def fetch(cluster, url):
    return run(*cluster.inside("curl", "-sS", "-m", "5", url))


def names(namespace):
    return namespace.kubectl("get", "pods", "-o", "name").split()


def pods_that_answer(cluster, url):
    return {json.loads(fetch(cluster, url))["pod"] for _ in range(30)}


def test_a_load_balancer_reaches_the_ready_pods(cluster, namespace):
    namespace.apply(ECHO, SERVICE)
    namespace.kubectl("rollout", "status", "deployment/echo", "--timeout=30s")
    address = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    url = f"http://{until(lambda: namespace.kubectl('get', 'service', 'echo', '-o', address))}/"
    both = {name.removeprefix("pod/") for name in names(namespace)}
    assert until(lambda: pods_that_answer(cluster, url) == both)
    cluster_ip = namespace.kubectl("get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}")
    assert pods_that_answer(cluster, f"http://{cluster_ip}/") == both
    port = namespace.kubectl("get", "service", "echo", "-o", "jsonpath={.spec.ports[0].nodePort}")
    assert pods_that_answer(cluster, f"http://{network.NODE}:{port}/") == both

    namespace.kubectl("scale", "deployment/echo", "--replicas=1")
    assert until(lambda: len(names(namespace)) == 1)
    assert until(lambda: pods_that_answer(cluster, url) == {names(namespace)[0].removeprefix("pod/")})

    namespace.kubectl("scale", "deployment/echo", "--replicas=0")
    assert until(lambda: not names(namespace))
    with pytest.raises(RuntimeError, match="Failed to connect"):
        fetch(cluster, url)


def test_a_pod_that_ends_starts_again_and_says_so(cluster, namespace):
    namespace.apply(ECHO)
    namespace.kubectl("rollout", "status", "deployment/echo", "--timeout=30s")
    uid, *_ = namespace.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split()
    first, *_ = run("ip", "netns", "pids", f"{cluster.namespace}.{uid[:13]}").split()
    os.kill(int(first), signal.SIGKILL)
    counts = "jsonpath={.items[*].status.containerStatuses[0].restartCount}"
    assert until(lambda: sorted(namespace.kubectl("get", "pods", "-o", counts).split()) == ["0", "1"])
    namespace.kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=30s")


def test_a_pod_asks_the_api_server_as_its_service_account(namespace):
    namespace.apply(ONCE)
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/once", "--timeout=30s")
    answer = json.loads(namespace.kubectl("logs", "once"))
    assert answer["code"] == 403
    assert 'User "system:serviceaccount:test-a-pod-asks' in answer["message"]


def test_a_pod_that_is_deleted_is_asked_to_end_first(cluster, namespace):
    says = "trap 'echo told; exit 0' TERM; echo here; while :; do sleep 0.1; done"
    namespace.apply({**ONCE, "spec": {"containers": [{"name": "once", "image": "sh", "args": ["-c", says]}]}})
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/once", "--timeout=30s")
    until(lambda: "here" in namespace.kubectl("logs", "once"))
    (log,) = (cluster.state / "pods").glob("test-a-pod-that-is-deleted*.once.log")
    namespace.kubectl("delete", "pod", "once", "--timeout=20s")
    assert log.read_text().endswith("told\n")
