"""The front end of a data plane: what its controller says is served, and before that what was served last."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastgate.plugins.discovery import Catalog
from fastgate.remote import wire
from fastgate.remote.difference import EMPTY
from fastgate.remote.last_known_good import LastKnownGood
from fastgate.remote.link import Link
from fastgate.translate.mode import FILES

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from fastgate.remote.share import Share
    from fastgate.runtime import Prepared, Report
    from fastgate.server import Server

log = logging.getLogger("fastgate")

_LISTING = 60.0  # seconds to import every filter that is installed


class DataPlane:
    """A `Front` over a controller."""

    mode = FILES
    is_patient = True

    def __init__(self, address: str, identity: Path, state: Path | None, *, instance: str) -> None:
        """Serve what a controller says.

        Args:
            address: "HOST:PORT" of the controllers.
            identity: the directory with tls.crt, tls.key and ca.crt.
            state: the directory of what was served last; None: it is not kept.
            instance: name under which a restarted server finds its workers; "" derives one.
        """
        self.name = instance or f"data-plane-{hashlib.sha256(str(identity.absolute()).encode()).hexdigest()[:12]}"
        self._link = Link(address, identity, self._hello)
        self._link.on_share = self._take
        self._kept = LastKnownGood(state) if state is not None else None
        self._newest: Share = EMPTY
        self._prepared: Share = EMPTY
        self._have = asyncio.Event()
        self._filters: dict[str, str] = {}
        self._reports: set[asyncio.Task[None]] = set()
        self._server: Server

    async def open(self, server: Server) -> None:
        """Begin with what was served last, and be told."""
        self._server = server
        kept = await asyncio.to_thread(self._kept.read) if self._kept is not None else None
        if kept is not None:
            log.info("revision %d was served last", kept.revision)
            self._link.served = kept.revision
            self._take(kept)
        self._linked = asyncio.ensure_future(self._be_told())

    async def prepare(self, *, strict: bool = False) -> Prepared:  # noqa: ARG002 - the controller has judged it
        """Prepare the newest Share, once there is one."""
        await self._have.wait()
        self._prepared = self._newest
        return await self._server.runtime.prepare_ir(self._prepared.ir, self._prepared.endpoints)

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Be told, and keep what is served."""
        keeping = [self._kept.run()] if self._kept is not None else []
        return [self._follow(), *keeping]

    def served(self, report: Report, before: int) -> None:  # noqa: ARG002 - endpoints have no generation
        """Tell the controller, and keep it."""
        share = self._prepared
        error = "" if report.applied else "; ".join(str(problem) for problem in report.problems)
        if error:
            log.error("revision %d is refused: %s", share.revision, error)
        else:
            if self._kept is not None:
                self._kept.keep(share)
            log.info("revision %d is served", share.revision)
        fates = {key: fate.error or "" for key, fate in self._server.manager.fates.items()}
        task = asyncio.ensure_future(self._link.report(share, error, fates))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    def show(self) -> None:
        """The controller is told."""

    async def close(self) -> None:
        """Be told nothing more."""
        self._linked.cancel()
        await asyncio.gather(self._linked, return_exceptions=True)
        if self._kept is not None:
            await asyncio.to_thread(self._kept.write)

    def _take(self, share: Share) -> None:
        self._newest = share
        if self._have.is_set():
            self._server.reload()
        else:
            self._have.set()  # the first preparation waits for it

    async def _be_told(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run())
            self._filters = await asyncio.to_thread(_filters)  # which takes a while: they are imported
            if self._filters:
                await self._link.greet()

    async def _follow(self) -> None:
        """A fault of our own ends the server rather than leaving it deaf."""
        await asyncio.shield(self._linked)

    def _hello(self, revision: int) -> wire.Hello:
        return wire.Hello(wire.PROTOCOL, version("fastgate"), socket.gethostname(), revision, self._filters)


def _filters() -> dict[str, str]:
    """Return the filters that are installed, with hashes of their configurations' schemas.

    They are imported by another process: here only those are that something uses.
    """
    if not Catalog().names():
        return {}
    command = [sys.executable, "-m", "fastgate", "plugins", "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LISTING).stdout
    try:
        return {each["type"]: _hash(each.get("schema")) for each in json.loads(printed)["filters"]}
    except ValueError:
        return {}


def _hash(schema: Any) -> str:
    return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]
