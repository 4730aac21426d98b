"""Binds sockets, runs workers, and moves all of them from one configuration to the next, or none.

A generation is published in two steps: every worker maps and validates the image and says so, then each swaps it in
between two turns of its loop. What does not get that far changes nothing. A worker that dies is replaced and gets the
sockets of its predecessor, whose connections were waiting in the accept queue meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastgate.control import Gone, Message, Type
from fastgate.core import snapshot
from fastgate.sockets import BindError, Group, bind
from fastgate.statistics import Statistics
from fastgate.translate.programmed import Bound
from fastgate.workers import Options, Worker, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastgate.ir import Endpoint, Ir

log = logging.getLogger(__name__)

STUCK = 5.0  # seconds without a turn of the loop, after which a worker is killed
HAND_OVER = 0.5  # seconds after which a sibling accepts for a worker that is gone
MAX_BACK_OFF = 10.0  # seconds between attempts to replace a worker that keeps dying
ROLL_BACK_DEATHS, ROLL_BACK_WINDOW = 3, 10.0

Table = dict[str, tuple["Endpoint", ...]]


class ApplyError(Exception):
    """The workers did not take a configuration; the one before is still served."""


@dataclass(slots=True)
class Published:
    """What is being served, and the descriptors that a replacement for a worker needs."""

    config: Ir | None = None
    image: bytes = b""
    image_fd: int = -1
    generation: int = 0
    endpoints: Table = field(default_factory=dict)
    endpoints_fd: int = -1
    version: int = 0


class ListenerManager:
    """The one owner of sockets and workers. Every method belongs to the event loop that `start` ran on."""

    def __init__(
        self,
        *,
        workers: int = 1,
        threads: bool = False,
        ports: Mapping[int, int] | None = None,
        orphan_timeout: int = 60_000,
        memory_limit: int = 0,
        log_fd: int = -1,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            workers: how many.
            threads: run them as threads of this process rather than as processes.
            ports: where a listener's port is bound in its place; 0 lets the system choose.
            orphan_timeout: ms that worker processes serve on when this process is gone.
            memory_limit: bytes of connection memory of a worker; 0 for no limit.
            log_fd: where access log lines go; -1 for nowhere. Not closed.
        """
        self._options = Options(workers, 0 if threads else orphan_timeout, memory_limit)
        self._threads = threads
        self._ports = dict(ports or {})
        self._log_fd = log_fd
        self._workers: list[Worker | None] = [None] * workers
        self._groups: dict[str, Group] = {}
        self._fates: dict[str, Bound] = {}
        self._now = Published()
        self._before: Published | None = None
        self._builder = snapshot.Builder()
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaths: list[float] = []
        self._committed_at = 0.0
        self._generations = 0  # both numbers only ever grow
        self._versions = 0
        self._stopping = False
        self._loans: dict[tuple[str, int], int] = {}  # (socket key, slot): the worker that accepts in its owner's place
        self.statistics = Statistics(workers)
        self.replaced = 0

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the workers and wait until each has reported."""
        for number in range(self._options.workers):
            self._workers[number] = self._launch(number)
        for worker in self._live():
            await worker.hello
        self._spawn(self._watch())

    async def drain(self, delay: float = 0.0, timeout: float = 60.0) -> bool:  # noqa: ASYNC109 - the workers keep it
        """Let the workers accept for `delay` seconds more, then finish what is open for at most `timeout` seconds.

        Returns whether all of them finished in time.
        """
        self._stopping = True
        workers = list(self._live())
        for worker in workers:
            worker.send(Message(Type.DRAIN, a=int(delay * 1000), b=int(timeout * 1000)))
        await asyncio.sleep(delay)
        for group in self._groups.values():
            group.close()  # the workers close theirs after they have accepted what waited; with ours nobody is left
        waits = [asyncio.ensure_future(w.drained.wait()) for w in workers]
        if waits:
            _, late = await asyncio.wait(waits, timeout=timeout + 1.0)
            for wait in late:
                wait.cancel()
            return not late
        return True

    async def stop(self) -> None:
        """End the workers at once and close every socket."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        for worker in self._live():
            worker.send(Message(Type.STOP))
        for worker in filter(None, self._workers):  # those that drained have ended and are still to be reaped
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.runner.ended(), 5.0)
            worker.close()
            worker.runner.kill()
        for group in self._groups.values():
            group.close()
        self._groups.clear()
        for fd in (self._now.image_fd, self._now.endpoints_fd, self._before.image_fd if self._before else -1):
            if fd >= 0:
                os.close(fd)
        self._now, self._before = Published(), None

    # --- what is served ----------------------------------------------------------------------------------------------

    @property
    def fates(self) -> Mapping[str, Bound]:
        """What became of each socket, by `Socket.key`."""
        return self._fates

    @property
    def bound(self) -> dict[str, tuple[str, int]]:
        """Address and port that are really bound, by `Socket.key`."""
        return {key: (group.address, group.port) for key, group in self._groups.items()}

    @property
    def generation(self) -> int:
        """The generation that is served; 0 before the first."""
        return self._now.generation

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that reported."""
        return [w.hello.result() for w in self._live() if w.hello.done() and not w.hello.exception()]

    @property
    def missing(self) -> int:
        """Workers that are not there."""
        return self._options.workers - len(self._live())

    async def apply(self, config: Ir, endpoints: Table) -> None:
        """Serve a configuration. Sockets that cannot be bound are in `fates`; the others are served.

        Raises:
            ApplyError: a worker refused the image, or died over it. What was served before still is.
        """
        async with self._lock:
            if self._now.generation and config == self._now.config:
                await self._set_endpoints(endpoints)
                return
            await self._set_endpoints({**self._now.endpoints, **endpoints})
            await self._publish(config)
            self._fates = self._bind(config)
            await self._listen(self._live())
            await self._forget_sockets({s.key for s in config.sockets})
            await self._set_endpoints(endpoints)

    async def publish_endpoints(self, endpoints: Table) -> None:
        """Serve other endpoints under the same configuration."""
        async with self._lock:
            await self._set_endpoints(endpoints)

    def reopen_log(self, fd: int) -> None:
        """Let access logs go to this descriptor from now on; it stays the caller's."""
        self._log_fd = fd
        for worker in self._live():
            worker.send(Message(Type.LOG), fd)

    async def _set_endpoints(self, endpoints: Table) -> None:
        if self._now.version and endpoints == self._now.endpoints:
            return
        self._versions += 1
        fd = snapshot.seal(snapshot.build_endpoints(endpoints, self._versions), "fastgate-endpoints")
        old, self._now.endpoints_fd = self._now.endpoints_fd, fd
        self._now.endpoints, self._now.version = endpoints, self._versions
        await _all(w.ask(Message(Type.ENDPOINTS, self._versions), Type.ENDPOINTS_SET, fd) for w in self._live())
        if old >= 0:
            os.close(old)

    async def _publish(self, config: Ir, image: bytes | None = None) -> None:
        self._generations += 1
        generation = self._generations
        image = (
            self._builder.build(config, generation) if image is None else snapshot.with_generation(image, generation)
        )
        fd = snapshot.seal(image, "fastgate-image")
        workers = list(self._live())
        try:
            await _every(w.ask(Message(Type.PREPARE, generation), Type.PREPARED, fd) for w in workers)
        except (Gone, WorkerError) as e:
            for worker in workers:
                worker.send(Message(Type.ABORT, generation))
            os.close(fd)
            raise ApplyError(str(e) or "a worker died while it prepared the configuration") from None
        if self._before is not None:
            os.close(self._before.image_fd)
        before = Published(self._now.config, self._now.image, self._now.image_fd, self._now.generation)
        self._before = before if before.generation else None
        self._now.config, self._now.image, self._now.image_fd, self._now.generation = config, image, fd, generation
        self._committed_at = time.monotonic()
        await _all(w.ask(Message(Type.COMMIT, generation), Type.COMMITTED) for w in workers)

    # --- sockets -----------------------------------------------------------------------------------------------------

    def _bind(self, config: Ir) -> dict[str, Bound]:
        fates = {}
        for s in config.sockets:
            group = self._groups.get(s.key)
            if group is None:
                try:
                    group = self._groups[s.key] = bind(
                        s.address, self._ports.get(s.port, s.port), self._options.workers
                    )
                except BindError as e:
                    fates[s.key] = Bound(error=str(e))
                    continue
            fates[s.key] = Bound(addresses=(s.address,) if s.address else own_addresses())
        return fates

    async def _listen(self, workers: Iterable[Worker]) -> None:
        """Give the workers those of their sockets that they do not have."""
        asks = []
        for worker in workers:
            for key, group in self._groups.items():
                if (key, worker.number) not in worker.listening:
                    worker.listening.add((key, worker.number))
                    asks.append(_listen(worker, key, group, worker.number))
        await _all(asks)

    async def _forget_sockets(self, wanted: set[str]) -> None:
        for key in [key for key in self._groups if key not in wanted]:
            asks = []
            for worker in self._live():
                for slot in [slot for k, slot in worker.listening if k == key]:
                    worker.listening.discard((key, slot))
                    asks.append(worker.ask(Message(Type.UNLISTEN, snapshot.key(key), slot), Type.UNLISTENED))
            await _all(asks)
            self._groups.pop(key).close()

    # --- supervision -------------------------------------------------------------------------------------------------

    def _live(self) -> list[Worker]:
        return [w for w in self._workers if w is not None and w.alive]

    def _launch(self, number: int) -> Worker:
        worker = Worker(number, self._options, self._log_fd, self._gone, thread=self._threads)
        self.statistics.attach(number, worker.slab)
        return worker

    def _spawn(self, coroutine: object) -> None:
        task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _gone(self, worker: Worker) -> None:
        worker.runner.kill()
        if self._stopping:
            return
        now = time.monotonic()
        self._deaths = [t for t in self._deaths if now - t < ROLL_BACK_WINDOW] + [now]
        self._workers[worker.number] = None
        self._spawn(self._replace(worker))
        self._spawn(self._lend(worker.number))

    async def _replace(self, dead: Worker) -> None:
        number = dead.number
        log.warning("worker %d died: %s", number, await dead.runner.ended())
        self.statistics.detach(number)
        if len(self._deaths) > 2 * self._options.workers:
            await asyncio.sleep(min(MAX_BACK_OFF, 0.1 * 2 ** min(len(self._deaths), 10)))
        if self._before is not None and self._recent_deaths() >= ROLL_BACK_DEATHS:
            await self._roll_back()
        worker = self._launch(number)
        try:
            await asyncio.wait_for(asyncio.shield(worker.hello), STUCK)
            async with self._lock:
                await self._equip(worker)
                self._workers[number] = worker
                await self._listen([worker])
                await self._call_in(number)
        except (Gone, WorkerError, TimeoutError) as e:
            log.warning("worker %d could not be replaced: %s", number, str(e) or "it died")
            if worker.alive:
                worker.runner.kill()
            return  # its own end brings the next attempt
        self.replaced += 1
        log.info("worker %d replaced by process %d", number, worker.hello.result())

    def _recent_deaths(self) -> int:
        return sum(t >= self._committed_at and t - self._committed_at < ROLL_BACK_WINDOW for t in self._deaths)

    async def _roll_back(self) -> None:
        async with self._lock:
            before = self._before
            if before is None or before.config is None:
                return
            log.error("workers die over generation %d: back to %d", self._now.generation, before.generation)
            self._deaths.clear()
            with suppress(ApplyError):
                await self._publish(before.config, before.image)

    async def _equip(self, worker: Worker) -> None:
        """Bring a new worker to the configuration that is served."""
        now = self._now
        if now.version:
            await worker.ask(Message(Type.ENDPOINTS, now.version), Type.ENDPOINTS_SET, now.endpoints_fd)
        if now.generation:
            await worker.ask(Message(Type.PREPARE, now.generation), Type.PREPARED, now.image_fd)
            await worker.ask(Message(Type.COMMIT, now.generation), Type.COMMITTED)

    async def _lend(self, number: int) -> None:
        """Let a sibling accept from the sockets of a worker that is gone for too long."""
        await asyncio.sleep(HAND_OVER)
        siblings = self._live()
        if self._workers[number] is not None or not siblings:
            return
        async with self._lock:
            for key, group in self._groups.items():
                if self._workers[number] is None and (key, number) not in self._loans:
                    sibling = siblings[number % len(siblings)]
                    self._loans[key, number] = sibling.number
                    sibling.listening.add((key, number))
                    await _all([_listen(sibling, key, group, number)])

    async def _call_in(self, number: int) -> None:
        """End the loans of a worker that is back."""
        for key, slot in [loan for loan in self._loans if loan[1] == number]:
            sibling = self._workers[self._loans.pop((key, slot))]
            if sibling is not None and (key, slot) in sibling.listening:
                sibling.listening.discard((key, slot))
                await _all([sibling.ask(Message(Type.UNLISTEN, snapshot.key(key), slot), Type.UNLISTENED)])

    async def _watch(self) -> None:
        """Kill workers whose loop stands still."""
        while True:
            await asyncio.sleep(1.0)
            for worker in self._live():
                beat = self.statistics.heartbeat(worker.number)
                if beat and time.clock_gettime(time.CLOCK_MONOTONIC) - beat > STUCK:
                    log.error("worker %d has been stuck for %.0f s and is killed", worker.number, STUCK)
                    worker.runner.kill()


async def _listen(worker: Worker, key: str, group: Group, slot: int) -> None:
    await worker.ask(Message(Type.LISTEN, snapshot.key(key), slot), Type.LISTENING, group.members[slot].fileno())


async def _all(asks: Iterable[object]) -> None:
    """Wait for answers; a worker that is gone meanwhile is replaced by its supervision and is no fault here."""
    for result in await asyncio.gather(*asks, return_exceptions=True):  # type: ignore[call-overload]
        if isinstance(result, BaseException) and not isinstance(result, Gone):
            raise result


async def _every(asks: Iterable[object]) -> None:
    """Wait for all answers, then raise the first fault."""
    for result in await asyncio.gather(*asks, return_exceptions=True):  # type: ignore[call-overload]
        if isinstance(result, BaseException):
            raise result


def own_addresses() -> tuple[str, ...]:
    """Return the sources of this machine's default routes, where others reach it; loopback when it has none."""
    found = []
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as s:
            s.connect((probe, 9))  # a datagram socket sends nothing here
            found.append(s.getsockname()[0])
    return tuple(found) or ("127.0.0.1",)
