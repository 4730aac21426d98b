"""Writes statuses to an API server: one write for each real change.

A write replaces the `status` of the object version that it was decided on (optimistic concurrency): on a conflict the
object is read again and the decision is made anew.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.kubernetes.client import ApiError
from fastgate.kubernetes.decoding import Decoder, server_side_of
from fastgate.kubernetes.kinds import KINDS
from fastgate.status.merge import has_ours, merged, without
from fastgate.translate.conditions import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastgate.kubernetes.cache import Cache
    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.decoding import Stored
    from fastgate.store import Key
    from fastgate.translate.conditions import Statuses

log = logging.getLogger(__name__)

AT_ONCE = 32  # writes in flight
APART = 0.25  # seconds between two writes of one object
PATIENCE = 3  # times that somebody may undo a write before the seconds between two double with each
FIRST_DELAY, LAST_DELAY = 0.2, 30.0  # seconds after a failed write
UNREACHED_DELAY = 1.0  # seconds at most, while nothing answers
_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409


class StatusWriter:
    """Keeps stored statuses equal to those that are wanted."""

    def __init__(self, client: Client, cache: Cache, controller: str, may_write: Callable[[], bool]) -> None:
        """Write as this controller, while `may_write` says so."""
        self._client = client
        self._cache = cache
        self._controller = controller
        self._may_write = may_write
        self._routes: Mapping[Key, Any] = {}
        self._others: Mapping[Key, Any] = {}
        self._known = False  # whether it was ever said what is wanted
        self._due: dict[Key, None] = {}
        self._busy: set[Key] = set()
        self._again: set[Key] = set()  # became due while busy
        self._failures: dict[Key, int] = {}
        self._last: dict[Key, float] = {}  # when an object was written, on the loop's clock
        self._wrote: dict[Key, Any] = {}  # what was wanted of it then
        self._undone: dict[Key, int] = {}  # how often it had to be written again for the same
        self._postponed: set[Key] = set()
        self._news = asyncio.Event()
        self._barred: set[str] = set()
        self.written = 0
        self.on_written: Callable[[Key, Stored, dict[str, Any]], None] = lambda *_: None
        cache.on_stored = self.look_at

    def want(self, statuses: Statuses) -> None:
        """Want these statuses, and no entries of ours in any other object."""
        if statuses.routes is not self._routes:
            before, self._routes = self._routes, statuses.routes
            if statuses.changes is not None and statuses.changes.before is before:
                for key in statuses.changes.keys:
                    self.look_at(key)
            else:
                self._compare(before, self._routes)
        before, self._others = self._others, _by_key(statuses)
        self._compare(before, self._others)
        if not self._known:
            self._known = True
            self.look_at_all()

    def _compare(self, before: Mapping[Key, Any], after: Mapping[Key, Any]) -> None:
        for key, status in after.items():
            if before.get(key) is not status and before.get(key) != status:
                self.look_at(key)
        for key in before.keys() - after.keys():
            self.look_at(key)

    def look_at_all(self) -> None:
        """Compare every object: this replica may write from now on, or knows for the first time what is wanted."""
        for kind in KINDS:
            for key, _ in self._cache.stored_of(kind):
                self.look_at(key)

    def look_at(self, key: Key) -> None:
        """Compare an object that changed here or there."""
        if key in self._busy:
            self._again.add(key)
        else:
            self._due[key] = None
            self._news.set()

    async def run(self) -> None:
        """Write until cancelled. Nothing is raised for what an API server does."""
        gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as writes:
            while True:
                await self._news.wait()
                self._news.clear()
                for number in count():
                    if not self._due:
                        break
                    key, _ = self._due.popitem()  # what became due last is newest
                    if self._decide(key) is not None:
                        self._busy.add(key)
                        await gate.acquire()
                        writes.create_task(self._attend(key)).add_done_callback(lambda _: gate.release())
                    elif number % 100 == 0:
                        await asyncio.sleep(0)

    def _wanted(self, key: Key) -> Any:
        return self._routes.get(key) or self._others.get(key)

    def _decide(self, key: Key) -> tuple[Stored, dict[str, Any]] | None:
        """Return what an object is to be given, and the version that this was decided on; None: it has it."""
        stored = self._cache.stored(key)
        if stored is None or not self._known or not self._may_write():
            return None
        status = msgspec.json.decode(stored.status)
        wanted = self._wanted(key)
        if wanted is not None:
            generation = stored.resource.metadata.generation or 0
            if _decided_on(wanted) != generation:
                return (
                    None  # another object, or another generation of it: what is wanted of this one is about to be said
                )
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            new = merged(status, to_json(wanted, self._controller), self._controller, now, generation)
        elif has_ours(status, self._controller):
            new = without(status, self._controller)
        else:
            return None
        return None if new is None else (stored, new)

    async def _attend(self, key: Key) -> None:
        try:
            wait = self._last.get(key, float("-inf")) + self._apart(key) - asyncio.get_running_loop().time()
            if wait > APART:
                self._postpone(key, wait)
                return
            if wait > 0:
                await asyncio.sleep(wait)
            self._again.discard(key)
            decided = self._decide(key)
            if decided is not None:
                await self._write(key, *decided)
                self._failures.pop(key, None)
                self.on_written(key, *decided)
        except ApiError as e:
            await self._recover(key, e)
        finally:
            self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.look_at(key)

    def _apart(self, key: Key) -> float:
        """Seconds between two writes of an object: many when another writer undoes ours again and again."""
        fights = self._undone.get(key, 0) - PATIENCE
        if fights < 0 or self._wanted(key) != self._wrote.get(key):
            return APART
        return min(APART * 2.0 ** (fights + 1), LAST_DELAY)

    def _postpone(self, key: Key, seconds: float) -> None:
        if key not in self._postponed:
            self._postponed.add(key)
            asyncio.get_running_loop().call_later(seconds, self._resume, key)

    def _resume(self, key: Key) -> None:
        self._postponed.discard(key)
        self.look_at(key)

    def _count(self, key: Key, since: float) -> None:
        """Count a write of what was written before, so many seconds ago: somebody undid it."""
        wanted = self._wanted(key)
        is_fight = wanted is not None and self._wrote.get(key) == wanted and since < 2 * LAST_DELAY
        undone = self._undone.get(key, 0) + 1 if is_fight else 0
        self._wrote[key], self._undone[key] = wanted, undone
        if undone == PATIENCE:
            name = "/".join(filter(None, key))
            log.warning("somebody else writes the entries of %s in the status of %s, too", self._controller, name)

    async def _write(self, key: Key, stored: Stored, status: dict[str, Any]) -> None:
        kind = KINDS[key[0]]
        version = stored.api_version.rpartition("/")[2]
        metadata = {"name": key[2], "resourceVersion": stored.resource_version}
        if key[1]:
            metadata["namespace"] = key[1]
        document = {"apiVersion": stored.api_version, "kind": kind.name, "metadata": metadata, "status": status}
        path = kind.path(version, key[1], key[2], "status")
        now = asyncio.get_running_loop().time()
        since, self._last[key] = now - self._last.get(key, float("-inf")), now
        body = await self._client.request("update", "PUT", path, body=msgspec.json.encode(document))
        self.written += 1
        self._count(key, since)
        self._note(key, body, stored)

    def _note(self, key: Key, body: bytes, before: Stored) -> None:
        """Know an object as the API server has just said that it is; not one that was deleted meanwhile."""
        known = self._cache.stored(key)
        if known is not None:
            decoder = Decoder(KINDS[key[0]], before.api_version.rpartition("/")[2])
            self._cache.keep(key, decoder.stored(msgspec.Raw(body), server_side_of(body), known))

    async def _recover(self, key: Key, e: ApiError) -> None:
        if e.status == _NOT_FOUND:
            return
        if e.status == _CONFLICT:
            await self._read_again(key)
            return
        if e.status == _FORBIDDEN:
            if key[0] not in self._barred:
                self._barred.add(key[0])
                kind = KINDS[key[0]]
                log.warning("no right to update %s/status.%s: %s", kind.plural, kind.group, e.message)
        else:
            log.warning("the status of %s was not written: %s", "/".join(filter(None, key)), e)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = LAST_DELAY if e.status else UNREACHED_DELAY
        delay = min(FIRST_DELAY * 2**failures, longest)
        asyncio.get_running_loop().call_later(e.retry_after or delay, self.look_at, key)

    async def _read_again(self, key: Key) -> None:
        stored = self._cache.stored(key)
        if stored is None:
            return
        path = KINDS[key[0]].path(stored.api_version.rpartition("/")[2], key[1], key[2])
        try:
            self._note(key, await self._client.request("get", "GET", path), stored)
        except (ApiError, msgspec.MsgspecError) as e:
            log.info("%s: %s", "/".join(filter(None, key)), e)
        self._again.add(key)


def _decided_on(status: Any) -> int:
    """The generation of the object that a status was decided on."""
    if not hasattr(status, "conditions"):
        status = (status.parents if hasattr(status, "parents") else status.ancestors)[0]
    return int(status.conditions[0].generation)


def _by_key(statuses: Statuses) -> dict[Key, Any]:
    """The statuses of everything but routes."""
    found: dict[Key, Any] = {("GatewayClass", "", name): each for name, each in statuses.gateway_classes.items()}
    for kind, of_kind in (
        ("Gateway", statuses.gateways),
        ("ListenerSet", statuses.listener_sets),
        ("Filter", statuses.filters),
        ("BackendTLSPolicy", statuses.backend_tls_policies),
    ):
        found |= {(kind, *name): each for name, each in of_kind.items()}
    return found
