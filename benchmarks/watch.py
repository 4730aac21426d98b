"""What following an API server costs: `python -m benchmarks.watch`.

Proportional memory (PSS) before and after a list of 40,000 HTTPRoutes, and the CPU seconds of this process while 10,000 events a
second arrive for a few seconds: of routes that change, and of routes whose statuses change, which are no news to anybody. The
other side is a process that sends lines that it made before.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastgate.kubernetes.cache import Cache
from fastgate.kubernetes.client import Client
from fastgate.kubernetes.config import Config
from fastgate.kubernetes.credentials import Source, Standing
from fastgate.kubernetes.kinds import KINDS
from fastgate.kubernetes.reflector import Reflector

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

ROUTES = 40_000
RATE = 10_000  # events a second
SECONDS = 5
_TICK = 0.01  # seconds between two bursts
_MANAGED = {
    "manager": "kubectl-client-side-apply", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
    "fieldsV1": {"f:spec": {".": {}, "f:hostnames": {}, "f:parentRefs": {}, "f:rules": {}}},
}  # fmt: skip


def route(number: int, version: int, port: int = 80, generation: int = 1) -> dict[str, object]:
    """Return an HTTPRoute as an API server has it."""
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway"}
    conditions = [
        {"type": each, "status": "True", "reason": each, "message": "", "observedGeneration": generation,
         "lastTransitionTime": "2026-01-01T00:00:00Z"} for each in ("Accepted", "ResolvedRefs")
    ]  # fmt: skip
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": f"route-{number}", "namespace": "default", "uid": f"00000000-0000-0000-0000-{number:012}",
            "resourceVersion": str(version), "generation": generation, "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [_MANAGED, _MANAGED],
        },
        "spec": {
            "parentRefs": [parent],
            "hostnames": [f"route-{number}.example.com"],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"group": "", "kind": "Service", "name": f"backend-{number % 1000}", "port": port, "weight": 1}],
            }],
        },
        "status": {"parents": [{"parentRef": parent, "controllerName": "x/y", "conditions": conditions}]},
    }  # fmt: skip


def line(type_: str, document: object) -> bytes:
    """Return a line of a watch."""
    return json.dumps({"type": type_, "object": document}, separators=(",", ":")).encode() + b"\n"


def serve(listener: socket.socket, kind: str, go: Event) -> None:
    """Answer one watch: all routes, then, when told to, events at the rate."""
    per_tick = int(RATE * _TICK)
    end = {"metadata": {"resourceVersion": "100000", "annotations": {"k8s.io/initial-events-end": "true"}}}
    first = b"".join(line("ADDED", route(n, n + 1)) for n in range(ROUTES)) + line("BOOKMARK", end)
    bursts = []
    for tick in range(int(SECONDS / _TICK)):
        numbers = range(tick * per_tick, (tick + 1) * per_tick)
        bursts.append(
            b"".join(
                line("MODIFIED", route(n % ROUTES, 100_001 + n, *((81 + n // ROUTES, 2) if kind == "spec" else ())))
                for n in numbers
            )
        )
    connection, _ = listener.accept()
    while b"\r\n\r\n" not in connection.recv(65536):
        pass
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + first)
    go.wait()
    begun = time.monotonic()
    for tick, burst in enumerate(bursts):
        time.sleep(max(0.0, begun + tick * _TICK - time.monotonic()))
        connection.sendall(burst)
    connection.recv(1)


def pss() -> float:
    """Return the proportional memory of this process in MiB."""
    return int(re.search(r"^Pss:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)[1]) / 1024


async def follow(kind: str) -> None:
    """Measure one kind of events."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        context = multiprocessing.get_context("fork")
        go = context.Event()
        process = context.Process(target=serve, args=(listener, kind, go))
        process.start()
    cache = Cache([("HTTPRoute", "")])
    async with Client(Config(f"http://127.0.0.1:{port}", Standing(Source()))) as client:
        before, begun = pss(), time.process_time()
        task = asyncio.ensure_future(Reflector(client, cache, KINDS["HTTPRoute"]).run())
        await cache.complete.wait()
        cache.store()
        print(f"{ROUTES} routes: {time.process_time() - begun:.2f} s of CPU, PSS {before:.0f} -> {pss():.0f} MiB")
        begun, started, stores = time.process_time(), time.monotonic(), set()
        go.set()
        last = str(100_000 + RATE * SECONDS)
        key = ("HTTPRoute", "default", f"route-{(RATE * SECONDS - 1) % ROUTES}")
        while cache.stored(key).resource_version != last:
            await asyncio.sleep(0.01)
            stores.add(cache.store().identity)
        wall, used = time.monotonic() - started, time.process_time() - begun
        print(
            f"{kind}: {RATE * SECONDS} events in {wall:.2f} s, {used:.2f} s of CPU: {used / wall:.2f} cores, "
            f"{used / RATE / SECONDS * 1e6:.1f} us an event, {len(stores)} stores; PSS {pss():.0f} MiB"
        )
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    process.terminate()
    process.join()


if __name__ == "__main__":
    for each in ("spec", "status"):
        asyncio.run(follow(each))
