"""One cluster: its name, its files, its network namespace. Several run side by side under different names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kubelab import binaries

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def run(*command: str | Path, text: str | None = None) -> str:
    """What a command prints; RuntimeError with what it said if it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def until(holds: Callable[[], T], seconds: float = 30.0) -> T:
    """What `holds` returns, once it is true."""
    end = time.monotonic() + seconds
    while not (result := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.05)
    return result


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster is. Nothing here says that it runs."""

    name: str
    state: Path

    @property
    def namespace(self) -> str:
        """The network namespace of its node; those of its Pods are `NAMESPACE.UID`."""
        return f"kubelab-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        """Of its administrator."""
        return self.state / "kubeconfig"

    def inside(self, *command: str | Path) -> list[str]:
        """A command that runs in the cluster's network; names and mounts of the machine stay as they are."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *map(str, command)]

    def environment(self) -> dict[str, str]:
        """Variables for programs that talk to its API server; kubectl is on their path."""
        path = f"{binaries.directory('kubernetes')}:{os.environ['PATH']}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def kubectl(self, *arguments: str | Path, text: str | None = None) -> str:
        """What kubectl prints, as the administrator."""
        return run(*self.inside(binaries.program("kubectl"), "--kubeconfig", self.kubeconfig, *arguments), text=text)

    def apply(self, *documents: dict[str, Any]) -> None:
        """Create or change objects, whoever else has fields of them."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)


def named(name: str, state: Path | None = None) -> Cluster:
    """The cluster of this name; its files are in a directory of the user's, or in `state`."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a cluster: lower-case letters, digits and hyphens, at most 31")
    return Cluster(name, state or Path(tempfile.gettempdir()) / f"kubelab-{os.getuid()}" / name)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace of a cluster."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str | Path, text: str | None = None) -> str:
        return self.cluster.kubectl("-n", self.name, *arguments, text=text)

    def apply(self, *documents: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))
