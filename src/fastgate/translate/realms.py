"""What each realm serves of a translation: the sockets there, and what they lead to."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from fastgate.ir import Endpoints, Forward, Ir, ServerName
from fastgate.translate.secrets import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastgate.ir import Cluster, Socket, VirtualHost
    from fastgate.translate.translator import Translation

    _Part = VirtualHost | ServerName

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Portion:
    """What one realm serves. Its sockets have the realm "": who serves it is there."""

    ir: Ir
    endpoints: Endpoints


class Portions:
    """Divides translations, one after the other. What is equal to what it was before is the same object.

    Parts that translations share are looked at once: a change costs what it changes, and a comparison of identities for
    each virtual host of its realm.
    """

    def __init__(self) -> None:
        """Know no translation yet."""
        self._realms: dict[str, _Realm] = {}
        self._clusters: tuple[Cluster, ...] = ()
        self._by_key: dict[str, Cluster] = {}

    def of(self, translation: Translation) -> dict[str, Portion]:
        """Return the portion of every realm that has a socket."""
        ir = translation.ir
        if ir.clusters is not self._clusters:
            self._clusters, self._by_key = ir.clusters, {cluster.key: cluster for cluster in ir.clusters}
        sockets: dict[str, list[Socket]] = defaultdict(list)
        for socket in ir.sockets:
            sockets[socket.realm].append(socket)
        known, self._realms = self._realms, {}
        portions = {}
        for realm, there in sockets.items():
            divided = self._realms[realm] = known.get(realm) or _Realm()
            portions[realm] = divided.portion(tuple(there), self._by_key, translation)
        return portions


class _Realm:
    """One realm, as of the last translation."""

    def __init__(self) -> None:
        self._sockets: tuple[Socket, ...] = ()
        self._parts: dict[tuple[str, str], dict[int, _Part]] = {}  # what listeners of sockets hold, by identity
        self._users: Counter[str] = Counter()  # of a cluster: how many parts lead there
        self._by_key: Mapping[str, Cluster] = {}
        self._all_endpoints: Endpoints | None = None
        self._portion = Portion(Ir(), Endpoints())

    def portion(self, sockets: tuple[Socket, ...], by_key: Mapping[str, Cluster], translation: Translation) -> Portion:
        before = self._portion
        ir, endpoints = before.ir, before.endpoints
        moved = sockets != self._sockets
        others = self._count(sockets) if moved else False
        clusters = ir.clusters
        if others or by_key is not self._by_key:
            clusters = _unless_equal(clusters, tuple(by_key[key] for key in sorted(self._users)))
        if moved or clusters is not ir.clusters:
            here = tuple(replace(socket, realm="") for socket in sockets)
            upstreams = {cluster.tls: None for cluster in clusters if cluster.tls is not None}
            secrets = secrets_of(here, upstreams, translation.ir.key_pairs, translation.ir.authorities)
            ir = _unless_equal(ir, Ir(here, clusters, *secrets))
        if others or translation.endpoints is not self._all_endpoints:
            endpoints = _unless_equal(endpoints, self._reached(translation.endpoints))
        self._sockets, self._by_key, self._all_endpoints = sockets, by_key, translation.endpoints
        if ir is not before.ir or endpoints is not before.endpoints:
            self._portion = Portion(ir, endpoints)
        return self._portion

    def _count(self, sockets: tuple[Socket, ...]) -> bool:
        """Count what leads to clusters. Returns whether these are others now."""
        known, self._parts = self._parts, {}
        used = set(self._users)
        for socket in sockets:
            for listener in socket.listeners:
                key = (socket.key, listener.key)
                before = known.pop(key, {})
                held: tuple[_Part, ...] = (*listener.hosts, *listener.names)
                parts = self._parts[key] = {id(part): part for part in held}
                self._use((before[each] for each in before.keys() - parts.keys()), -1)
                self._use((parts[each] for each in parts.keys() - before.keys()), 1)
        for gone in known.values():
            self._use(gone.values(), -1)
        return used != self._users.keys()

    def _use(self, parts: Iterable[_Part], change: int) -> None:
        for part in parts:
            for cluster in _clusters_of(part):
                self._users[cluster] += change
                if not self._users[cluster]:
                    del self._users[cluster]

    def _reached(self, endpoints: Endpoints) -> Endpoints:
        clusters, names = endpoints.clusters, endpoints.names
        return Endpoints(
            {key: clusters[key] for key in self._users if key in clusters},
            {key: names[key] for key in self._users if key in names},
        )


def _clusters_of(part: _Part) -> set[str]:
    if isinstance(part, ServerName):
        backends = part.relay.backends
    else:
        actions = {id(match.rule): match.rule.action for match in part.matches}.values()
        backends = tuple(each for action in actions if isinstance(action, Forward) for each in action.backends)
    return {backend.cluster for backend in backends if backend.cluster is not None}


def _unless_equal(before: T, after: T) -> T:
    return before if before == after else after
