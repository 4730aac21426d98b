"""What is served, and how workers come to serve it: images in two steps, endpoint tables in one.

A generation is published in two steps: every worker maps and validates the image and says so, then each swaps it in
between two turns of its loop. What does not get that far changes nothing. An image names certificates and keys by
digest; they are in a table of their own, which workers read while they prepare.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fastgate.control import Gone, Message, Type
from fastgate.core import secrets, snapshot
from fastgate.workers import WorkerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from fastgate.ir import Endpoint, Ir
    from fastgate.workers import Worker

    Table = dict[str, tuple[Endpoint, ...]]


PREPARE_TIMEOUT = 30.0  # seconds: a worker may have to import the filters that it runs


class ApplyError(Exception):
    """The workers did not take a configuration; the one before is still served."""


class Publication:
    """The configuration and endpoints that are served, and the descriptors that a new worker needs.

    Attributes:
        config: None before the first.
        generation: of the image; 0 before the first.
        endpoints: of the clusters.
    """

    def __init__(self) -> None:
        """Serve nothing."""
        self.config: Ir | None = None
        self.generation = 0
        self.endpoints: Table = {}
        self._image_fds = (-1, -1)  # of the image and of its secrets
        self._version = 0  # of the endpoints; 0 before the first
        self._endpoints_fd = -1
        self._builder = snapshot.Builder()
        self._generations = 0  # the last numbers used: they only ever grow
        self._versions = 0

    def follow(self, generation: int, version: int) -> None:
        """Number what comes after what workers of another manager have."""
        self._generations = max(self._generations, generation)
        self._versions = max(self._versions, version)

    async def publish(self, config: Ir, workers: Sequence[Worker], committing: Callable[[], None]) -> None:
        """Let these workers serve a configuration. `committing` is called when all have accepted it.

        Raises:
            ApplyError: one refused the image, or died over it; all of them serve what they did.
        """
        self._generations += 1
        generation = self._generations
        fds = self._seal(config, generation)
        try:
            await every(_prepare(w, generation, fds) for w in workers)
        except (Gone, WorkerError) as e:
            for worker in workers:
                worker.send(Message(Type.ABORT, generation))
            _close(*fds)
            raise ApplyError(str(e) or "a worker died while it prepared the configuration") from None
        committing()
        _close(*self._image_fds)
        self.config, self._image_fds, self.generation = config, fds, generation
        await settled(w.ask(Message(Type.COMMIT, generation), Type.COMMITTED) for w in workers)

    async def set_endpoints(self, endpoints: Table, workers: Sequence[Worker]) -> None:
        """Let these workers use other endpoints."""
        if self._version and endpoints == self.endpoints:
            return
        self._versions += 1
        fd = snapshot.seal(snapshot.build_endpoints(endpoints, self._versions), "fastgate-endpoints")
        old, self._endpoints_fd = self._endpoints_fd, fd
        self.endpoints, self._version = endpoints, self._versions
        await settled(w.ask(Message(Type.ENDPOINTS, self._version), Type.ENDPOINTS_SET, fd) for w in workers)
        _close(old)

    async def equip(self, worker: Worker) -> None:
        """Bring a new worker to what is served."""
        await self.equip_endpoints(worker)
        if self.generation:
            await _prepare(worker, self.generation, self._image_fds)
            await worker.ask(Message(Type.COMMIT, self.generation), Type.COMMITTED)

    async def equip_endpoints(self, worker: Worker) -> None:
        """Give a new worker the endpoints, before an image that nobody has yet."""
        if self._version:
            await worker.ask(Message(Type.ENDPOINTS, self._version), Type.ENDPOINTS_SET, self._endpoints_fd)

    def close(self) -> None:
        """Serve nothing more."""
        _close(*self._image_fds, self._endpoints_fd)
        self.config, self.generation, self._image_fds = None, 0, (-1, -1)
        self.endpoints, self._version, self._endpoints_fd = {}, 0, -1

    def _seal(self, config: Ir, generation: int) -> tuple[int, int]:
        image = self._builder.build(config, generation)
        table = secrets.build(config.key_pairs, config.authorities)
        image_fd = snapshot.seal(image, "fastgate-image")
        try:
            return image_fd, snapshot.seal(table, "fastgate-secrets")
        except BaseException:
            os.close(image_fd)
            raise


async def _prepare(worker: Worker, generation: int, fds: tuple[int, int]) -> None:
    await worker.ask(Message(Type.PREPARE, generation), Type.PREPARED, *fds, timeout=PREPARE_TIMEOUT)


async def settled(asks: Iterable[Awaitable[None]]) -> None:
    """Wait for answers; a worker that is gone meanwhile is replaced by its supervision and is no fault here."""
    for result in await asyncio.gather(*asks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, Gone):
            raise result


async def every(asks: Iterable[Awaitable[None]]) -> None:
    """Wait for all answers, then raise the first fault."""
    for result in await asyncio.gather(*asks, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
