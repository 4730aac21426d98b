"""Both ends of a proxy, byte by byte: a scripted client, a scripted backend, and an engine between them.

Nothing sleeps: every wait is for bytes, an end of a connection, a log line or a counter, within TIMEOUT.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import select
import socket
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastgate import ir
from fastgate.listener_manager import ListenerManager
from fastgate.plugin_processes import MEMORY_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.instance import Instance

TIMEOUT = 10.0
HEAD_END = b"\r\n\r\n"


class Conn:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a piece is sent when it is written
        self.sock = sock
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        while end not in self.buffer:
            assert self._more(), f"ended before {end!r}: {self.buffer!r}"
        at = self.buffer.index(end) + len(end)
        out, self.buffer = self.buffer[:at], self.buffer[at:]
        return out

    def head(self) -> bytes:
        return self.until(HEAD_END)

    def exactly(self, n: int) -> bytes:
        while len(self.buffer) < n:
            assert self._more(), f"ended after {len(self.buffer)} of {n} bytes"
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def rest(self) -> bytes:
        """Everything up to the end of the connection, a reset included."""
        while self._more():
            pass
        out, self.buffer = self.buffer, b""
        return out

    def finish(self) -> None:
        """Send FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Backend:
    """A listening socket whose connections a test answers itself.

    One that does not listen refuses connections, and keeps its port from others.
    """

    def __init__(self, host: str = "127.0.0.1", *, listens: bool = True) -> None:
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.bind((host, 0))
        if listens:
            self.listener.listen()
        self.listener.settimeout(TIMEOUT)
        self.endpoint = ir.Endpoint(host, self.listener.getsockname()[1])
        self.conns: list[Conn] = []

    def accept(self) -> Conn:
        conn = self.accept_raw()
        self.greet(conn)
        return conn

    def accept_raw(self) -> Conn:
        """The next connection, of which nothing was read."""
        conn = Conn(self.listener.accept()[0])
        self.conns.append(conn)
        return conn

    def greet(self, conn: Conn) -> None:
        """What precedes the first request of a connection: nothing, in plaintext."""

    def accept_after(self, client: Conn, request: bytes) -> Conn:
        """The new connection that a request comes on."""
        client.send(request)
        return self.accept()

    def answer_all(self, response: bytes | Callable[[bytes], bytes]) -> None:
        """From now on answer every request head on old and new connections, until the backend is closed.

        A function gets the head and returns the response; an empty one closes the connection.
        """

        def serve(conn: Conn) -> None:
            with contextlib.suppress(AssertionError, OSError):
                if conn not in greeted:
                    self.greet(conn)
                while head := conn.head():
                    answer = response(head) if callable(response) else response
                    if not answer:
                        conn.close()
                        return
                    conn.send(answer)

        def listen() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn = self.accept_raw()
                    threading.Thread(target=serve, args=(conn,), daemon=True).start()

        greeted = list(self.conns)
        for conn in greeted:
            threading.Thread(target=serve, args=(conn,), daemon=True).start()
        threading.Thread(target=listen, daemon=True).start()

    def nobody_comes(self, seconds: float = 0.2) -> bool:
        self.listener.settimeout(seconds)
        try:
            self.listener.accept()
        except TimeoutError:
            return True
        finally:
            self.listener.settimeout(TIMEOUT)
        return False

    def close(self) -> None:
        for conn in self.conns:
            conn.close()
        self.listener.close()


def forward(*clusters: str, filters: ir.Filters = ir.Filters(), index: int = 0, **timeouts: int) -> ir.Rule:
    """A rule; two that are not the same need an index each."""
    backends = tuple(ir.WeightedBackend(1, c) for c in clusters or ("c",))
    return ir.Rule(f"HTTPRoute/ns/r/{index}", "HTTPRoute/ns/r", "", ir.Forward(backends, **timeouts), filters)


