"""A cluster comes up and goes down."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gateway_api

from kubelab import binaries, control_plane, network, programs
from kubelab.cluster import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubelab.cluster import Cluster

_PACKAGES = (Path(__file__).parents[1], Path(gateway_api.__file__).parent)
_TOOLS = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "setsid": "util-linux"}  # of Debian's packages
_PROBE = """
nft 'add table ip probe; add chain ip probe c { type nat hook output priority 0; }'
mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
"""


def missing() -> list[str]:
    """What a cluster needs and this machine has not."""
    lacking = [] if os.geteuid() == 0 else ["root"]
    lacking += [f"{tool} (package {package})" for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if not lacking:
        try:
            run("unshare", "--net", "--mount", "sh", "-ec", _PROBE)
        except RuntimeError as error:
            lacking = [
                f"network namespaces with nftables, and overlay mounts ({str(error).splitlines()[-1].strip(': ')})"
            ]
    return lacking


def up(cluster: Cluster, channel: str, images: Mapping[str, str]) -> None:
    """A new cluster with the Gateway API's CRDs of a channel; one that is there is taken down."""
    if lacking := missing():
        raise RuntimeError(f"a cluster needs {', '.join(lacking)}")
    binaries.build()
    down(cluster)
    shutil.rmtree(cluster.state, ignore_errors=True)
    cluster.state.mkdir(parents=True)
    network.create(cluster)
    control_plane.start(cluster)
    start_daemon(cluster, {"echo-basic": str(binaries.program("echo-basic")), **images})
    crds = (gateway_api.directory() / "config" / "crd" / channel).glob("gateway.networking*.yaml")
    cluster.kubectl("apply", "--server-side", *(f"--filename={path}" for path in sorted(crds)))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


def start_daemon(cluster: Cluster, images: Mapping[str, str]) -> None:
    """`images`: what stands for an image, by the last part of its name."""
    environment = ["env", f"PYTHONPATH={':'.join(map(str, _PACKAGES))}"]
    options = [f"--name={cluster.name}", f"--state={cluster.state}"]
    options += [f"--image={name}={command}" for name, command in images.items()]
    programs.spawn(cluster, "daemon", [*environment, sys.executable, "-m", "kubelab.daemon", *options])


def down(cluster: Cluster) -> None:
    """End every process in the cluster's network, at once, and remove it. Files stay until the next `up`."""
    programs.kill_all(cluster)
    network.remove(cluster)
