"""Access logs for plugins: lines from every worker, parsed on one thread, and a thread for each sink.

Nothing waits for a sink: workers drop what their socket has no room for, the parser what a sink's queue has none for.
"""

from __future__ import annotations

import json
import logging
import queue
import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from fastgate.control import Message, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.plugins.hookspecs import AccessLogSink
    from fastgate.plugins.manager import Hooks
    from fastgate.workers import Worker

log = logging.getLogger("fastgate")

MESSAGE = 1 << 15  # bytes that a worker sends at once (csrc/fg_log.c)
WAITING = 64  # messages that wait for a sink
LAST_WORDS = 5.0  # seconds for sinks to take what is left when the gateway ends
_LOG_INTERVAL = 1.0  # seconds between two log lines about one sink


class Sinks:
    """The sinks of all plugins, with what the workers log."""

    @classmethod
    def of(cls, hooks: Hooks) -> Self | None:
        """Return those of plugins; None when there is none, and no worker is asked for its lines."""
        found = hooks.collect("fastgate_access_log_sinks")
        return cls(found) if found else None

    def __init__(self, sinks: Iterable[tuple[str, AccessLogSink]]) -> None:
        """Take sinks, each with its plugin's name."""
        self._sinks = [_Sink(name, sink) for name, sink in sinks]
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._read, name="fastgate-access-log", daemon=True)
        self._wake, wake = socket.socketpair()
        self._selector.register(wake, selectors.EVENT_READ)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that a sink was too slow for, or failed with."""
        return sum(sink.dropped for sink in self._sinks)

    def connect(self, worker: Worker) -> None:
        """Let a worker send its lines here."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker.send(Message(Type.SINK), theirs.fileno())
        theirs.close()
        self._selector.register(ours, selectors.EVENT_READ)  # epoll: the thread that waits takes it up

    def close(self) -> None:
        """Let sinks take what workers that have ended have sent, for a moment."""
        until = time.monotonic() + LAST_WORDS
        self._wake.close()
        self._thread.join(LAST_WORDS)
        for sink in self._sinks:
            sink.end(until)

    def _read(self) -> None:
        ending = False
        while not (ending and len(self._selector.get_map()) == 0):
            found = self._selector.select(0 if ending else None)
            if ending and not found:
                return  # workers that were left to another manager go on
            for key, _ in found:
                end: socket.socket = key.fileobj  # type: ignore[assignment] # of ours all are
                data = b""
                with suppress(ConnectionError):
                    data = end.recv(MESSAGE)
                if data:
                    self._take(data)
                    continue
                ending |= end.type == socket.SOCK_STREAM
                self._selector.unregister(end)
                end.close()

    def _take(self, data: bytes) -> None:
        lines = [_parsed(line) for line in data.splitlines()]
        for sink in self._sinks:
            sink.put(lines)


class _Sink:
    """One sink: its queue, and the thread that calls it."""

    def __init__(self, name: str, sink: AccessLogSink) -> None:
        self.name = name
        self.dropped = 0
        self._sink = sink
        self._said = 0.0
        self._queue: queue.Queue[list[dict[str, Any]] | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name=f"fastgate-sink-{name}", daemon=True)
        self._thread.start()

    def put(self, lines: list[dict[str, Any]]) -> None:
        try:
            self._queue.put_nowait(lines)
        except queue.Full:
            self.dropped += len(lines)

    def end(self, until: float) -> None:
        """Wait for the last line to be taken."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=max(0.0, until - time.monotonic()))
            self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            try:
                self._sink.write(lines)
            except Exception:
                self.dropped += len(lines)
                if time.monotonic() - self._said >= _LOG_INTERVAL:
                    log.exception("an access log sink of %s failed", self.name)
                    self._said = time.monotonic()


def _parsed(line: bytes) -> dict[str, Any]:
    if line.startswith(b"{"):
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {"text": line.decode("utf-8", "replace")}
