"""Many routes: `python -m benchmarks.startup`. How long until the first is served, until a change is, and in how much memory."""

from __future__ import annotations

import argparse
import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.load import backend, pss_kib, wait_for, wrk
from benchmarks.peers import BACKEND_PORT, FASTGATE, PORT, ROUTE, worker_of


def status_of(host: str) -> int | None:
    """Ask for a host over a new connection; None while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def until_served(host: str, limit: float = 120) -> float:
    """Seconds until a host is answered with 200."""
    begun = time.monotonic()
    while status_of(host) != 200:
        if time.monotonic() - begun > limit:
            raise TimeoutError(host)
        time.sleep(0.001)
    return time.monotonic() - begun


def route(number: int, host: str) -> str:
    return ROUTE.format(n=number, hostnames=f"  hostnames: [{host}]\n")


def write(directory: Path, routes: int, *, files: bool) -> Path:
    """Write a configuration as one file, or with a file for each route; returns what changes the last route."""
    base = FASTGATE.format(port=PORT, backend=BACKEND_PORT, id="false", parameters="")
    texts = [route(n, f"host-{n}.example") for n in range(routes)]
    if not files:
        (directory / "all.yaml").write_text(base + "".join(texts))
        return directory / "all.yaml"
    (directory / "base.yaml").write_text(base)
    for n, text in enumerate(texts):
        (directory / f"route-{n}.yaml").write_text(text)
    return directory / f"route-{routes - 1}.yaml"


def change(path: Path, number: int, host: str) -> None:
    """Give a route another host, as an editor saves a file."""
    text = path.read_text()
    before = text.index(f"name: r{number}")
    fresh = path.with_suffix(".new")
    fresh.write_text(text[:before] + route(number, host).partition("metadata: {")[2])
    fresh.replace(path)


def measure(routes: int, changes: int, work: Path, *, files: bool) -> None:
    """Start, change and load one configuration, and print what it took."""
    source = work / ("files" if files else "file")
    source.mkdir()
    last = write(source, routes, files=files)
    command = [
        sys.executable,
        "-m",
        "fastgate",
        "run",
        str(source),
        "--workers",
        "1",
        "--access-log",
        "off",
        "--admin",
        "off",
    ]
    process = subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first = until_served(f"host-{routes - 1}.example")
        took = []
        for n in range(changes):
            begun = time.monotonic()
            change(last, routes - 1, f"changed-{n}.example")
            until_served(f"changed-{n}.example")
            took.append(time.monotonic() - begun)
        pid = worker_of(process)
        wrk([pid], work, connections=64, seconds=2, path="/", hosts=routes - 1, close=False)
        shape = f"{routes} files" if files else "one file"
        print(
            f"{routes} routes, {shape:12} first request {first:5.2f} s   one changed route live: median "
            f"{statistics.median(took) * 1000:.0f} ms, longest {max(took) * 1000:.0f} ms   worker {pss_kib(pid) / 1024:.1f} MiB",
            flush=True,
        )
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure both shapes of a configuration."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.startup")
    parser.add_argument("--routes", type=int, default=5000)
    parser.add_argument("--changes", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, backend(Path(name)):
        wait_for(BACKEND_PORT)
        for files in (False, True):
            measure(options.routes, options.changes, Path(name), files=files)


if __name__ == "__main__":
    main()
