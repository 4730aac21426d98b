"""`fastgate controller` in Pods, with the rights of its manifests, and the data planes that it provisions."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from kubelab import fastgate, implementation, network, suite
from kubelab.cluster import Namespace, until
from load import Load
from served import GATEWAY, POD, SERVICE, asked, route

pytestmark = pytest.mark.timeout(1200)  # the cluster's programs may have to be built

TESTS = (
    "GatewayInfrastructureMetadata",
    "GatewayInvalidParametersRef",
    "HTTPRouteSimpleSameNamespace",
    "ListenerSetHTTPRouting",
    "TLSRouteSimpleSameNamespace",
    "UDPRoute",
)
PARAMETERS = {
    "apiVersion": "fastgate.dev/v1alpha1",
    "kind": "GatewayParameters",
    "metadata": {"name": "small"},
    "spec": {"infrastructure": {"args": ["--workers=1"], "drain": {"delay": "1s", "timeout": "5s"}}},
}
SMALL = {"parametersRef": {"group": "fastgate.dev", "kind": "GatewayParameters", "name": "small"}}


@pytest.fixture(scope="module")
def system(cluster):
    """Two replicas of the controller; the namespace that they are in."""
    found = Namespace(cluster, fastgate.ACCOUNT[0])
    try:
        with implementation.running(cluster, fastgate.in_controller_mode(replicas=2)):
            found.kubectl("rollout", "status", "deployment/fastgate", "--timeout=60s")
            yield found
    finally:
        found.kubectl("delete", "deployment,service", "fastgate", "--ignore-not-found")
        found.kubectl("wait", "--for=delete", "pod", "--all", "--timeout=60s")
        managed = "app.kubernetes.io/managed-by=fastgate"
        cluster.kubectl("delete", "deployment,service", "--all-namespaces", "-l", managed, "--wait=false")


class Provisioned:
    """A Gateway of the controller's with one route, and its one data plane."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace
        gateway = {**GATEWAY, "spec": {**GATEWAY["spec"], "infrastructure": SMALL}}
        namespace.apply(POD, SERVICE, PARAMETERS, gateway, route("all"))
        self.address = until(self._address)
        until(lambda: self.status("/") == 200)

    def _address(self):
        status = self.namespace.get("gateway", "gw").get("status", {})
        is_programmed = any(c["type"] == "Programmed" and c["status"] == "True" for c in status.get("conditions", ()))
        return is_programmed and status["addresses"][0]["value"]

    def status(self, path):
        return asked(self.cluster, f"http://{self.address}{path}")

    def reason(self, condition):
        conditions = self.namespace.get("gateway", "gw")["status"]["conditions"]
        return next((each["reason"] for each in conditions if each["type"] == condition), "")

    def load(self):
        return Load(80, clients=4, host=self.address, enter=lambda: network.enter(self.cluster))

    def says(self, **infrastructure):
        """Have its parameters say this besides."""
        said = {**PARAMETERS["spec"]["infrastructure"], **infrastructure}
        patch = json.dumps({"spec": {"infrastructure": said}})
        self.namespace.kubectl("patch", "gatewayparameters", "small", "--type=merge", "-p", patch)

    def pods(self):
        return self.namespace.get("pods", "-l", "gateway.networking.k8s.io/gateway-name=gw")["items"]


@pytest.fixture
def provisioned(cluster, system, namespace):
    return Provisioned(cluster, namespace)


def passes(load, requests):
    goal = load.done + requests
    until(lambda: load.done >= goal)


def leader(system):
    """The Pod that leads."""
    holder = system.get("lease", "fastgate-fastgate.dev-gateway-controller")["metadata"]["annotations"]
    address = holder["fastgate.dev/data-planes"].rpartition(":")[0]
    found = [pod for pod in system.get("pods")["items"] if pod.get("status", {}).get("podIP") == address]
    return found[0]["metadata"]["name"] if found else None


def test_the_official_suite_passes(cluster, system, tmp_path):
    wanted = suite.Run("fastgate", only="|".join(TESTS), flags=["--cleanup-base-resources=false"])
    outcome = suite.run(cluster, wanted, tmp_path / "suite.log")
    assert outcome.succeeded, f"{outcome}\n{(tmp_path / 'suite.log').read_text()[-6000:]}"
    assert sorted(outcome.passed) == sorted(TESTS)
    logs = [path.read_text() for path in (cluster.state / "pods").glob(f"{system.name}.fastgate-*.log")]
    assert logs
    assert not [log for log in logs if "forbidden" in log or "Traceback" in log]


