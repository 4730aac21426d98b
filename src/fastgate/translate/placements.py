"""All routes at their places, and what they add up to. A change costs what it changes, however many there are."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fastgate.translate.attachment import parents_of
from fastgate.translate.conditions import RouteChanges
from fastgate.translate.layer4 import PlacedLayer4Route
from fastgate.translate.placement import PlacedRoute

Placed = PlacedRoute | PlacedLayer4Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fastgate.store import Key
    from fastgate.translate.attachment import ParentKey
    from fastgate.translate.backends import Target
    from fastgate.translate.conditions import Name, RouteStatus
    from fastgate.translate.listeners import Attachable

    _Reached = tuple[tuple[Attachable, tuple[str, ...]], ...]
    Hosts = dict[str, dict[Key, PlacedRoute]]  # by hostname, the routes that have it


class Placements:
    """Placed routes by key.

    Attributes:
        routes: all of them.
        layer4: those of layer 4.
        hosts: the HTTPRoutes of each listener that is served, by hostname.
        touched: hostnames of listeners whose routes changed since `settle`; None: any may have.
        changes: how the statuses of now differ from those before; None: anyhow.
        layer4_touched: whether a route of layer 4 changed since then.
        users: the Gateways that lead to a cluster, and by how many routes.
        clusters_touched: clusters of routes that changed since then; None: any may be.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self.routes: dict[Key, Placed] = {}
        self.touched: dict[Attachable, set[str]] | None = None
        self.clusters_touched: set[str] | None = None
        self.layer4_touched = True
        self._statuses: dict[Key, RouteStatus] = {}
        self._shown: dict[Key, RouteStatus] = {}
        self._unshown: set[Key] | None = None  # keys at which `_shown` is out of date; None: any
        self.changes: RouteChanges | None = None
        self._begin()

    def _begin(self) -> None:
        self.layer4: dict[Key, PlacedLayer4Route] = {}
        self.hosts: dict[Attachable, Hosts] = defaultdict(lambda: defaultdict(dict))
        self.users: dict[str, dict[Name, int]] = defaultdict(lambda: defaultdict(int))
        self._warnings: dict[Key, tuple[tuple[str, str], ...]] = {}
        self._by_target: dict[Target, dict[Key, None]] = defaultdict(dict)
        self._by_parent: dict[ParentKey, dict[Key, None]] = defaultdict(dict)
        self._served: dict[Key, _Reached] = {}

    def reset(self, routes: Mapping[Key, Placed]) -> None:
        """Hold these routes, at listeners that count none yet."""
        before = self._statuses
        self.routes = dict(routes)
        self.touched = self.clusters_touched = None
        self._begin()
        self._statuses = {}
        for key, route in self.routes.items():
            self._add(key, route)
        if self._statuses != before:
            self._unshown = None

    def put(self, key: Key, route: Placed | None) -> None:
        """Hold another route at a key; None: none."""
        before = self.routes.pop(key, None)
        status = self._statuses.get(key)
        if before is not None:
            self._remove(key, before)
        if route is not None:
            self.routes[key] = route
            self._add(key, route)
        if self._statuses.get(key) == status:
            if status is not None:
                self._statuses[key] = status  # the same object, where it says the same
        elif self._unshown is not None:
            self._unshown.add(key)

    def leading_to(self, targets: Iterable[Target]) -> list[Key]:
        """Return the keys of the routes that refer to some of these backends."""
        return list(dict.fromkeys(key for target in targets for key in self._by_target.get(target, ())))

    def attached_to(self, parents: Iterable[ParentKey]) -> list[Key]:
        """Return the keys of the routes that name some of these parents."""
        return list(dict.fromkeys(key for parent in parents for key in self._by_parent.get(parent, ())))

    def settle(self) -> None:
        """Take what changed for known."""
        self.touched, self.clusters_touched, self.layer4_touched = {}, set(), False

    @property
    def statuses(self) -> dict[Key, RouteStatus]:
        """The statuses of the routes that have parents: the same object until one changes. `changes` tells which."""
        if self._unshown or self._unshown is None:
            keys = self._unshown
            before, self._shown, self._unshown = self._shown, dict(self._statuses), set()
            self.changes = None if keys is None else RouteChanges(before, frozenset(keys))
        return self._shown

    @property
    def warnings(self) -> Iterable[tuple[str, str]]:
        """What routes cannot report themselves."""
        for warnings in self._warnings.values():
            yield from warnings

    def _add(self, key: Key, route: Placed) -> None:
        if route.status.parents:
            self._statuses[key] = route.status
        if route.warnings:
            self._warnings[key] = route.warnings
        for target in _targets(route):
            self._by_target[target][key] = None
        for parent in parents_of(route.source):
            self._by_parent[parent][key] = None
        for listener, _ in route.reached:
            listener.attached += route.counted
        # Which listeners are served may be another matter when the route goes.
        self._served[key] = tuple(each for each in route.reached if each[0].served)
        self._touch(route)
        self._use(key, route, 1)
        if isinstance(route, PlacedRoute):
            for hosts, hostname in self._places(key):
                hosts[hostname][key] = route
        else:
            self.layer4[key] = route

    def _remove(self, key: Key, route: Placed) -> None:
        self._statuses.pop(key, None)
        self._warnings.pop(key, None)
        for target in _targets(route):
            self._by_target[target].pop(key, None)
        for parent in parents_of(route.source):
            self._by_parent[parent].pop(key, None)
        for listener, _ in route.reached:
            listener.attached -= route.counted
        self._touch(route)
        self._use(key, route, -1)
        if isinstance(route, PlacedRoute):
            for hosts, hostname in self._places(key):
                del hosts[hostname][key]
                if not hosts[hostname]:
                    del hosts[hostname]
        else:
            del self.layer4[key]
        del self._served[key]

    def _use(self, key: Key, route: Placed, change: int) -> None:
        """Count the Gateways that lead to the route's clusters."""
        gateways = {listener.gateway: None for listener, _ in self._served[key]}
        for cluster in route.clusters:
            users = self.users[cluster]
            for gateway in gateways:
                users[gateway] += change
                if not users[gateway]:
                    del users[gateway]
            if not users:
                del self.users[cluster]

    def _places(self, key: Key) -> Iterator[tuple[Hosts, str]]:
        """Where an HTTPRoute is served."""
        for listener, hostnames in self._served[key]:
            hosts = self.hosts[listener]
            for hostname in hostnames:
                yield hosts, hostname

    def _touch(self, route: Placed) -> None:
        if not isinstance(route, PlacedRoute):
            self.layer4_touched = True
        if self.clusters_touched is not None:
            self.clusters_touched.update(route.clusters)
        if self.touched is not None:
            for listener, hostnames in route.reached:
                self.touched.setdefault(listener, set()).update(hostnames)


def _targets(route: Placed) -> set[Target]:
    return {found.target for _, found in route.references if found.target is not None}
