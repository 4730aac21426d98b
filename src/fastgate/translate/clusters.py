"""The clusters that some served route leads to, and their endpoints, sorted by key; kept from pass to pass."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from fastgate.ir import Endpoints
from fastgate.translate.client_identity import own_cluster, own_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastgate.ir import Cluster, Endpoint, KeyPair, UpstreamTls
    from fastgate.translate.backends import Backends, ResolvedCluster
    from fastgate.translate.conditions import Name
    from fastgate.translate.placements import Placements


class Clusters:
    """Clusters in use.

    Attributes:
        all: sorted by key; the same object until one changes.
        upstreams: the different ways in which TLS is spoken to them.
        endpoints: theirs; likewise.
    """

    def __init__(self) -> None:
        """Have none."""
        self.all: tuple[Cluster, ...] = ()
        self.upstreams: tuple[UpstreamTls, ...] = ()
        self.endpoints = Endpoints()
        self._identities: Mapping[Name, KeyPair | None] = {}
        self._by_key: dict[str, Cluster] = {}
        self._order: list[str] = []
        self._addresses: dict[str, tuple[Endpoint, ...]] = {}
        self._names: dict[str, tuple[Endpoint, ...]] = {}
        self._derived: dict[str, tuple[str, ...]] = {}  # from a cluster to what is made of it

    def update(
        self,
        placements: Placements,
        backends: Backends,
        identities: Mapping[Name, KeyPair | None],
        moved: Iterable[str] | None,
    ) -> None:
        """Follow what routes lead to.

        Args:
            placements: the routes.
            backends: what their references stand for.
            identities: what Gateways show to backends that speak TLS.
            moved: clusters of which anything may have changed, besides those of routes that did; None: all.
        """
        touched = placements.clusters_touched
        if touched is None or moved is None or identities != self._identities:
            self._identities = dict(identities)
            dirty: Iterable[str] = {*self._derived, *placements.users}
        else:
            dirty = {*touched, *moved}
        clusters_differ = endpoints_differ = False
        for key in dirty:
            found = dict(self._made_of(key, placements.users.get(key, {}), backends))
            gone = [derived for derived in self._derived.get(key, ()) if derived not in found]
            if found:
                self._derived[key] = tuple(found)
            else:
                self._derived.pop(key, None)
            for derived in gone:
                self._drop(derived)
            clusters_differ |= bool(gone)
            for derived, (cluster, addresses, names) in found.items():
                clusters_differ |= self._keep(derived, cluster)
                endpoints_differ |= self._reach(derived, addresses, names)
        if clusters_differ:
            self.all = tuple(map(self._by_key.__getitem__, self._order))
            self.upstreams = tuple({cluster.tls: None for cluster in self.all if cluster.tls is not None})
        if endpoints_differ or clusters_differ:
            self.endpoints = Endpoints(dict(self._addresses), dict(self._names))

    def _made_of(
        self, key: str, users: Mapping[Name, int], backends: Backends
    ) -> Iterable[tuple[str, ResolvedCluster]]:
        for gateway in users:
            resolved = backends.cluster(key)
            certificate = self._identities.get(gateway)
            if certificate is not None and backends.speaks_tls(key):
                own = own_cluster(gateway, resolved[0], certificate)
                yield own_key(gateway, key), (own, *resolved[1:])
            else:
                yield key, resolved

    def _keep(self, key: str, cluster: Cluster) -> bool:
        before = self._by_key.get(key)
        if before == cluster:
            return False
        if before is None:
            insort(self._order, key)
        self._by_key[key] = cluster
        return True

    def _drop(self, key: str) -> None:
        del self._by_key[key], self._addresses[key]
        self._names.pop(key, None)
        del self._order[bisect_left(self._order, key)]

    def _reach(self, key: str, addresses: tuple[Endpoint, ...], names: tuple[Endpoint, ...]) -> bool:
        if self._addresses.get(key) == addresses and self._names.get(key, ()) == names:
            return False
        self._addresses[key] = addresses
        if names:
            self._names[key] = names
        else:
            self._names.pop(key, None)
        return True
