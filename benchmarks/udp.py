"""UDP echoes beside nginx and a relay that parses nothing: `python -m benchmarks.udp`.

One worker on core 0, client and backend on core 1. The floor (datagrams.c, relay) makes a call for each datagram and direction.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load import Sample, cpu_ns, report, stop
from benchmarks.peers import BACKEND_PORT, PORT, Peer, available, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NGINX = """
load_module modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log /dev/null;
events {{ worker_connections 20480; }}
stream {{
  access_log off;
  server {{ listen 127.0.0.1:{port} udp rcvbuf=4m; proxy_pass 127.0.0.1:{backend}; proxy_timeout 60s; }}
}}
"""
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

FASTGATE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: fastgate
  listeners: [{{name: l, port: {port}, protocol: UDP}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {{name: r}}
spec:
  parentRefs: [{{name: gw}}]
  rules: [{{backendRefs: [{{group: fastgate.dev, kind: Backend, name: b}}]}}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {{name: b}}
spec: {{endpoints: [{{address: 127.0.0.1, port: {backend}}}]}}
"""


@dataclass(frozen=True)
class Case:
    """Datagrams of 64 bytes, so many on their way from each source. `runs`: client and backend have GSO and GRO."""

    name: str
    sources: int
    flight: int = 1
    runs: bool = False

    @property
    def form(self) -> str:
        """Return the word for datagrams.c."""
        return "runs" if self.runs else "plain"


CASES = [Case("1000-sources", 1000), Case("one-source-32", 1, 32), Case("one-source-32-runs", 1, 32, runs=True)]


def program(directory: Path) -> str:
    """Compile datagrams.c."""
    path = directory / "datagrams"
    subprocess.run(["cc", "-O2", "-o", path, Path(__file__).with_name("datagrams.c")], check=True)
    return str(path)


def subjects(directory: Path, datagrams: str) -> list[Peer]:
    """Return who takes part, fastgate first."""
    ours = next(peer for peer in available(directory) if peer.name == "fastgate")
    found = [
        Peer("fastgate", FASTGATE, ".yaml", ours.command, arguments=ours.arguments, environment=ours.environment),
        Peer("nginx", NGINX, ".conf", ("nginx", "-c", "{config}")),
        Peer("floor", "", ".none", (datagrams, "relay", str(PORT), str(BACKEND_PORT))),
    ]
    if not shutil.which("nginx") or not NGINX_STREAM.exists():
        sys.stderr.write("nginx with its stream module (libnginx-mod-stream) is not there\n")
        del found[1]
    return found


def wait_for_echo(port: int, seconds: float = 10) -> None:
    """Wait until a datagram comes back."""
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", port))
        s.settimeout(0.1)
        while time.monotonic() < end:
            with contextlib.suppress(ConnectionRefusedError, TimeoutError):
                s.send(b"?")
                s.recv(16)
                return
            time.sleep(0.01)
    sys.exit(f"nobody answers at port {port}")


@contextlib.contextmanager
def echo(datagrams: str, case: Case) -> Iterator[None]:
    """Run the backend on core 1."""
    process = subprocess.Popen(["taskset", "-c", "1", datagrams, "echo", str(BACKEND_PORT), case.form])
    try:
        wait_for_echo(BACKEND_PORT)
        yield
    finally:
        stop(process)


def measure(case: Case, peer: Peer, directory: Path, datagrams: str, seconds: int) -> Sample:
    """Measure one proxy once, after a second to warm up."""
    process = peer.start(directory)
    try:
        wait_for_echo(PORT)
        pid = worker_of(process)
        for duration in (1, seconds):
            before = cpu_ns(pid)
            load = [datagrams, "load", str(PORT), str(case.sources), str(case.flight), str(duration), case.form]
            out = subprocess.run(["taskset", "-c", "1", *load], capture_output=True, text=True, check=True).stdout
            spent, found = cpu_ns(pid) - before, json.loads(out)
        return Sample(spent / 1000 / max(1, found["answers"]), found["answers"] / seconds, "", found["lost"])
    finally:
        stop(process)


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.udp", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load in a round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        datagrams = program(directory)
        for case in CASES:
            if options.case and case.name not in options.case:
                continue
            with echo(datagrams, case):
                rounds = [
                    {
                        peer.name: measure(case, peer, directory, datagrams, options.seconds)
                        for peer in subjects(directory, datagrams)
                    }
                    for _ in range(options.rounds)
                ]
            results.append(report(case.name, "echo", rounds))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
