"""The plugin process beside a worker: takes calls from its rings, runs them on an event loop, and puts the verdicts.

Its manager says over a channel of JSON lines which stages there are: {"number": n, "stages": {key: spec}}; the answer,
when those that are new have started, is {"number": n, "failed": {key: why}}. A stage that is no longer named stops
after its last request. A line without stages only asks whether the loop turns.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from fastgate.core import filters
from fastgate.plugins import wire
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.stage import LOG, Stage, StageError

log = logging.getLogger("fastgate.filter")

THREADS = 8  # for `def` callbacks
REPORT_DELAY = 0.05  # seconds until the engine is woken for what it does not wait for
CALLS_PER_TURN = 64  # of the event loop: between them timers and sockets of filters have their turn
_PR_SET_NAME = 15


class Host:
    """Stages, and the calls that are made of them. Everything but `def` callbacks happens on the running loop."""

    def __init__(self, rings: filters.Rings, wake: socket.socket, catalog: Catalog) -> None:
        """Serve the calls of these rings; `wake` is the socket beside them."""
        self._rings = rings
        self._wake = wake
        self._catalog = catalog
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fastgate-filter")
        self._stages: dict[int, Stage] = {}
        self._old: set[int] = set()  # keys of stages that stop after their last request
        self._running: dict[tuple[int, int], set[asyncio.Task[None]]] = {}  # by stage and exchange
        self._waiting: deque[bytes] = deque()  # verdicts for which the ring had no room
        self._flushing = False
        self._reporting = False
        self.ended = self._loop.create_future()
        wake.setblocking(False)
        self._loop.add_reader(wake, self._woken)
        self._loop.call_soon(self._take)

    # --- stages ------------------------------------------------------------------------------------------------------

    async def configure(self, specs: dict[int, str]) -> dict[int, str]:
        """Run these stages, and return what is wrong with those that cannot be run."""
        faults: dict[int, str] = {}
        for key, spec in specs.items():
            self._old.discard(key)
            if key in self._stages:
                continue
            try:
                stage = Stage(spec, self._catalog, partial(self._loop.run_in_executor, self._threads))
                await stage.start()
            except StageError as e:
                faults[key] = str(e)
            else:
                self._stages[key] = stage
        while (call := self._rings.take()) is not None:  # that was made before a stage was said to be unneeded
            self._begin(call)
        self._old |= self._stages.keys() - specs.keys()
        await self._stop_old()
        return faults

    async def _stop_old(self) -> None:
        running = {stage for stage, _ in self._running}
        for key in [key for key in self._old if key not in running and not self._stages[key].busy]:
            self._old.discard(key)
            await self._stages.pop(key).stop()

    async def stop(self) -> None:
        """Stop every stage."""
        self._loop.remove_reader(self._wake)
        running = [task for tasks in self._running.values() for task in tasks]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._old.clear()
        while self._stages:
            await self._stages.popitem()[1].stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # --- calls -------------------------------------------------------------------------------------------------------

    def _woken(self) -> None:
        try:
            gone = not self._wake.recv(64)
        except BlockingIOError:
            gone = False
        except OSError:
            gone = True
        if gone:
            self._loop.remove_reader(self._wake)
            if not self.ended.done():
                self.ended.set_result(None)
            return
        self._take()

    def _take(self) -> None:
        for _ in range(CALLS_PER_TURN):
            call = self._rings.take()
            if call is None:
                if self._rings.sleep():
                    return
                continue
            self._begin(call)
        self._loop.call_soon(self._take)

    def _begin(self, call: filters.Call) -> None:
        stage = self._stages.get(call.stage)
        if call.phase == filters.END:
            for task in self._running.get((call.stage, call.exchange), ()):
                task.cancel()
            if stage is not None:
                stage.end(call.exchange)
                if call.stage in self._old:
                    self._loop.create_task(self._stop_old())
            return
        if stage is None:
            self._put(wire.failed(call))
            return
        task = self._loop.create_task(self._run(stage, call))
        key = (call.stage, call.exchange)
        self._running.setdefault(key, set()).add(task)
        task.add_done_callback(partial(self._done, key))

    def _done(self, key: tuple[int, int], task: asyncio.Task[None]) -> None:
        tasks = self._running[key]
        tasks.discard(task)
        if not tasks:
            del self._running[key]
            if key[0] in self._old:
                self._loop.create_task(self._stop_old())

    async def _run(self, stage: Stage, call: filters.Call) -> None:
        timer = self._loop.call_at(call.deadline, asyncio.current_task().cancel)  # type: ignore[union-attr]
        try:
            verdict = await stage.run(call)
            if call.phase == LOG:
                self._report(verdict)
            else:
                self._put(verdict)
        except asyncio.CancelledError:
            self._report(call.reported(b""))  # nobody waits any more
        except Exception:
            log.exception("a filter failed")
            self._put(wire.failed(call))
        finally:
            timer.cancel()

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def _put(self, verdict: bytes) -> None:
        if self._waiting or not self._rings.put(verdict):
            self._waiting.append(verdict)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _report(self, verdict: bytes) -> None:
        """Put what nobody waits for: the engine finds it when it is woken for something else, or a little later."""
        if self._waiting or not self._rings.put(verdict):
            self._waiting.append(verdict)
        if not self._reporting:
            self._reporting = True
            self._loop.call_later(REPORT_DELAY, self._flush)

    def _flush(self) -> None:
        """Wake the engine, once for all verdicts of a turn."""
        self._flushing = self._reporting = False
        while self._waiting and self._rings.put(self._waiting[0]):
            self._waiting.popleft()
        if self._rings.must_wake():
            try:
                self._wake.send(b"\0")
            except BlockingIOError:
                pass  # it has wakes enough
            except OSError:
                return  # the worker is gone, and `_woken` will hear of it
        if self._waiting:
            self._flushing = True
            self._loop.call_later(0.001, self._flush)


async def serve(rings_fd: int, wake: socket.socket, channel: socket.socket, catalog: Catalog) -> None:
    """Serve calls until the worker is gone. Without a manager the stages stay what they are."""
    with wake:
        host = Host(filters.Rings(rings_fd), wake, catalog)
        reader, writer = await asyncio.open_connection(sock=channel, limit=1 << 28)
        follow = asyncio.ensure_future(_follow(host, reader, writer))
        await host.ended
        follow.cancel()
        await host.stop()
        writer.close()
        await asyncio.gather(follow, writer.wait_closed(), return_exceptions=True)


async def _follow(host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do what the manager says."""
    while line := await reader.readline():
        message: dict[str, Any] = json.loads(line)
        faults: dict[int, str] = {}
        if "stages" in message:
            faults = await host.configure({int(key): spec for key, spec in message["stages"].items()})
        answer = {"number": message["number"], "failed": {str(key): why for key, why in faults.items()}}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


def log_to_stderr() -> None:
    """Set up logging. Libraries only warn: some tell of each request that they make, with all of its URL."""
    logging.basicConfig(level=logging.WARNING, format="fastgate-plugin: %(message)s", stream=sys.stderr)
    logging.getLogger("fastgate").setLevel(logging.INFO)


def limit_memory(more: int) -> None:
    """Let this process have so many bytes of private memory more than it has."""
    has = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = has + more if hard == resource.RLIM_INFINITY else min(has + more, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main(arguments: list[str]) -> int:
    """Run the process: three descriptors (rings, wake socket, channel), bytes of memory that filters may take or 0."""
    rings, wake, channel, memory = map(int, arguments)
    for fd in (rings, wake, channel):
        os.set_inheritable(fd, False)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, b"fastgate-plugin", 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the manager acts on them; terminals and systemd send them to all
    if memory:
        limit_memory(memory)
    log_to_stderr()
    asyncio.run(serve(rings, socket.socket(fileno=wake), socket.socket(fileno=channel), Catalog()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
