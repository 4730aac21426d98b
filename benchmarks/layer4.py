"""Relays of TCP and of TLS by server name beside other proxies: `python -m benchmarks.layer4`.

One worker on core 0, client and backend on core 1. The floor (splice.c) moves bytes and does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load import Sample, cpu_ns, report, running, wait_for, wrk
from benchmarks.peers import BACKEND_PORT, PORT, Peer, available
from benchmarks.tls import make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

TLS_PORT = 17003
GIB = 1 << 30

BACKEND = """
daemon off; worker_processes 1; pid {dir}/backend.pid; error_log /dev/null;
events {{ worker_connections 20480; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{backend} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096; root {dir};
    ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key; ssl_protocols TLSv1.3;
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
defaults
  mode tcp
  option splice-auto
  timeout client 3600s
  timeout server 3600s
  timeout connect 5s
frontend f
  bind 127.0.0.1:{port} backlog 4096
"""
HAPROXY_TCP = HAPROXY + "  default_backend b\nbackend b\n  server s 127.0.0.1:{backend}\n"
HAPROXY_TLS = (
    HAPROXY
    + """  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend b if {{ req_ssl_sni -i localhost }}
backend b
  server s 127.0.0.1:{tls}
"""
)

FASTGATE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: fastgate
  listeners: [{{name: l, port: {port}, %s}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {{name: r}}
spec:
  parentRefs: [{{name: gw}}]
  rules: [{{backendRefs: [{{group: fastgate.dev, kind: Backend, name: b}}]}}]
%s---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {{name: b}}
spec: {{endpoints: [{{address: 127.0.0.1, port: {%s}}}]}}
"""
FASTGATE_TCP = FASTGATE % ("protocol: TCP", "TCPRoute", "", "backend")
FASTGATE_TLS = FASTGATE % (
    "protocol: TLS, hostname: localhost, tls: {{mode: Passthrough}}", "TLSRoute", "  hostnames: [localhost]\n", "tls"
)  # fmt: skip

ENVOY = """
admin: {{address: {{pipe: {{path: {dir}/envoy-admin}}}}}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
%s    filter_chains:
    - %sfilters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: f
          cluster: b
  clusters:
  - name: b
    type: STATIC
    load_assignment: {{cluster_name: b, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {%s}}}}}}}}}]}}]}}
"""
ENVOY_TCP = ENVOY % ("", "", "backend")
ENVOY_TLS = ENVOY % (
    """    listener_filters:
    - name: envoy.filters.listener.tls_inspector
      typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}
""",
    "filter_chain_match: {{server_names: [localhost]}}\n      ", "tls",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Bytes through one connection, or responses over TLS that passes through."""

    name: str
    path: str
    passthrough: bool = True
    close: bool = False  # a connection for each response
    connections: int = 16


CASES = [
    Case("tcp-1g", "/1g", passthrough=False),
    Case("passthrough-1m", "/1m"),
    Case("passthrough-1k", "/1k", connections=64),
    Case("passthrough-1k-new", "/1k", close=True, connections=64),
]


def subjects(case: Case, directory: Path) -> list[Peer]:
    """Return who takes part, fastgate first."""
    texts = {
        "fastgate": FASTGATE_TLS if case.passthrough else FASTGATE_TCP,
        "haproxy": HAPROXY_TLS if case.passthrough else HAPROXY_TCP,
        "envoy": ENVOY_TLS if case.passthrough else ENVOY_TCP,
    }
    found = [
        Peer(
            peer.name, texts[peer.name].replace("{tls}", str(TLS_PORT)), peer.suffix, peer.command,
            arguments=peer.arguments, environment=peer.environment,
        )
        for peer in available(directory)
        if peer.name in texts
    ]  # fmt: skip
    if not case.passthrough:
        program = directory / "splice"
        source = Path(__file__).with_name("splice.c")
        subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-o", program, source], check=True)
        found.append(Peer("splice", "", ".none", (str(program), str(PORT), str(BACKEND_PORT))))
    return found


@contextlib.contextmanager
def backend(directory: Path) -> Iterator[None]:
    """Run the backend: files over TCP and TLS, on core 1."""
    directory.chmod(0o755)
    (directory / "1k").write_bytes(b"x" * 1024)
    (directory / "1m").write_bytes(b"x" * (1 << 20))
    with (directory / "1g").open("wb") as file:
        file.truncate(GIB)
    config = directory / "backend.conf"
    config.write_text(BACKEND.format(dir=directory, backend=BACKEND_PORT, tls=TLS_PORT))
    process = subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_for(BACKEND_PORT)
        yield
    finally:
        process.terminate()
        process.wait()


CLIENT = """
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET /1g HTTP/1.1\\r\\nHost: b\\r\\nConnection: close\\r\\n\\r\\n")
room, got = bytearray(1 << 20), 0
while n := s.recv_into(room, len(room), socket.MSG_TRUNC):  # thrown away by the kernel, without a copy
    got += n
print(got)
"""


def download(pid: int) -> Sample:
    """Let one connection carry 1 GiB; CPU in microseconds for each MiB."""
    began, before = time.monotonic(), cpu_ns(pid)
    out = subprocess.run(
        ["taskset", "-c", "1", "python3", "-c", CLIENT, str(PORT)], capture_output=True, text=True, check=True
    ).stdout
    spent, took = cpu_ns(pid) - before, time.monotonic() - began
    return Sample(spent / 1000 / 1024, 1024 / took, f"{took:.2f}s", int(int(out) < GIB))


def measure(case: Case, peer: Peer, directory: Path, seconds: int) -> Sample:
    """Measure one proxy once, after a second, or a GiB, to warm up."""
    with running(peer, directory) as pid:
        for duration in (1, seconds):
            if not case.passthrough:
                sample = download(pid)
                continue
            sample = wrk(
                [pid], directory, connections=case.connections, seconds=duration, path=case.path, hosts=1,
                close=case.close, origin=f"https://localhost:{PORT}",
            )  # fmt: skip
    return sample


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layer4", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="default: all")
    parser.add_argument("--proxy", action="append", help="only these; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of load in a round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_certificate(directory)
        with backend(directory):
            for case in CASES:
                if options.case and case.name not in options.case:
                    continue
                peers = [p for p in subjects(case, directory) if not options.proxy or p.name in options.proxy]
                rounds = [
                    {peer.name: measure(case, peer, directory, options.seconds) for peer in peers}
                    for _ in range(options.rounds)
                ]
                results.append(report(case.name, "response" if case.passthrough else "MiB", rounds))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
