"""The front end of files: what they say is served, and what changes in them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from fastgate.admin import views
from fastgate.instance import derived_name
from fastgate.output import print_problems, print_table
from fastgate.plugins.reload import ReloadError, sources
from fastgate.sources.files import GRACE, Files
from fastgate.sources.plugged import Plugged
from fastgate.sources.watch import changes, code
from fastgate.translate.mode import FILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping
    from pathlib import Path

    from fastgate.plugins.manager import Hooks
    from fastgate.runtime import Prepared, Report
    from fastgate.server import Server

log = logging.getLogger("fastgate")


class Standalone:
    """A `Front` over files, directories and the configuration sources of plugins."""

    mode = FILES
    is_patient = False

    def __init__(self, paths: list[Path], *, ports: Mapping[int, int], instance: str, dev: bool, hooks: Hooks) -> None:
        """Read these paths.

        Args:
            paths: files and directories.
            ports: where listeners' ports are bound in their places; tells instances apart that read the same.
            instance: name of the instance; "" derives one.
            dev: serve by new workers when sources of filters change.
            hooks: plugins of the process.
        """
        self.name = instance or derived_name(paths, ports)
        self._paths = paths
        self._files = Files(paths)
        self._hooks = hooks
        self._plugged = Plugged()
        self._dev = dev
        self._server: Server
        self._watch: AsyncIterator[None]
        self._shown: list[dict[str, object]] = []
        if dev:  # byte code is told from older one by the second and the size of its source
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

    async def open(self, server: Server) -> None:
        """Watch the files before anything is read, so that no change falls between."""
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        self._server = server
        self._plugged = Plugged(self._hooks, server.reload)
        self._watch = changes(self._paths)
        await anext(self._watch)

    async def prepare(self, *, strict: bool = False) -> Prepared:
        """Read, validate and translate."""
        documents, problems = await asyncio.to_thread(self._files.read)
        more, wrong = await asyncio.to_thread(self._plugged.read)
        return await self._server.runtime.prepare([*documents, *more], [*problems, *wrong], strict=strict)

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Follow the files, and the code of filters with --dev."""
        return [self._follow(), *([self._follow_code()] if self._dev else [])]

    def served(self, report: Report, before: int) -> None:
        """Print what is wrong, and say what is served."""
        print_problems(report.problems)
        if before and not report.applied:
            log.error("configuration refused; generation %d is still served", before)
        elif before and report.generation != before:
            log.info("generation %d is served", report.generation)
        if self._files.pending():
            asyncio.get_running_loop().call_later(GRACE, self._server.reload)

    def show(self) -> None:
        """Print what is served, when it is not what was printed last."""
        served = views.sockets(self._server.runtime)
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

    async def close(self) -> None:
        """Nothing is open."""

    async def _follow(self) -> None:
        async for _ in self._watch:
            self._server.reload()

    async def _follow_code(self) -> None:
        """Serve by new workers when filters were changed where their sources are."""
        paths = sources()
        log.info("filters are reloaded when these change: %s", ", ".join(map(str, paths)) or "there are none")
        if not paths:
            await asyncio.Event().wait()  # for ever
        async for _ in code(paths):
            try:
                report = await self._server.renew()
            except ReloadError as e:
                log.error("filters stay as they were: %s", e)  # noqa: TRY400 - it says where
                continue
            print_problems(report.problems)
            log.info("filters are reloaded" if report.applied else "filters stay as they were")
