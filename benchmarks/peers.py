"""The proxies that are compared: how each is configured and started. One worker, the same backend, the same log fields.

Each configuration has forms: lean, without access logs; and logging as fastgate ships: a JSON line for each request with
the same fields to a file, and a request id that is made, forwarded and logged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PORT, BACKEND_PORT = 17002, 17001

BACKEND = """
daemon off; worker_processes 1; pid {dir}/backend.pid; error_log /dev/null;
events {{ worker_connections 20480; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; send_timeout 3600s;
  server {{
    listen 127.0.0.1:{backend} backlog=4096;
    location / {{ return 200 "hello, world\\n"; }}
    location /json {{ default_type application/json; return 200 '{{"items": [1, 2], "notes": "no"}}'; }}
    location /stamp {{ return 200 "$http_x_stamp"; }}
    location /64k {{ alias {dir}/64k; }}
    location /1m {{ alias {dir}/1m; }}
  }}
}}
"""

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log /dev/null;
events {{ worker_connections 20480; }}
http {{
  {log} keepalive_requests 100000000; keepalive_timeout 3600s; send_timeout 3600s;
  upstream u {{ server 127.0.0.1:{backend}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; {id}
    }}
  }}
}}
"""
NGINX_LOG = """log_format j escape=json '{{"time":"$time_iso8601","client":"$remote_addr:$remote_port",'
    '"local":"$server_addr:$server_port","scheme":"$scheme",'
    '"method":"$request_method","host":"$host","path":"$uri","query":"$args","protocol":"$server_protocol",'
    '"status":$status,"bytes_received":$request_length,"bytes_sent":$bytes_sent,"duration":$request_time,'
    '"response":"$upstream_header_time","x_forwarded_for":"$http_x_forwarded_for",'
    '"listener":"$server_port","route":"$server_name","upstream":"$upstream_addr","tries":1,'
    '"request_id":"$request_id","user_agent":"$http_user_agent","referer":"$http_referer"}}';
  access_log {dir}/nginx.log j buffer=64k flush=1s;"""

HAPROXY = """
global
  nbthread 1
  maxconn 9950
{to}defaults
  mode http
  timeout client 3600s
  timeout http-keep-alive 3600s
  timeout server 3600s
  timeout connect 5s
  http-reuse always
  option forwardfor
frontend f
  bind 127.0.0.1:{port} backlog 4096
{log}  default_backend b
backend b
  server s 127.0.0.1:{backend} pool-max-conn 1024
"""
HAPROXY_LOG = """  log global
  unique-id-format %[uuid()]
  unique-id-header x-request-id
  declare capture request len 128
  declare capture request len 256
  declare capture request len 256
  declare capture request len 256
  http-request capture req.hdr(host) id 0
  http-request capture req.hdr(user-agent) id 1
  http-request capture req.hdr(referer) id 2
  http-request capture req.hdr(x-forwarded-for) id 3
  log-format '{{"time":"%tr","client":"%ci:%cp","local":"%fi:%fp","scheme":"http","method":"%HM","host":"%[capture.req.hdr(0),json]","path":"%HPO",\
"query":"%HQ","protocol":"%HV","status":%ST,"bytes_received":%U,"bytes_sent":%B,"duration_ms":%Ta,"response_ms":%Tr,"listener":"%f",\
"route":"%b","upstream":"%si:%sp","tries":%rc,"request_id":"%ID","user_agent":"%[capture.req.hdr(1),json]",\
"referer":"%[capture.req.hdr(2),json]","x_forwarded_for":"%[capture.req.hdr(3),json]"}}'
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
          generate_request_id: {id}
{log}          route_config: {{virtual_hosts: [{{name: v, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: b}}}}]}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: b
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
    load_assignment: {{cluster_name: b, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}}}]}}]}}
"""
ENVOY_LOG = """          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {dir}/envoy.log
              log_format: {{json_format: {{time: "%START_TIME%", client: "%DOWNSTREAM_REMOTE_ADDRESS%", local: "%DOWNSTREAM_LOCAL_ADDRESS%", scheme: "%REQ(:SCHEME)%", method: "%REQ(:METHOD)%", host: "%REQ(:AUTHORITY)%", path: "%REQ(:PATH)%", protocol: "%PROTOCOL%", status: "%RESPONSE_CODE%", bytes_received: "%BYTES_RECEIVED%", bytes_sent: "%BYTES_SENT%", duration_ms: "%DURATION%", response_ms: "%RESPONSE_DURATION%", listener: "%DOWNSTREAM_LOCAL_ADDRESS%", route: "%ROUTE_NAME%", upstream: "%UPSTREAM_HOST%", tries: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", request_id: "%REQ(X-REQUEST-ID)%", user_agent: "%REQ(USER-AGENT)%", referer: "%REQ(REFERER)%", x_forwarded_for: "%REQ(X-FORWARDED-FOR)%"}}}}
"""

