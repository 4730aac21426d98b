"""An API server as a source of Stores and a place for statuses: what every front end of a cluster is built around."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.api.base import GROUP
from fastgate.kubernetes import definitions
from fastgate.kubernetes.cache import Cache
from fastgate.kubernetes.contents import Contents
from fastgate.kubernetes.events import Events
from fastgate.kubernetes.finalizers import Finalizers
from fastgate.kubernetes.kinds import KINDS
from fastgate.kubernetes.leader import Leader
from fastgate.kubernetes.reflector import Reflector
from fastgate.kubernetes.status_writer import StatusWriter
from fastgate.plugins.discovery import Catalog
from fastgate.status.news import news
from fastgate.translate.features import features_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.decoding import Stored
    from fastgate.store import Key, Store
    from fastgate.translate.conditions import Statuses
    from fastgate.translate.mode import Mode

log = logging.getLogger("fastgate")

SETTLE = 0.01  # seconds after an apply in which changes are collected
STATUS_DELAY = 1.0  # seconds after a translation in which statuses wait for what comes of it


class ApiServer:
    """Everything that a controller reads there and writes.

    Attributes:
        client: that it is reached by.
        cache: what it has, as far as it matters.
        leader: whether this replica writes.
        events: what users are told of objects.
        on_lead: called when this replica may write from now on, before it does.
    """

    def __init__(self, client: Client, mode: Mode, namespaces: tuple[str, ...], address: str = "") -> None:
        """Ask nothing yet.

        Args:
            client: closed in the end.
            mode: whose classes are ours.
            namespaces: that are watched; none: all.
            address: where this replica is to be spoken to while it leads.
        """
        self.client = client
        self._mode = mode
        scopes = [
            (kind, namespace)
            for kind in KINDS.values()
            for namespace in (namespaces if kind.namespaced and namespaces else ("",))
        ]
        self.cache = Cache((kind.name, namespace) for kind, namespace in scopes)
        self._contents = Contents(client, self.cache, Catalog())
        self.cache.on_metadata = self._defined
        self._reflectors: dict[str, list[Reflector]] = defaultdict(list)  # by the name of the definition
        for kind, namespace in scopes:
            reflector = Reflector(client, self.cache, kind, namespace)
            self._reflectors[kind.full].append(reflector)
        identity = f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"
        lease = f"fastgate-{mode.controller.replace('/', '-')}"
        self.leader = Leader(client, client.config.namespace, lease, identity, address=address)
        self.leader.on_lead = self._lead
        self.on_lead: Callable[[], None] = lambda: None
        self._writer = StatusWriter(client, self.cache, mode.controller, self.leader.writes)
        self._writer.on_written = self._tell
        self._finalizers = Finalizers(client, self.cache, mode.controller, self.leader.writes)
        self.events = Events(client, mode.controller, identity)
        self._running: list[asyncio.Task[None]] = []

    def follow(self) -> None:
        """Follow it from now on, and write once there is something to write."""
        reflectors = [each for of_kind in self._reflectors.values() for each in of_kind]
        runs = [*(each.run() for each in reflectors), self.leader.run(), self._writer.run(), self._finalizers.run()]
        runs.append(self.events.run())
        self._running = [asyncio.ensure_future(each) for each in runs]
        log.info("following %s as %s", self.client.config.server, self._mode.controller)

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Return what ends with a fault of our own, rather than leave the process deaf."""
        return [*map(_watched, self._running)]

    async def close(self) -> None:
        """Follow nothing more, and let another replica lead."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.leader.release()
        await self.client.close()

    async def store(self) -> Store:
        """Return what users wrote, once all of it is known."""
        await self.cache.complete.wait()
        await self._contents.settle()
        return self.cache.store()

    def mode(self) -> Mode:
        """Return how a Store of now is to be read: what the definitions say that are there."""
        version, channel = definitions.bundle(self.cache)
        bundles = channel == "experimental" and "ClusterTrustBundle" not in self.cache.missing
        features = features_of(self._mode.features, bundles=bundles)
        return replace(self._mode, features=features, unsupported=definitions.unsupported(version))

    def want(self, statuses: Statuses) -> None:
        """Have these statuses written."""
        self._writer.want(statuses)
        self._finalizers.look()

    @property
    def written(self) -> int:
        """How many statuses were written."""
        return self._writer.written

    def status_of(self, key: Key) -> dict[str, Any]:
        """Return the status that is stored of an object."""
        stored = self.cache.stored(key)
        return (msgspec.json.decode(stored.status) if stored is not None else None) or {}

    def _tell(self, key: Key, before: Stored, status: dict[str, Any]) -> None:
        """Tell what a user must see of a status that was written just now."""
        for each in news(msgspec.json.decode(before.status), status, self._mode.controller):
            self.events.tell(key, before, each.reason, each.message, is_warning=each.is_bad)

    def _lead(self) -> None:
        self.on_lead()
        self._writer.look_at_all()
        self._finalizers.look()

    def _defined(self, key: Key) -> None:
        """A CRD came, went or changed: its kind may be there now, and another version of the API."""
        if key[0] != definitions.KIND:
            self._contents.moved(key)
            return
        for reflector in self._reflectors.get(key[2], ()):
            reflector.look()
        if key[2].endswith(f".{GROUP}"):
            self.cache.wake()


async def _watched(task: asyncio.Task[None]) -> None:
    await asyncio.shield(task)
