"""Placed routes as virtual hosts, listeners and sockets. What has the same parts as before is the same object."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastgate.ir import Listener, Socket, VirtualHost
from fastgate.translate.client_identity import names_with_own_clusters, with_own_clusters
from fastgate.translate.layer4 import server_names
from fastgate.translate.plugins import guarded, split
from fastgate.translate.precedence import hostname_key, ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastgate.ir import Plugin, Rule, ServerName
    from fastgate.translate.gateways import ManagedGateway
    from fastgate.translate.listeners import Attachable
    from fastgate.translate.placement import PlacedRoute
    from fastgate.translate.placements import Hosts, Placements
    from fastgate.translate.plugins import FilterResolution, Plugins

_MANY = 64  # hostnames: more of them are sorted in at once


@dataclass(slots=True)
class _Assembled:
    """A listener, and what it was assembled from: its routes, the filters that all of its requests pass.

    `identified` says that its Gateway shows a certificate to backends. `order` has the keys of `hosts`, sorted.
    """

    filters: tuple[FilterResolution, ...]
    identified: bool
    parts: dict[str, tuple[PlacedRoute, ...]]
    order: list[tuple[int, int, str]]
    hosts: list[VirtualHost]
    listener: Listener


class Assembly:
    """Assembles sockets, pass after pass, and sorts again only the virtual hosts whose routes changed."""

    def __init__(self) -> None:
        self._assembled: dict[Attachable, _Assembled] = {}
        self._names: dict[Attachable, tuple[ServerName, ...]] = {}
        self._sockets: list[Socket] = []  # sorted
        self._listeners: list[list[Listener]] = []  # of each socket
        self._places: dict[Attachable, list[tuple[int, int]]] = {}  # of a listener: its sockets, and where in them

    def sockets(
        self,
        gateways: Iterable[ManagedGateway],
        placements: Placements,
        plugins: Plugins,
        speaks_tls: Callable[[str], bool],
        *,
        settled: bool,
    ) -> tuple[Socket, ...]:
        """Return the sockets of the Gateways, sorted, each with its listeners and their routes.

        `speaks_tls` says it of a cluster; a route is another object when its answer for one of its clusters changes.
        `settled` says that neither Gateways nor Filters were decided about since the last time.
        """
        if placements.layer4_touched or placements.touched is None:
            self._names = server_names(placements.layer4.values())
        if settled and not placements.layer4_touched and placements.touched is not None:
            self._assemble_again(placements.touched, placements, speaks_tls)
        else:
            self._assemble_all(gateways, placements, plugins, speaks_tls)
        return tuple(self._sockets)

    def _assemble_all(
        self,
        gateways: Iterable[ManagedGateway],
        placements: Placements,
        plugins: Plugins,
        speaks_tls: Callable[[str], bool],
    ) -> None:
        assembled: dict[Attachable, _Assembled] = {}
        found: list[tuple[Socket, list[Attachable]]] = []
        for gateway in gateways:
            groups: dict[tuple[str, int, bool], list[Attachable]] = defaultdict(list)
            for listener in gateway.all_listeners:
                if listener.sockets:
                    filters = plugins.of_listener(listener) if listener.speaks_http else ()
                    identity = None if gateway.client_certificate is None else speaks_tls
                    assembled[listener] = self._assemble(listener, placements, filters, identity)
                    for address, port in listener.sockets:
                        groups[address, port, listener.datagrams].append(listener)
            for (address, port, datagrams), there in groups.items():
                there.sort(key=lambda listener: hostname_key(listener.hostname))
                listeners = tuple(assembled[listener].listener for listener in there)
                socket = Socket(address, port, listeners, gateway.settings, datagrams, gateway.home.realm)
                found.append((socket, there))
        found.sort(key=lambda one: (one[0].realm, one[0].address, one[0].port, one[0].datagrams))
        self._assembled = assembled
        self._sockets = [socket for socket, _ in found]
        self._listeners = [list(socket.listeners) for socket in self._sockets]
        self._places = defaultdict(list)
        for number, (_, there) in enumerate(found):
            for at, listener in enumerate(there):
                self._places[listener].append((number, at))

    def _assemble_again(
        self, touched: Iterable[Attachable], placements: Placements, speaks_tls: Callable[[str], bool]
    ) -> None:
        """Assemble the listeners whose routes changed; everything else about them is what it was."""
        moved: set[int] = set()
        for listener in touched:
            entry = self._assembled.get(listener)
            if entry is None:
                continue
            before = entry.listener
            self._assemble(listener, placements, entry.filters, speaks_tls if entry.identified else None)
            if entry.listener is not before:
                for number, at in self._places[listener]:
                    self._listeners[number][at] = entry.listener
                    moved.add(number)
        for number in moved:
            self._sockets[number] = replace(self._sockets[number], listeners=tuple(self._listeners[number]))

    def _assemble(
        self,
        listener: Attachable,
        placements: Placements,
        filters: tuple[FilterResolution, ...],
        identity: Callable[[str], bool] | None,
    ) -> _Assembled:
        """Assemble a listener; `identity` is None unless its Gateway shows a certificate to clusters that speak TLS."""
        identified = identity is not None
        names = self._names.get(listener, ())
        if identity is not None:
            names = names_with_own_clusters(names, listener.gateway, identity)
        plugins, behind = split(filters)
        entry = self._assembled.get(listener)
        hosts: Hosts = placements.hosts.get(listener, {})
        if entry is None or (entry.filters, entry.identified) != (filters, identified):
            entry = _Assembled(filters, identified, {}, [], [], _nothing(listener, plugins))
            touched: Iterable[str] = hosts
        elif placements.touched is None:
            touched = {*entry.parts, *hosts}
        else:
            touched = placements.touched.get(listener, ())

        def at_listener(rule: Rule) -> Rule:
            rule = guarded(rule, behind)
            return rule if identity is None else with_own_clusters(rule, listener.gateway, identity)

        change = at_listener if behind or identified else None
        found = ((hostname, tuple(hosts.get(hostname, {}).values())) for hostname in touched)
        news = {hostname: routes for hostname, routes in found if entry.parts.get(hostname, ()) != routes}
        if news:
            _settle(entry, {name: (routes, _virtual_host(name, routes, change)) for name, routes in news.items()})
            entry.listener = replace(entry.listener, hosts=tuple(entry.hosts))
        if (entry.listener.tls, entry.listener.names) != (listener.tls, names):
            entry.listener = replace(entry.listener, tls=listener.tls, names=names)
        return entry


def _nothing(listener: Attachable, plugins: tuple[Plugin, ...]) -> Listener:
    """A listener before it has routes."""
    return Listener(
        key=listener.key,
        gateway="/".join(listener.gateway),
        name=listener.name,
        hostname=listener.hostname,
        protocol=listener.spec.protocol,
        hosts=(),
        plugins=plugins,
        tls=listener.tls,
    )


def _settle(entry: _Assembled, news: dict[str, tuple[tuple[PlacedRoute, ...], VirtualHost]]) -> None:
    """Let hostnames have these routes, and virtual hosts of them; without routes it is gone."""
    if len(news) > _MANY:
        hosts = dict(zip(entry.order, entry.hosts, strict=True))
        hosts |= {hostname_key(hostname): host for hostname, (_, host) in news.items()}
        entry.parts |= {hostname: routes for hostname, (routes, _) in news.items()}
        for hostname in [hostname for hostname, (routes, _) in news.items() if not routes]:
            del entry.parts[hostname], hosts[hostname_key(hostname)]
        entry.order = sorted(hosts)
        entry.hosts = [hosts[key] for key in entry.order]
        return
    for hostname, (routes, host) in news.items():
        key = hostname_key(hostname)
        at = bisect_left(entry.order, key)
        is_known = hostname in entry.parts
        if is_known and routes:
            entry.hosts[at] = host
        elif is_known:
            del entry.order[at], entry.hosts[at]
        else:
            entry.order.insert(at, key)
            entry.hosts.insert(at, host)
        if routes:
            entry.parts[hostname] = routes
        else:
            del entry.parts[hostname]


def _virtual_host(hostname: str, routes: Iterable[PlacedRoute], change: Callable[[Rule], Rule] | None) -> VirtualHost:
    matches = ordered(candidate for route in routes for candidate in route.candidates)
    if change is not None:
        rules = {match.rule.key: match.rule for match in matches}
        changed = {key: change(rule) for key, rule in rules.items()}
        matches = tuple(replace(match, rule=changed[match.rule.key]) for match in matches)
    return VirtualHost(hostname, matches)
