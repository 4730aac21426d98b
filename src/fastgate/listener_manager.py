"""Moves sockets and workers from one configuration to the next, or none of them.

The parts are `publication` (images, endpoints), `listeners` (sockets) and `supervision` (workers). This puts them in
order, one change at a time, and undoes a change that kills workers.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from fastgate.control import Gone, Message, Type
from fastgate.health import Health
from fastgate.listeners import Listeners
from fastgate.plugin_processes import MEMORY_LIMIT, PluginProcesses
from fastgate.publication import ApplyError, Publication
from fastgate.supervision import Supervisor
from fastgate.workers import Options, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastgate.instance import Instance
    from fastgate.ir import Ir
    from fastgate.plugins.discovery import Catalog
    from fastgate.publication import Table
    from fastgate.sinks import Sinks
    from fastgate.statistics import Statistics
    from fastgate.translate.programmed import Bound
    from fastgate.workers import Worker

__all__ = ["ApplyError", "ListenerManager"]

log = logging.getLogger(__name__)


class ListenerManager:
    """The one owner of sockets and workers. Every method belongs to the event loop that `start` ran on.

    Attributes:
        on_roll_back: called with the reason after a configuration that kills workers was given up for the one before.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        threads: bool = False,
        ports: Mapping[int, int] | None = None,
        orphan_timeout: int = 60_000,
        memory_limit: int = 0,
        plugin_memory_limit: int = MEMORY_LIMIT,
        log_fd: int = -1,
        instance: Instance | None = None,
        renew: bool = False,
        catalog: Catalog | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            workers: how many.
            threads: run them as threads of this process rather than as processes.
            ports: where a listener's port is bound in its place; 0 lets the system choose.
            orphan_timeout: ms that worker processes serve on when this process is gone.
            memory_limit: bytes of connection memory of a worker; 0 for no limit.
            plugin_memory_limit: bytes that the filters of a plugin process may take; 0 for no limit. Threads have none.
            log_fd: where access log lines go; -1 for nowhere. Not closed.
            instance: whose workers are adopted, and where a successor finds ours; None for neither.
            renew: replace all adopted workers, also those that run our code.
            catalog: of filters, for workers that are threads; by default what is installed.
        """
        self.on_roll_back: Callable[[str], None] = lambda _: None
        self._workers = workers
        self._supervisor = Supervisor(
            Options(workers, 0 if threads else orphan_timeout, memory_limit),
            threads=threads, log_fd=log_fd, instance=None if threads else instance, renew=renew,
        )  # fmt: skip
        self._supervisor.on_return = self._return
        self._supervisor.on_absence = self._settle
        self._supervisor.on_deaths = self._roll_back
        self._supervisor.on_health = self._health_changed
        self._listeners = Listeners(dict(ports or {}), workers)
        self._publication = Publication()
        self.plugins = PluginProcesses(
            partial(self.count, "plugin_processes_replaced"),
            threads=threads, memory_limit=plugin_memory_limit, catalog=catalog,
        )  # fmt: skip
        self.health = Health()
        self._before: tuple[Ir, Table] | None = None  # what is gone back to
        self._lock = asyncio.Lock()

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> int:
        """Adopt the workers of the instance, start those that are missing, and wait until each has reported.

        Returns how many were adopted; they serve what they did until `apply`.
        """
        orphans = await self._supervisor.start()
        for orphan in orphans:
            self._publication.follow(orphan.generation, orphan.version)
            for held in orphan.held:
                self._listeners.adopt(held)
        for key in [key for key in self._listeners.groups if self._listeners.is_elsewhere(key)]:
            await self._listeners.close_all_but(self._listeners.groups.keys() - {key}, self._supervisor.all())
        for orphan in orphans:
            self.health.tell(orphan.worker)
        return len(orphans)

    def retire(self, timeout: float) -> None:
        """Let adopted workers that others have replaced finish what is open within `timeout` seconds."""
        self._supervisor.retire(int(timeout * 1000))

    def leave(self) -> None:
        """Leave workers and sockets to a successor. `resume` takes them back."""
        self.plugins.leave()
        self._supervisor.leave()

    async def resume(self, timeout: float) -> None:  # noqa: ASYNC109 - the workers keep it
        """Take the workers back from a successor that did not come up, whose own get `timeout` seconds to finish."""
        async with self._lock:
            await self.start()
            config, endpoints = self._publication.config, self._publication.endpoints
            if config is not None:
                self._publication.close()
                await self._switch(config, endpoints)
        self.retire(timeout)

    async def drain(self, delay: float = 0.0, timeout: float = 60.0) -> bool:  # noqa: ASYNC109 - the workers keep it
        """Let the workers accept for `delay` seconds more, then finish what is open for at most `timeout` seconds.

        Returns whether all of them finished in time.
        """
        self._supervisor.cease_replacing()
        workers = self._supervisor.all()
        for worker in workers:
            worker.send(Message(Type.DRAIN, a=int(delay * 1000), b=int(timeout * 1000)))
        await asyncio.sleep(delay)
        self._listeners.close()  # the workers close theirs after they have accepted what waited
        waits = [asyncio.ensure_future(w.drained.wait()) for w in workers]
        if waits:
            _, late = await asyncio.wait(waits, timeout=timeout + 1.0)
            for wait in late:
                wait.cancel()
            return not late
        return True

    async def stop(self) -> None:
        """End the workers at once and close every socket."""
        self.plugins.leave()
        await self._supervisor.stop()
        await self.plugins.stop()
        self._listeners.close()
        self._publication.close()
        self._before = None

    # --- what is served ----------------------------------------------------------------------------------------------

    @property
    def fates(self) -> Mapping[str, Bound]:
        """What became of each socket, by `Socket.key`."""
        return self._listeners.fates

    @property
    def bound(self) -> dict[str, tuple[str, int]]:
        """Address and port that are really bound, by `Socket.key`."""
        return {key: (group.address, group.port) for key, group in self._listeners.groups.items()}

    @property
    def generation(self) -> int:
        """The generation that is served; 0 before the first."""
        return self._publication.generation

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that reported."""
        return [w.pid for w in self._supervisor.live() if w.pid]

    @property
    def missing(self) -> int:
        """Workers that are not there."""
        return self._workers - len(self._supervisor.live())

    @property
    def retiring(self) -> int:
        """Workers that another one has replaced, and that finish what they have open."""
        return self._supervisor.retiring

    @property
    def statistics(self) -> Statistics:
        """What all workers and the manager count."""
        return self._supervisor.statistics

    @property
    def sinks(self) -> Sinks | None:
        """What takes access logs besides `log_fd`; to be set before `start`."""
        return self._supervisor.sinks

    @sinks.setter
    def sinks(self, sinks: Sinks | None) -> None:
        self._supervisor.sinks = sinks

    def count(self, name: str) -> None:
        """Count something of `statistics.OWN`."""
        self.statistics.own[name] += 1
        self._supervisor.keep()

    async def apply(self, config: Ir, endpoints: Table) -> None:
        """Serve a configuration. Sockets that cannot be bound are in `fates`; the others are served.

        Raises:
            ApplyError: a worker refused the image, or died over it. What was served before still is.
        """
        async with self._lock:
            served, changes = self._publication, self.health.changes
            if served.config == config:
                await served.set_endpoints(endpoints, self._supervisor.live())
            else:
                before = (served.config, dict(served.endpoints)) if served.config is not None else None
                await self._switch(config, endpoints)
                self._before = before
            self._follow_health(changes)

    async def renew(self, config: Ir, endpoints: Table, timeout: float) -> None:  # noqa: ASYNC109 - the workers keep it
        """Serve a configuration by new workers; those of now finish what they have open within `timeout` seconds.

        They take nothing more from when this returns.

        Raises:
            ApplyError: the new workers did not take it. What was served before still is, by who did.
        """
        async with self._lock:
            successors: list[Worker] = []
            predecessors = self._supervisor.live()
            try:
                successors = await self._supervisor.successors()
                await self._switch(config, endpoints, successors)
                await self._listeners.leave(predecessors)
            except (ApplyError, Gone, WorkerError, TimeoutError) as e:
                self._supervisor.give_up(successors)
                raise ApplyError(str(e) or "a new worker died") from None
            self._before = None  # its filters may be others by now
            for worker in successors:
                self.health.tell(worker)
            self.health.follow(self._publication.config, self._publication.endpoints)
        self.retire(timeout)

    async def rebind(self) -> bool:
        """Try again to bind what could not be bound. Returns whether something came of it."""
        async with self._lock:
            config, before = self._publication.config, self.fates
            if config is None or not any(fate.error for fate in before.values()):
                return False
            self._listeners.bind(config)
            await self._listeners.settle(self._supervisor.live(), self._supervisor.away)
            return self.fates != before

    async def publish_endpoints(self, endpoints: Table) -> None:
        """Serve other endpoints under the same configuration."""
        async with self._lock:
            changes = self.health.changes
            await self._publication.set_endpoints(endpoints, self._supervisor.live())
            self._follow_health(changes)

    def reopen_log(self, fd: int) -> None:
        """Let access logs go to this descriptor from now on; it stays the caller's."""
        self._supervisor.log_fd = fd
        for worker in self._supervisor.all():
            worker.send(Message(Type.LOG), fd)

    # --- under the lock ----------------------------------------------------------------------------------------------

    async def _switch(self, config: Ir, endpoints: Table, successors: Sequence[Worker] = ()) -> None:
        """Endpoints of added clusters, the image, sockets, then the removal of what is unused.

        With successors the image is for them, and once they have it they take the places of those that serve.
        """
        served, workers = self._publication, successors or self._supervisor.live()
        await served.set_endpoints({**served.endpoints, **endpoints}, self._supervisor.live())
        for worker in successors:
            await served.equip_endpoints(worker)
        await self.plugins.prepare(config, workers)
        await served.publish(config, workers, self._supervisor.committed)
        self._supervisor.succeed(successors)
        self._listeners.bind(config)
        await self._listeners.settle(self._supervisor.live(), self._supervisor.away)
        await self._listeners.close_all_but({s.key for s in config.sockets}, self._supervisor.live())
        await served.set_endpoints(endpoints, self._supervisor.live())
        await self.plugins.settle(self._supervisor.live())

    def _follow_health(self, changes: int) -> None:
        """Note what is checked now. A worker that was late may have missed what changed since `changes`: it is told."""
        if self.health.changes != changes:
            for worker in self._supervisor.live():
                self.health.tell(worker)
        self.health.follow(self._publication.config, self._publication.endpoints)

    # --- what the supervision asks for -------------------------------------------------------------------------------

    async def _return(self, worker: Worker) -> None:
        async with self._lock:
            await self.plugins.equip(worker)
            await self._publication.equip(worker)
            self._supervisor.returned(worker)
            self.health.tell(worker)
            await self._listeners.settle(self._supervisor.live(), self._supervisor.away)

    def _health_changed(self, worker: Worker, message: Message) -> None:
        self.health.heard(message)
        for other in self._supervisor.live():
            if other is not worker:
                other.send(Message(Type.HEALTH, message.key, a=message.a))

    async def _settle(self) -> None:
        async with self._lock:
            await self._listeners.settle(self._supervisor.live(), self._supervisor.away)

    async def _roll_back(self) -> None:
        async with self._lock:
            if self._before is None:
                return
            given_up = self._publication.generation
            (config, endpoints), self._before = self._before, None
            self._supervisor.forgive()
            with suppress(ApplyError):  # no worker is left to serve it: each new one will
                await self._switch(config, endpoints)
            reason = f"workers died over generation {given_up}: the configuration before it is served again"
            log.error("%s, as generation %d", reason, self.generation)
            self.count("roll_backs")
            self.on_roll_back(reason)
