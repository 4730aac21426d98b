"""Settings of the process rather than of Gateways: command line, then FASTGATE_* variables, then defaults."""

from __future__ import annotations

import os
from pathlib import Path

MAX_PORT = 65535


def port_map(text: str) -> dict[int, int]:
    """Read `80=8080,443=8443`.

    Raises:
        ValueError: it is not that.
    """
    out: dict[int, int] = {}
    for part in filter(None, text.split(",")):
        listener, _, bound = part.partition("=")
        if not (listener.isdecimal() and bound.isdecimal() and 0 < int(listener) <= MAX_PORT >= int(bound)):
            raise ValueError(f"{part!r} is not LISTENER=BOUND with two ports, such as 80=8080")
        out[int(listener)] = int(bound)
    return out


def host_port(text: str) -> tuple[str, int] | None:
    """Read `127.0.0.1:9901`, `[::1]:9901`, `:9901` (loopback) or `*:9901` (everywhere); "off" is None.

    Raises:
        ValueError: it is not that.
    """
    if text == "off":
        return None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def spelled(host: str, port: int) -> str:
    """Return HOST:PORT as URLs have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def default_workers() -> int:
    """Return the smaller of the CPUs that this process may run on and the quota of its cgroup, at least 1."""
    cpus = len(os.sched_getaffinity(0))
    quota = cgroup_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, min(cpus, int(quota)) if quota else cpus)


def cgroup_quota(root: Path, own: Path) -> float | None:
    """Return the CPUs that cgroup v2 grants this process (cpu.max of all its groups), None when unlimited."""
    try:
        group = next(line.split(":", 2)[2] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    limits = []
    path = root / group.strip().lstrip("/")
    while path.is_relative_to(root):
        try:
            quota, period = (path / "cpu.max").read_text().split()
            if quota != "max":
                limits.append(int(quota) / int(period))
        except (OSError, ValueError):
            pass
        if path == root:
            break
        path = path.parent
    return min(limits, default=None)
