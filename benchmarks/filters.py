"""What a filter that sets one header costs, beside the same in Envoy: `python -m benchmarks.filters`.

CPU for each request over all processes of a proxy, less that of the same proxy without the filter, in the same round. Envoy
does it in Lua, and asks an external processor (`benchmarks/ext_proc.py`), whose CPU counts too.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load import Sample, backend, interval, mean_interval, started, stop, wait_for, wrk
from benchmarks.peers import PORT, Peer, available
from benchmarks.plugged import filter_resource, plugged, tree

PROCESSOR_PORT = 17003
PROCESSOR = ("taskset", "-c", "0", sys.executable, "-m", "benchmarks.ext_proc", str(PROCESSOR_PORT))

ROUTER = "          - name: envoy.filters.http.router\n"
LUA = """          - name: lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
              default_source_code: {{inline_string: "function envoy_on_request(h) h:headers():replace('x-stamp', 'hello') end"}}
"""
EXT_PROC = """          - name: ext_proc
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {{envoy_grpc: {{cluster_name: processor}}}}
              message_timeout: 5s
              processing_mode: {{request_header_mode: SEND, response_header_mode: SKIP}}
"""
PROCESSOR_CLUSTER = """
  - name: processor
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: processor
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: PROCESSOR_PORT}}}}}}}}]}}]
""".replace("PROCESSOR_PORT", str(PROCESSOR_PORT))


@dataclass(frozen=True)
class Subject:
    """Who is measured.

    Attributes:
        without: name of the same proxy without the filter, which this one is compared to.
        stamp: what the backend finds in `x-stamp`.
        beside: command of a process that belongs to the proxy.
    """

    peer: Peer
    without: str = ""
    stamp: bytes = b""
    beside: tuple[str, ...] = ()


def subjects(directory: Path) -> dict[str, Subject]:
    """Return who is measured, by name."""
    peers = {peer.name: peer for peer in available(directory)}
    plain = peers["fastgate"]
    out = {"fastgate": Subject(plain)}
    for name, kind, execution, stamp in (
        ("fastgate inline", "Stamp", "Inline", b"hello"),
        ("fastgate offloaded", "Stamp", "Offloaded", b"hello"),
        ("fastgate offloaded, no work", "Nothing", "Offloaded", b""),
    ):
        peer = plugged(plain, "fastgate-filter", {"/": ["f"]}, [filter_resource("f", kind, execution)])
        out[name] = Subject(peer, "fastgate", stamp)
    if envoy := peers.get("envoy"):
        lua = envoy.configuration.replace(ROUTER, LUA + ROUTER)
        asking = envoy.configuration.replace(ROUTER, EXT_PROC + ROUTER) + PROCESSOR_CLUSTER
        out["envoy"] = Subject(envoy)
        out["envoy lua"] = Subject(replace(envoy, configuration=lua), "envoy", b"hello")
        out["envoy ext_proc"] = Subject(replace(envoy, configuration=asking), "envoy", b"hello", PROCESSOR)
    return out


def stamped() -> bytes:
    """Return what the backend finds in `x-stamp`."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    connection.request("GET", "/stamp")
    body = connection.getresponse().read()
    connection.close()
    return body


def measure(subject: Subject, directory: Path, connections: int, seconds: int) -> Sample:
    """Load one subject, after a second to warm up."""
    beside = [subprocess.Popen(subject.beside)] if subject.beside else []
    try:
        if beside:
            wait_for(PROCESSOR_PORT)
        with started(subject.peer, directory) as process:
            if (stamp := stamped()) != subject.stamp:
                sys.exit(f"{subject.peer.name}: the backend found {stamp!r} in x-stamp, expected {subject.stamp!r}")
            for duration in (1, seconds):
                pids = [pid for one in (process, *beside) for pid in tree(one.pid)]
                sample = wrk(
                    pids, directory, connections=connections, seconds=duration, path="/", hosts=1, close=False
                )  # fmt: skip
        return sample
    finally:
        for one in beside:
            stop(one)


def report(who: dict[str, Subject], found: dict[str, list[Sample]], connections: int) -> None:
    """Print a table."""
    print(f"\n{connections} connections, {len(found['fastgate'])} rounds")
    print(
        f"{'proxy':28} {'CPU us/req':>10} {'req/s':>9} {'p99':>9} {'errors':>7}   {'more than without [95%]':30} / inline's"
    )
    more = {
        name: [mine.cpu_us - other.cpu_us for mine, other in zip(samples, found[who[name].without], strict=True)]
        for name, samples in found.items()
        if who[name].without
    }
    for name, samples in found.items():
        ordered = sorted(samples, key=lambda s: s.cpu_us)
        rate = statistics.median(s.per_second for s in samples)
        added = ratio = ""
        if name in more:
            added = "{:.2f} [{:.2f}, {:.2f}]".format(*mean_interval(more[name]))
            ratios = [mine / inline for mine, inline in zip(more[name], more["fastgate inline"], strict=True)]
            if (
                name != "fastgate inline" and min(ratios) > 0
            ):  # a machine so noisy that a filter saves time has no ratio
                ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*interval(ratios))
        middle = ordered[len(ordered) // 2]
        errors = sum(s.errors for s in samples)
        print(
            f"{name:28} {middle.cpu_us:10.2f} {rate:9.0f} {middle.p99:>9} {errors:7}   {added:30} {ratio}", flush=True
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, action="append", help="may be given again; default: 64 and 1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        who = subjects(directory)
        with backend(directory):
            for connections in options.connections or (64, 1):
                found = defaultdict(list)
                for _ in range(options.rounds):
                    for subject, what in who.items():
                        found[subject].append(measure(what, directory, connections, options.seconds))
                report(who, found, connections)


if __name__ == "__main__":
    main()
