"""Instructions of a request head, of a match and of an inline filter's call, which no other load of the machine changes: `python -m benchmarks.instructions`.

Each figure is one run of callgrind that counts inside the loop without the GIL and nowhere else. Needs valgrind.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import test_matcher
from benchmarks.parser import HEAD
from fastgate.core import filters, http1
from fastgate.core.router import Batch, Table

TURNS = 20_000


def head() -> None:
    """Parse heads, in the counted process."""
    http1.parse_many(HEAD, TURNS)


def match(image: str, requests: str) -> None:
    """Match a batch, in the counted process."""
    table = Table(Path(image).read_bytes())
    batch = Batch(pickle.loads(Path(requests).read_bytes()))
    table.match_many(0, batch, 1, True)


def call() -> None:
    """Run a filter that sets one header, in the counted process."""
    sys.path[:0] = [str(Path(__file__).parent / "installed"), str(Path(__file__).parents[1] / "tests" / "support")]
    from call_records import prepared, request  # noqa: PLC0415 - its directory is on the path only now

    record = request(prepared("Stamp"), ("Host", "a.example"))
    for _ in range(TURNS):
        filters.run(record)


def instructions(function: str, *arguments: str) -> float:
    """Instructions of a turn inside the function while a process does one of the above."""
    command = [
        "valgrind",
        "--tool=callgrind",
        f"--toggle-collect=__pyx_pw_*{function}",
        "--callgrind-out-file=/dev/null",
    ]
    command += [sys.executable, "-m", "benchmarks.instructions", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1]) / TURNS


def main() -> None:
    """Count and print."""
    print(f"request head of {len(HEAD)} bytes: {instructions('parse_many', 'head'):.0f} instructions")
    print(f"inline call that sets a header: {instructions('filters_*run', 'call'):.0f} instructions")
    for keys in ("zipf", "uniform"):
        first = None
        for routes in (1000, 10_000, 100_000):
            with tempfile.TemporaryDirectory() as name:
                image, requests = Path(name) / "image", Path(name) / "requests"
                image.write_bytes(test_matcher.image(routes))
                requests.write_bytes(pickle.dumps(test_matcher.requests(routes, keys, TURNS)))
                found = instructions("match_many", "match", str(image), str(requests))
            first = first or found
            print(
                f"match, {keys}, {routes} routes: {found:.0f} instructions, {found / first:.2f} of 1,000 routes'",
                flush=True,
            )


if __name__ == "__main__":
    {"head": head, "match": match, "call": call}.get(sys.argv[1], main)(*sys.argv[2:]) if len(sys.argv) > 1 else main()
