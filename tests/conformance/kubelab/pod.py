"""One Pod: a process in a network namespace of its own, from its binding to its deletion.

Only its first container runs, and no init container; securityContext and resources are ignored. After an exit the process starts
again at once, then after pauses that double.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kubelab import environment, network, probes, volumes
from kubelab.downward import NODE_NAME

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from kubelab.api import Document
    from kubelab.node import Node

_ROOT = Path(__file__).with_name("pod_root.sh")
_LONGEST_PAUSE = 30.0  # seconds before a restart
_STEADY_SECONDS = 60.0  # a process that lived so long starts again at once
_LISTENS_SECONDS = 20.0  # without a readiness probe, ready once it listens, or after so long


class Pod:
    """Owns its process, its namespace and its directory; writes its status."""

    def __init__(self, node: Node, document: Document) -> None:
        self._node, self._document = node, document
        metadata = document["metadata"]
        self.name = f"{metadata['namespace']}/{metadata['name']}"
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._container: Document = document["spec"]["containers"][0]
        self._place = node.directory / metadata["uid"]
        self._network: network.PodNetwork | None = None
        self._ready, self._restarts, self._started = False, 0, now()
        self._deletion = asyncio.Event()
        self._grace: float = 0
        self._writing = asyncio.Lock()
        self._life = asyncio.create_task(self._live())

    def delete(self, grace: float) -> None:
        """Ask the process to end, end it after `grace` seconds, then take the Pod out of the API."""
        self._grace = grace
        self._deletion.set()

    async def _live(self) -> None:
        prepared = asyncio.create_task(self._prepare())
        try:
            await self._first(prepared)
            if prepared.done():
                await self._keep_running(*prepared.result())
        except Exception as error:  # noqa: BLE001 - one bad Pod must not stop the others
            print(f"{self.name}: {error!r}", flush=True)
            with contextlib.suppress(Exception):
                await self._report("Pending", {"waiting": {"reason": type(error).__name__, "message": str(error)}})
            await self._deletion.wait()
        finally:
            prepared.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await prepared  # it may be making the network
            if self._network:
                await asyncio.to_thread(self._network.remove)
        await self._node.gone(self._document)

    async def _first(self, task: asyncio.Task) -> None:
        """Wait for a task, at most until the Pod is deleted."""
        deletion = asyncio.create_task(self._deletion.wait())
        try:
            await asyncio.wait((task, deletion), return_when=asyncio.FIRST_COMPLETED)
        finally:
            deletion.cancel()

    async def _prepare(self) -> tuple[list[str], dict[str, str]]:
        """Command and environment, once there are a network and volumes."""
        spec, metadata = self._document["spec"], self._document["metadata"]
        entry_point = self._node.entry_point(self._container["image"])
        if not spec.get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE_NAME}
            await self._node.api.post(
                f"{self._path}/binding", {"metadata": {"name": metadata["name"]}, "target": target}
            )
        self._network = await self._node.network(metadata["uid"], host=spec.get("hostNetwork", False))
        address, namespace = self._network.address, self._network.namespace
        mounts = await volumes.make(self._node.api, self._document, self._container, address, self._place / "volumes")
        variables = await environment.variables(self._node.api, self._document, self._container, address)
        words = environment.command(self._container, entry_point, variables)
        (self._place / "root").mkdir(parents=True, exist_ok=True)
        binds = [str(part) for mount in mounts for part in mount]
        return [
            "ip",
            "netns",
            "exec",
            namespace,
            "sh",
            str(_ROOT),
            str(self._place / "root"),
            *binds,
            "--",
            *words,
        ], variables

    async def _keep_running(self, command: list[str], variables: dict[str, str]) -> None:
        pause = 0.0
        while not self._deletion.is_set():
            since = time.monotonic()
            process = await self._start(command, variables)
            await self._report("Running", {"running": {"startedAt": now()}})
            code = await self._attend(process)
            if code is None:
                return
            print(f"{self.name}: exited {code}", flush=True)
            policy = self._document["spec"].get("restartPolicy", "Always")
            ended = {
                "terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": now()}
            }
            self._ready = False
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                await self._report("Failed" if code else "Succeeded", ended)
                await self._deletion.wait()
                return
            self._restarts += 1
            pause = 0.0 if time.monotonic() - since > _STEADY_SECONDS else pause
            if pause:
                await self._report("Running", {"waiting": {"reason": "CrashLoopBackOff"}}, ended)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._deletion.wait(), pause)
            pause = min(max(1.0, pause * 2), _LONGEST_PAUSE)

    async def _start(self, command: list[str], variables: dict[str, str]) -> Process:
        with self._node.log(self.name).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                env=variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _attend(self, process: Process) -> int | None:
        """Probe a process until it ends; its exit code. None if the Pod was deleted, and the process ended for that."""
        async with _cancelled(self._watch_readiness(process), self._watch_liveness(process)):
            await self._first(asyncio.ensure_future(process.wait()))
        if process.returncode is not None and not self._deletion.is_set():
            return process.returncode
        await self._end(process, self._grace)
        return None

    async def _watch_readiness(self, process: Process) -> None:
        await self._started_up(process)
        probe = self._container.get("readinessProbe")
        if probe is None:
            await _listens(process.pid)
            await self._become(ready=True)
            return
        async for verdict in probes.verdicts(probe, self._container, self._address, at_first=False):
            await self._become(ready=verdict)

    async def _watch_liveness(self, process: Process) -> None:
        probe = self._container.get("livenessProbe")
        if probe is None:
            return
        await self._started_up(process)
        async for _ in probes.verdicts(probe, self._container, self._address, at_first=True):
            print(f"{self.name}: not alive", flush=True)
            await self._end(process, self._document["spec"].get("terminationGracePeriodSeconds", 30))

    async def _started_up(self, process: Process) -> None:
        if probe := self._container.get("startupProbe"):
            async for _ in probes.verdicts(probe, self._container, self._address, at_first=False):
                return

    @property
    def _address(self) -> str:
        assert self._network
        return self._network.address

    async def _end(self, process: Process, grace: float) -> None:
        for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)
                return

    async def _become(self, *, ready: bool) -> None:
        self._ready = ready
        await self._report("Running", {"running": {"startedAt": self._started}})

    async def _report(self, phase: str, state: Document, last: Document | None = None) -> None:
        """Write the Pod's status."""
        async with self._writing:
            true = {"Initialized": True, "PodScheduled": True, "ContainersReady": self._ready, "Ready": self._ready}
            container = {
                "name": self._container["name"],
                "image": self._container["image"],
                "imageID": self._container["image"],
                "ready": self._ready,
                "started": "running" in state,
                "restartCount": self._restarts,
                "state": {"running": None, "waiting": None, "terminated": None, **state},
                "lastState": last or {},
            }
            status: Document = {
                "phase": phase,
                "startTime": self._started,
                "conditions": [
                    {"type": kind, "status": str(value), "lastTransitionTime": now()} for kind, value in true.items()
                ],
                "containerStatuses": [container],
            }
            if self._network:
                status |= {"hostIP": network.NODE, "podIP": self._address, "podIPs": [{"ip": self._address}]}
            await self._node.api.patch(f"{self._path}/status", {"status": status})


@contextlib.asynccontextmanager
async def _cancelled(*coroutines):
    """Run them beside the body, and cancel them at its end."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listens(pid: int) -> None:
    """Wait until something in a process's network namespace listens, or receives datagrams."""
    end = time.monotonic() + _LISTENS_SECONDS
    while time.monotonic() < end:
        if _has_listener(pid):
            return
        await asyncio.sleep(0.05)


def _has_listener(pid: int) -> bool:
    for table, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        with contextlib.suppress(OSError):  # it ended
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            if any(line.split()[3] == listening for line in lines):
                return True
    return False


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
