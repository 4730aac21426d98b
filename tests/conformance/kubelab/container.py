"""One start of a container: a process, and what its probes say of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kubelab import probes

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from kubelab.api import Document

_LISTENS_SECONDS = 20.0  # without a readiness probe, ready once it listens, or after so long


class Container:
    """Leads a process group of its own."""

    def __init__(self, spec: Document, address: str, process: Process) -> None:
        self._spec, self._address, self._process = spec, address, process

    @classmethod
    async def start(
        cls, spec: Document, address: str, command: Sequence[str], variables: Mapping[str, str], log: Path
    ) -> Container:
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return cls(spec, address, process)

    async def live(self, became_ready: Callable[[bool], Awaitable[None]], grace: float) -> int:
        """Probe the process until it ends; its exit code. One that is not alive is ended, with `grace` seconds."""
        watchers = [
            asyncio.create_task(self._watch_readiness(became_ready)),
            asyncio.create_task(self._watch_liveness(grace)),
        ]
        try:
            return await self._process.wait()
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def end(self, grace: float) -> None:
        """Ask the process to end, and make it end after `grace` seconds."""
        for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience)
                return

    async def _watch_readiness(self, became_ready: Callable[[bool], Awaitable[None]]) -> None:
        await self._started_up()
        probe = self._spec.get("readinessProbe")
        if probe is None:
            await self._listens()
            await became_ready(True)
            return
        async for verdict in probes.verdicts(probe, self._spec, self._address, at_first=False):
            await became_ready(verdict)

    async def _watch_liveness(self, grace: float) -> None:
        await self._started_up()
        if probe := self._spec.get("livenessProbe"):
            async for _ in probes.verdicts(probe, self._spec, self._address, at_first=True):
                await self.end(grace)

    async def _started_up(self) -> None:
        if probe := self._spec.get("startupProbe"):
            async for _ in probes.verdicts(probe, self._spec, self._address, at_first=False):
                return

    async def _listens(self) -> None:
        end = time.monotonic() + _LISTENS_SECONDS
        while time.monotonic() < end:
            if _has_listener(self._process.pid):
                return
            await asyncio.sleep(0.05)


def _has_listener(pid: int) -> bool:
    """Whether something in a process's network namespace listens, or receives datagrams."""
    for table, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        with contextlib.suppress(OSError):  # it ended
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            if any(line.split()[3] == listening for line in lines):
                return True
    return False
