"""The cluster's own programs, each by its name; whoever starts one need not stay."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from kubelab import network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kubelab.cluster import Cluster


def spawn(cluster: Cluster, name: str, command: Sequence[str | Path]) -> None:
    """Start a program in the cluster's network, in a session of its own. Its output is in NAME.log."""
    noted = _note(cluster, name)
    noted.unlink(missing_ok=True)
    note = ["sh", "-c", 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec "$@"', str(noted)]
    with (cluster.state / f"{name}.log").open("ab") as log:
        subprocess.run(
            ["setsid", "--fork", *cluster.inside(*note, *command)],
            env=cluster.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
    while not noted.exists():
        time.sleep(0.01)


def runs(cluster: Cluster, name: str) -> bool:
    """Whether it does."""
    return _pid(cluster, name) in network.processes(cluster)


def kill(cluster: Cluster, name: str) -> None:
    """As a machine that fails would: at once."""
    if runs(cluster, name):
        os.kill(_pid(cluster, name), signal.SIGKILL)
    while runs(cluster, name):
        time.sleep(0.01)


def kill_all(cluster: Cluster) -> None:
    """Every process in the cluster's network."""
    while pids := network.processes(cluster):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _note(cluster: Cluster, name: str) -> Path:
    return cluster.state / f"{name}.pid"


def _pid(cluster: Cluster, name: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        return int(_note(cluster, name).read_text())
    return 0
