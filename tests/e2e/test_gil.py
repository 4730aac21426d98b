"""Requests pass while a thread of the worker's own process holds the interpreter's lock."""

import os
import select
import subprocess
import sys
import textwrap
from pathlib import Path

from wire import Backend, Conn, socket

CHILD = """
import ctypes, sys
import fastgate

with fastgate.Gateway(sys.stdin.read(), ports={80: 0}) as gateway:
    print(gateway.address("http")[1], flush=True)
    print("held", flush=True)
    ctypes.PyDLL(None).usleep(int(2e6))  # PyDLL keeps the lock during the call
    print("released", flush=True)
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


def test_the_lock_is_not_on_the_path():
    backend = Backend()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
    command = [sys.executable, "-c", textwrap.dedent(CHILD)]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        child.stdin.write(CONFIGURATION % backend.endpoint.port)
        child.stdin.close()
        port = int(child.stdout.readline())
        assert child.stdout.readline() == "held\n"
        client = Conn(socket.create_connection(("127.0.0.1", port)))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        up = backend.accept()
        for n in range(100):
            up.head()
            up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            client.head()
            client.exactly(2)
            if n < 99:
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert select.select([child.stdout], [], [], 0)[0] == []  # not yet released: all of it passed meanwhile
        client.close()
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        backend.close()
