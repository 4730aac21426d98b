"""A part of the official suite, small enough for every run of the tests, against `fastgate run --kubernetes`."""

from __future__ import annotations

import pytest
from kubelab import fastgate, implementation, suite
from kubelab.cluster import run, until
from served import route

pytestmark = pytest.mark.timeout(1200)  # the cluster's programs may have to be built

TESTS = (
    "BackendTLSPolicy",
    "GatewayModifyListeners",
    "GatewayOptionalAddressValue",
    "GatewayPreserveForeignConditions",
    "GatewaySecretReferenceGrantSpecific",
    "GatewayStaticAddresses",
    "HTTPRouteCrossNamespace",
    "HTTPRouteHTTPSListener",
    "HTTPRouteMatching",
    "HTTPRouteMultipleGateways",
    "HTTPRouteObservedGenerationBump",
    "HTTPRoutePreserveForeignStatus",
    "HTTPRouteReferenceGrant",
    "HTTPRouteServiceTypes",
    "HTTPRouteSimpleSameNamespace",
    "ListenerSetHTTPRouting",
    "TCPRouteReferenceGrant",
    "TLSRouteSimpleSameNamespace",
    "TLSRouteTerminateSimpleSameNamespace",
    "UDPRoute",
)


def test_the_official_suite_passes(cluster, tmp_path):
    wanted = suite.Run("fastgate", only="|".join(TESTS), flags=["--cleanup-base-resources=false"])
    with implementation.running(cluster, fastgate.on_the_node(cluster)) as started:
        outcome = suite.run(cluster, wanted, tmp_path / "suite.log")
    said = (tmp_path / "suite.log").read_text()[-6000:] + started.log.read_text()[-2000:]
    assert outcome.succeeded, f"{outcome}\n{said}"
    assert sorted(outcome.passed) == sorted(TESTS)
    assert "forbidden" not in started.log.read_text()


def test_status_and_explain_look_at_a_cluster(cluster, served):
    def say(*words):
        return run(*cluster.inside("env", f"KUBECONFIG={cluster.kubeconfig}", fastgate.COMMAND, *words))

    def looked():
        try:
            return say("status", "--kubernetes")
        except RuntimeError:  # it says that something is wrong: with what another test has left, which is about to go
            return ""

    said = until(looked, 60)
    assert f"{served.namespace.name}/gw" in said
    assert served.address in said
    assert "HTTPRoute" in say("explain", "--kubernetes", "GET", f"http://{served.address}/")


def test_what_a_user_must_see_is_told(served):
    lost = route("lost", "/lost", name="nowhere")
    served.namespace.apply(lost)
    said = until(
        lambda: "BackendNotFound" in (text := served.namespace.kubectl("describe", "httproute", "lost")) and text
    )
    assert "Warning" in said
    assert "fastgate.dev/gateway-controller" in said
    served.namespace.apply(route("lost", "/lost"))
    until(lambda: "Normal" in served.namespace.kubectl("describe", "httproute", "lost"))
