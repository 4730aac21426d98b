"""fastgate as an implementation to test: this checkout's, with the rights that its manifests give it and no others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kubelab import network
from kubelab.implementation import Implementation

if TYPE_CHECKING:
    from kubelab.api import Document
    from kubelab.cluster import Cluster

COMMAND = Path(sys.executable).with_name("fastgate")
CLASS, CONTROLLER = "fastgate", "fastgate.dev/gateway-controller"
ACCOUNT = ("fastgate-system", "fastgate")
POOL = f"{network.GATEWAYS[1]}-{network.GATEWAYS[254]}"
CONTROLLER_SERVICE = str(network.SERVICES[9443])  # data planes are told an address: there are no names here
_DEPLOY = Path(__file__).parents[3] / "deploy"


def manifests(file: str = "fastgate.yaml") -> list[Document]:
    """What deploy/ has for a cluster."""
    return list(yaml.safe_load_all((_DEPLOY / file).read_text()))


def on_the_node(cluster: Cluster, *options: str) -> Implementation:
    """`fastgate run --kubernetes`: Gateways have addresses of the node."""
    command = [
        str(COMMAND),
        "run",
        "--kubernetes",
        f"--address-pool={POOL}",
        f"--instance={cluster.namespace}",
        *options,
    ]
    return Implementation(CLASS, CONTROLLER, command, ACCOUNT, rights())


def rights() -> list[Document]:
    """Its definitions, ServiceAccount and rights, and nothing that runs."""
    return [document for document in manifests() if document["kind"] != "DaemonSet"]


def in_pods() -> Implementation:
    """The DaemonSet of the manifests, which shares the node's network, with a pool of addresses."""
    documents = manifests()
    for document in documents:
        if document["kind"] == "DaemonSet":
            document["spec"]["template"]["spec"]["containers"][0]["args"].append(f"--address-pool={POOL}")
    return Implementation(CLASS, CONTROLLER, (), ACCOUNT, documents)


def in_controller_mode(replicas: int = 1) -> Implementation:
    """The controller of the manifests, which provisions data planes in Pods."""
    documents = manifests("fastgate-controller.yaml")
    for document in documents:
        if document["kind"] == "Service":
            document["spec"]["clusterIP"] = CONTROLLER_SERVICE
        elif document["kind"] == "Deployment":
            document["spec"]["replicas"] = replicas
            container = document["spec"]["template"]["spec"]["containers"][0]
            container["args"].append(f"--address={CONTROLLER_SERVICE}:9443")
    return Implementation(CLASS, CONTROLLER, (), ACCOUNT, documents)
