"""One Pod: a process in a network namespace of its own, from its binding to its deletion.

Only its first container runs, and no init container; securityContext and resources are ignored, which is said in the log. After
an exit the process starts again at once, then after pauses that double.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kubelab import environment, network, volumes
from kubelab.api import ApiError
from kubelab.container import Container
from kubelab.downward import NODE_NAME

if TYPE_CHECKING:
    from kubelab.api import Document
    from kubelab.node import Node

_ROOT = Path(__file__).with_name("pod_root.sh")
_LONGEST_PAUSE = 30.0  # seconds before a restart
_STEADY_SECONDS = 60.0  # a process that lived so long starts again at once


class Pod:
    """Owns its process, its namespace and its directory; writes its status."""

    def __init__(self, node: Node, document: Document) -> None:
        self._node, self._document = node, document
        self._spec, self._metadata = document["spec"], document["metadata"]
        self._container: Document = self._spec["containers"][0]
        self.name = f"{self._metadata['namespace']}/{self._metadata['name']}"
        self._path = f"/api/v1/namespaces/{self._metadata['namespace']}/pods/{self._metadata['name']}"
        self._place = node.directory / self._metadata["uid"]
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
        prepared.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await prepared  # it may be making the network
        if self._network:
            await asyncio.to_thread(self._network.remove)
        await self._node.gone(self._document)

    async def _first(self, task: asyncio.Task) -> None:
        """Wait for a task, at most until the Pod is deleted."""
        deletion = asyncio.create_task(self._deletion.wait())
        await asyncio.wait((task, deletion), return_when=asyncio.FIRST_COMPLETED)
        deletion.cancel()

    async def _prepare(self) -> tuple[list[str], dict[str, str]]:
        """Command and environment, once there are a network and volumes."""
        entry_point = self._node.entry_point(self._container["image"])
        self._say_what_is_ignored()
        await self._bind()
        self._network = await self._node.network(self._metadata["uid"], host=self._spec.get("hostNetwork", False))
        api, document, address = self._node.api, self._document, self._address
        mounts = await volumes.make(api, document, self._container, address, self._place / "volumes")
        variables = await environment.variables(api, document, self._container, address)
        root = self._place / "root"
        root.mkdir(parents=True, exist_ok=True)
        binds = [str(part) for mount in mounts for part in mount]
        enter = ["ip", "netns", "exec", self._network.namespace, "sh", str(_ROOT), str(root), *binds, "--"]
        return enter + environment.command(self._container, entry_point, variables), variables

    def _say_what_is_ignored(self) -> None:
        parts = [name for name in ("securityContext", "initContainers") if self._spec.get(name)]
        parts += [f"containers[0].{name}" for name in ("securityContext", "resources") if self._container.get(name)]
        parts += [f"containers[{number}]" for number in range(1, len(self._spec["containers"]))]
        if parts:
            print(f"{self.name}: ignored: {', '.join(parts)}", flush=True)

    async def _bind(self) -> None:
        """To the only node, as a scheduler would."""
        if self._spec.get("nodeName"):
            return
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE_NAME}
        binding = {"metadata": {"name": self._metadata["name"]}, "target": target}
        try:
            await self._node.api.post(f"{self._path}/binding", binding)
        except ApiError as error:
            if error.status != 409:  # it is bound: an answer was lost
                raise

    async def _keep_running(self, command: list[str], variables: dict[str, str]) -> None:
        pause = 0.0
        while not self._deletion.is_set():
            since = time.monotonic()
            code = await self._run_once(command, variables)
            if code is None:
                return
            print(f"{self.name}: exited {code}", flush=True)
            reason = "Completed" if code == 0 else "Error"
            ended = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}}
            policy = self._spec.get("restartPolicy", "Always")
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

    async def _run_once(self, command: list[str], variables: dict[str, str]) -> int | None:
        """The exit code of the process. None if it was ended because the Pod is deleted."""
        log = self._node.log(self.name)
        container = await Container.start(self._container, self._address, command, variables, log)
        await self._report("Running", {"running": {"startedAt": now()}})
        grace = self._spec.get("terminationGracePeriodSeconds", 30)
        life = asyncio.create_task(container.live(self._become_ready, grace))
        await self._first(life)
        self._ready = False
        if life.done() and not self._deletion.is_set():
            return life.result()
        await container.end(self._grace)
        await life
        return None

    async def _become_ready(self, ready: bool) -> None:
        self._ready = ready
        await self._report("Running", {"running": {"startedAt": now()}})

    @property
    def _address(self) -> str:
        assert self._network
        return self._network.address

    async def _report(self, phase: str, state: Document, last: Document | None = None) -> None:
        """Write the Pod's status."""
        async with self._writing:
            conditions = {
                "Initialized": True,
                "PodScheduled": True,
                "ContainersReady": self._ready,
                "Ready": self._ready,
            }
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
                    {"type": kind, "status": str(value), "lastTransitionTime": now()}
                    for kind, value in conditions.items()
                ],
                "containerStatuses": [container],
            }
            if self._network:
                status |= {"hostIP": network.NODE, "podIP": self._address, "podIPs": [{"ip": self._address}]}
            try:
                await self._node.api.patch(f"{self._path}/status", {"status": status})
            except ApiError as error:
                if error.status != 404:  # deleted by force
                    raise


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
