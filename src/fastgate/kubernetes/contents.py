"""Contents of the Secrets and ConfigMaps that something refers to; nobody reads the others."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.kubernetes.client import ApiError
from fastgate.kubernetes.decoding import Decoder, server_side_of
from fastgate.kubernetes.kinds import KINDS
from fastgate.translate.references import KINDS as REFERRERS
from fastgate.translate.references import references_of

if TYPE_CHECKING:
    from fastgate.kubernetes.cache import Cache
    from fastgate.kubernetes.client import Client
    from fastgate.plugins.discovery import Catalog
    from fastgate.store import Key

log = logging.getLogger(__name__)

_AT_ONCE = 16  # requests
_AGAIN = 1.0  # seconds until what could not be read is tried again
_NOT_FOUND = 404


class Contents:
    """Keeps the contents in the cache that its objects refer to, as of their last change."""

    def __init__(self, client: Client, cache: Cache, catalog: Catalog) -> None:
        """Follow this cache. `catalog` knows what Filters refer to."""
        self._client = client
        self._cache = cache
        self._catalog = catalog
        self._of: dict[Key, frozenset[Key]] = {}  # what each object refers to
        self._by: dict[Key, set[Key]] = defaultdict(set)  # and by which it is referred to
        self._due: set[Key] = set()
        cache.on_change = self._changed
        cache.on_metadata = self.moved

    async def settle(self) -> None:
        """Read what is referred to and changed. What cannot be read stays as it was, and is tried again."""
        due, self._due = self._due, set()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def read(key: Key) -> None:
            async with gate:
                await self._read(key)

        await asyncio.gather(*map(read, sorted(due)))

    def _changed(self, key: Key, resource: Any) -> None:
        if key[0] not in REFERRERS:
            return
        before = self._of.pop(key, frozenset())
        after = references_of(key[0], resource, self._catalog) if resource is not None else frozenset()
        if after:
            self._of[key] = after
        for other in before - after:
            self._by[other].discard(key)
            if not self._by[other]:
                del self._by[other]
                self._due.discard(other)
                self._cache.keep(other, None)
        for other in after - before:
            if not self._by[other]:
                self._due.add(other)
            self._by[other].add(key)

    def moved(self, key: Key) -> None:
        """Take it that a Secret or ConfigMap is another one."""
        if self._by.get(key):
            self._due.add(key)
            self._cache.wake()

    async def _read(self, key: Key) -> None:
        known, held = self._cache.metadata(key), self._cache.stored(key)
        if known is None:
            self._cache.keep(key, None)
            return
        if held is not None and held.resource_version == known.resource_version:
            return
        kind = KINDS[key[0]]
        version = kind.versions[0]
        try:
            body = await self._client.request("get", "GET", kind.path(version, key[1], key[2]))
            stored = Decoder(kind, version, whole=True).stored(msgspec.Raw(body), server_side_of(body), held)
        except ApiError as e:
            if e.status == _NOT_FOUND:
                self._cache.keep(key, None)
            else:
                log.warning("%s", e)
                self._later(key)
        except msgspec.MsgspecError:
            log.warning("%s %s/%s is malformed; it stays as it was", *key)
        else:
            if self._by.get(key):
                self._cache.keep(key, stored, is_latest=True)

    def _later(self, key: Key) -> None:
        asyncio.get_running_loop().call_later(_AGAIN, self.moved, key)
