"""`fastgate run` as a user runs it: a process with files, signals and real clients."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path

TIMEOUT = 20.0
SRC = str(Path(__file__).resolve().parents[2] / "src")

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: fastgate
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{address: 127.0.0.1, port: %d}]}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {value: %s}}]
    backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]
"""


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)) or self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - http.server's name

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def command(*arguments):
    path = os.pathsep.join(filter(None, [SRC, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}
    return [sys.executable, "-m", "fastgate", *map(str, arguments)], environment


def fastgate(*arguments):
    line, environment = command(*arguments)
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)


class Server:
    """`fastgate run`, or another `verb`, in a session of its own, whose standard error is read all the time."""

    def __init__(self, *arguments, log, runtime, after=None, verb="run"):
        """`after`: a server in whose place this one starts."""
        self.port, self.tls_port, self.admin = (
            (after.port, after.tls_port, after.admin) if after else (free_port(), free_port(), free_port())
        )
        self.text = ""
        line, environment = command(
            verb, *arguments, "--port-map", f"80={self.port},443={self.tls_port}", "--admin", f"127.0.0.1:{self.admin}",
            "--access-log-file", log, "--drain-timeout", "5",
        )  # fmt: skip
        environment["XDG_RUNTIME_DIR"] = str(runtime)
        self.process = subprocess.Popen(
            line, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stderr:
            for line in self.process.stderr:
                self.text += line

    def ready(self):
        self.wait(lambda: self.admin_page("/readyz")[0] == 200)
        return self

    def wait(self, condition):
        end = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            assert self.process.poll() in (None, 0), self.text
            assert time.monotonic() < end, self.text
            time.sleep(0.01)

    def admin_page(self, path, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read().decode()

    def get(self, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST" if body else "GET", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name):
        """A sample by name and labels."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.admin_page("/metrics")[1], re.MULTILINE)
        return float(found[1])

    def workers(self):
        return json.loads(self.admin_page("/status")[1])["workers"]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return code, self.text

    def kill(self):
        """End it and everything that it started, successors and orphans too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(TIMEOUT)
