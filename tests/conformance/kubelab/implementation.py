"""A Gateway API implementation in the cluster: its GatewayClass, who it is, and its process on the node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubelab import control_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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
    documents = [*implementation.manifests, gateway_class]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)


def credentials(cluster: Cluster, implementation: Implementation) -> Path:
    """The kubeconfig that it runs with."""
    if implementation.account is None:
        return cluster.kubeconfig
    token = control_plane.service_account_token(cluster, *implementation.account)
    path = cluster.state / f"{implementation.gateway_class}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(control_plane.kubeconfig(cluster, token, implementation.account[0]))
    return path


@contextlib.contextmanager
def running(cluster: Cluster, implementation: Implementation) -> Iterator[Path]:
    """Run it until its GatewayClass is accepted and on, and give the log; at the end it is asked to stop, and must do so."""
    apply(cluster, implementation)
    log = cluster.state / f"{implementation.gateway_class}.log"
    if not implementation.command:
        _wait_accepted(cluster, implementation, lambda: None)
        yield log
        return
    with log.open("wb") as out:
        process = subprocess.Popen(
            cluster.inside(*implementation.command),
            env={**cluster.environment(), "KUBECONFIG": str(credentials(cluster, implementation))},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def check() -> None:
        if process.poll() is not None:
            raise RuntimeError(f"the implementation ended with {process.returncode}; see {log}")

    try:
        _wait_accepted(cluster, implementation, check)
        yield log
        check()
    finally:
        _end(process, log)


def _wait_accepted(cluster: Cluster, implementation: Implementation, check: Callable[[], None]) -> None:
    end = time.monotonic() + _ACCEPTED_SECONDS
    while True:
        check()
        try:
            cluster.kubectl(
                "wait", "--for=condition=Accepted", "--timeout=1s", f"gatewayclass/{implementation.gateway_class}"
            )
        except RuntimeError:
            if time.monotonic() > end:
                raise
        else:
            return


def _end(process: subprocess.Popen[bytes], log: Path) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise RuntimeError(f"the implementation did not end in {_END_SECONDS} s; see {log}") from None
