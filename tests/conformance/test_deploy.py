"""The Helm chart and the manifests: an API server takes them, and fastgate runs in their Pods with their rights."""

from __future__ import annotations

import dataclasses
import json

import gateway_api
import make_manifests
import pytest
import yaml
from kubelab import binaries, fastgate, implementation, suite
from kubelab.cluster import run, until
from provisioned import DEFAULTS, wanted
from served import GATEWAY, POD, SERVICE, route

from fastgate.kubernetes.infrastructure import objects
from fastgate.kubernetes.infrastructure.owned import OWN_KINDS
from fastgate.kubernetes.kinds import KINDS

pytestmark = pytest.mark.timeout(1200)  # helm and the cluster's programs may have to be built

VALUES = {
    "defaults": {},
    "deployment": {
        "kind": "Deployment",
        "replicas": 2,
        "hostNetwork": False,
        "watchNamespaces": ["default", "kube-public"],
        "podDisruptionBudget": {"create": True},
        "image": {"repository": "registry.example/fastgate", "tag": "latest"},
        "args": ["--workers=2"],
        "env": [{"name": "A", "value": "b"}],
        "nodeSelector": {"edge": "true"},
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "system-node-critical",
        "podLabels": {"team": "edge"},
        "podAnnotations": {"a": "b"},
        "serviceAccount": {"annotations": {"a": "b"}},
    },
    "scaled": {"kind": "Deployment", "podDisruptionBudget": {"create": True, "minAvailable": 1}},
    "controller": {"mode": "controller"},
    "controllers": {
        "mode": "controller",
        "replicas": 2,
        "watchNamespaces": ["default", "kube-public"],
        "controller": {"port": 9444, "address": "192.0.2.1:9444", "image": "registry.example/data-plane:1"},
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
        "podDisruptionBudget": {"create": True},
        "nodeSelector": {"control": "true"},
        "tolerations": [{"operator": "Exists"}],
    },
    "monitored": {"podMonitor": {"create": True, "labels": {"release": "prometheus"}}},
    "monitored-controller": {"mode": "controller", "podMonitor": {"create": True}, "watchNamespaces": ["default"]},
}


@pytest.fixture(scope="session")
def helm():
    gateway_api.directory()  # whoever can fetch it can fetch what is built, too
    binaries.build(["helm"])
    return binaries.program("helm")


@pytest.fixture
def rendered(helm, tmp_path):
    def render(values):
        (tmp_path / "values.yaml").write_text(json.dumps(values))
        text = run(helm, "template", "edge", make_manifests.CHART, "-n", "default", "-f", tmp_path / "values.yaml")
        return list(filter(None, yaml.safe_load_all(text)))

    return render


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


def is_programmed(gateway):
    conditions = gateway.get("status", {}).get("conditions", ())
    return any(c["type"] == "Programmed" and c["status"] == "True" for c in conditions)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_finds_no_fault(helm, tmp_path, values):
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    run(helm, "lint", "--strict", make_manifests.CHART, "-f", tmp_path / "values.yaml")


@pytest.mark.parametrize("mode", make_manifests.MODES)
def test_the_manifests_are_the_chart_with_its_defaults(helm, mode):
    assert make_manifests.text(mode, helm) == make_manifests.path(mode).read_text()


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_an_api_server_takes_them(cluster, rendered, values):
    documents = [document for document in rendered(values) if document["kind"] != "PodMonitor"]  # no such kind here
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", text=text)


def test_replicas_are_left_to_whoever_scales(rendered):
    (deployment,) = of_kind(rendered(VALUES["scaled"]), "Deployment")
    assert "replicas" not in deployment["spec"]


def test_who_watches_some_namespaces_has_rights_in_those_only(rendered):
    documents = rendered(VALUES["deployment"])
    (everywhere,) = of_kind(documents, "ClusterRole")
    assert "secrets" not in str(everywhere)
    roles = of_kind(documents, "Role")
    assert {r["metadata"]["namespace"] for r in roles if "secrets" in str(r)} == {"default", "kube-public"}


