"""What an API server has, as far as it matters: the objects of all watched kinds, and how well they are known.

Reflectors tell it; a Store is made of it when somebody asks. Secrets and ConfigMaps are known by their metadata, and by
their contents where something refers to them (`contents`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fastgate.kubernetes.kinds import KINDS
from fastgate.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fastgate.kubernetes.decoding import Stored
    from fastgate.store import Key

log = logging.getLogger(__name__)

_CLOSED = ("ReferenceGrant",)  # kinds of which nothing counts that cannot be read any more

Scope = tuple[str, str]  # a kind, and the namespace that is watched, "" for all


class Cache:
    """The objects of an API server.

    Attributes:
        complete: set once every kind had a complete list, or cannot be had.
        missing: kinds that the API server does not have.
        latest: the highest resourceVersion that was heard of: how far its changes are known.
        on_change: called with the key and the new resource, or None, of every change of what users wrote.
        on_stored: called with the key of every object that changed in any way, its status too.
        on_metadata: called with the key of every Secret and ConfigMap that changed.
    """

    def __init__(self, scopes: Iterable[Scope]) -> None:
        """Wait for the objects of these scopes."""
        self.complete = asyncio.Event()
        self.missing: set[str] = set()
        self.latest = 0
        self.on_change: Callable[[Key, Any], None] = lambda _key, _resource: None
        self.on_stored: Callable[[Key], None] = lambda _: None
        self.on_metadata: Callable[[Key], None] = lambda _: None
        self._stale: dict[Scope, str] = {}
        self._waiting = set(scopes)
        self._read: set[Scope] = set()  # had a complete list since they were there
        self._stored: dict[str, dict[Key, Stored]] = defaultdict(dict)  # by kind
        self._scoped: dict[Scope, set[Key]] = {scope: set() for scope in self._waiting}
        self._metadata: dict[Key, Stored] = {}
        self._store = Store()
        self._changes: dict[Key, Any] = {}
        self._news = asyncio.Event()

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def store(self) -> Store:
        """Return what users wrote, as of now. The Stores of two calls know how they differ."""
        if self._changes:
            self._store = self._store.amended(self._changes)
            self._changes = {}
        self._news.clear()
        return self._store

    async def changed(self) -> None:
        """Wait until `store` would return another Store."""
        await self._news.wait()

    @property
    def stale(self) -> dict[str, str]:
        """By kind, why it may have changed unseen: a watch of it fails."""
        return {kind: reason for (kind, _), reason in self._stale.items()}

    def known(self, scope: Scope) -> dict[Key, Stored]:
        """Return what was last told of a scope."""
        objects = self._metadata if KINDS[scope[0]].by_metadata else self._stored[scope[0]]
        return {key: objects[key] for key in self._scoped[scope] if key in objects}

    def stored(self, key: Key) -> Stored | None:
        """Return an object with what the API server says of it; None: it is not there."""
        return self._stored[key[0]].get(key)

    def stored_of(self, kind: str) -> list[tuple[Key, Stored]]:
        """Return all objects of a kind."""
        return list(self._stored.get(kind, {}).items())

    def metadata(self, key: Key) -> Stored | None:
        """Return what is known of a Secret or ConfigMap without its contents; None: it is not there."""
        return self._metadata.get(key)

    def is_read(self, kind: str, namespace: str) -> bool:
        """Say whether it is known which objects of a kind a namespace has, or had when they could last be read."""
        return not self._read.isdisjoint({(kind, ""), (kind, namespace)})

    # --- what it is told ----------------------------------------------------------------------------------------------

    def replace(self, scope: Scope, objects: Mapping[Key, Stored]) -> None:
        """Take a complete list: what is not in it is gone."""
        for key in self._scoped[scope] - objects.keys():
            self.drop(scope, key)
        for key, stored in objects.items():
            self.put(scope, key, stored, is_latest=True)
        if scope not in self._read:
            self._read.add(scope)
            self.wake()
        self.fresh(scope)
        self._have(scope)

    def put(self, scope: Scope, key: Key, stored: Stored, *, is_latest: bool = False) -> None:
        """Take an object that is there. `is_latest`: whatever its version; see `keep`."""
        self._scoped[scope].add(key)
        if KINDS[key[0]].by_metadata:
            self._metadata[key] = stored
            self.on_metadata(key)
        else:
            self.keep(key, stored, is_latest=is_latest)

    def drop(self, scope: Scope, key: Key) -> None:
        """Take an object for gone."""
        self._scoped[scope].discard(key)
        if KINDS[key[0]].by_metadata:
            self._metadata.pop(key, None)
            self.on_metadata(key)
        else:
            self.keep(key, None)

    def keep(self, key: Key, stored: Stored | None, *, is_latest: bool = False) -> None:
        """Have an object in the Store; None: none.

        A version that is older than the one that is known is no news: an answer to a write overtook it. One that was
        read now, `is_latest`, counts whatever its version: those of a cluster that was restored begin lower again.
        """
        objects = self._stored[key[0]]
        before = objects.get(key)
        if (
            not is_latest
            and before is not None
            and stored is not None
            and _is_older(stored.resource_version, before.resource_version)
        ):
            return
        if stored is None:
            objects.pop(key, None)
        else:
            objects[key] = stored
        old = before.resource if before is not None else None
        new = stored.resource if stored is not None else None
        if old is not new:
            self._changes[key] = new
            self.on_change(key, new)
            self.wake()
        self.on_stored(key)

    def wake(self) -> None:
        """Have `changed` return."""
        if self.complete.is_set():
            self._news.set()

    def reach(self, version: str) -> None:
        """Know the changes of a kind up to this resourceVersion. They grow over all kinds (KEP-5504)."""
        if version.isdecimal():
            self.latest = max(self.latest, int(version))

    def fresh(self, scope: Scope) -> None:
        """Take it that a kind is followed."""
        self._stale.pop(scope, None)
        self.missing.discard(scope[0])

    def fail(self, scope: Scope, reason: str, *, barred: bool = False) -> None:
        """Take it that a kind cannot be followed now. What is `barred` holds nothing up: there may never be a right."""
        if self._stale.get(scope) != reason:
            self._stale[scope] = reason
            log.warning("%s: %s", scope[0], reason)
        if barred:
            if scope[0] in _CLOSED:
                self._empty(scope)
            self._have(scope)

    def miss(self, scope: Scope) -> None:
        """Take it that the API server does not have a kind."""
        if scope[0] not in self.missing:
            self.missing.add(scope[0])
            log.info("the API server has no %s: it is served when it appears", scope[0])
        self._empty(scope)
        self._read.discard(scope)
        self._stale.pop(scope, None)
        self._have(scope)

    def _empty(self, scope: Scope) -> None:
        for key in list(self._scoped[scope]):
            self.drop(scope, key)

    def _have(self, scope: Scope) -> None:
        self._waiting.discard(scope)
        if not self._waiting and not self.complete.is_set():
            self.complete.set()
            self._news.set()


def _is_older(version: str, other: str) -> bool:
    """Compare resource versions, which grow (KEP-5504)."""
    return version.isdecimal() and other.isdecimal() and int(version) < int(other)
