"""GatewayClasses stay while Gateways use them: the finalizer that the Gateway API asks controllers to set."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from fastgate.kubernetes.client import MERGE_PATCH, ApiError
from fastgate.kubernetes.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.kubernetes.cache import Cache
    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.decoding import Stored

log = logging.getLogger(__name__)

FINALIZER = "gateway-exists-finalizer.gateway.networking.k8s.io"
_AGAIN = 5.0  # seconds until what failed is tried again
_CLASS = KINDS["GatewayClass"]


class Finalizers:
    """Sets the finalizer on classes of a controller that have Gateways, and takes it off the others."""

    def __init__(self, client: Client, cache: Cache, controller: str, may_write: Callable[[], bool]) -> None:
        """Attend to the classes of this controller, while `may_write` says so."""
        self._client = client
        self._cache = cache
        self._controller = controller
        self._may_write = may_write
        self._news = asyncio.Event()

    def look(self) -> None:
        """Compare the classes with the Gateways that are there."""
        self._news.set()

    async def run(self) -> None:
        """Attend until cancelled. Nothing is raised for what an API server does."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                for name, stored, finalizers in self._due():
                    await self._write(name, stored, finalizers)
            except ApiError as e:
                log.info("the finalizer of a GatewayClass: %s", e)
                asyncio.get_running_loop().call_later(_AGAIN, self.look)

    def _due(self) -> list[tuple[str, Stored, list[str]]]:
        """The classes whose finalizers are to change: name, the version this is decided on, the finalizers."""
        if not self._may_write():
            return []
        used = {stored.resource.spec.gateway_class_name for _, stored in self._cache.stored_of("Gateway")}
        due = []
        for (_, _, name), stored in self._cache.stored_of("GatewayClass"):
            if stored.resource.spec.controller_name != self._controller:
                continue
            present = stored.resource.metadata.finalizers or []
            if name in used and FINALIZER not in present and stored.resource.metadata.deletion_timestamp is None:
                due.append((name, stored, [*present, FINALIZER]))
            elif name not in used and FINALIZER in present:
                due.append((name, stored, [each for each in present if each != FINALIZER]))
        return due

    async def _write(self, name: str, stored: Stored, finalizers: list[str]) -> None:
        path = _CLASS.path(stored.api_version.rpartition("/")[2], "", name)
        part = {"metadata": {"resourceVersion": stored.resource_version, "finalizers": finalizers}}
        await self._client.request("patch", "PATCH", path, body=msgspec.json.encode(part), content_type=MERGE_PATCH)