def test_roles_in_some_namespaces_are_enough_for_those(cluster, namespace, rendered):
    release = rendered(
        {"watchNamespaces": [namespace.name], "controllerName": "example.com/some", "gatewayClass": {"name": "some"}}
    )
    needed = [document for document in release if document["kind"] != "DaemonSet"]
    some = fastgate.on_the_node(cluster, f"--watch-namespaces={namespace.name}", "--controller-name=example.com/some")
    subject = dataclasses.replace(
        some,
        gateway_class="some",
        controller="example.com/some",
        account=("default", "edge-fastgate"),
        manifests=needed,
    )
    gateway = {**GATEWAY, "spec": {**GATEWAY["spec"], "gatewayClassName": "some"}}
    with implementation.running(cluster, subject) as started:
        namespace.apply(POD, SERVICE, gateway, route("all"))
        until(lambda: is_programmed(namespace.get("gateway", "gw")))
        until(lambda: "parents" in namespace.get("httproute", "all").get("status", {}))
    assert "forbidden" not in started.log.read_text()


def test_data_planes_are_monitored_as_they_are_made(rendered):
    monitors = of_kind(rendered(VALUES["monitored-controller"]), "PodMonitor")
    assert len(monitors) == len({each["metadata"]["name"] for each in monitors}) == 2
    spec = monitors[1]["spec"]
    deployment = next(each for each in objects.documents(wanted(), DEFAULTS) if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]
    assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert set(spec["podTargetLabels"]) <= set(pod["metadata"]["labels"])
    ports = [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
    assert [each["port"] for each in spec["podMetricsEndpoints"]] == ports
    assert spec["namespaceSelector"] == {"matchNames": ["default"]}
    assert of_kind(rendered(VALUES["monitored"]), "PodMonitor")[1:] == []


def rules_of(documents):
    return [rule for role in of_kind(documents, "ClusterRole") for rule in role["rules"]]


def allowed(rules, verb):
    return {
        (group, name)
        for rule in rules
        if verb in rule["verbs"]
        for group in rule["apiGroups"]
        for name in rule["resources"]
    }


def test_what_is_followed_can_be_read_and_nothing_else(rendered):
    followed = {(kind.group, kind.plural) for kind in KINDS.values()}
    made = {(kind.group, kind.plural) for kind in OWN_KINDS.values()}
    assert allowed(rules_of(rendered({})), "watch") == followed
    assert allowed(rules_of(rendered(VALUES["controller"])), "watch") == followed | made


def test_a_controller_may_make_and_delete_what_data_planes_run_on_and_nothing_else(rendered):
    rules = rules_of(rendered(VALUES["controller"]))
    made = {(kind.group, kind.plural) for kind in OWN_KINDS.values()}
    assert allowed(rules, "delete") == made
    assert allowed(rules, "create") == made | {("events.k8s.io", "events")}
    assert allowed(rules, "update") - allowed(rules_of(rendered({})), "update") == {
        ("gateway.networking.k8s.io", "gateways/finalizers")
    }


def test_nothing_is_written_but_statuses_finalizers_of_classes_and_events(rendered):
    rules = [rule for role in of_kind(rendered({}), "ClusterRole") for rule in role["rules"]]
    written = {name: set(rule["verbs"]) for rule in rules for name in rule["resources"]}
    written = {
        name: verbs - {"get", "list", "watch"} for name, verbs in written.items() if verbs - {"get", "list", "watch"}
    }
    assert written.pop("gatewayclasses") == {"patch"}
    assert written.pop("events") == {"create", "patch"}
    assert all(name.endswith("/status") and verbs == {"update"} for name, verbs in written.items())


def test_the_suite_passes_with_fastgate_in_pods(cluster, tmp_path):
    wanted = suite.Run(
        "fastgate",
        only="HTTPRouteCrossNamespace|TLSRouteSimpleSameNamespace|UDPRoute",
        flags=["--cleanup-base-resources=false"],
    )
    try:
        with implementation.running(cluster, fastgate.in_pods()):
            outcome = suite.run(cluster, wanted, tmp_path / "suite.log")
        assert outcome.succeeded, f"{outcome}\n{(tmp_path / 'suite.log').read_text()[-6000:]}"
        logs = (cluster.state / "pods").glob("fastgate-system.*.log")
        log = max(logs, key=lambda path: path.stat().st_mtime)  # others are of Pods of other tests
    finally:
        cluster.kubectl("-n", "fastgate-system", "delete", "daemonset", "fastgate", "--ignore-not-found")
        cluster.kubectl("-n", "fastgate-system", "wait", "--for=delete", "pod", "--all", "--timeout=60s")
    assert "forbidden" not in log.read_text()
    assert log.read_text().endswith("INFO stopped\n")
