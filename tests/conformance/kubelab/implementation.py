"""A Gateway API implementation in the cluster: its GatewayClass, who it is, and its process on the node."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubelab import control_plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kubelab.api import Document
    from kubelab.cluster import Cluster

_END_SECONDS = 30
_ACCEPTED_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Implementation:
    """What stands behind a GatewayClass."""

    gateway_class: str
    controller: str
    command: Sequence[str]  # none: it runs already, as Pods or elsewhere
    account: tuple[str, str] | None  # namespace and name of the ServiceAccount that it is; None: the administrator
    manifests: Sequence[Document] = ()  # what it needs in the cluster


def apply(cluster: Cluster, implementation: Implementation) -> None:
    """What it needs, and its GatewayClass, as an administrator would."""
    gateway_class = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": implementation.gateway_class},
        "spec": {"controllerName": implementation.controller},
    }
    cluster.apply(*implementation.manifests, gateway_class)


def credentials(cluster: Cluster, implementation: Implementation) -> Path:
    """The kubeconfig that it runs with."""
    if implementation.account is None:
        return cluster.kubeconfig
    token = control_plane.service_account_token(cluster, *implementation.account)
    path = cluster.state / f"{implementation.gateway_class}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(control_plane.kubeconfig(cluster, token, implementation.account[0]))
    return path


class Started:
    """Its process on the node."""

    def __init__(self, cluster: Cluster, implementation: Implementation) -> None:
        self._cluster, self._implementation = cluster, implementation
        self.log = cluster.state / f"{implementation.gateway_class}.log"
        environment = {**cluster.environment(), "KUBECONFIG": str(credentials(cluster, implementation))}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                cluster.inside(*implementation.command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise RuntimeError if it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the implementation ended with {self.process.returncode}; see {self.log}")

    def kill(self) -> None:
        """End the one process at once, not those that it started."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ask it to stop; raise RuntimeError if it does not."""
        self.process.terminate()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise RuntimeError(f"the implementation did not end in {_END_SECONDS} s; see {self.log}") from None


@contextlib.contextmanager
def running(cluster: Cluster, implementation: Implementation) -> Iterator[Started | None]:
    """Run it, unless it runs by itself, from when its GatewayClass is accepted on."""
    apply(cluster, implementation)
    started = Started(cluster, implementation) if implementation.command else None
    try:
        wait_accepted(cluster, implementation, started)
        yield started
        if started:
            started.check()
    finally:
        if started:
            started.end()


def wait_accepted(cluster: Cluster, implementation: Implementation, started: Started | None) -> None:
    end = time.monotonic() + _ACCEPTED_SECONDS
    what = f"gatewayclass/{implementation.gateway_class}"
    while True:
        if started:
            started.check()
        try:
            cluster.kubectl("wait", "--for=condition=Accepted", "--timeout=1s", what)
        except RuntimeError:
            if time.monotonic() > end:
                raise
        else:
            return