CADDY = """
{{
  admin off
  auto_https off
}}
http://:{port} {{
  bind 127.0.0.1
{log}  reverse_proxy 127.0.0.1:{backend} {{
    transport http {{
      keepalive_idle_conns_per_host 1024
    }}
  }}
}}
"""
CADDY_LOG = """  log {{
    output file {dir}/caddy.log
    format json
  }}
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
spec: {{requestId: {id}{parameters}}}
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


def fastgate_routes(routes: int) -> str:
    """One route for everything; or one for each of the hosts host-0.example, host-1.example, ..."""
    if routes == 1:
        return ROUTE.format(n=0, hostnames="")
    return "".join(ROUTE.format(n=n, hostnames=f"  hostnames: [host-{n}.example]\n") for n in range(routes))


@dataclass(frozen=True)
class Peer:
    """A proxy that can be started on this machine.

    In `command` and `forms`, {config} stands for the configuration's path and {dir} for the working directory.

    Attributes:
        forms: what fills the configuration's blanks when it is lean, logging, or patient (lean, and without limits that
            end connections which stand still).
        arguments: added to the command in a form.
        log: where the proxy's standard output goes, when that is its access log.
    """

    name: str
    configuration: str
    suffix: str
    command: tuple[str, ...]
    forms: dict[str, dict[str, str]] = field(default_factory=dict)
    arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    log: str | None = None

    def text(self, directory: Path, routes: int = 1, form: str = "lean") -> str:
        """Return the configuration. Only fastgate is asked for several routes."""
        places = {"dir": directory, "port": PORT, "backend": BACKEND_PORT}
        blanks = self.forms.get(form) or self.forms.get("lean", {})
        filled = {name: value.format(**places) for name, value in blanks.items()}
        text = self.configuration.format(**places, **filled)
        return text + fastgate_routes(routes) if self.name == "fastgate" else text

    def start(
        self, directory: Path, core: int | None = 0, routes: int = 1, form: str = "lean"
    ) -> subprocess.Popen[bytes]:
        """Write the configuration and start the proxy on one core, or anywhere."""
        config = directory / f"{self.name}-{routes}{self.suffix}"
        config.write_text(self.text(directory, routes, form))
        command = [*self.command, *(self.arguments.get(form) or self.arguments.get("lean", ()))]
        command = [part.format(config=config, dir=directory) for part in command]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        with Path(directory / self.log if self.log and form == "logging" else os.devnull).open("ab") as out:
            return subprocess.Popen(
                command, env={**os.environ, **self.environment}, stdout=out, stderr=subprocess.DEVNULL
            )


def _peers() -> list[Peer]:
    source = str(Path(__file__).resolve().parents[1] / "src")
    run = (sys.executable, "-m", "fastgate", "run", "{config}", "--workers", "1", "--admin", "off")
    envoy = shutil.which("envoy") or str(Path(sys.executable).parent / "envoy")
    patient = ", limits: {{bodyMinRate: 0, firstByteTimeout: 1h, headTimeout: 1h, idleTimeout: 1h}}"
    return [
        Peer(
            "fastgate", FASTGATE, ".yaml", run, environment={"PYTHONPATH": source},
            forms={
                "lean": {"id": "false", "parameters": ""},
                "logging": {"id": "true", "parameters": ""},
                "patient": {"id": "false", "parameters": patient},
            },
            arguments={"lean": ("--access-log", "off"), "logging": ("--access-log-file", "{dir}/fastgate.log")},
        ),
        Peer(
            "haproxy", HAPROXY, ".cfg", ("haproxy", "-db", "-f", "{config}"), log="haproxy.log",
            forms={
                "lean": {"to": "", "log": ""},
                "logging": {"to": "  log stdout len 4096 format raw local0\n", "log": HAPROXY_LOG},
            },
        ),
        Peer(
            "nginx", NGINX, ".conf", ("nginx", "-c", "{config}"),
            forms={
                "lean": {"log": "access_log off;", "id": ""},
                "logging": {"log": NGINX_LOG, "id": "proxy_set_header X-Request-ID $request_id;"},
            },
        ),
        Peer(
            "envoy", ENVOY, "-envoy.yaml",
            (envoy, "-c", "{config}", "--concurrency", "1", "--disable-hot-restart", "-l", "off"),
            forms={"lean": {"id": "false", "log": ""}, "logging": {"id": "true", "log": ENVOY_LOG}},
        ),
        Peer(
            "caddy", CADDY, ".caddy", ("caddy", "run", "--adapter", "caddyfile", "--config", "{config}"),
            forms={"lean": {"log": ""}, "logging": {"log": CADDY_LOG}}, environment={"GOMAXPROCS": "1"},
        ),
    ]  # fmt: skip


def floor(directory: Path) -> Peer | None:
    """Compile the relay that parses nothing; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = directory / "floor"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("floor.c")], check=True)
    return Peer("floor", "", ".none", (str(program), str(PORT), str(BACKEND_PORT)))


def available(directory: Path) -> list[Peer]:
    """Return the proxies that this machine has, fastgate first."""
    found = [p for p in _peers() if p.name == "fastgate" or shutil.which(p.command[0])]
    relay = floor(directory)
    return [*found, relay] if relay else found


def worker_of(process: subprocess.Popen[bytes]) -> int:
    """Return the process that serves: the youngest descendant, the process itself when it has none."""
    pid = process.pid
    while True:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return pid
        pid = int(children[-1])
