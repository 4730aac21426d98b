"""Load on one proxy at a time, and what it costs that proxy: CPU and memory of its worker, as the kernel accounts them."""

from __future__ import annotations

import contextlib
import math
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers import BACKEND, BACKEND_PORT, PORT, Peer, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Quantile 0.975 of Student's t by degrees of freedom.
T975 = (math.nan, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)

SCRIPT = """
math.randomseed(1)
request = function()
  return wrk.format("GET", "%s", {["Host"] = "host-" .. math.random(0, %d) .. ".example"%s})
end
"""


@dataclass(frozen=True)
class Sample:
    """One run of one proxy under load."""

    cpu_us: float  # of the processes asked for, for each request
    per_second: float
    p99: str
    errors: int


def cpu_ns(pid: int) -> int:
    """Nanoseconds that a process has spent on a CPU, all of its threads."""
    return sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def microseconds(text: str) -> float:
    """Return a time as wrk prints it: "740.00us", "1.20ms", "2.00s"."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1_000, "s": 1_000_000}[unit]


def pss_kib(pid: int) -> int:
    """Proportional memory of a process in KiB."""
    return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])


def accepts(port: int) -> bool:
    """Say whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_for(port: int, seconds: float = 120) -> None:
    """Wait until somebody accepts."""
    end = time.monotonic() + seconds
    while not accepts(port):
        if time.monotonic() > end:
            raise TimeoutError(f"nobody listens on port {port}")
        time.sleep(0.05)


@contextlib.contextmanager
def backend(directory: Path, core: int = 1) -> Iterator[None]:
    """Run the backend that all proxies share."""
    directory.chmod(0o755)
    (directory / "64k").write_bytes(b"x" * (64 << 10))
    (directory / "1m").write_bytes(b"x" * (1 << 20))
    config = directory / "backend.conf"
    config.write_text(BACKEND.format(dir=directory, backend=BACKEND_PORT))
    process = subprocess.Popen(["taskset", "-c", str(core), "nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for(BACKEND_PORT)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def started(
    peer: Peer, directory: Path, routes: int = 1, form: str = "lean", core: int | None = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a proxy on one core, or anywhere."""
    if accepts(PORT):
        sys.exit(f"port {PORT} is in use: what listens there would be measured in the place of {peer.name}")
    process = peer.start(directory, core, routes, form)
    try:
        wait_for(PORT)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that may not want to."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(peer: Peer, directory: Path, routes: int = 1, form: str = "lean") -> Iterator[int]:
    """Run a proxy on core 0; the process id of its worker."""
    with started(peer, directory, routes, form) as process:
        yield worker_of(process)


def wrk(
    pids: list[int], directory: Path, *, connections: int, seconds: int, path: str, hosts: int, close: bool,
    origin: str = f"http://127.0.0.1:{PORT}",
) -> Sample:  # fmt: skip
    """Load the proxy that runs from core 1, and see what it costs these of its processes."""
    script = directory / "load.lua"
    script.write_text(SCRIPT % (path, hosts - 1, ', ["Connection"] = "close"' if close else ""))
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    before = sum(map(cpu_ns, pids))
    out = subprocess.run([*command, f"{origin}/"], capture_output=True, text=True, check=True).stdout
    spent = sum(map(cpu_ns, pids)) - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    errors = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", out))
    return Sample(
        spent / 1000 / max(requests, 1), requests / seconds, re.search(r"^ +99% +(\S+)", out, re.MULTILINE)[1], errors
    )


def settled(pids: list[int]) -> None:
    """Wait until processes stand still: hardly any CPU for half a second."""
    before = -math.inf
    while True:
        now = sum(map(cpu_ns, pids))
        if now - before < 5_000_000 * len(pids):
            return
        before = now
        time.sleep(0.5)


def held_kib(pid: int, count: int, path: str, *, read: bool) -> float:
    """KiB of the worker for each of many connections that sent one request and now stand still.

    Args:
        pid: the worker.
        count: connections.
        path: of the request.
        read: whether the client reads the answer (an idle keep-alive connection) or leaves it (a slow reader).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    settled([pid])
    before = pss_kib(pid)
    clients = []
    try:
        for _ in range(count):
            client = socket.socket()
            if not read:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(30)
            client.connect(("127.0.0.1", PORT))
            clients.append(client)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: host-0.example\r\n\r\n".encode())
            if read:
                while b"hello" not in client.recv(65536):
                    pass
        settled([pid])
        return (pss_kib(pid) - before) / count
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def mean_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean with its 95% interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = T975[min(len(values) - 1, len(T975) - 1)] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios with its 95% interval."""
    mean, low, high = map(math.exp, mean_interval([math.log(r) for r in ratios]))
    return mean, low, high


def report(name: str, unit: str, rounds: list[dict[str, Sample]]) -> dict[str, object]:
    """Print a case's figures, of CPU for each of a unit, and return them for `--json`."""
    samples = defaultdict(list)
    for one in rounds:
        for proxy, sample in one.items():
            samples[proxy].append(sample)
    print(f"\n{name}: {len(rounds)} rounds")
    print(
        f"{'proxy':10} {'CPU us/' + unit:>16} {'a second':>9} {'p99':>9} {'errors':>7}   fastgate's CPU / its own [95%]"
    )
    rows = []
    for proxy, found in samples.items():
        numbers = None
        if proxy != "fastgate" and "fastgate" in samples:
            numbers = interval([r["fastgate"].cpu_us / r[proxy].cpu_us for r in rounds])
        cpu = statistics.median(s.cpu_us for s in found)
        rate = statistics.median(s.per_second for s in found)
        p99 = sorted(found, key=lambda s: s.cpu_us)[len(found) // 2].p99
        errors = sum(s.errors for s in found)
        ratio = "{:.3f} [{:.3f}, {:.3f}]".format(*numbers) if numbers else ""
        print(f"{proxy:10} {cpu:16.2f} {rate:9.0f} {p99:>9} {errors:7}   {ratio}", flush=True)
        rows.append({"proxy": proxy, "cpu_us": cpu, "per_second": rate, "p99": p99, "errors": errors, "ratio": numbers})
    return {"case": name, "unit": f"CPU us/{unit}", "rows": rows}
