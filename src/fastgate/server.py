"""The server: what every front end has around its source of configuration, and the manager and its workers below.

A `Front` says what is to be served; signals, systemd, the admin listener and succession are the same for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Protocol

from fastgate import settings, systemd
from fastgate.admin.server import AdminServer
from fastgate.collector import Collector
from fastgate.handover import HandOverError, Predecessor, Successor
from fastgate.instance import Instance, InstanceError, InUseError
from fastgate.listener_manager import ListenerManager
from fastgate.output import print_problems
from fastgate.runtime import Runtime
from fastgate.sinks import Sinks

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from fastgate.ir import AccessLog
    from fastgate.plugins.manager import Hooks
    from fastgate.runtime import Prepared, Report
    from fastgate.translate.mode import Mode

log = logging.getLogger("fastgate")

REBIND = 1.0  # seconds between attempts to bind what could not be bound


class Front(Protocol):
    """Where the configuration comes from.

    Attributes:
        name: of the instance, under which a restarted server finds its workers.
        mode: how stores are read.
        is_patient: it may take long until there is something to serve, and faults in it keep nothing from starting.
    """

    name: str
    mode: Mode
    is_patient: bool

    async def open(self, server: Server) -> None:
        """Begin to follow what is to be served; what changes from now on ends in `server.reload()`."""

    async def prepare(self, *, strict: bool = False) -> Prepared:
        """Return what is to be served now. `strict` refuses any error."""

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the server, for ever."""

    def served(self, report: Report, before: int) -> None:
        """Learn what came of what was prepared last; `before` is the generation that was served until then."""

    def show(self) -> None:
        """Tell who looks on what is served now."""

    async def close(self) -> None:
        """Follow nothing more; connections are drained by now."""


