"""Changes and deaths under load: `python -m benchmarks.reloads`. Counts failed requests; half of the load are POSTs."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

from benchmarks.load import wait_for
from benchmarks.peers import BACKEND, BACKEND_PORT, FASTGATE, ROUTE

PORT, ADMIN = 17002, 17003
ENDPOINTS = "endpoints: [{address: 127.0.0.1, port: %d}%s]"


class Load:
    """Keep-alive connections that send one request after the other until they are told to stop."""

    def __init__(self, connections: int) -> None:
        self.results: Counter[str] = Counter()
        self.slowest = 0.0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(connections)]
        for thread in self.threads:
            thread.start()

    def run(self, number: int) -> None:
        connection = None
        count = number
        while not self.stop.is_set():
            count += 1
            begun = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
                    try:
                        connection.connect()
                    except OSError:
                        self.results["connect failed"] += 1
                        connection = None
                        continue
                if count % 2:
                    connection.request("POST", "/", b"x" * 2000)
                else:
                    connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                self.results["ok" if answer.status == 200 else str(answer.status)] += 1
                if answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException):
                self.results["cut"] += 1
                connection.close()
                connection = None
            self.slowest = max(self.slowest, time.monotonic() - begun)

    def finish(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def status() -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/status", timeout=5) as answer:
        return json.load(answer)


def wait(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.005)


def write(path: Path, number: int) -> None:
    """A configuration that differs in a route, and every other time in an endpoint."""
    text = FASTGATE.format(port=PORT, backend=BACKEND_PORT, id="false", parameters="") + ROUTE.format(n=0, hostnames="")
    text += ROUTE.format(n=f"x{number}", hostnames=f"  hostnames: [x{number}.example]\n")
    if number % 2:
        text = text.replace(
            "spec: {endpoints: [",
            f"spec: {{endpoints: [{{address: 127.0.0.1, port: {BACKEND_PORT}, weight: {number}}}, ",
        )
        text = text.replace(f", {{address: 127.0.0.1, port: {BACKEND_PORT}}}]", "]")
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="reloads and killed workers under load")
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        backend_config = directory / "backend.conf"
        backend_config.write_text(BACKEND.format(dir=directory, backend=BACKEND_PORT))
        path = directory / "gateway.yaml"
        write(path, 0)
        backend = subprocess.Popen(["nginx", "-c", str(backend_config)], stderr=subprocess.DEVNULL)
        command = [
            sys.executable,
            "-m",
            "fastgate",
            "run",
            str(path),
            "--workers",
            "2",
            "--access-log",
            "off",
            "--admin",
            f"127.0.0.1:{ADMIN}",
        ]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
        server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_for(BACKEND_PORT)
            wait_for(ADMIN)
            load = Load(options.connections)
            begun = time.monotonic()
            for number in range(1, options.reloads + 1):
                before = status()["generation"]
                write(path, number)
                wait(lambda before=before: status()["generation"] != before)
            load.finish()
            print(
                f"{options.reloads} reloads in {time.monotonic() - begun:.1f} s: {dict(load.results)}, slowest {load.slowest * 1000:.0f} ms"
            )
            load = Load(options.connections)
            for _ in range(options.kills):
                time.sleep(0.3)
                workers = status()["workers"]
                os.kill(workers[0], signal.SIGKILL)
                wait(lambda dead=workers[0]: len(now := status()["workers"]) == 2 and dead not in now)
            time.sleep(0.3)
            load.finish()
            print(f"{options.kills} kills: {dict(load.results)}, slowest {load.slowest * 1000:.0f} ms")
        finally:
            server.terminate()
            server.wait()
            backend.terminate()
            backend.wait()


if __name__ == "__main__":
    main()