def test_a_leader_that_dies_is_followed_by_the_other_and_traffic_goes_on(system, provisioned):
    with provisioned.load() as load:
        passes(load, 100)
        system.kubectl("delete", "pod", until(lambda: leader(system)), "--grace-period=0", "--force")
        began = time.monotonic()
        provisioned.namespace.apply(route("late", "/late", weight=0))
        until(lambda: provisioned.status("/late") == 500)
        assert time.monotonic() - began < 10
        passes(load, 100)
    assert load.failures == []


def test_a_data_plane_that_dies_without_a_controller_serves_what_it_served(cluster, system, provisioned):
    (pod,) = provisioned.pods()
    system.kubectl("scale", "deployment/fastgate", "--replicas=0")
    system.kubectl("wait", "--for=delete", "pod", "--all", "--timeout=60s")
    try:
        with provisioned.load() as load:
            passes(load, 100)
        assert load.failures == []
        for pid in network.pids(cluster, pod["metadata"]["uid"]):
            os.kill(pid, signal.SIGKILL)
        until(lambda: provisioned.pods()[0]["status"]["containerStatuses"][0]["restartCount"])
        until(lambda: provisioned.status("/") == 200)
    finally:
        system.kubectl("scale", "deployment/fastgate", "--replicas=2")
        system.kubectl("rollout", "status", "deployment/fastgate", "--timeout=60s")
    provisioned.namespace.apply(route("late", "/late", weight=0))
    until(lambda: provisioned.status("/late") == 500)


def test_a_rolling_restart_of_the_data_planes_loses_nobody(provisioned):
    with provisioned.load() as load:
        passes(load, 100)
        provisioned.namespace.kubectl("rollout", "restart", "deployment/gw-fastgate")
        provisioned.namespace.kubectl("rollout", "status", "deployment/gw-fastgate", "--timeout=60s")
        passes(load, 200)
    assert load.failures == []


def test_replicas_that_are_not_said_any_more_stay(provisioned):
    namespace = provisioned.namespace
    for replicas, workers in ((2, 2), (None, 3)):
        provisioned.says(replicas=replicas, args=[f"--workers={workers}"])
        until(lambda: f"--workers={workers}" in str(namespace.get("deployment", "gw-fastgate")["spec"]))  # noqa: B023
        assert namespace.get("deployment", "gw-fastgate")["spec"]["replicas"] == 2
    namespace.kubectl("scale", "deployment", "gw-fastgate", "--replicas=1")
    until(lambda: len(provisioned.pods()) == 1)


def test_another_kind_of_pods_takes_over_and_loses_nobody(provisioned):
    namespace = provisioned.namespace
    with provisioned.load() as load:
        passes(load, 100)
        provisioned.says(kind="DaemonSet")
        until(lambda: not namespace.get("deployments")["items"])
        until(lambda: len(provisioned.pods()) == 1)
        passes(load, 200)
    assert load.failures == []


def test_objects_stay_as_they_are_while_parameters_are_not_there(provisioned):
    namespace = provisioned.namespace
    provisioned.says(service={"type": "ClusterIP"})
    until(lambda: namespace.get("service", "gw-fastgate")["spec"]["type"] == "ClusterIP")
    namespace.kubectl("delete", "gatewayparameters", "small")
    until(lambda: provisioned.reason("Accepted") == "InvalidParameters")
    namespace.apply({**GATEWAY, "metadata": {"name": "next"}})
    until(lambda: "next-fastgate" in namespace.kubectl("get", "deployments", "-o", "name"))
    assert namespace.get("service", "gw-fastgate")["spec"]["type"] == "ClusterIP"
    assert provisioned.pods()


def test_what_is_changed_by_hand_is_as_it_was_again(provisioned):
    namespace = provisioned.namespace
    before = namespace.get("service", "gw-fastgate")["spec"]["selector"]
    namespace.kubectl("patch", "service", "gw-fastgate", "-p", '{"spec": {"selector": {"elsewhere": "yes"}}}')
    until(lambda: namespace.get("service", "gw-fastgate")["spec"]["selector"] == before)


def test_what_is_deleted_by_hand_comes_again_and_goes_with_its_gateway(provisioned):
    namespace = provisioned.namespace
    namespace.kubectl("delete", "deployment", "gw-fastgate")
    until(lambda: provisioned.status("/") == 200 and len(provisioned.pods()) == 1)
    namespace.kubectl("delete", "gateway", "gw")
    kinds = "deployment,service,serviceaccount,secret"
    until(lambda: not namespace.get(kinds, "-l", "app.kubernetes.io/managed-by=fastgate")["items"])