class Server:
    """`fastgate run`."""

    def __init__(
        self,
        front: Front,
        *,
        workers: int,
        ports: Mapping[int, int],
        access_log: AccessLog | None,
        access_log_file: Path | None,
        admin: tuple[str, int] | None,
        strict: bool,
        keep_going: bool,
        drain_delay: float,
        drain_timeout: float,
        orphan_timeout: int,
        memory_limit: int,
        plugin_memory_limit: int,
        hooks: Hooks,
    ) -> None:
        """Keep the options; see `fastgate run --help` for what they mean."""
        self._front = front
        self._workers = workers
        self._ports = ports
        self._access_log = access_log
        self._log_file = access_log_file
        self._admin_address = admin
        self._strict = strict
        self._keep_going = keep_going or front.is_patient
        self._drain = (drain_delay, drain_timeout)
        self._options: dict[str, Any] = {
            "orphan_timeout": orphan_timeout,
            "memory_limit": memory_limit,
            "plugin_memory_limit": plugin_memory_limit,
        }
        self._wanted = asyncio.Event()  # a reload
        self._upgrade = asyncio.Event()
        self._ending = asyncio.Event()
        self._at_once = asyncio.Event()
        self._changing = asyncio.Lock()  # one reload or hand-over at a time
        self._log_fd = -1
        self._predecessor: Predecessor | None = None
        self._instance: Instance | None = None
        self._hooks = hooks
        self._collector = Collector()
        self._loop: asyncio.AbstractEventLoop
        self.manager: ListenerManager
        self.runtime: Runtime
        self._admin: AdminServer | None = None

    async def run(self) -> int:
        """Serve until a signal ends it. Returns the exit status."""
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
        self._handle_signals()
        self._predecessor = Predecessor.find()
        try:
            self._log_fd = self._open_log()
            self._instance = self._claimed()
        except OSError as e:
            print(f"fastgate: {self._log_file}: {e.strerror}", file=sys.stderr)
            return 1
        except InUseError as e:
            print(f"fastgate: {e}", file=sys.stderr)
            return 1
        self.manager = ListenerManager(
            workers=self._workers, ports=self._ports, log_fd=self._log_fd,
            instance=self._instance, renew=self._predecessor is not None, **self._options,
        )  # fmt: skip
        self.runtime = Runtime(
            self.manager,
            strict=self._strict,
            access_log=self._access_log,
            hooks=self._hooks,
            mode=self._front.mode,
        )
        try:
            await self._hooks.call_and_wait("fastgate_startup")
            self.manager.sinks = Sinks.of(self._hooks)
            await self._front.open(self)
            return await self._begin()
        finally:
            await self._front.close()
            if self.manager.sinks is not None:
                await asyncio.to_thread(self.manager.sinks.close)
            await self._hooks.call_and_wait("fastgate_shutdown")
            if self._instance is not None and self._predecessor is None:
                self._instance.release()

    async def _begin(self) -> int:
        """Load, take over what there is to take over, and serve."""
        prepared = None
        if self._predecessor is not None or not self._front.is_patient:
            prepared = await self._unless_ended(self._prepare(strict=not self._keep_going))
            if prepared is None:
                return 0
            if prepared.translation is None and not self._keep_going:
                print_problems(prepared.problems)
                return _not_started()
        try:
            inherited = await asyncio.to_thread(self._predecessor.take_over) if self._predecessor is not None else None
        except (OSError, HandOverError) as e:
            log.error("nothing was handed over: %s", e)  # noqa: TRY400 - no fault of ours
            return 1
        return await self._live(prepared, inherited)

    async def _live(self, prepared: Prepared | None, inherited: socket.socket | None) -> int:
        """Start or adopt the workers, and serve until the end; what is not prepared yet is prepared first."""
        adopted = await self.manager.start()
        if adopted:
            log.info("adopted %d workers", adopted)
        try:
            if prepared is None:
                if not await self._start_admin(inherited):  # health is asked for while nothing is served yet
                    return self._give_up(adopted)
                prepared = await self._unless_ended(self._prepare())
                if prepared is None:
                    return await self._finish()
            if not await self._start(prepared, inherited):
                return self._give_up(adopted)
            return await self._serve()
        finally:
            await self.manager.stop()

    def _give_up(self, adopted: int) -> int:
        """End without having served; who served before goes on."""
        if adopted or self._predecessor is not None:
            self.manager.leave()  # ours too: they have accepted connections by now
        return 1

    async def _start(self, prepared: Prepared, inherited: socket.socket | None) -> bool:
        """Serve for the first time. Returns whether that is what was asked for."""
        report = await self.runtime.publish(prepared)
        self._front.served(report, 0)
        failed = bool(report.errors) or not report.applied or any(f.error for f in self.manager.fates.values())
        if failed and not self._keep_going:
            for fate in self.manager.fates.values():
                if fate.error is not None:
                    print(f"fastgate: {fate.error}", file=sys.stderr)
            _not_started()
            return False
        if self._admin is None and not await self._start_admin(inherited):
            return False
        self._front.show()
        if self._predecessor is not None:
            self._predecessor.serving()
            self._predecessor = None
            if self._instance is not None:
                self._instance.sign()
        systemd.notify("READY=1")
        self.manager.retire(self._drain[1])
        return True

    async def _serve(self) -> int:
        handed_over = asyncio.ensure_future(self._hand_over_when_asked())
        tasks = [
            handed_over,
            *map(
                asyncio.ensure_future,
                (
                    self._reload(),
                    self._rebind(),
                    self.runtime.keep_resolving(),
                    systemd.keep_alive(),
                    *self._front.tasks(),
                ),
            ),
        ]
        ended = asyncio.ensure_future(self._ending.wait())
        done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if task in done:
                task.result()  # a fault of our own ends the server rather than leaving it deaf
        return 0 if handed_over in done else await self._finish()

    async def _finish(self) -> int:
        systemd.notify("STOPPING=1")
        if self._admin is not None:
            self._admin.draining = True
        delay, timeout = self._drain
        log.info("draining for at most %g s", delay + timeout)
        drained = asyncio.ensure_future(self.manager.drain(delay, timeout))
        at_once = asyncio.ensure_future(self._at_once.wait())
        await asyncio.wait([drained, at_once], return_when=asyncio.FIRST_COMPLETED)
        clean = drained.done() and drained.result()
        for task in (drained, at_once):
            task.cancel()
        await self._stop_admin()
        log.info("stopped" if clean else "stopped with requests open")
        return 0

    # --- succession --------------------------------------------------------------------------------------------------

    def _claimed(self) -> Instance | None:
        """The instance, so that a successor finds our workers; without one they end with this process."""
        try:
            if self._predecessor is not None:
                return Instance.inherit(self._front.name, self._predecessor.lock)
            return Instance.claim(self._front.name)
        except InUseError:
            raise
        except InstanceError as e:
            log.warning("nobody will adopt the workers of this process: %s", e)
            return None

    async def _hand_over_when_asked(self) -> None:
        """Return when a successor serves."""
        while True:
            await self._upgrade.wait()
            self._upgrade.clear()
            if os.getpid() == 1 or self._instance is None:
                log.error("no hand-over: process 1 has to stay, and a successor needs the runtime directory")
            elif await self._hand_over(self._instance):
                return

    async def _hand_over(self, instance: Instance) -> bool:
        try:
            successor = Successor.start(instance.lock)
        except OSError as e:
            log.error("the new version cannot be started: %s", e)  # noqa: TRY400 - no fault of ours
            return False
        log.info("handing over to process %d", successor.pid)
        listening, left = None, False
        try:
            await successor.ready()
            async with self._changing:
                listening, left = await self._stop_admin(), True
                self.manager.leave()
                await successor.take_over(listening)
        except (HandOverError, OSError, asyncio.CancelledError) as e:
            log.error("the new version did not come up, and this one serves on: %s", e)  # noqa: TRY400 - it has said why
            await successor.give_up()
            if left:
                await self.manager.resume(self._drain[1])
                await self._start_admin(listening)
            if isinstance(e, asyncio.CancelledError):
                raise
            return False
        systemd.notify(f"MAINPID={successor.pid}")
        log.info("process %d serves", successor.pid)
        self._predecessor = None
        return True

    # --- configuration -----------------------------------------------------------------------------------------------

    async def _prepare(self, *, strict: bool = False) -> Prepared:
        with self._collector.paused():
            return await self._front.prepare(strict=strict)

    async def _reload(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            async with self._changing:
                before = self.manager.generation
                systemd.notify_reloading()
                report = await self.runtime.publish(await self._prepare())
                systemd.notify("READY=1")
            self._front.served(report, before)
            if report.applied and report.generation != before:
                self._front.show()

    async def _rebind(self) -> None:
        """Try again to bind what could not be bound: who had it may be gone."""
        while True:
            await asyncio.sleep(REBIND)
            report = await self.runtime.rebind()
            if report is not None:
                self._front.served(report, report.generation)
                self._front.show()

    async def renew(self) -> Report:
        """Serve by new workers, with new plugin processes; those of now finish what they have open."""
        async with self._changing:
            await self.runtime.reload_filters()
            return await self.runtime.publish(await self._prepare(), renew=self._drain[1])

    async def _unless_ended(self, preparation: Coroutine[Any, Any, Prepared]) -> Prepared | None:
        """Return what is prepared; None when a signal ends the server before."""
        prepared = asyncio.ensure_future(preparation)
        ended = asyncio.ensure_future(self._ending.wait())
        await asyncio.wait([prepared, ended], return_when=asyncio.FIRST_COMPLETED)
        for task in (prepared, ended):
            if not task.done():
                task.cancel()
        return prepared.result() if prepared.done() and not prepared.cancelled() else None

    def reload(self) -> None:
        """Reload soon; from any thread."""
        self._loop.call_soon_threadsafe(self._wanted.set)

    # --- around it ---------------------------------------------------------------------------------------------------

    async def _start_admin(self, inherited: socket.socket | None) -> bool:
        if self._admin_address is None:
            return True
        self._admin = AdminServer(self.runtime)
        try:
            host, port = await self._admin.start(*self._admin_address, inherited)
        except OSError as e:
            print(f"fastgate: admin listener: {e.strerror}; --admin chooses another address, or off", file=sys.stderr)
            return False
        log.info("admin listener on http://%s", settings.spelled(host, port))
        return True

    async def _stop_admin(self) -> socket.socket | None:
        return await self._admin.stop() if self._admin is not None else None

    def _open_log(self) -> int:
        if self._log_file is None:
            return sys.stdout.fileno()
        return os.open(self._log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _reopen_log(self) -> None:
        if self._log_file is None:
            return
        try:
            fd = self._open_log()
        except OSError as e:
            log.error("%s cannot be opened again: %s", self._log_file, e.strerror)  # noqa: TRY400 - no fault of ours
            return
        self.manager.reopen_log(fd)
        os.close(self._log_fd)
        self._log_fd = fd

    def _handle_signals(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._wanted.set)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_log)
        loop.add_signal_handler(signal.SIGUSR2, self._upgrade.set)

    def _end(self) -> None:
        if self._ending.is_set():
            self._at_once.set()
        self._ending.set()


def _not_started() -> int:
    print("fastgate: not started; --keep-going serves what is valid", file=sys.stderr)
    return 1
