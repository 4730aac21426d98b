"""The front end of a cluster: its Gateways are served on addresses of this host, and their statuses written back."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from fastgate.kubernetes.addresses import Addresses, hostnames, own_gateways
from fastgate.kubernetes.api_server import SETTLE, STATUS_DELAY, ApiServer
from fastgate.problems import Problem
from fastgate.runtime import Prepared
from fastgate.translate.programmed import resolve

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from fastgate.kubernetes.addresses import Pool
    from fastgate.kubernetes.client import Client
    from fastgate.runtime import Report
    from fastgate.server import Server
    from fastgate.store import Store
    from fastgate.translate.conditions import Name, Statuses
    from fastgate.translate.homes import Home
    from fastgate.translate.mode import Mode

log = logging.getLogger("fastgate")


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
        self.mode = mode
        self.name = instance or f"kubernetes-{mode.controller.replace('/', '-')}"
        self._addresses = Addresses(pool) if pool else None
        self._api = ApiServer(client, mode, namespaces)
        self._early: asyncio.TimerHandle | None = None  # when statuses are written though nothing came of them yet
        self._server: Server

    async def open(self, server: Server) -> None:
        """Follow the API server."""
        self._server = server
        self._api.follow()

    async def prepare(self, *, strict: bool = False) -> Prepared:  # noqa: ARG002 - what an API server took is valid
        """Translate what the API server has, once all of it is known."""
        store = await self._api.store()
        try:
            prepared = await self._server.runtime.prepare_store(store, await self._homes(store), self._api.mode())
        except Exception as e:
            log.exception("a fault of fastgate's own: what is served stays as it is until the objects are others")
            return Prepared((Problem(f"translation failed: {type(e).__name__}"),))
        self._hold()
        if prepared.translation is not None:
            loop = asyncio.get_running_loop()
            self._early = loop.call_later(STATUS_DELAY, self._say_early, prepared.translation.statuses)
        return prepared

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """Follow what changes."""
        return [self._follow(), *self._api.tasks()]

    def served(self, report: Report, before: int) -> None:
        """Have statuses written."""
        self._hold()
        if report.applied:
            self._api.want(report.statuses)
        else:
            for problem in report.problems:
                log.error("%s", problem)
        if before and report.generation != before:
            log.info("generation %d is served", report.generation)

    def show(self) -> None:
        """The statuses say it."""

    async def close(self) -> None:
        """Follow nothing more."""
        self._hold()
        await self._api.close()

    def _say_early(self, statuses: Statuses) -> None:
        """Have statuses written of what is not served yet: what of them is about sockets stays as it is known."""
        self._api.want(resolve(statuses, {"": self._server.manager.fates}))

    def _hold(self) -> None:
        if self._early is not None:
            self._early.cancel()
            self._early = None

    async def _follow(self) -> None:
        while True:
            await self._api.cache.changed()
            self._server.reload()
            await asyncio.sleep(SETTLE)

    async def _homes(self, store: Store) -> dict[Name, Home]:
        if self._addresses is None:
            return {}
        gateways = own_gateways(store, self.mode.controller)
        hosts = {name: await _resolved(name) for name in hostnames(gateways)}
        return self._addresses.homes(gateways, self._shown, hosts)

    def _shown(self, gateway: Name) -> Iterable[str]:
        """The IP literals in the stored status of a Gateway."""
        for entry in self._api.status_of(("Gateway", *gateway)).get("addresses") or ():
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
