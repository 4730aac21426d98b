"""Placed routes as virtual hosts, listeners and sockets. What has the same parts as before is the same object."""

from __future__ import annotations

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

    from fastgate.ir import Rule, ServerName
    from fastgate.translate.gateways import ManagedGateway
    from fastgate.translate.layer4 import PlacedLayer4Route
    from fastgate.translate.listeners import Attachable
    from fastgate.translate.placement import PlacedRoute
    from fastgate.translate.plugins import FilterResolution, Plugins

_Hosts = dict[str, list["PlacedRoute"]]


@dataclass(slots=True)
class _Assembled:
    """A listener, and what it was assembled from: its routes, the filters that all of its requests pass.

    `identified` says that its Gateway shows a certificate to backends.
    """

    parts: _Hosts
    filters: tuple[FilterResolution, ...]
    identified: bool
    hosts: dict[str, VirtualHost]
    listener: Listener


class Assembly:
    """Assembles sockets, pass after pass, and sorts again only the virtual hosts whose routes changed."""

    def __init__(self) -> None:
        self._assembled: dict[Attachable, _Assembled] = {}

    def sockets(
        self,
        gateways: Iterable[ManagedGateway],
        routes: Iterable[PlacedRoute],
        layer4: Iterable[PlacedLayer4Route],
        plugins: Plugins,
        speaks_tls: Callable[[str], bool],
    ) -> tuple[Socket, ...]:
        """Return the sockets of the Gateways, sorted, each with its listeners and their routes.

        `speaks_tls` says it of a cluster; a route is another object when its answer for one of its clusters changes.
        """
        parts, names = _parts(routes), server_names(layer4)
        sockets: list[Socket] = []
        assembled: dict[Attachable, _Assembled] = {}
        for gateway in gateways:
            groups: dict[tuple[str, int, bool], list[Listener]] = defaultdict(list)
            for listener in gateway.all_listeners:
                if listener.sockets:
                    filters = plugins.of_listener(listener) if listener.speaks_http else ()
                    identity = None if gateway.client_certificate is None else speaks_tls
                    entry = self._assemble(
                        listener, parts.get(listener, {}), names.get(listener, ()), filters, identity
                    )
                    assembled[listener] = entry
                    for address, port in listener.sockets:
                        groups[address, port, listener.datagrams].append(entry.listener)
            for (address, port, datagrams), listeners in groups.items():
                listeners.sort(key=lambda listener: hostname_key(listener.hostname))
                sockets.append(Socket(address, port, tuple(listeners), gateway.settings, datagrams, gateway.home.realm))
        self._assembled = assembled
        return tuple(sorted(sockets, key=lambda socket: (socket.realm, socket.address, socket.port, socket.datagrams)))

    def _assemble(
        self,
        listener: Attachable,
        parts: _Hosts,
        names: tuple[ServerName, ...],
        filters: tuple[FilterResolution, ...],
        identity: Callable[[str], bool] | None,
    ) -> _Assembled:
        """Assemble a listener; `identity` is None unless its Gateway shows a certificate to clusters that speak TLS."""
        identified = identity is not None
        if identity is not None:
            names = names_with_own_clusters(names, listener.gateway, identity)
        before = self._assembled.get(listener)
        if before is not None and (before.filters, before.identified) != (filters, identified):
            before = None
        if before is not None and before.parts == parts:
            if (before.listener.tls, before.listener.names) != (listener.tls, names):
                before.listener = replace(before.listener, tls=listener.tls, names=names)
            return before
        known = before.hosts if before is not None else {}
        old = before.parts if before is not None else {}
        plugins, behind = split(filters)

        def at_listener(rule: Rule) -> Rule:
            rule = guarded(rule, behind)
            return rule if identity is None else with_own_clusters(rule, listener.gateway, identity)

        change = at_listener if behind or identified else None
        hosts = {
            hostname: known[hostname] if old.get(hostname) == routes else _virtual_host(hostname, routes, change)
            for hostname, routes in parts.items()
        }
        compiled = Listener(
            key=listener.key,
            gateway="/".join(listener.gateway),
            name=listener.name,
            hostname=listener.hostname,
            protocol=listener.spec.protocol,
            hosts=tuple(hosts[hostname] for hostname in sorted(hosts, key=hostname_key)),
            plugins=plugins,
            tls=listener.tls,
            names=names,
        )
        return _Assembled(parts, filters, identified, hosts, compiled)


def _parts(routes: Iterable[PlacedRoute]) -> dict[Attachable, _Hosts]:
    parts: dict[Attachable, _Hosts] = defaultdict(dict)
    for route in routes:
        for listener, hostnames in route.reached:
            if not listener.served:
                continue
            hosts = parts[listener]
            for hostname in hostnames:
                if hostname in hosts:
                    hosts[hostname].append(route)
                else:
                    hosts[hostname] = [route]
    return parts


def _virtual_host(hostname: str, routes: list[PlacedRoute], change: Callable[[Rule], Rule] | None) -> VirtualHost:
    matches = ordered(candidate for route in routes for candidate in route.candidates)
    if change is not None:
        rules = {match.rule.key: match.rule for match in matches}
        changed = {key: change(rule) for key, rule in rules.items()}
        matches = tuple(replace(match, rule=changed[match.rule.key]) for match in matches)
    return VirtualHost(hostname, matches)
