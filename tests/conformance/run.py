"""A Kubernetes cluster on this machine, and the Gateway API's official conformance suite.

  run.py build                              build its programs: about six minutes, once for each version
  run.py up [--channel experimental]        start a cluster: seconds
  run.py exec kubectl get gatewayclasses    run a command in its network, with KUBECONFIG
  run.py exec fastgate run --kubernetes     any program; Gateways may bind addresses of 198.18.200.0/24
  run.py status                             whether it runs, and where its files are
  run.py down                               end all its processes

Clusters of different names (--name) run side by side. Pods are processes: `up --image NAME=COMMAND` says what stands for an image.
Nothing leaves the machine: addresses are of 198.18.0.0/15, in a network namespace. It needs root, iproute2, nftables and Go.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import pytest
from kubelab import binaries, lifecycle, network
from kubelab.cluster import named

if TYPE_CHECKING:
    from kubelab.cluster import Cluster


def build(_cluster: Cluster, _options: argparse.Namespace) -> int:
    print(binaries.build())
    return 0


def up(cluster: Cluster, options: argparse.Namespace) -> int:
    fastgate = Path(sys.executable).with_name("fastgate")
    images = {"fastgate": str(fastgate), **dict(image.split("=", 1) for image in options.image)}
    lifecycle.up(cluster, options.channel, images)
    print(f"cluster {cluster.name} is up; KUBECONFIG={cluster.kubeconfig}")
    return 0


def execute(cluster: Cluster, options: argparse.Namespace) -> int:
    command = cluster.inside(*options.command)
    os.execvpe(command[0], command, cluster.environment())


def status(cluster: Cluster, _options: argparse.Namespace) -> int:
    count = len(network.processes(cluster))
    print(f"{cluster.name}: {count} processes; files and logs in {cluster.state}")
    return 0 if count else 1


def down(cluster: Cluster, _options: argparse.Namespace) -> int:
    lifecycle.down(cluster)
    return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default="default", help="of the cluster (default: %(default)s)")
    common.add_argument(
        "--state", type=Path, help="directory for its files; by default one of the user's for each name"
    )
    commands = result.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=text, description=text)
        command.set_defaults(function=function)
        return command

    add("build", build, "build the programs of a cluster")
    start = add("up", up, "start a new cluster")
    start.add_argument("--channel", choices=("standard", "experimental"), default="standard", help="of the CRDs")
    start.add_argument("--image", action="append", default=[], metavar="NAME=COMMAND", help="what stands for an image")
    run = add("exec", execute, "run a command in the cluster's network")
    run.add_argument("command", nargs=argparse.REMAINDER)
    add("status", status, "say whether the cluster runs")
    add("down", down, "end the cluster")
    return result


def main() -> int:
    options = parser().parse_args()
    try:
        return options.function(named(options.name, options.state), options)
    except (RuntimeError, ValueError, pytest.skip.Exception) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
