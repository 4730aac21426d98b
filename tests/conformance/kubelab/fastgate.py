"""fastgate as an implementation to test: this checkout's, with the rights of its manifests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kubelab import network
from kubelab.implementation import Implementation

if TYPE_CHECKING:
    from kubelab.cluster import Cluster

COMMAND = Path(sys.executable).with_name("fastgate")
CLASS, CONTROLLER = "fastgate", "fastgate.dev/gateway-controller"
ACCOUNT = ("fastgate-system", "fastgate")
MANIFESTS = (Path(__file__).parents[1] / "manifests" / "fastgate.yaml",)
POOL = f"{network.GATEWAYS[1]}-{network.GATEWAYS[254]}"


def on_the_node(cluster: Cluster) -> Implementation:
    """`fastgate run --kubernetes`: Gateways have addresses of the node."""
    command = [str(COMMAND), "run", "--kubernetes", f"--address-pool={POOL}", f"--instance={cluster.namespace}"]
    return Implementation(CLASS, CONTROLLER, command, ACCOUNT, MANIFESTS)
