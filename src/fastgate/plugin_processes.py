"""Plugin processes: one beside each worker that needs one, watched, and replaced when it dies or hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastgate.control import Message, Type
from fastgate.core import filters, snapshot
from fastgate.plugins import inline
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.process import serve
from fastgate.runners import Process
from fastgate.stages import Offloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastgate.ir import Ir
    from fastgate.workers import Worker

log = logging.getLogger(__name__)

MEMORY_LIMIT = 512 << 20  # bytes; what filters import, their threads' stacks of 8 MiB each included
ANSWER_TIMEOUT = 10.0  # seconds for filters to be imported and started
LOOK = 0.25  # seconds between two looks at the processes
STUCK = 1.0  # seconds after which a process that does not answer is killed
MAX_BACK_OFF = 10.0  # seconds between attempts to replace a process that keeps dying
_FORGIVEN = 30.0  # seconds of life after which a death is the first one again


class PluginProcesses:
    """The plugin processes of one manager. Every method belongs to its event loop."""

    def __init__(
        self,
        replaced: Callable[[], None],
        *,
        threads: bool,
        memory_limit: int = MEMORY_LIMIT,
        catalog: Catalog | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            replaced: called for every process that has ended before its worker.
            threads: run them as threads of this process, beside workers that are threads.
            memory_limit: bytes of private memory that the filters of a process may take; 0 for no limit.
            catalog: of filters, for threads; None for what is installed.
        """
        self.replaced = replaced
        self._threads = threads
        self._memory_limit = memory_limit
        self._catalog = catalog
        if threads and catalog is not None:
            inline.offer(catalog)
        self._beside: dict[Worker, _Beside] = {}
        self._left: list[_Beside] = []
        self._ending: set[asyncio.Task[None]] = set()  # of workers that died
        self._offloaded = Offloaded()
        self.specs: dict[int, str] = {}  # stages of what is served, and of what is prepared
        self._needed: dict[int, str] = {}  # of them, those of what was prepared last

    async def prepare(self, config: Ir, workers: Sequence[Worker]) -> None:
        """Let these workers have what a configuration needs, beside what is served."""
        self._needed = {snapshot.key(stage.spec): stage.spec for stage in self._offloaded.of(config)}
        self.specs = {**self.specs, **self._needed}
        await self._configure(workers)

    async def settle(self, workers: Iterable[Worker]) -> None:
        """Stop what the configuration that was prepared, and is served now, does not need, after its last request."""
        if self._needed != self.specs:
            self.specs = self._needed
            await asyncio.gather(*(self._beside[worker].settle() for worker in workers if worker in self._beside))

    async def equip(self, worker: Worker) -> None:
        """Let a new worker have what is served."""
        await self._configure([worker])

    async def _configure(self, workers: Sequence[Worker]) -> None:
        for worker in [worker for worker in self._beside if not worker.alive]:
            beside = self._beside.pop(worker)
            beside.close()
            ending = asyncio.ensure_future(beside.ended())  # its process is waited for, lest it stays a zombie
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        if self.specs:
            for worker in workers:
                if worker not in self._beside and worker.alive:
                    self._beside[worker] = _Beside(self, worker)
        await asyncio.gather(*(self._beside[worker].configure() for worker in workers if worker in self._beside))

    def leave(self) -> None:
        """Let go of all of them: each ends with its worker, or when a successor gives that one another."""
        for beside in self._beside.values():
            beside.close()
        self._left += self._beside.values()
        self._beside.clear()
        self.specs, self._needed = {}, {}

    async def stop(self) -> None:
        """End all of them, whose workers have ended."""
        self.leave()
        await asyncio.gather(*(beside.ended() for beside in self._left), *self._ending)
        self._left.clear()
        if self._threads and self._catalog is not None:
            inline.withdraw(self._catalog)

    def launch(self, rings_fd: int, wake: socket.socket, channel: socket.socket) -> Process | None:
        """Start one; the descriptors stay the caller's."""
        fds = (rings_fd, wake.fileno(), channel.fileno())
        if not self._threads:
            return Process("fastgate.plugins.process", [str(n) for n in (*fds, self._memory_limit)], fds)
        copies = [os.dup(fd) for fd in fds]
        threading.Thread(target=_serve, args=(copies, self._catalog), name="fastgate-plugins", daemon=True).start()
        return None


