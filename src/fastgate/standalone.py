"""The standalone server: files in, signals and systemd around it, the manager and its workers below."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastgate.admin import views
from fastgate.admin.server import AdminServer
from fastgate.listener_manager import ListenerManager
from fastgate.output import print_problems, print_table
from fastgate.runtime import Report, Runtime
from fastgate.sources.files import GRACE, Files
from fastgate.sources.watch import changes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from fastgate.ir import AccessLog

log = logging.getLogger("fastgate")


class Standalone:
    """`fastgate run`."""

    def __init__(
        self,
        paths: list[Path],
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
    ) -> None:
        """Keep the options; see `fastgate run --help` for what they mean."""
        self._files = Files(paths)
        self._paths = paths
        self._workers = workers
        self._ports = ports
        self._access_log = access_log
        self._log_file = access_log_file
        self._admin_address = admin
        self._strict = strict
        self._keep_going = keep_going
        self._drain = (drain_delay, drain_timeout)
        self._options: dict[str, Any] = {"orphan_timeout": orphan_timeout, "memory_limit": memory_limit}
        self._wanted = asyncio.Event()  # a reload
        self._ending = asyncio.Event()
        self._at_once = asyncio.Event()
        self._log_fd = -1
        self._manager: ListenerManager
        self._runtime: Runtime
        self._admin: AdminServer | None = None
        self._shown: list[dict[str, object]] = []

    async def run(self) -> int:
        """Serve until a signal ends it. Returns the exit status."""
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        try:
            self._log_fd = self._open_log()
        except OSError as e:
            print(f"fastgate: {self._log_file}: {e.strerror}", file=sys.stderr)
            return 1
        self._manager = ListenerManager(workers=self._workers, ports=self._ports, log_fd=self._log_fd, **self._options)
        self._runtime = Runtime(self._manager, strict=self._strict, access_log=self._access_log)
        self._handle_signals()
        await self._manager.start()
        try:
            return await self._serve()
        finally:
            await self._manager.stop()

    async def _serve(self) -> int:
        watch = changes(self._paths)
        await anext(watch)  # before anything is read, so that no change falls between
        report = await self._load()
        failed = bool(report.errors) or not report.applied or any(f.error for f in self._manager.fates.values())
        if failed and not self._keep_going:
            for fate in self._manager.fates.values():
                if fate.error is not None:
                    print(f"fastgate: {fate.error}", file=sys.stderr)
            print("fastgate: not started; --keep-going serves what is valid", file=sys.stderr)
            return 1
        if not await self._start_admin():
            return 1
        self._show()
        _notify("READY=1")
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._reload(), self._follow(watch), self._runtime.keep_resolving())
        ]
        ended = asyncio.ensure_future(self._ending.wait())
        done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done:
                task.result()  # a fault of our own ends the server rather than leaving it deaf
            task.cancel()
        return await self._finish()

    async def _finish(self) -> int:
        _notify("STOPPING=1")
        if self._admin is not None:
            self._admin.draining = True
        delay, timeout = self._drain
        log.info("draining for at most %g s", delay + timeout)
        drained = asyncio.ensure_future(self._manager.drain(delay, timeout))
        at_once = asyncio.ensure_future(self._at_once.wait())
        await asyncio.wait([drained, at_once], return_when=asyncio.FIRST_COMPLETED)
        clean = drained.done() and drained.result()
        for task in (drained, at_once):
            task.cancel()
        if self._admin is not None:
            await self._admin.stop()
        log.info("stopped" if clean else "stopped with requests open")
        return 0

    # --- configuration -----------------------------------------------------------------------------------------------

    async def _load(self) -> Report:
        gc.disable()  # resources have no cycles, and collections would take most of the time of a reload
        try:
            sources, problems = await asyncio.to_thread(self._files.read)
            report = await self._runtime.apply(sources, problems)
        finally:
            gc.enable()
        gc.freeze()  # what is served is not looked at again; references are counted all the same
        print_problems(report.problems)
        return report

    async def _reload(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            before = self._manager.generation
            _notify("RELOADING=1\nMONOTONIC_USEC=" + str(int(asyncio.get_running_loop().time() * 1e6)))
            report = await self._load()
            _notify("READY=1")
            if not report.applied:
                log.error("configuration refused; generation %d is still served", before)
            elif report.generation != before:
                log.info("generation %d is served", report.generation)
                self._show()
            if self._files.pending():
                asyncio.get_running_loop().call_later(GRACE, self._wanted.set)

    async def _follow(self, watch: AsyncIterator[None]) -> None:
        async for _ in watch:
            self._wanted.set()

    def _show(self) -> None:
        """Print what is served, when it is not what was printed last."""
        served = views.sockets(self._runtime)
        if served == self._shown:
            return
        self._shown = served
        rows = [
            [
                s["gateway"],
                s["listener"],
                s["protocol"],
                s["hostname"] or "*",
                s["error"] or s["address"],
                str(s["routes"]),
            ]
            for s in served
        ]
        print_table(["GATEWAY", "LISTENER", "PROTOCOL", "HOSTNAME", "ADDRESS", "ROUTES"], rows, sys.stderr)
        if not rows:
            print(
                "no listener is served: the files have no Gateway of class fastgate with a valid listener",
                file=sys.stderr,
            )

    # --- around it ---------------------------------------------------------------------------------------------------

    async def _start_admin(self) -> bool:
        if self._admin_address is None:
            return True
        self._admin = AdminServer(self._runtime)
        try:
            host, port = await self._admin.start(*self._admin_address)
        except OSError as e:
            print(f"fastgate: admin listener: {e.strerror}; --admin chooses another address, or off", file=sys.stderr)
            return False
        log.info("admin listener on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        return True

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
        self._manager.reopen_log(fd)
        os.close(self._log_fd)
        self._log_fd = fd

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._wanted.set)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_log)

    def _end(self) -> None:
        if self._ending.is_set():
            self._at_once.set()
        self._ending.set()


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), when it wants to know."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.connect("\0" + path[1:] if path.startswith("@") else path)
        s.send(state.encode())
