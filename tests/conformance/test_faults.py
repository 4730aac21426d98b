"""What is killed, taken away or withdrawn while clients ask: requests go on, and statuses are right soon after."""

from __future__ import annotations

import time

import pytest
from kubelab import control_plane, fastgate, implementation, programs
from kubelab.cluster import until
from served import GATEWAY, GROUP, POD, SERVICE, route

pytestmark = pytest.mark.timeout(1200)  # the cluster's programs may have to be built


def passes(load, requests):
    """Wait for so many more answers."""
    goal = load.done + requests
    until(lambda: load.done >= goal)


def seconds_until(holds):
    began = time.monotonic()
    until(holds)
    return time.monotonic() - began


@pytest.mark.parametrize("killed", [("kube-apiserver",), ("etcd", "kube-apiserver")], ids="+".join)
def test_traffic_does_not_depend_on_the_api_server(cluster, served, killed):
    with served.load() as load:
        passes(load, 100)
        for program in killed:
            programs.kill(cluster, program)
        passes(load, 500)
        for program in killed:
            control_plane.PROGRAMS[program](cluster)
        served.namespace.apply(route("all", "/"), route("late", "/late"))
        assert seconds_until(lambda: served.is_current("late")) < 5
        passes(load, 100)
    assert load.failures == []


def test_a_restarted_manager_takes_its_workers_over(served):
    with served.load() as load:
        passes(load, 100)
        served.started.kill()
        passes(load, 300)
        served.restart()
        served.namespace.apply(route("late", "/late"))
        until(lambda: served.is_current("late"))
        passes(load, 100)
    assert load.failures == []


def test_routes_that_change_lose_nobody(served):
    with served.load() as load:
        for number in range(20):
            served.namespace.apply(route("all", weight=1 + number))
            passes(load, 20)
    assert load.failures == []


def test_another_replica_writes_statuses_when_the_leader_dies(cluster, served):
    """It serves from a Pod, at the Pod's address; traffic of the first one's workers goes on."""
    replica = {**POD, "metadata": {"name": "replica", "namespace": fastgate.ACCOUNT[0]}}
    command = [str(fastgate.COMMAND), "run", "--kubernetes", "--workers=1", "--admin=0.0.0.0:9901"]
    container = {"name": "fastgate", "image": "fastgate", "command": command}
    container["readinessProbe"] = {"httpGet": {"path": "/readyz", "port": 9901}, "periodSeconds": 1}
    replica["spec"] = {"serviceAccountName": "fastgate", "containers": [container], "terminationGracePeriodSeconds": 5}
    cluster.apply(replica)
    try:
        cluster.kubectl("-n", fastgate.ACCOUNT[0], "wait", "--for=condition=Ready", "pod/replica", "--timeout=30s")
        with served.load() as load:
            passes(load, 100)
            served.started.kill()
            served.namespace.apply(route("late", "/late"))
            assert seconds_until(lambda: served.is_current("late")) < 10
            passes(load, 100)
        assert load.failures == []
    finally:
        cluster.kubectl("-n", fastgate.ACCOUNT[0], "delete", "pod", "replica", "--wait=true")
        served.restart()


def test_a_grant_that_is_withdrawn_is_honoured_within_a_second(cluster, served):
    grant = {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "grant", "namespace": served.namespace.name},
        "spec": {
            "from": [{"group": GROUP, "kind": "HTTPRoute", "namespace": "default"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    foreign = route("foreign", "/foreign", namespace=served.namespace.name)
    foreign["metadata"]["namespace"] = "default"
    foreign["spec"]["parentRefs"] = [{"name": "gw", "namespace": served.namespace.name}]
    try:
        cluster.apply(foreign)
        until(lambda: served.status("/foreign") == 500)
        served.namespace.apply(grant)
        until(lambda: served.status("/foreign") == 200)
        served.namespace.kubectl("delete", "referencegrant", "grant")
        assert seconds_until(lambda: served.status("/foreign") == 500) < 1
    finally:
        cluster.kubectl("-n", "default", "delete", "httproute", "foreign")


def test_a_right_that_is_missing_is_named_and_the_rest_works(cluster, namespace):
    documents = fastgate.rights()
    (role,) = [document for document in documents if document["kind"] == "ClusterRole"]
    for rule in role["rules"]:
        rule["resources"] = [name for name in rule["resources"] if name != "udproutes"]
    cluster.apply(*documents)
    subject = fastgate.on_the_node(cluster)
    started = implementation.Started(cluster, subject)
    try:
        namespace.apply(POD, SERVICE, GATEWAY, route("all"))
        until(lambda: namespace.get("gateway", "gw").get("status", {}).get("addresses"))
        said = started.log.read_text()
        assert "list" in said
        assert "udproutes" in said
    finally:
        started.end()
        implementation.apply(cluster, subject)