class _Beside:
    """The plugin process of one worker, and those that take its place."""

    def __init__(self, processes: PluginProcesses, worker: Worker) -> None:
        self._processes = processes
        self._worker = worker
        self._specs: dict[int, str] = {}
        self._process: Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = 0
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._closed = False
        self._there = asyncio.Event()
        self._answered = asyncio.Event()
        self._settling: asyncio.Task[None] | None = None
        self._task = asyncio.ensure_future(self._keep())

    async def configure(self) -> None:
        """Let it run all stages that there are. What cannot be run is logged, and its calls fail."""
        await self._configure({**self._specs, **self._processes.specs})

    async def settle(self) -> None:
        """Let it run no others; but while exchanges go on that others may be called for, leave that to the last one."""
        if self._worker.alone.is_set():
            await self._configure(self._processes.specs)
        elif self._settling is None or self._settling.done():
            self._settling = asyncio.ensure_future(self._settle_later())

    async def _settle_later(self) -> None:
        while not self._worker.alone.is_set():
            await self._worker.alone.wait()
        await self._configure(self._processes.specs)

    async def _configure(self, specs: dict[int, str]) -> None:
        self._specs = specs
        try:
            await asyncio.wait_for(self._there.wait(), ANSWER_TIMEOUT)
            await self._tell()
        except (TimeoutError, ConnectionError):
            log.error("the plugin process of worker %d does not answer", self._worker.number)  # noqa: TRY400 - its own log says why

    def close(self) -> None:
        """Let go of it; it ends with its worker."""
        self._closed = True
        self._task.cancel()
        if self._settling is not None:
            self._settling.cancel()

    async def ended(self) -> None:
        """Wait for its end, and bring it about when it does not come by itself."""
        await asyncio.gather(self._task, return_exceptions=True)
        if self._process is None:
            return
        wait = asyncio.ensure_future(self._process.ended())
        try:
            await asyncio.wait_for(asyncio.shield(wait), STUCK)
        except TimeoutError:
            self._process.kill()
            await wait

    async def _tell(self) -> None:
        answer = await self._ask({"stages": {str(key): spec for key, spec in self._specs.items()}}, ANSWER_TIMEOUT)
        for why in answer["failed"].values():
            log.error("worker %d: %s", self._worker.number, why)

    async def _ask(self, message: dict[str, Any], timeout: float) -> dict[str, Any]:  # noqa: ASYNC109 - of this question
        if self._writer is None:
            raise ConnectionError
        self._numbers += 1
        number = self._numbers
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps({**message, "number": number}).encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, timeout)
        finally:
            self._asked.pop(number, None)

    async def _keep(self) -> None:
        """Start it, again and again, as long as its worker lives."""
        deaths = 0
        while self._worker.alive:
            began = time.monotonic()
            await self._live()
            if self._closed or not self._worker.alive:
                return
            deaths = 1 if time.monotonic() - began > _FORGIVEN else deaths + 1
            self._processes.replaced()
            if deaths > 1:
                await asyncio.sleep(min(MAX_BACK_OFF, 0.05 * 2 ** min(deaths, 10)))

    async def _live(self) -> None:
        """One process, from its start to its end."""
        rings_fd = os.memfd_create("fastgate-rings", os.MFD_CLOEXEC)
        os.ftruncate(rings_fd, filters.RINGS_SIZE)
        engine_end, wake = socket.socketpair()
        ours, channel = socket.socketpair()
        try:
            self._process = self._processes.launch(rings_fd, wake, channel)
            engine_end.setblocking(False)
            self._worker.send(Message(Type.PLUGIN), rings_fd, engine_end.fileno())
        finally:
            os.close(rings_fd)
            for end in (engine_end, wake, channel):
                end.close()
        try:
            reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        except BaseException:
            ours.close()
            raise
        answers = asyncio.ensure_future(self._hear(reader))
        watch = asyncio.ensure_future(self._watch())
        try:
            self._there.set()
            if self._specs:
                with suppress(TimeoutError, ConnectionError):
                    await self._tell()
            await answers
        finally:
            self._there.clear()
            self._answered.clear()
            for task in (answers, watch):
                task.cancel()
            self._writer.close()
            writer, self._writer = self._writer, None
            await asyncio.gather(answers, watch, writer.wait_closed(), return_exceptions=True)
        if self._process is not None and not self._closed:
            how = await self._process.ended()
            if self._worker.alive:  # else it ended with its worker
                log.error("the plugin process of worker %d ended: %s", self._worker.number, how)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):  # it died with a question unread
            while line := await reader.readline():
                answer = json.loads(line)
                self._answered.set()
                waiting = self._asked.get(answer["number"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError())

    async def _watch(self) -> None:
        """Kill it when its event loop stands still, from its first answer on: before, it imports filters."""
        await self._answered.wait()
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self._ask({}, STUCK)
            except TimeoutError:
                log.error("the plugin process of worker %d is stuck and is killed", self._worker.number)  # noqa: TRY400 - likewise
                if self._process is not None:
                    self._process.kill()
                return
            except ConnectionError:
                return


def _serve(fds: list[int], catalog: Catalog | None) -> None:
    """Be the plugin process of a worker that is a thread."""
    rings, wake, channel = fds
    try:
        asyncio.run(serve(rings, socket.socket(fileno=wake), socket.socket(fileno=channel), catalog or Catalog()))
    finally:
        os.close(rings)
