"""Endpoints by DNS name: resolved here, published as addresses, so that no worker ever waits for DNS.

A name is looked up again when the TTL of its records is over. While that fails its last addresses stay in use; when the
name server says that there are none, for HOLD seconds more.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from fastgate.dns import UnresolvedError, look_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from fastgate.ir import Endpoint

    Table = dict[str, tuple[Endpoint, ...]]

FLOOR, CEILING = 5.0, 300.0  # seconds that addresses are used at least, and at most
PATIENCE = 1.0  # seconds that a new configuration waits for names
HOLD = 30.0  # seconds that addresses outlive their name
RETRY, MAX_RETRY = 5.0, 60.0  # seconds after the first failure, and at most

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Name:
    addresses: tuple[str, ...] = ()
    due: float = 0.0  # when to look it up, in the loop's time
    failures: int = 0  # in a row
    gone_at: float | None = None  # when a name server first said that there is none


class Resolver:
    """Keeps the addresses of names, by a look-up that returns addresses and the seconds that they hold.

    Every method belongs to one event loop.
    """

    def __init__(self, lookup: Callable[[str], Awaitable[tuple[tuple[str, ...], float]]] = look_up) -> None:
        """Start with nothing known."""
        self._lookup = lookup
        self._names: dict[str, _Name] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._changed = False

    async def resolve(self, names: Mapping[str, tuple[Endpoint, ...]]) -> Table:
        """Return the endpoints of each cluster with addresses in the place of names.

        What is not known after PATIENCE seconds is left out; `changes` tells when it is.
        """
        wanted = _names_of(names)
        for name in wanted:
            self._names.setdefault(name, _Name())
        self._look_up(wanted)
        if running := [self._tasks[name] for name in wanted if name in self._tasks]:
            await asyncio.wait(running, timeout=PATIENCE)
        self._woken.set()
        return self.table(names)

    def table(self, names: Mapping[str, tuple[Endpoint, ...]]) -> Table:
        """Return the endpoints of each cluster with the addresses that are known, sorted."""
        return {
            cluster: tuple(
                sorted(
                    replace(endpoint, address=address)
                    for endpoint in endpoints
                    for address in self._names.get(endpoint.address, _Name()).addresses
                )
            )
            for cluster, endpoints in names.items()
        }

    def keep(self, names: Mapping[str, tuple[Endpoint, ...]]) -> None:
        """Forget all other names."""
        wanted = _names_of(names)
        for name in self._names.keys() - wanted:
            del self._names[name]
            if name in self._tasks:
                self._tasks[name].cancel()

    async def changes(self) -> AsyncIterator[None]:
        """Look names up when they are due, and yield whenever addresses have changed."""
        loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            if self._changed:
                self._changed = False
                yield
            due = min((state.due for name, state in self._names.items() if name not in self._tasks), default=None)
            try:
                async with asyncio.timeout_at(due):
                    await self._woken.wait()
            except TimeoutError:
                self._look_up(name for name, state in self._names.items() if state.due <= loop.time())

    def _look_up(self, names: Iterable[str]) -> None:
        now = asyncio.get_running_loop().time()
        for name in list(names):
            if name not in self._tasks and self._names[name].due <= now:
                self._tasks[name] = asyncio.ensure_future(self._refresh(name, self._names[name]))
                self._tasks[name].add_done_callback(partial(self._done, name))

    def _done(self, name: str, _: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)
        self._woken.set()

    async def _refresh(self, name: str, state: _Name) -> None:
        before = state.addresses
        loop = asyncio.get_running_loop()
        try:
            addresses, ttl = await self._lookup(name)
        except UnresolvedError as e:
            state.due = loop.time() + min(MAX_RETRY, RETRY * 2 ** min(state.failures, 10))
            if state.failures == 0:
                log.warning("%s cannot be resolved: %s", name, e)
            state.failures += 1
            state.gone_at = (state.gone_at or loop.time()) if e.there_is_none else None
            if state.gone_at is not None and loop.time() - state.gone_at >= HOLD:
                state.addresses = ()
        else:
            if state.failures:
                log.info("%s is resolved again", name)
            state.due = loop.time() + max(FLOOR, min(CEILING, ttl))
            state.addresses, state.failures, state.gone_at = addresses, 0, None
        self._changed |= state.addresses != before


def _names_of(names: Mapping[str, tuple[Endpoint, ...]]) -> set[str]:
    return {endpoint.address for endpoints in names.values() for endpoint in endpoints}


def merged(clusters: Mapping[str, tuple[Endpoint, ...]], resolved: Table) -> Table:
    """Return the endpoints of all clusters, those by address and those by name."""
    if not resolved:
        return dict(clusters)
    return {key: tuple(sorted({*endpoints, *resolved.get(key, ())})) for key, endpoints in clusters.items()}
