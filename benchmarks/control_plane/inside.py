"""Runs cases in the network of a cluster, for one implementation. Prints a line of JSON for each."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.control_plane import objects as o
from benchmarks.control_plane.cases import BACKEND, CASES, PORTS
from benchmarks.control_plane.processes import tree


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured. The workers of fastgate are its data plane; elsewhere one process is both."""

    class_: str
    pid: int

    def data_plane(self) -> list[int]:
        below = tree(self.pid)
        return below[1:] or below

    def control_plane(self) -> list[int]:
        return [self.pid]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A backend in a few lines."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def measure(case: str, size: int, class_: str, pid: int) -> dict:
    servers = [await asyncio.start_server(answer, BACKEND, port) for port in PORTS.values()]
    api = o.Api()
    try:
        return await CASES[case](api, Subject(class_, pid), size)
    finally:
        await api.close()
        for server in servers:
            server.close()


def main() -> None:
    case, size, class_, controller, *command = sys.argv[1:]
    document = {
        "apiVersion": o.GROUP,
        "kind": "GatewayClass",
        "metadata": {"name": class_},
        "spec": {"controllerName": controller},
    }
    subprocess.run(
        ["kubectl", "apply", "-f", "-"], input=json.dumps(document).encode(), check=True, capture_output=True
    )
    with Path(f"/tmp/control-plane-{class_}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            time.sleep(2)
            result = asyncio.run(measure(case, int(size), class_, process.pid))
            print(json.dumps({"case": case, "size": int(size), "implementation": class_, **result}), flush=True)
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
