"""Whole proxies beside one another: `python -m benchmarks.proxy`."""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import BACKEND, BACKEND_PORT, Peer, available, worker_of

PORT = 17002
T95 = (0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)


@dataclass(frozen=True)
class Case:
    """One kind of load."""

    name: str
    connections: int
    path: str = "/"
    close: bool = False
    routes: int = 1


CASES = [
    Case("small-64", 64),
    Case("small-1000", 1000),
    Case("new-connection", 64, close=True),
    Case("64k", 64, "/64k"),
    Case("1m", 16, "/1m"),
    Case("routes-1000", 64, routes=1000),
]

SCRIPT = """
local n = %d
local i = 0
request = function()
  i = (i * 1103515245 + 12345) %% 2147483648
  return wrk.format("GET", "%s", {["Host"] = "host-" .. (i %% n) .. ".example"%s})
end
"""


@dataclass(frozen=True)
class Sample:
    """One round of one proxy."""

    cpu_us: float
    per_second: float
    p99: str
    errors: int


def on_cpu(pid: int) -> int:
    """Nanoseconds that a process has spent on a CPU, all of its threads."""
    return sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def wait_for(port: int) -> None:
    """Wait until somebody accepts."""
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def measure(case: Case, pid: int, seconds: int, directory: Path) -> Sample:
    """Load one proxy and see what it costs."""
    script = directory / "load.lua"
    script.write_text(SCRIPT % (case.routes, case.path, ', ["Connection"] = "close"' if case.close else ""))
    command = [
        "taskset",
        "-c",
        "1",
        "wrk",
        "-t1",
        f"-c{case.connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
    ]
    before = on_cpu(pid)
    out = subprocess.run([*command, f"http://127.0.0.1:{PORT}/"], capture_output=True, text=True, check=True).stdout
    spent = on_cpu(pid) - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    errors = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", out))
    return Sample(spent / 1000 / max(requests, 1), requests / seconds, re.search(r"99%\s+(\S+)", out)[1], errors)


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios with its 95% interval."""
    logs = [math.log(r) for r in ratios]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), math.nan, math.nan
    half = T95[min(len(logs) - 1, len(T95) - 1)] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def run_round(peers: list[Peer], case: Case, seconds: int, directory: Path) -> dict[str, Sample]:
    """One round: every proxy in turn, each alone."""
    out = {}
    for peer in peers:
        if case.routes > 1 and peer.name != "fastgate":
            continue
        process = peer.start(peer.write(directory, PORT, case.routes), 0)
        try:
            wait_for(PORT)
            pid = worker_of(process)
            measure(case, pid, 1, directory)  # connections, caches, allocators
            out[peer.name] = measure(case, pid, seconds, directory)
        finally:
            process.terminate()
            process.wait()
    return out


def report(case: Case, rounds: list[dict[str, Sample]]) -> dict[str, object]:
    """Print a case and return it for `--json`."""
    samples = defaultdict(list)
    for one in rounds:
        for name, sample in one.items():
            samples[name].append(sample)
    print(f"\n{case.name}: {case.connections} connections, {len(rounds)} rounds")
    print(f"{'proxy':10} {'CPU us/req':>10} {'req/s':>9} {'p99':>9} {'errors':>7}   fastgate's CPU / its own [95%]")
    rows = []
    for name, found in samples.items():
        cpu = statistics.median(s.cpu_us for s in found)
        ratio = ""
        numbers = None
        if name != "fastgate":
            numbers = interval([r["fastgate"].cpu_us / r[name].cpu_us for r in rounds])
            ratio = "{:.3f} [{:.3f}, {:.3f}]".format(*numbers)
        per_second = statistics.median(s.per_second for s in found)
        errors = sum(s.errors for s in found)
        p99 = sorted(found, key=lambda s: s.cpu_us)[len(found) // 2].p99
        print(f"{name:10} {cpu:10.2f} {per_second:9.0f} {p99:>9} {errors:7}   {ratio}", flush=True)
        rows.append(
            {"proxy": name, "cpu_us": cpu, "per_second": per_second, "p99": p99, "errors": errors, "ratio": numbers}
        )
    return {"case": case.name, "rows": rows}


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description="fastgate beside its peers; CPU per request of one worker on core 0")
    parser.add_argument(
        "--case", action="append", choices=[c.name for c in CASES], help="may be given again; default: all"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--show", action="store_true", help="print every configuration")
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "nginx", "taskset") if not shutil.which(tool)]
    if missing:
        sys.exit(f"benchmarks need {', '.join(missing)}: apt-get install wrk nginx-light")
    peers = available()
    results = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "64k").write_bytes(b"x" * (64 << 10))
        (directory / "1m").write_bytes(b"x" * (1 << 20))
        config = directory / "backend.conf"
        config.write_text(BACKEND.format(dir=directory, backend=BACKEND_PORT))
        if options.show:
            for peer in peers:
                print(f"--- {peer.name}\n{peer.write(directory, PORT).read_text()}")
        backend = subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            wait_for(BACKEND_PORT)
            for case in CASES:
                if options.case is None or case.name in options.case:
                    rounds = [run_round(peers, case, options.seconds, directory) for _ in range(options.rounds)]
                    results.append(report(case, rounds))
        finally:
            backend.terminate()
            backend.wait()
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
