"""The front end of a cluster: its Gateways are served on addresses of this host, and their statuses written back."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.api.base import GROUP
from fastgate.kubernetes import definitions
from fastgate.kubernetes.addresses import Addresses, hostnames, own_gateways
from fastgate.kubernetes.cache import Cache
from fastgate.kubernetes.contents import Contents
from fastgate.kubernetes.events import Events
from fastgate.kubernetes.finalizers import Finalizers
from fastgate.kubernetes.kinds import KINDS
from fastgate.kubernetes.leader import Leader
from fastgate.kubernetes.reflector import Reflector
from fastgate.kubernetes.status_writer import StatusWriter
from fastgate.plugins.discovery import Catalog
from fastgate.problems import Problem
from fastgate.runtime import Prepared
from fastgate.status.news import news
from fastgate.translate.features import features_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from fastgate.kubernetes.addresses import Pool
    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.decoding import Stored
    from fastgate.runtime import Report
    from fastgate.server import Server
    from fastgate.store import Key, Store
    from fastgate.translate.conditions import Name
    from fastgate.translate.homes import Home
    from fastgate.translate.mode import Mode

log = logging.getLogger("fastgate")

SETTLE = 0.01  # seconds after an apply in which changes are collected


class Cluster:
    """A `Front` over an API server."""

    is_patient = True

    def __init__(self, client: Client, *, mode: Mode, pool: Pool, namespaces: tuple[str, ...], instance: str) -> None:
        """Serve what a cluster has.

        Args:
            client: of its API server; closed in the end.
            mode: whose classes are ours.
            pool: addresses for Gateways, one for each; an empty one: every Gateway is on all addresses of this host.
            namespaces: that are watched; none: all.
            instance: name under which a restarted server finds its workers; "" derives one.
        """
        controller = mode.controller.replace("/", "-")
        self.mode = mode
        self.name = instance or f"kubernetes-{controller}"
        self._client = client
        self._addresses = Addresses(pool) if pool else None
        scopes = [
            (kind, namespace)
            for kind in KINDS.values()
            for namespace in (namespaces if kind.namespaced and namespaces else ("",))
        ]
        self._cache = Cache((kind.name, namespace) for kind, namespace in scopes)
        self._contents = Contents(client, self._cache, Catalog())
        self._cache.on_metadata = self._defined
        self._reflectors: dict[str, list[Reflector]] = defaultdict(list)  # by the name of the definition
        for kind, namespace in scopes:
            reflector = Reflector(client, self._cache, kind, namespace)
            self._reflectors[definitions.name_of(kind)].append(reflector)
        identity = f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"
        self._leader = Leader(client, client.config.namespace, f"fastgate-{controller}", identity)
        self._writer = StatusWriter(client, self._cache, mode.controller, self._leader.writes)
        self._finalizers = Finalizers(client, self._cache, mode.controller, self._leader.writes)
        self._leader.on_lead = self._lead
        self._events = Events(client, mode.controller, identity)
        self._writer.on_written = self._tell
        self._server: Server
        self._running: list[asyncio.Task[None]] = []

    async def open(self, server: Server) -> None:
        """Follow the API server."""
        self._server = server
        reflectors = [each for of_kind in self._reflectors.values() for each in of_kind]
        runs = [*(each.run() for each in reflectors), self._leader.run(), self._writer.run(), self._finalizers.run()]
        runs.append(self._events.run())
        self._running = [asyncio.ensure_future(each) for each in runs]
        log.info("following %s as %s", self._client.config.server, self.mode.controller)

    async def prepare(self, *, strict: bool = False) -> Prepared:  # noqa: ARG002 - what an API server took is valid
        """Translate what the API server has, once all of it is known."""
        await self._cache.complete.wait()
        await self._contents.settle()
        store = self._cache.store()
        try:
            return await self._server.runtime.prepare_store(store, await self._homes(store), self._mode())
        except Exception as e:
            log.exception("a fault of fastgate's own: what is served stays as it is until the objects are others")
            return Prepared((Problem(f"translation failed: {type(e).__name__}"),))

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Follow what changes."""
        return [self._follow(), *map(_watched, self._running)]

    def served(self, report: Report, before: int) -> None:
        """Have statuses written."""
        if report.applied:
            self._writer.want(report.statuses)
            self._finalizers.look()
        else:
            for problem in report.problems:
                log.error("%s", problem)
        if before and report.generation != before:
            log.info("generation %d is served", report.generation)

    def show(self) -> None:
        """The statuses say it."""

    async def close(self) -> None:
        """Follow nothing more."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._leader.release()
        await self._client.close()

    async def _follow(self) -> None:
        while True:
            await self._cache.changed()
            self._server.reload()
            await asyncio.sleep(SETTLE)

    def _tell(self, key: Key, before: Stored, status: dict[str, Any]) -> None:
        """Tell what a user must see of a status that was written just now."""
        for each in news(msgspec.json.decode(before.status), status, self.mode.controller):
            self._events.tell(key, before, each.reason, each.message, is_warning=each.is_bad)

    def _lead(self) -> None:
        self._writer.look_at_all()
        self._finalizers.look()

    def _mode(self) -> Mode:
        """What the API server has by now."""
        version, channel = definitions.bundle(self._cache)
        bundles = channel == "experimental" and "ClusterTrustBundle" not in self._cache.missing
        return replace(self.mode, features=features_of(bundles=bundles), unsupported=definitions.unsupported(version))

    def _defined(self, key: Key) -> None:
        """A CRD came, went or changed: its kind may be there now, and another version of the API."""
        if key[0] != definitions.KIND:
            self._contents.moved(key)
            return
        for reflector in self._reflectors.get(key[2], ()):
            reflector.look()
        if key[2].endswith(f".{GROUP}"):
            self._cache.wake()

    async def _homes(self, store: Store) -> dict[Name, Home]:
        if self._addresses is None:
            return {}
        gateways = own_gateways(store, self.mode.controller)
        hosts = {name: await _resolved(name) for name in hostnames(gateways)}
        return self._addresses.homes(gateways, self._shown, hosts)

    def _shown(self, gateway: Name) -> Iterable[str]:
        """The IP literals in the stored status of a Gateway."""
        stored = self._cache.stored(("Gateway", *gateway))
        status = msgspec.json.decode(stored.status) if stored is not None else None
        for entry in (status or {}).get("addresses") or ():
            try:
                yield str(ip_address(entry.get("value", "")))
            except ValueError:
                continue


async def _resolved(name: str) -> tuple[str, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _watched(task: asyncio.Task[None]) -> None:
    """A fault of our own ends the server rather than leaving it deaf."""
    await asyncio.shield(task)
