"""Endpoints by DNS name: resolved here, published as addresses, so that no worker ever waits for DNS."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastgate.ir import Endpoint

INTERVAL = 30.0  # seconds between two looks at the same name; the system's resolver keeps to the records' TTL

log = logging.getLogger(__name__)

Table = dict[str, tuple["Endpoint", ...]]


class Resolver:
    """Keeps the last addresses of every name: a name that cannot be resolved keeps what it had."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._known: dict[str, tuple[str, ...]] = {}

    async def resolve(self, names: Mapping[str, tuple[Endpoint, ...]]) -> Table:
        """Return the endpoints of each cluster with addresses in the place of names, sorted."""
        wanted = {endpoint.address for endpoints in names.values() for endpoint in endpoints}
        found = await asyncio.gather(*(self._addresses(name) for name in sorted(wanted)))
        self._known = dict(zip(sorted(wanted), found, strict=True))
        return {
            cluster: tuple(sorted(replace(e, address=address) for e in endpoints for address in self._known[e.address]))
            for cluster, endpoints in names.items()
        }

    async def _addresses(self, name: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError as e:
            log.warning("%s cannot be resolved: %s", name, e.strerror or e)
            return self._known.get(name, ())
        # A scoped address would be usable on one link only.
        return tuple(sorted({str(ipaddress.ip_address(a[4][0])) for a in answers if "%" not in str(a[4][0])}))


def merged(clusters: Mapping[str, tuple[Endpoint, ...]], resolved: Table) -> Table:
    """Return the endpoints of all clusters, those by address and those by name."""
    return {key: tuple(sorted({*endpoints, *resolved.get(key, ())})) for key, endpoints in clusters.items()}
