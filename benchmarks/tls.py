"""HTTPS beside other proxies: `python -m benchmarks.tls`.

One worker on core 0, clients and backend on core 1. nginx and HAProxy use this machine's OpenSSL, as fastgate does; Envoy has
its own library. CPU is the worker's, for each request or handshake.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load import Sample, backend, cpu_ns, report, running, wrk
from benchmarks.peers import PORT, Peer, available

CONNECTIONS = 32
KEYS = {"ecdsa": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")}

# What makes the configurations of benchmarks.peers end TLS: (what is replaced, by what).
NGINX = (
    "backlog=4096;\n    location / {{\n      proxy_pass",
    """ssl backlog=4096; ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass""",
)
HAPROXY = ("backlog 4096", "backlog 4096 ssl crt {dir}/server.pem ssl-min-ver TLSv1.2")
ENVOY = (
    "    - filters:",
    """    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {{tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates:
            - {{certificate_chain: {{filename: {dir}/server.crt}}, private_key: {{filename: {dir}/server.key}}}}
      filters:""",
)
GATEWAY = (
    "protocol: HTTP}}]",
    "protocol: HTTPS, tls: {{certificateRefs: [{{name: server}}]}}}}]",
)
SECRET = """---
apiVersion: v1
kind: Secret
metadata: {{name: server}}
type: kubernetes.io/tls
data: {{tls.crt: %(crt)s, tls.key: %(key)s}}
"""


@dataclass(frozen=True)
class Case:
    """What is measured: requests over connections that stay, or handshakes; with which kind of key."""

    name: str
    unit: str  # "request" or "handshake"
    key: str = "ecdsa"
    mode: str = "full"  # of handshakes: full or resumed
    beside: bool = False  # requests while full handshakes saturate the worker


CASES = [
    Case("https-64", "request"),
    Case("handshake-ecdsa", "handshake"),
    Case("handshake-rsa", "handshake", "rsa"),
    Case("handshake-resumed", "handshake", mode="resumed"),
    Case("https-beside-handshakes", "request", "rsa", beside=True),
]


def make_certificate(directory: Path, key: str = "ecdsa") -> None:
    """Write server.crt, server.key and, with both, server.pem: self-signed, of a kind of key."""
    crt, private = directory / "server.crt", directory / "server.key"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", *KEYS[key], "-days", "2", "-subj", "/CN=host-0.example"]
    command += ["-addext", "subjectAltName=DNS:host-0.example", "-keyout", private, "-out", crt]
    subprocess.run(command, check=True, capture_output=True)
    (directory / "server.pem").write_bytes(crt.read_bytes() + private.read_bytes())
    for file in (private, directory / "server.pem"):
        file.chmod(0o644)  # a proxy may change its user


def peers_of(directory: Path) -> list[Peer]:
    """Return the proxies that end TLS, configured to do so."""
    secret = {name: base64.b64encode((directory / f"server.{name}").read_bytes()).decode() for name in ("crt", "key")}
    changes = {
        "nginx": NGINX, "haproxy": HAPROXY, "envoy": ENVOY, "fastgate": GATEWAY,
    }  # fmt: skip
    found = []
    for peer in available(directory):
        change = changes.get(peer.name)
        if change is None:
            continue
        assert change[0] in peer.configuration, f"the configuration of {peer.name} is another by now"
        text = peer.configuration.replace(*change)
        found.append(replace(peer, configuration=text + SECRET % secret if peer.name == "fastgate" else text))
    return found


def client_of(directory: Path) -> Path:
    """Compile the client that shakes hands."""
    program = directory / "handshakes"
    source = Path(__file__).with_name("handshakes.c")
    subprocess.run(["cc", "-O2", "-o", program, source, "-lssl", "-lcrypto"], check=True)
    return program


def shake(client: Path, mode: str, seconds: int) -> subprocess.Popen[str]:
    """Start the client that shakes hands, on core 1."""
    command = ["taskset", "-c", "1", client, str(PORT), str(CONNECTIONS), str(seconds), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def handshakes(client: Path, pid: int, mode: str, seconds: int) -> Sample:
    """Let the client shake hands, and see what it costs the worker."""
    before = cpu_ns(pid)
    out, _ = shake(client, mode, seconds).communicate()
    spent = cpu_ns(pid) - before
    found = json.loads(out)
    wrong = found["errors"] + (found["handshakes"] - found["resumed"] if mode == "resumed" else found["resumed"])
    count = max(found["handshakes"], 1)
    return Sample(spent / 1000 / count, count / seconds, f"{found['p99_us'] / 1000:.2f}ms", wrong)


def measure(case: Case, peer: Peer, client: Path, directory: Path, seconds: int) -> Sample:
    """Measure one proxy once, after a second to warm up."""
    with running(peer, directory) as pid:
        for duration in (1, seconds):
            if case.unit == "handshake":
                sample = handshakes(client, pid, case.mode, duration)
                continue
            crowd = shake(client, "full", duration + 1) if case.beside else None
            sample = wrk(
                [pid], directory, connections=4 if case.beside else 64, seconds=duration, path="/", hosts=1,
                close=False, origin=f"https://127.0.0.1:{PORT}",
            )  # fmt: skip
            if crowd is not None:
                crowd.communicate()
    return sample


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="default: all")
    parser.add_argument("--proxy", action="append", help="only these; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of load in a round")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "nginx", "taskset", "openssl", "cc") if not shutil.which(tool)]
    if missing:
        sys.exit(f"benchmarks need {', '.join(missing)}: apt-get install wrk nginx-light openssl gcc libssl-dev")
    results = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        client = client_of(directory)
        with backend(directory):
            for case in CASES:
                if options.case and case.name not in options.case:
                    continue
                make_certificate(directory, case.key)
                peers = [p for p in peers_of(directory) if not options.proxy or p.name in options.proxy]
                rounds = [
                    {peer.name: measure(case, peer, client, directory, options.seconds) for peer in peers}
                    for _ in range(options.rounds)
                ]
                results.append(report(case.name, case.unit, rounds))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
