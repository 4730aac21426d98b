"""A Kubernetes cluster on this machine, and the Gateway API's official conformance suite.

  run.py build                              build its programs: about six minutes, once for each version
  run.py up [--channel experimental]        start a cluster: seconds
  run.py exec kubectl get gatewayclasses    run a command in its network, with KUBECONFIG
  run.py exec fastgate run --kubernetes     any program; Gateways may bind addresses of 198.18.200.0/24
  run.py conformance                        run the suite, with fastgate for this cluster
  run.py conformance --run 'HTTPRoute.*'    those tests; --help says what else
  run.py status                             whether it runs, and where its files are
  run.py kill etcd; run.py start etcd       faults of the control plane
  run.py down                               end all its processes

Clusters of different names (--name) run side by side. Pods are processes: `up --image NAME=COMMAND` says what stands for an image.
Nothing leaves the machine: addresses are of 198.18.0.0/15, in a network namespace. It needs root, iproute2, nftables and Go.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import pytest
import yaml
from kubelab import binaries, control_plane, fastgate, implementation, lifecycle, network, programs, suite
from kubelab.cluster import named

from fastgate import __version__

if TYPE_CHECKING:
    from kubelab.cluster import Cluster


def build(_cluster: Cluster, _options: argparse.Namespace) -> int:
    print(*binaries.build(), sep="\n")
    return 0


def up(cluster: Cluster, options: argparse.Namespace) -> int:
    images = {"fastgate": str(fastgate.COMMAND), **dict(image.split("=", 1) for image in options.image)}
    lifecycle.up(cluster, options.channel, images)
    print(f"cluster {cluster.name} is up; KUBECONFIG={cluster.kubeconfig}", flush=True)
    return 0


def execute(cluster: Cluster, options: argparse.Namespace) -> int:
    command = cluster.inside(*options.command)
    os.execvpe(command[0], command, cluster.environment())


def conformance(cluster: Cluster, options: argparse.Namespace) -> int:
    """In the cluster that is up, or in one for this purpose."""
    if network.processes(cluster):
        return run_suite(cluster, options)
    up(cluster, options)
    try:
        return run_suite(cluster, options)
    finally:
        lifecycle.down(cluster)


def run_suite(cluster: Cluster, options: argparse.Namespace) -> int:
    if options.mode == "controller":
        subject = fastgate.in_controller_mode()
    else:
        subject = fastgate.in_pods() if options.in_pods else fastgate.on_the_node(cluster)
    if options.implementation is not None:
        account = None if options.admin else fastgate.ACCOUNT
        texts = [path.read_text() for path in options.apply]
        manifests = [document for text in texts for document in yaml.safe_load_all(text)]
        words = shlex.split(options.implementation)
        subject = implementation.Implementation(
            options.gateway_class, options.controller_name, words, account, manifests
        )
    wanted = suite.Run(subject.gateway_class, options.profiles.split(","), options.run, options.flag)
    succeeded = True
    with implementation.running(cluster, subject) as started:
        if started:
            print(f"the implementation's log: {started.log}")
        for number in range(1, options.times + 1):
            out = cluster.state / f"conformance-{number}.log"
            report = report_of(number, options)
            print(f"run {number} of {options.times}: {out}", flush=True)
            outcome = suite.run(cluster, wanted, out, report, echo=True)
            succeeded &= outcome.succeeded
            print(outcome, flush=True)
    return 0 if succeeded else 1


def report_of(number: int, options: argparse.Namespace) -> suite.Report | None:
    if options.report_output is None:
        return None
    path = options.report_output.resolve()
    return suite.Report(path if number == 1 else path.with_stem(f"{path.stem}-{number}"), options.mode, __version__)


def status(cluster: Cluster, _options: argparse.Namespace) -> int:
    count = len(network.processes(cluster))
    print(f"{cluster.name}: {count} processes; files and logs in {cluster.state}")
    return 0 if count else 1


def kill(cluster: Cluster, options: argparse.Namespace) -> int:
    programs.kill(cluster, options.program)
    return 0


def start(cluster: Cluster, options: argparse.Namespace) -> int:
    control_plane.PROGRAMS[options.program](cluster)
    return 0


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

    def add(name: str, function, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common, *parents], help=text, description=text)
        command.set_defaults(function=function)
        return command

    add("build", build, "build the programs of a cluster")
    cluster = argparse.ArgumentParser(add_help=False)
    cluster.add_argument("--channel", choices=("standard", "experimental"), default="standard", help="of the CRDs")
    cluster.add_argument(
        "--image", action="append", default=[], metavar="NAME=COMMAND", help="what stands for an image"
    )
    add("up", up, "start a new cluster", cluster)
    run = add("exec", execute, "run a command in the cluster's network")
    run.add_argument("command", nargs=argparse.REMAINDER)
    suited = add(
        "conformance", conformance, "run the official conformance suite, in the cluster that is up or its own", cluster
    )
    suited.add_argument("--run", default="", metavar="REGEX", help="only tests whose names match as a whole")
    suited.add_argument("--times", type=int, default=1, metavar="N", help="so many runs in a row")
    suited.add_argument("--profiles", default=",".join(suite.PROFILES), help="(default: %(default)s)")
    suited.add_argument("--report-output", type=Path, metavar="FILE", help="write the suite's report")
    suited.add_argument(
        "--mode",
        default="default",
        help="what the report calls this way of running; `controller` is fastgate's (default: %(default)s)",
    )
    suited.add_argument("--flag", action="append", default=[], help="of the suite, such as --flag=--debug")
    suited.add_argument("--in-pods", action="store_true", help="fastgate runs as the DaemonSet of deploy/fastgate.yaml")
    other = suited.add_argument_group("another implementation than fastgate")
    other.add_argument(
        "--implementation", metavar="COMMAND", help="runs in the cluster's network; '' if it runs already"
    )
    other.add_argument("--gateway-class", default=fastgate.CLASS, metavar="NAME", help="(default: %(default)s)")
    other.add_argument("--controller-name", default=fastgate.CONTROLLER, metavar="NAME", help="(default: %(default)s)")
    other.add_argument("--admin", action="store_true", help="it may do anything")
    other.add_argument("--apply", type=Path, action="append", default=[], metavar="FILE", help="a manifest it needs")
    add("status", status, "say whether the cluster runs")
    for name, function, text in (("kill", kill, "end a program as a crash would"), ("start", start, "start it again")):
        add(name, function, text).add_argument("program", choices=control_plane.PROGRAMS)
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
