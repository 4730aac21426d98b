"""fastgate with filters on its routes: a configuration for `peers.Peer`, and the processes that it then consists of."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.peers import Peer

# Holds the metadata of a distribution, as if it were installed: its filters are found by their entry points.
INSTALLED = str(Path(__file__).parent / "installed")

ESCAPED = str.maketrans({"{": "{{", "}": "}}"})  # configurations of peers are templates of str.format


def filter_resource(name: str, kind: str, execution: str = "Offloaded", **spec: object) -> dict[str, object]:
    """Return a Filter."""
    return {
        "apiVersion": "fastgate.dev/v1alpha1",
        "kind": "Filter",
        "metadata": {"name": name},
        "spec": {"type": kind, "execution": execution, **spec},
    }


def plugged(
    plain: Peer, name: str, rules: Mapping[str, Iterable[str]], resources: Iterable[dict[str, object]] = ()
) -> Peer:
    """Return fastgate with one route.

    Args:
        plain: fastgate.
        name: what it is called in tables and files.
        rules: names of the Filters of a rule by its path's prefix.
        resources: the Filters, and what they refer to.
    """
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r"},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "rules": [
                {
                    "matches": [{"path": {"value": path}}],
                    "filters": [
                        {
                            "type": "ExtensionRef",
                            "extensionRef": {"group": "fastgate.dev", "kind": "Filter", "name": filter_name},
                        }
                        for filter_name in filters
                    ],
                    "backendRefs": [{"group": "fastgate.dev", "kind": "Backend", "name": "b"}],
                }
                for path, filters in rules.items()
            ],
        },
    }
    added = yaml.safe_dump_all([*resources, route], explicit_start=True).translate(ESCAPED)
    paths = os.pathsep.join([plain.environment["PYTHONPATH"], INSTALLED])
    return replace(plain, name=name, configuration=plain.configuration + added, environment={"PYTHONPATH": paths})


def tree(pid: int) -> list[int]:
    """Return a process and all of its descendants: of fastgate, its manager, workers and plugin processes."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found
