"""What is killed, taken away or withdrawn while clients ask: requests go on, and statuses are right soon after."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import server
from kubelab import control_plane, fastgate, implementation, network, programs
from kubelab.cluster import until
from load import Load

pytestmark = pytest.mark.timeout(1200)  # the cluster's programs may have to be built

GROUP = "gateway.networking.k8s.io"
BACKEND = """
import server
from http.server import ThreadingHTTPServer
ThreadingHTTPServer(("", 3000), server.Echo).serve_forever()
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "echo", "labels": {"app": "echo"}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "echo",
                "image": "sh",
                "command": [sys.executable, "-c", BACKEND],
                "env": [{"name": "PYTHONPATH", "value": str(Path(server.__file__).parent)}],
            }
        ],
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "echo"},
    "spec": {"selector": {"app": "echo"}, "ports": [{"port": 80, "targetPort": 3000}]},
}
GATEWAY = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Gateway",
    "metadata": {"name": "gw"},
    "spec": {
        "gatewayClassName": "fastgate",
        "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
        ],
    },
}


def route(name, path="/", **spec):
    rule = {"matches": [{"path": {"value": path}}], "backendRefs": [{"name": "echo", "port": 80, **spec}]}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [rule]},
    }


class Served:
    """A Gateway with one route, and fastgate on the node, which tests may kill."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace
        self.subject = fastgate.on_the_node(cluster)
        implementation.apply(cluster, self.subject)
        self.started = implementation.Started(cluster, self.subject)
        namespace.apply(POD, SERVICE, GATEWAY, route("all"))
        self.address = until(self._address)
        until(lambda: self.status("/") == 200)

    def _address(self):
        addresses = self.namespace.get("gateway", "gw").get("status", {}).get("addresses", ())
        return next((each["value"] for each in addresses), "")

    def load(self):
        return Load(80, clients=4, host=self.address, enter=lambda: network.enter(self.cluster))

    def status(self, path):
        """Of an answer, or 0."""

        def ask():
            network.enter(self.cluster)
            try:
                with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code
            except OSError:
                return 0

        with ThreadPoolExecutor(1) as thread:  # that may leave the test's network
            return thread.submit(ask).result()

    def is_current(self, name):
        """Whether the status of a route is about its newest generation."""
        found = self.namespace.get("httproute", name)
        conditions = [c for parent in found.get("status", {}).get("parents", ()) for c in parent["conditions"]]
        return bool(conditions) and all(c["observedGeneration"] == found["metadata"]["generation"] for c in conditions)

    def restart(self):
        self.started = implementation.Started(self.cluster, self.subject)


@pytest.fixture
def served(cluster, namespace):
    made = Served(cluster, namespace)
    yield made
    made.started.end()


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
