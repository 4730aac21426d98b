"""A cluster as it is at one moment, for commands that look at it and go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.kubernetes.addresses import own_gateways
from fastgate.kubernetes.cache import Cache
from fastgate.kubernetes.client import Client
from fastgate.kubernetes.contents import Contents
from fastgate.kubernetes.kinds import KINDS
from fastgate.kubernetes.reflector import Reflector
from fastgate.translate.homes import Home

if TYPE_CHECKING:
    from fastgate.kubernetes.config import Config
    from fastgate.plugins.discovery import Catalog
    from fastgate.store import Store
    from fastgate.translate.conditions import Name

TIMEOUT = 30.0  # seconds


class UnreadableError(Exception):
    """A cluster could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What an API server has.

    Attributes:
        store: what users wrote.
        statuses: as they are stored, by `Kind/namespace/name`, with the entries of one controller alone.
        unread: by kind, why nothing is known of it.
    """

    store: Store
    statuses: dict[str, dict[str, Any]]
    unread: dict[str, str]


def read(config: Config, controller: str, catalog: Catalog) -> Moment:
    """Read a cluster.

    Raises:
        UnreadableError: its API server does not answer.
    """
    return asyncio.run(_read(config, controller, catalog))


async def _read(config: Config, controller: str, catalog: Catalog) -> Moment:
    cache = Cache((kind, "") for kind in KINDS)
    async with Client(config) as client:
        contents = Contents(client, cache, catalog)
        following = [asyncio.ensure_future(Reflector(client, cache, kind).run()) for kind in KINDS.values()]
        try:
            async with asyncio.timeout(TIMEOUT):
                await cache.complete.wait()
                await contents.settle()
        except TimeoutError:
            why = "; ".join(dict.fromkeys(cache.stale.values())) or f"no answer within {TIMEOUT:g} s"
            raise UnreadableError(why) from None
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
    return Moment(cache.store(), _statuses(cache, controller), dict(cache.stale))


def homes(store: Store, controller: str) -> dict[Name, Home]:
    """Return homes in which no Gateway of the controller is in another's way."""
    names = [(gateway.metadata.namespace, gateway.metadata.name) for gateway in own_gateways(store, controller)]
    return {name: Home(realm="/".join(name)) for name in names}


def sockets(moment: Moment, controller: str) -> list[dict[str, Any]]:
    """Return the listeners of the controller's Gateways, as `admin.views.sockets` does of a running gateway."""
    rows = []
    for gateway in own_gateways(moment.store, controller):
        name = f"{gateway.metadata.namespace}/{gateway.metadata.name}"
        status = moment.statuses.get(f"Gateway/{name}", {})
        addresses = ", ".join(entry["value"] for entry in status.get("addresses") or ()) or "-"
        attached = {entry["name"]: entry["attachedRoutes"] for entry in status.get("listeners") or ()}
        rows += [
            {
                "gateway": name,
                "listener": listener.name,
                "protocol": listener.protocol,
                "hostname": listener.hostname or "",
                "port": listener.port,
                "address": addresses,
                "routes": attached.get(listener.name, 0),
                "error": None,
            }
            for listener in gateway.spec.listeners or ()
        ]
    return rows


def _statuses(cache: Cache, controller: str) -> dict[str, dict[str, Any]]:
    found = {}
    classes = {c.metadata.name for c in cache.store().list("GatewayClass") if c.spec.controller_name == controller}
    for kind in KINDS:
        for key, stored in sorted(cache.stored_of(kind)):
            status = msgspec.json.decode(stored.status) or {}
            for field in ("parents", "ancestors"):
                if field in status:
                    status[field] = [each for each in status[field] if each.get("controllerName") == controller]
            foreign = (kind == "GatewayClass" and key[2] not in classes) or (
                kind == "Gateway" and stored.resource.spec.gateway_class_name not in classes
            )
            if not foreign and any(status.get(field) for field in ("conditions", "parents", "ancestors")):
                found["/".join(filter(None, key))] = status
    return found