def config(
    *matches: ir.Match, settings: ir.Settings = ir.Settings(), hostname: str = "", limits: dict | None = None
) -> ir.Ir:
    """One socket on loopback with one listener and these candidates; without any, everything goes to cluster "c"."""
    if limits:
        settings = replace(settings, limits=replace(settings.limits, **limits))
    matches = matches or (ir.Match(ir.PathMatch(ir.PathKind.PREFIX, ""), "", (), (), forward()),)
    listener = ir.Listener("Gateway/ns/g/l", "ns/g", "l", hostname, "HTTP", (ir.VirtualHost(hostname, matches),))
    names = {
        b.cluster: None
        for m in matches
        if isinstance(m.rule.action, ir.Forward)
        for b in m.rule.action.backends
        if b.cluster
    }
    return ir.Ir((ir.Socket("127.0.0.1", 80, (listener,), settings),), tuple(ir.Cluster(name) for name in names))


def match(rule: ir.Rule, path: str = "", kind: ir.PathKind = ir.PathKind.PREFIX) -> ir.Match:
    return ir.Match(ir.PathMatch(kind, path), "", (), (), rule)


class Proxy:
    """A running engine, on a thread or in a process of its own."""

    def __init__(
        self,
        configuration: ir.Ir,
        endpoints: dict[str, tuple[ir.Endpoint, ...]],
        *,
        workers: int = 1,
        threads: bool = True,
        memory_limit: int = 0,
        plugin_memory_limit: int = MEMORY_LIMIT,
        instance: Instance | None = None,
        renew: bool = False,
    ):
        self.conns: list[Conn] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._log_read, log_write = os.pipe()
        self._log = os.fdopen(self._log_read, "rb", buffering=0)
        self._pending = b""
        self.run(self._start(configuration, endpoints, ListenerManager(
            workers=workers, threads=threads, ports={80: 0, 81: 0, 443: 0}, log_fd=log_write,
            memory_limit=memory_limit, plugin_memory_limit=plugin_memory_limit, instance=instance, renew=renew,
        )))  # fmt: skip
        os.close(log_write)

    async def _start(self, configuration, endpoints, manager):
        self.manager = manager
        await self.manager.start()
        await self.manager.apply(configuration, endpoints)

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT * 3)

    def apply(self, configuration, endpoints) -> None:
        self.run(self.manager.apply(configuration, endpoints))

    def endpoints(self, endpoints) -> None:
        self.run(self.manager.publish_endpoints(endpoints))

    @property
    def port(self) -> int:
        return next(iter(self.manager.bound.values()))[1]

    def connect(self) -> Conn:
        conn = Conn(socket.create_connection(("127.0.0.1", self.port), TIMEOUT))
        self.conns.append(conn)
        return conn

    def counter(self, name: str) -> int:
        totals = self.manager.statistics.totals()
        return totals.counters.get(name, 0)

    def reason(self, name: str) -> int:
        return self.manager.statistics.totals().reasons.get(name, 0)

    def upstream_errors(self) -> dict[str, int]:
        """Failed tries by their reason."""
        return self.manager.statistics.totals().upstream_errors

    def wait_for(self, condition) -> None:
        """Wait until a condition on counters holds; they have no event."""
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end, "the condition never came to hold"
            time.sleep(0.005)

    def log(self) -> dict:
        """The next line of the access log."""
        return json.loads(self.log_line())

    def log_line(self) -> str:
        while b"\n" not in self._pending:
            assert select.select([self._log_read], [], [], TIMEOUT)[0], "no line came"
            self._pending += self._log.read(65536)
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def start_drain(self) -> None:
        """Begin a drain of at most 10 s; `close` ends it."""

        async def begin():
            self.draining = asyncio.ensure_future(self.manager.drain(0, 10))
            await asyncio.sleep(0)

        self.run(begin())

    def close(self, drain: float = 0) -> bool:
        finished = self.run(self.manager.drain(0, drain)) if drain else True
        for conn in self.conns:
            conn.close()
        self.run(self.manager.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        with contextlib.suppress(OSError):
            self._log.close()
        return finished


@contextlib.contextmanager
def no_descriptors(pid: int):
    """A process that can open nothing more."""
    open_ = {int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    lowest = next(fd for fd in range(len(open_) + 1) if fd not in open_)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def pss(pid: int) -> int:
    """KiB that a process has in memory, its share of shared pages included."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1])


def fields(head: bytes) -> dict[str, str]:
    """The fields of a head by lower-case name; of repeated ones the values joined by "|"."""
    out: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            key = name.lower()
            out[key] = f"{out[key]}|{value.strip()}" if key in out else value.strip()
    return out
