"""Whole proxies beside one another: `python -m benchmarks.proxy`, or `./dev benchmark`."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Sample, backend, held_kib, interval, running, wrk
from benchmarks.peers import Peer, available


@dataclass(frozen=True)
class Load:
    """A kind of load, measured in CPU for each request.

    With several routes only fastgate takes part, beside itself with one route.
    """

    name: str
    connections: int
    path: str = "/"
    close: bool = False
    routes: int = 1
    form: str = "lean"


@dataclass(frozen=True)
class Hold:
    """Connections that stand still, measured in memory for each."""

    name: str
    connections: int
    path: str
    read: bool


LOADS = [
    Load("small-64", 64),
    Load("small-64-logs", 64, form="logging"),
    Load("small-1000", 1000),
    Load("small-1000-logs", 1000, form="logging"),
    Load("new-connection", 64, close=True),
    Load("new-connection-logs", 64, close=True, form="logging"),
    Load("64k", 64, "/64k"),
    Load("64k-logs", 64, "/64k", form="logging"),
    Load("1m", 16, "/1m"),
    Load("1m-logs", 16, "/1m", form="logging"),
    Load("routes-1000", 64, routes=1000),
    Load("routes-100000", 64, routes=100_000),
]
# A process of 20,000 descriptors holds 9,900 connections whose proxy reserves two descriptors for each.
HOLDS = [Hold("idle-9900", 9_900, "/", read=True), Hold("slow-readers-1000", 1000, "/1m", read=False)]

Subject = tuple[str, Peer, int]  # name in the table, proxy, routes


def subjects(load: Load, peers: list[Peer]) -> list[Subject]:
    """Return who takes part; the first one is compared to each of the others."""
    if load.routes == 1:
        return [(peer.name, peer, 1) for peer in peers]
    return [("fastgate", peers[0], load.routes), ("one route", peers[0], 1)]


def run_round(load: Load, who: list[Subject], seconds: int, directory: Path) -> dict[str, Sample]:
    """One round: every proxy in turn, each alone, after a second to warm up."""
    out = {}
    for name, peer, routes in who:
        with running(peer, directory, routes, load.form) as pid:
            for duration in (1, seconds):
                out[name] = wrk(
                    [pid], directory, connections=load.connections, seconds=duration, path=load.path, hosts=routes,
                    close=load.close,
                )  # fmt: skip
        for log in directory.glob("*.log"):
            log.unlink()
    return out


def report(load: Load, rounds: list[dict[str, Sample]]) -> dict[str, object]:
    """Print a load's figures and return them for `--json`."""
    samples = defaultdict(list)
    for one in rounds:
        for name, sample in one.items():
            samples[name].append(sample)
    print(f"\n{load.name}: {load.connections} connections, {len(rounds)} rounds")
    print(f"{'proxy':10} {'CPU us/req':>10} {'req/s':>9} {'p99':>9} {'errors':>7}   fastgate's CPU / its own [95%]")
    rows = []
    for name, found in samples.items():
        cpu = statistics.median(s.cpu_us for s in found)
        numbers = None
        if name != "fastgate":
            numbers = interval([r["fastgate"].cpu_us / r[name].cpu_us for r in rounds])
        ratio = "{:.3f} [{:.3f}, {:.3f}]".format(*numbers) if numbers else ""
        per_second = statistics.median(s.per_second for s in found)
        errors = sum(s.errors for s in found)
        p99 = sorted(found, key=lambda s: s.cpu_us)[len(found) // 2].p99
        print(f"{name:10} {cpu:10.2f} {per_second:9.0f} {p99:>9} {errors:7}   {ratio}", flush=True)
        rows.append(
            {"proxy": name, "cpu_us": cpu, "per_second": per_second, "p99": p99, "errors": errors, "ratio": numbers}
        )
    return {"case": load.name, "unit": "CPU us/request", "rows": rows}


def hold(case: Hold, peers: list[Peer], directory: Path) -> dict[str, object]:
    """Measure, print and return what connections that stand still take."""
    print(f"\n{case.name}: KiB of the worker for each of {case.connections} connections (PSS)")
    rows = []
    for peer in (peer for peer in peers if peer.name != "floor"):  # which keeps no memory for a connection
        with running(peer, directory, form="patient") as pid:
            kib = held_kib(pid, case.connections, case.path, read=case.read)
        print(f"{peer.name:10} {kib:10.2f}", flush=True)
        rows.append({"proxy": peer.name, "kib": kib})
    return {"case": case.name, "unit": "KiB/connection", "rows": rows}


def main() -> None:
    """Run the cases."""
    names = [case.name for case in (*LOADS, *HOLDS)]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.proxy",
        description="fastgate beside its peers: CPU for each request, memory for each connection; one worker on core 0",
    )
    parser.add_argument("--case", action="append", choices=names, help="may be given again; default: all")
    parser.add_argument("--proxy", action="append", help="only these beside fastgate; may be given again")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=4, help="of load in a round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--plot", type=Path, help="also draw them here (PNG or SVG; needs matplotlib)")
    parser.add_argument("--show", action="store_true", help="print every configuration")
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "nginx", "taskset") if not shutil.which(tool)]
    if missing:
        sys.exit(f"benchmarks need {', '.join(missing)}: apt-get install wrk nginx-light")
    chosen = options.case or names
    results = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        peers = [p for p in available(directory) if not options.proxy or p.name in (*options.proxy, "fastgate")]
        if options.show:
            for peer in peers:
                for form in ("lean", "logging"):
                    print(f"--- {peer.name}, {form}\n{' '.join(peer.command)}\n{peer.text(directory, form=form)}")
        with backend(directory):
            for load in (case for case in LOADS if case.name in chosen):
                who = subjects(load, peers)
                results.append(
                    report(load, [run_round(load, who, options.seconds, directory) for _ in range(options.rounds)])
                )
            results += [hold(case, peers, directory) for case in HOLDS if case.name in chosen]
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))
    if options.plot:
        from benchmarks.plot import draw  # noqa: PLC0415 - matplotlib is only needed here

        draw(results, options.plot)


if __name__ == "__main__":
    main()
