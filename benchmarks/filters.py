"""What a filter that sets one header costs, beside the same in Envoy's Lua: `python -m benchmarks.filters`.

CPU for each request over all processes of a proxy, less that of the same proxy without the filter, in the same round. The
filter itself is `benchmarks/installed/bench_filters.py`; its distribution is put on PYTHONPATH, as if it were installed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from benchmarks.load import T975, backend, cpu_ns, wait_for, wrk
from benchmarks.peers import PORT, Peer, available, fastgate_routes

INSTALLED = str(Path(__file__).parent / "installed")

FILTER = """---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {{name: f}}
spec: {{type: %s, execution: %s}}
"""
NAMED = "{filters: [{type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: f}}], backendRefs:"
LUA = """          - name: lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code: {{inline_string: "function envoy_on_request(h) h:headers():replace('x-stamp', 'hello') end"}}
          - name: envoy.filters.http.router
"""


class Filtered(Peer):
    """fastgate with a filter on its one route."""

    def text(self, directory: Path, routes: int = 1, form: str = "lean") -> str:
        """Return the configuration."""
        plain = fastgate_routes(1)
        return super().text(directory, routes, form).replace(plain, plain.replace("{backendRefs:", NAMED))


def subjects(directory: Path) -> dict[str, tuple[Peer, str]]:
    """Return who is measured, and whom each is compared to: itself without the filter."""
    peers = {peer.name: peer for peer in available(directory)}
    plain = peers["fastgate"]
    path = os.pathsep.join([plain.environment["PYTHONPATH"], INSTALLED])
    out = {"fastgate": (plain, "")}
    for name, kind, execution in (
        ("inline", "Stamp", "Inline"), ("offloaded", "Stamp", "Offloaded"), ("offloaded, no work", "Nothing", "Offloaded"),
    ):  # fmt: skip
        configuration = plain.configuration + FILTER % (kind, execution)
        options = {**vars(plain), "configuration": configuration, "environment": {"PYTHONPATH": path}}
        out[f"fastgate {name}"] = (Filtered(**options), "fastgate")
    if "envoy" in peers:
        lua = peers["envoy"].configuration.replace("          - name: envoy.filters.http.router\n", LUA, 1)
        out["envoy"] = (peers["envoy"], "")
        out["envoy lua"] = (replace(peers["envoy"], configuration=lua), "envoy")
    return out


def tree(pid: int) -> list[int]:
    """A process and all of its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def measure(peer: Peer, directory: Path, connections: int, seconds: int) -> tuple[float, float, int]:
    """CPU microseconds for each request over all processes, requests a second, errors."""
    process = peer.start(directory, 0)
    try:
        wait_for(PORT)
        for duration in (1, seconds):
            pids = tree(process.pid)
            before = sum(map(cpu_ns, pids))
            sample = wrk(
                process.pid, directory, connections=connections, seconds=duration, path="/", hosts=1, close=False
            )
            spent = sum(map(cpu_ns, pids)) - before
        requests = sample.per_second * seconds
        return spent / 1000 / requests, sample.per_second, sample.errors
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, action="append", help="may be given again; default: 64 and 1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        who = subjects(directory)
        with backend(directory):
            for connections in options.connections or (64, 1):
                found = defaultdict(list)
                for _ in range(options.rounds):
                    for subject, (peer, _) in who.items():
                        found[subject].append(measure(peer, directory, connections, options.seconds))
                report(who, found, connections)


def report(
    who: dict[str, tuple[Peer, str]], found: dict[str, list[tuple[float, float, int]]], connections: int
) -> None:
    """Print a table."""
    print(f"\n{connections} connections, {len(found['fastgate'])} rounds")
    print(f"{'proxy':28} {'CPU us/req':>10} {'req/s':>9} {'errors':>7}   more than without [95%]")
    for name, samples in found.items():
        cpu, rate = (statistics.median(column) for column in list(zip(*samples, strict=True))[:2])
        more = ""
        if base := who[name][1]:
            deltas = [mine[0] - other[0] for mine, other in zip(samples, found[base], strict=True)]
            mean, n = statistics.fmean(deltas), len(deltas)
            half = T975[min(n - 1, len(T975) - 1)] * statistics.stdev(deltas) / n**0.5 if n > 1 else float("nan")
            more = f"{mean:6.2f} [{mean - half:.2f}, {mean + half:.2f}]"
        print(f"{name:28} {cpu:10.2f} {rate:9.0f} {sum(s[2] for s in samples):7}   {more}", flush=True)


if __name__ == "__main__":
    main()
