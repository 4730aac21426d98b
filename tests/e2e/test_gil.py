"""Requests pass while a thread of the worker's own process holds the interpreter's lock."""

import os
import select
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from wire import Backend, Conn, socket

HELD = 5.0  # seconds
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHILD = """
import ctypes, sys
import fastgate

with fastgate.Gateway(sys.argv[1], ports={80: 0}) as gateway:
    print(gateway.address("http")[1], flush=True)
    print("held", flush=True)
    ctypes.PyDLL(None).usleep(%d)  # PyDLL keeps the lock during the call
    print("released", flush=True)
    sys.stdin.read()
"""
CONFIGURATION = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: fastgate, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{address: 127.0.0.1, port: %d}]}
"""


def exchange(client, up):
    """Answer the request that the client has sent."""
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client.head()
    client.exactly(2)


def test_the_lock_is_not_on_the_path():
    backend = Backend()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    command = [sys.executable, "-c", textwrap.dedent(CHILD) % (HELD * 1e6), CONFIGURATION % backend.endpoint.port]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(child.stdout.readline())
        assert child.stdout.readline() == "held\n"
        client = Conn(socket.create_connection(("127.0.0.1", port)))
        client.send(GET)
        up = backend.accept()
        longest = passed = 0
        while not select.select([child.stdout], [], [], 0)[0]:  # the lock is held
            began = time.monotonic()
            exchange(client, up)
            other = Conn(socket.create_connection(("127.0.0.1", port)))  # connections are accepted too
            other.send(GET)
            exchange(other, up)
            other.close()
            client.send(GET)
            longest, passed = max(longest, time.monotonic() - began), passed + 1
        assert child.stdout.readline() == "released\n"
        assert passed > 100
        assert longest < HELD / 2  # whatever needed the lock would have waited for all of it
        exchange(client, up)
        client.close()
        child.stdin.close()
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        backend.close()
