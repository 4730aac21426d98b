"""The workers of one manager: started, adopted, replaced when they die or stand still, retired for newer ones."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fastgate.adoption import adopt
from fastgate.control import Gone, Message, Type
from fastgate.core import snapshot
from fastgate.runners import Adopted
from fastgate.statistics import Statistics, pulse_of
from fastgate.tickets import TicketKeys
from fastgate.workers import Options, Worker, WorkerError, launch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from fastgate.adoption import Orphan
    from fastgate.instance import Instance
    from fastgate.sinks import Sinks

log = logging.getLogger(__name__)

START_TIMEOUT = 5.0  # seconds for a worker to report
LOOK = 0.2  # seconds between two looks at the workers' loops
STUCK = 25  # looks that find no turn of a worker's loop before it is aborted
STUCK_IN_PYTHON = 3  # likewise, when an inline filter hangs: it and the start of another take less than 1 s
HAND_OVER = 0.5  # seconds after which a sibling accepts for a worker that is gone
MAX_BACK_OFF = 10.0  # seconds between attempts to replace a worker that keeps dying
ROLL_BACK_DEATHS, ROLL_BACK_WINDOW = 3, 10.0


class Supervisor:
    """Keeps `options.workers` workers alive. Every method belongs to the event loop that `start` ran on.

    Attributes:
        away: numbers of workers that have been gone for longer than a moment.
        sinks: what takes access logs besides `log_fd`; to be set before `start`.
        statistics: of all workers that there ever were.
    """

    def __init__(
        self, options: Options, *, threads: bool, log_fd: int, instance: Instance | None, renew: bool = False
    ) -> None:
        """Start nothing yet. `renew`: adopted workers are replaced even when they run our code."""
        self.log_fd = log_fd
        self.sinks: Sinks | None = None
        self.away: set[int] = set()
        self.statistics = Statistics()
        self.on_return: Callable[[Worker], Awaitable[None]]  # gives a new worker what it has to serve
        self.on_absence: Callable[[], Awaitable[None]]  # `away` has grown
        self.on_deaths: Callable[[], Awaitable[None]]  # too many since the last commit
        self.on_health: Callable[[Worker, Message], None]  # a worker's check of an endpoint says something else
        self._tickets = TicketKeys()
        self._options = options
        self._threads = threads
        self._instance = instance
        self._renew = renew
        self._workers: list[Worker | None] = [None] * options.workers
        self._starting: set[Worker] = set()
        self._retiring: set[Worker] = set()
        self._successors: set[Worker] = set()  # that are to take the place of living ones
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: set[str] = set()  # addresses of workers that were left to a successor
        self._deaths: list[float] = []
        self._committed_at = 0.0
        self._stopping = False

    # --- who there is ------------------------------------------------------------------------------------------------

    def live(self) -> list[Worker]:
        """Return the workers that serve, in the order of their numbers."""
        return [w for w in self._workers if w is not None and w.alive]

    def all(self) -> list[Worker]:
        """Return every worker with a channel: also those that are starting or retiring."""
        return [*self.live(), *self._starting, *self._successors, *self._retiring]

    @property
    def retiring(self) -> int:
        """Workers that another one has replaced, and that finish what they have open."""
        return len(self._retiring)

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> list[Orphan]:
        """Adopt the workers that are there, start the others, and wait until each has reported.

        Returns all that were adopted. Those that do not stay serve on until `retire`.
        """
        self._stopping = False
        orphans = await adopt(self._instance, self._gone, self._health) if self._instance is not None else []
        for orphan in sorted(orphans, key=lambda o: o.worker.address not in self._left):  # our own before another's
            worker, number = orphan.worker, orphan.worker.number
            self.statistics.attach(worker.slab)
            orphan.stays &= not self._renew and number < self._options.workers and self._workers[number] is None
            if orphan.stays:
                self._workers[number] = worker
            else:
                self._retiring.add(worker)
        kept = [json.loads(o.kept) for o in orphans if o.kept]
        self.statistics.restore(kept)
        self._tickets.restore(document["tickets"] for document in kept if "tickets" in document)
        self._tickets.refresh(time.time())
        for number in range(self._options.workers):
            self._workers[number] = self._workers[number] or self._launch(number)
        for worker in self.live():
            await worker.ready
            self.equip(worker)
        self.spawn(self._watch())
        self.spawn(self._rotate_tickets())
        return orphans

    def equip(self, worker: Worker) -> None:
        """Give a worker what it needs whatever is served."""
        if self.log_fd >= 0 and isinstance(worker.runner, Adopted):
            worker.send(Message(Type.LOG), self.log_fd)
        if self.sinks is not None:
            self.sinks.connect(worker)
        self._give_tickets(worker)
        self.keep(worker)

    def keep(self, *workers: Worker) -> None:
        """Let workers, by default all, keep the statistics and the keys of session tickets for a successor."""
        if self._instance is None:
            return
        document = {**self.statistics.document(), "tickets": self._tickets.document()}
        fd = snapshot.seal(json.dumps(document).encode(), "fastgate-kept")
        for worker in workers or self.all():
            worker.send(Message(Type.KEEP), fd)
        os.close(fd)

    def retire(self, timeout: int) -> None:
        """Let those that do not stay finish within `timeout` ms; their sockets have been given to others.

        They are told so: who drains alone reads on for the UDP sessions that it has.
        """
        for worker in self._retiring:
            log.info("worker process %d is replaced and drains", worker.pid)
            for key, slot in sorted(worker.listening):
                worker.send(Message(Type.UNLISTEN, snapshot.key(key), slot))
            worker.listening.clear()
            worker.send(Message(Type.DRAIN, a=0, b=timeout))

    async def successors(self) -> list[Worker]:
        """Start another worker for each that serves, and wait until all have reported. They are none of `live` yet.

        Raises:
            Gone, WorkerError, TimeoutError: one did not come up; there are none then.
        """
        started = [self._launch(worker.number) for worker in self.live()]
        self._successors.update(started)
        try:
            for worker in started:
                await asyncio.wait_for(asyncio.shield(worker.ready), START_TIMEOUT)
                self.equip(worker)
        except BaseException:
            self.give_up(started)
            raise
        return started

    def succeed(self, successors: Iterable[Worker]) -> None:
        """Let them take the places of their predecessors, which are to `retire`."""
        for worker in successors:
            before, self._workers[worker.number] = self._workers[worker.number], worker
            self._successors.discard(worker)
            if before is not None and before.alive:
                self._retiring.add(before)

    def give_up(self, successors: Iterable[Worker]) -> None:
        """End them: nothing takes anybody's place."""
        for worker in successors:
            worker.runner.kill()

    def leave(self) -> None:
        """Leave the workers to a successor: from now on they are orphans."""
        self._cease()
        self._left = {worker.address for worker in self.all()}
        for worker in self.all():
            worker.close()
        self._workers = [None] * self._options.workers
        self._starting.clear()
        self._successors.clear()
        self._retiring.clear()
        self.statistics.forget_workers()
        self._renew = False

    async def stop(self) -> None:
        """End the workers at once."""
        self._cease()
        ending = [
            *filter(None, self._workers),
            *self._starting,
            *self._successors,
            *self._retiring,
        ]  # those that drained are to be reaped
        for worker in ending:
            worker.send(Message(Type.STOP))
        for worker in ending:
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.runner.ended(), 5.0)
            worker.runner.kill()
            self._remove(worker)
        self.leave()

    def _cease(self) -> None:
        self._stopping = True
        for task in self._tasks:
            task.cancel()

    def cease_replacing(self) -> None:
        """Let workers end from now on: they drain."""
        self._stopping = True

    def spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        """Run something until the end of the supervision."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _launch(self, number: int) -> Worker:
        worker = launch(
            number,
            self._options,
            self._gone,
            self._health,
            log_fd=self.log_fd,
            instance=self._instance,
            thread=self._threads,
        )
        self.statistics.attach(worker.slab)
        return worker

    # --- session tickets ---------------------------------------------------------------------------------------------

    def _give_tickets(self, *workers: Worker) -> None:
        fd = self._tickets.seal()
        for worker in workers:
            worker.send(Message(Type.TICKETS), fd)
        os.close(fd)

    async def _rotate_tickets(self) -> None:
        while True:
            await asyncio.sleep(self._tickets.due(time.time()))
            if self._tickets.refresh(time.time()):
                self._give_tickets(*self.all())
                self.keep()

    # --- death -------------------------------------------------------------------------------------------------------

    def committed(self) -> None:
        """Count deaths afresh: another generation is served from now on."""
        self._committed_at = time.monotonic()

    def _gone(self, worker: Worker) -> None:
        worker.runner.kill()
        self._starting.discard(worker)
        if self._stopping:
            return
        self.statistics.detach(worker.slab)
        self._remove(worker)
        self.keep()
        if worker in self._retiring:
            self._retiring.discard(worker)
            log.info("worker process %d has drained", worker.pid)
            self.spawn(self._reap(worker))
            return
        if worker in self._successors:
            self._successors.discard(worker)
            self.spawn(self._reap(worker))
            return
        now = time.monotonic()
        self._deaths = [t for t in self._deaths if now - t < ROLL_BACK_WINDOW] + [now]
        if self._workers[worker.number] is worker:
            self._workers[worker.number] = None
            self.spawn(self._note_absence(worker.number))
        self.spawn(self._replace(worker))

    async def _reap(self, worker: Worker) -> None:
        await worker.runner.ended()

    def _health(self, worker: Worker, message: Message) -> None:
        self.on_health(worker, message)

    def _remove(self, worker: Worker) -> None:
        if self._instance is not None:
            self._instance.remove(worker.address)

    async def _replace(self, dead: Worker) -> None:
        number = dead.number
        log.warning("worker %d died: %s", number, await dead.runner.ended())
        since_commit = sum(0 <= t - self._committed_at < ROLL_BACK_WINDOW for t in self._deaths)
        if since_commit >= ROLL_BACK_DEATHS:
            await self.on_deaths()
        if len(self._deaths) > 2 * self._options.workers:
            await asyncio.sleep(min(MAX_BACK_OFF, 0.1 * 2 ** min(len(self._deaths), 10)))
        worker = self._launch(number)
        self._starting.add(worker)
        try:
            await asyncio.wait_for(asyncio.shield(worker.ready), START_TIMEOUT)
            self.equip(worker)
            await self.on_return(worker)
        except (Gone, WorkerError, TimeoutError) as e:
            log.warning("worker %d could not be replaced: %s", number, str(e) or "it died")
            if worker.alive:
                worker.runner.kill()
            return  # its own end brings the next attempt
        self.statistics.own["workers_replaced"] += 1
        self.keep()
        log.info("worker %d replaced by process %d", number, worker.pid)

    def returned(self, worker: Worker) -> None:
        """Count a new worker in: it has everything that the others have but sockets."""
        self._starting.discard(worker)
        self.away.discard(worker.number)
        self._workers[worker.number] = worker

    def forgive(self) -> None:
        """Forget the deaths so far: their cause is removed."""
        self._deaths.clear()

    async def _note_absence(self, number: int) -> None:
        await asyncio.sleep(HAND_OVER)
        if self._workers[number] is None:
            self.away.add(number)
            await self.on_absence()

    async def _watch(self) -> None:
        """End workers whose loop stands still while ours does not."""
        seen: dict[Worker, tuple[int, int]] = {}  # turns, and looks that found no more
        while True:
            await asyncio.sleep(LOOK)
            before, seen = seen, {}
            for worker in self.live():
                turns, in_python = pulse_of(worker.slab)
                last, looks = before.get(worker, (-1, 0))
                seen[worker] = turns, looks + 1 if turns == last else 0
                if not worker.ready.done():
                    continue
                if in_python and seen[worker][1] >= STUCK_IN_PYTHON:
                    log.error("an inline filter hangs: worker %d is killed", worker.number)
                    worker.runner.kill()
                elif seen[worker][1] == STUCK:
                    log.error("worker %d has been stuck for %d s and is aborted", worker.number, STUCK * LOOK)
                    worker.runner.kill(signal.SIGABRT)
                elif seen[worker][1] > STUCK:
                    worker.runner.kill()
