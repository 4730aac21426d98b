"""Follows one kind for ever: a complete list, then what changes, from where it stood after every interruption."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from fastgate.kubernetes.client import METADATA, ApiError
from fastgate.kubernetes.decoding import Decoder, event_of, page_of, server_side_of

if TYPE_CHECKING:
    from fastgate.kubernetes.cache import Cache
    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.decoding import Event, ServerSide, Stored
    from fastgate.kubernetes.kinds import Kind
    from fastgate.store import Key

log = logging.getLogger(__name__)

PAGE = 500  # objects
FIRST_DELAY, LAST_DELAY = 0.1, 10.0  # seconds between attempts
PATIENCE = 60.0  # seconds at most that a server gets which asks for some
UNREACHED_DELAY = 1.0  # seconds at most, while nothing answers: what has come back is to be seen soon
LOOK_AGAIN = 10.0  # seconds at most until a kind that is missing or forbidden is looked for again
_INITIAL_END = "k8s.io/initial-events-end"
_NO_STREAMS = (400, 422)  # how older servers refuse a streaming list
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE, _TOO_MANY = 401, 403, 404, 410, 429
_LIST_AGAIN = (_GONE, 504)  # 504: a server that was restored has not reached our version
_HOPELESS = 5  # failures in a row after which a watch begins anew: it may stand where it cannot go on
REFUSALS = 4  # in a row, until it is believed that there is no right: a server that has just started knows of none


@dataclass(slots=True)
class _Listing:
    """A list while it is read."""

    found: dict[Key, Stored] = field(default_factory=dict)
    is_whole: bool = True  # nothing had to be left out


class Reflector:
    """Keeps the objects of one kind, in one namespace or all, in a cache."""

    def __init__(self, client: Client, cache: Cache, kind: Kind, namespace: str = "") -> None:
        """Follow `kind` in this namespace, "" for all."""
        self._client = client
        self._cache = cache
        self._kind = kind
        self._namespace = namespace
        self._scope = (kind.name, namespace)
        self._versions = list(kind.versions)  # those that may be there, the best first
        self._decoder = Decoder(kind, kind.versions[0])
        self._resource_version = ""  # where the watch goes on; "": with a list
        self._streams = True  # whether the server is believed to stream lists
        self._listing: _Listing | None = None  # what a watch is to begin with
        self._failures = 0
        self._appeared = asyncio.Event()

    def look(self) -> None:
        """Look for the kind at once, if it is missing: its CRD may have appeared."""
        self._appeared.set()

    async def run(self) -> None:
        """Follow the kind until cancelled. Nothing is raised for what an API server does."""
        while True:
            try:
                if not self._resource_version and not self._streams:
                    await self._list()
                await self._watch()
                await asyncio.sleep(FIRST_DELAY)  # a server that ends every watch at once is not asked in a loop
            except ApiError as e:
                await self._recover(e)
            except msgspec.MsgspecError as e:
                await self._recover(ApiError(0, "", f"the list is malformed: {e}", verb="list", path=self._path()))

    async def _recover(self, e: ApiError) -> None:
        """Draw the consequences of a failure, and wait as long as it asks for."""
        if e.status == _GONE and not self._resource_version:  # not even a list: it expired while it was read
            await asyncio.sleep(self._delay(LAST_DELAY))
        if e.status in _LIST_AGAIN:
            self._resource_version = ""
        if e.status in _NO_STREAMS and self._streams and not self._resource_version:
            self._streams = False
        elif e.status == _NOT_FOUND:
            self._resource_version = ""
            await self._look_elsewhere()
        elif e.status == _FORBIDDEN:
            where = f"namespace {self._namespace}" if self._namespace else "all namespaces"
            right = f"{e.verb} {self._kind.full}"
            is_barred = self._failures >= REFUSALS
            self._cache.fail(self._scope, f"no right to {right} in {where}: {e.message}", barred=is_barred)
            await self._rest(self._delay(LOOK_AGAIN))
        elif e.status != _GONE:
            self._cache.fail(self._scope, str(e))
            if self._failures >= _HOPELESS and e.status not in (0, _UNAUTHORIZED, _TOO_MANY):
                self._resource_version = ""
            delay = self._delay(LAST_DELAY if e.status else UNREACHED_DELAY)
            await asyncio.sleep(min(e.retry_after, PATIENCE) if e.retry_after is not None else delay)

    def _delay(self, longest: float) -> float:
        """Return the seconds until the next attempt: doubling after each failure up to `longest`, less by chance."""
        delay: float = min(FIRST_DELAY * 2**self._failures, longest)
        self._failures = min(self._failures + 1, 16)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - so that many clients fall out of step

    async def _look_elsewhere(self) -> None:
        """Try the next version; after the last one the kind is missing until it is looked for again."""
        self._versions.pop(0)
        if not self._versions:
            self._cache.miss(self._scope)
            self._versions = list(self._kind.versions)
            await self._rest(LOOK_AGAIN)
        self._decoder = Decoder(self._kind, self._versions[0])

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._appeared.wait()
        except TimeoutError:
            pass
        self._appeared.clear()

    async def _list(self) -> None:
        listing = _Listing()
        token = ""
        while True:
            query = {"limit": str(PAGE), **({"continue": token} if token else {})}
            body = await self._client.request("list", "GET", self._path(), query=query, accept=self._accept("List"))
            page = page_of(body)
            for raw in page.items or ():
                try:
                    self._take(listing.found, raw, server_side_of(raw))
                except msgspec.MsgspecError as e:
                    self._skip("an object of the list", e, listing)
            token = page.metadata.continue_
            if not token:
                break
        self._replace(listing)
        self._stand_at(page.metadata.resource_version)

    async def _watch(self) -> None:
        query = {"allowWatchBookmarks": "true"}
        if self._resource_version:
            self._listing = None
            query["resourceVersion"] = self._resource_version
        else:
            self._listing = _Listing()
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async for line in self._client.watch(self._path(), query, self._accept("")):
            if line:
                self._heed(line)
            elif self._listing is None:
                self._cache.fresh(self._scope)

    def _heed(self, line: bytes) -> None:
        """Take a line of a watch."""
        listing = self._listing
        try:
            event = event_of(line)
            server_side = server_side_of(event.object)
        except msgspec.MsgspecError as e:
            self._skip("a line of the watch", e, listing)
            return
        if event.type == "ERROR":
            message = server_side.message or "the watch failed"
            raise ApiError(server_side.code, "", message, verb="watch", path=self._path())
        if listing is None:
            self._follow(event, server_side)
        elif event.type != "BOOKMARK":
            self._take(listing.found, event.object, server_side)
            return
        elif _INITIAL_END in (server_side.metadata.annotations or {}):
            self._replace(listing)
            self._listing = None
        else:
            return
        self._stand_at(server_side.metadata.resource_version)
        self._failures = 0

    def _stand_at(self, version: str) -> None:
        self._resource_version = version
        self._cache.reach(version)

    def _follow(self, event: Event, server_side: ServerSide) -> None:
        """Take what changed."""
        if event.type == "DELETED":
            self._cache.drop(self._scope, self._decoder.key(server_side))
        elif event.type != "BOOKMARK":
            found: dict[Key, Stored] = {}
            self._take(found, event.object, server_side)
            for key, stored in found.items():
                self._cache.put(self._scope, key, stored)

    def _skip(self, what: str, e: msgspec.MsgspecError, listing: _Listing | None) -> None:
        """Say that something has to be left out."""
        log.warning("%s: %s is malformed and skipped: %s", self._kind.name, what, e)
        if listing is not None:
            listing.is_whole = False

    def _replace(self, listing: _Listing) -> None:
        """Take a complete list. Of one that was not readable as a whole nobody knows what is gone."""
        known = {} if listing.is_whole else self._cache.known(self._scope)
        self._cache.replace(self._scope, known | listing.found)

    def _take(self, into: dict[Key, Stored], raw: msgspec.Raw, server_side: ServerSide) -> None:
        """Take an object that is there. One that is malformed stays as it was."""
        key = self._decoder.key(server_side)
        before = self._cache.metadata(key) if self._kind.by_metadata else self._cache.stored(key)
        try:
            into[key] = self._decoder.stored(raw, server_side, before)
        except msgspec.MsgspecError as e:
            log.warning(
                "%s is malformed%s: %s", "/".join(filter(None, key)), " and stays as it was" if before else "", e
            )
            if before is not None:
                into[key] = before

    def _path(self) -> str:
        return self._kind.path(self._versions[0], self._namespace)

    def _accept(self, suffix: str) -> str:
        return METADATA.format(suffix) if self._kind.by_metadata else "application/json"
