"""What a route without plugins feels of those of other routes: `python -m benchmarks.isolation`.

The worker is on core 0; the client, the backend and the plugin process are on core 1. While the route without plugins is under
load, one route's offloaded filter keeps core 1 busy all the time, and another route's inline filter works. Since client and
backend share core 1, this is compared to a gateway without plugins beside a stranger who keeps it as busy; a gateway without
plugins on a machine that is otherwise idle is shown too. The other routes are asked the same in all three.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load import Sample, backend, interval, microseconds, started, stop, wrk
from benchmarks.peers import PORT, Peer, available
from benchmarks.plugged import filter_resource, plugged, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

STRANGER = ("taskset", "-c", "1", sys.executable, "-c", "while True: pass")
WITHOUT, BESIDE, WITH = "no plugins, idle machine", "no plugins, a stranger", "plugins"


@contextlib.contextmanager
def asking(path: str, seconds: float) -> Iterator[list[int]]:
    """Ask for a path all the time, at most once in so many seconds; the statuses."""
    ended, statuses = threading.Event(), []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        while not ended.wait(seconds):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


def roles(pid: int) -> dict[str, list[int]]:
    """Return fastgate's processes by module: `fastgate.worker`, `fastgate.plugins.process`."""
    found = defaultdict(list)
    for one in tree(pid):
        words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
        found[words[words.index(b"-m") + 1].decode()].append(one)
    return found


def move(pid: int, core: int) -> None:
    """Let all threads of a process run on one core, and those that they start."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def measure(peer: Peer, directory: Path, seconds: int, *, stranger: bool, burns: bool) -> Sample:
    """Load the route without plugins while the others are asked."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(started(peer, directory))
        found = roles(process.pid)
        for pid in found["fastgate.plugins.process"]:
            move(pid, 1)
        if stranger:
            stack.callback(stop, subprocess.Popen(STRANGER))
        # A filter that burns for 20 ms is never idle when it is asked again 1 ms after it has answered.
        asked = [
            stack.enter_context(asking("/burn", 0.001 if burns else 0.02)),
            stack.enter_context(asking("/inline", 0.01)),
        ]
        for duration in (1, seconds):
            sample = wrk(
                found["fastgate.worker"], directory, connections=64, seconds=duration, path="/", hosts=1, close=False
            )
        for statuses in asked:
            if not statuses or set(statuses) != {200}:
                sys.exit(f"{peer.name}: the other routes answered {set(statuses) or 'nothing'}")
        return sample


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    found = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        plain = next(peer for peer in available(directory) if peer.name == "fastgate")
        filters = [filter_resource("burn", "Burn", timeout="5s"), filter_resource("stamp", "Stamp", "Inline")]
        without = plugged(plain, "fastgate-without", {"/": [], "/burn": [], "/inline": []})
        plugins = plugged(plain, "fastgate-plugins", {"/": [], "/burn": ["burn"], "/inline": ["stamp"]}, filters)
        with backend(directory):
            for _ in range(options.rounds):
                for subject, peer, stranger in (
                    (WITHOUT, without, False),
                    (BESIDE, without, True),
                    (WITH, plugins, False),
                ):
                    sample = measure(peer, directory, options.seconds, stranger=stranger, burns=subject == WITH)
                    found[subject].append(sample)
    report(found)


def report(found: dict[str, list[Sample]]) -> None:
    """Print a table."""
    print(f"a route without plugins, 64 connections, {len(found[WITH])} rounds")
    print(
        f"{'gateway':26} {'CPU us/req':>10} {'p99 us':>8} {'req/s':>8} {'errors':>7}   with plugins / this: CPU, p99 [95%]"
    )
    for name, samples in found.items():
        cpu, p99 = [s.cpu_us for s in samples], [microseconds(s.p99) for s in samples]
        ratios = ""
        if name != WITH:
            pairs = list(zip(found[WITH], samples, strict=True))
            ratios = "{:.3f} [{:.3f}, {:.3f}]   ".format(*interval([a.cpu_us / b.cpu_us for a, b in pairs]))
            ratios += "{:.3f} [{:.3f}, {:.3f}]".format(
                *interval([microseconds(a.p99) / microseconds(b.p99) for a, b in pairs])
            )
        rate = statistics.median(s.per_second for s in samples)
        errors = sum(s.errors for s in samples)
        print(
            f"{name:26} {statistics.median(cpu):10.2f} {statistics.median(p99):8.0f} {rate:8.0f} {errors:7}   {ratios}",
            flush=True,
        )


if __name__ == "__main__":
    main()
