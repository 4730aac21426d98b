"""The pass from a store to the Ir, the endpoints and the statuses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastgate.ir import Endpoint, Endpoints, Ir, Listener, Match, Socket, VirtualHost
from fastgate.translate.attachment import Rejection, attach, parent_ref
from fastgate.translate.backends import Backends
from fastgate.translate.conditions import (
    GROUP,
    Condition,
    ParentStatus,
    RouteStatus,
    Statuses,
    fails,
    holds,
)
from fastgate.translate.gateway_status import class_status, gateway_status, listener_set_status
from fastgate.translate.gateways import ManagedGateway, collect
from fastgate.translate.grants import Grants
from fastgate.translate.http_route import KIND, CompiledRoute, compile_route
from fastgate.translate.precedence import Age, MatchKey, age, hostname_key, ordered
from fastgate.translate.selectors import Namespaces

if TYPE_CHECKING:
    from fastgate.store import Store
    from fastgate.translate.listeners import Attachable

_Candidate = tuple[MatchKey, Age, int, int, Match]
_ParentKey = tuple[str, str, str]  # kind, namespace, name


@dataclass(frozen=True, slots=True)
class Translation:
    """Everything that follows from a store.

    `warnings` says what has no object of ours to report it on: (kind/namespace/name, message).
    """

    ir: Ir
    endpoints: Endpoints
    statuses: Statuses
    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Cached:
    """A compiled route and the very object it was compiled from, which keeps that object's identity from reuse."""

    source: Any
    compiled: CompiledRoute


@dataclass(slots=True)
class _Pass:
    """State of one pass."""

    backends: Backends
    namespaces: Namespaces
    parents: dict[_ParentKey, tuple[list[Attachable], Rejection | None]]
    hosts: dict[Attachable, dict[str, list[_Candidate]]] = field(default_factory=lambda: defaultdict(dict))
    clusters: dict[str, None] = field(default_factory=dict)


class Translator:
    """Translates stores, one after the other, and compiles again only the routes that changed.

    A translator remembers what it made of each route object. Stores share the objects that did not change, and objects
    are immutable, so identity tells whether a route changed; whether what it refers to changed is compared by value. The
    result is a function of the store alone. Not thread-safe.
    """

    def __init__(self) -> None:
        self._routes: dict[int, _Cached] = {}

    def translate(self, store: Store) -> Translation:
        """Translate a store. Faults in it become statuses; nothing is raised for them."""
        namespaces = Namespaces(store)
        classes, gateways = collect(store, namespaces)
        state = _Pass(Backends(store, Grants(store)), namespaces, _parents(gateways))
        routes: dict[tuple[str, str], RouteStatus] = {}
        remembered: dict[int, _Cached] = {}
        for source in store.list(KIND):
            compiled = self._compiled(source, state.backends)
            remembered[id(source)] = _Cached(source, compiled)
            status = _attach_route(source, compiled, state)
            if status.parents:
                routes[source.metadata.namespace, source.metadata.name] = status
        self._routes = remembered
        ir = Ir(
            sockets=_sockets(gateways, state.hosts),
            clusters=tuple(state.backends.cluster(key)[0] for key in sorted(state.clusters)),
        )
        statuses = Statuses(
            gateway_classes={name: class_status(managed) for name, managed in sorted(classes.items())},
            gateways={
                gateway.name: gateway_status(gateway) for gateway in sorted(gateways, key=lambda each: each.name)
            },
            listener_sets={
                (child.source.metadata.namespace, child.source.metadata.name): listener_set_status(child)
                for gateway in gateways
                for child in gateway.sets
            },
            http_routes=dict(sorted(routes.items())),
        )
        return Translation(ir, _endpoints(state), statuses, _warnings(store, classes))

    def _compiled(self, source: Any, backends: Backends) -> CompiledRoute:
        cached = self._routes.get(id(source))
        if cached is not None and cached.source is source:
            namespace = source.metadata.namespace
            references = cached.compiled.references
            if all(backends.resolve(KIND, namespace, ref) == before for ref, before in references):
                return cached.compiled
        return compile_route(source, backends)


def _parents(gateways: list[ManagedGateway]) -> dict[_ParentKey, tuple[list[Attachable], Rejection | None]]:
    parents: dict[_ParentKey, tuple[list[Attachable], Rejection | None]] = {}
    for gateway in gateways:
        parents["Gateway", *gateway.name] = (gateway.listeners, None)
        for child in gateway.sets:
            metadata = child.source.metadata
            rejection = None
            if child.rejection is not None:
                rejection = ("NoMatchingParent", f"the ListenerSet is not accepted: {child.rejection[1]}")
            parents["ListenerSet", metadata.namespace, metadata.name] = (child.listeners, rejection)
    return parents


def _attach_route(source: Any, compiled: CompiledRoute, state: _Pass) -> RouteStatus:
    """Attach a compiled route to its parents' listeners, put its candidates there, and return its status."""
    metadata = source.metadata
    namespace: str = metadata.namespace
    generation: int = metadata.generation or 0
    reached: dict[Attachable, dict[str, None]] = {}
    parents = []
    for spec in source.spec.parent_refs or ():
        if (GROUP if spec.group is None else spec.group) != GROUP:
            continue
        parent = state.parents.get((spec.kind or "Gateway", spec.namespace or namespace, spec.name))
        if parent is None:
            continue
        ref = parent_ref(spec)
        listeners, rejection = parent
        if rejection is None:
            attached, rejection = attach(KIND, namespace, compiled.hostnames, ref, listeners, state.namespaces)
            for listener, hostnames in attached:
                reached.setdefault(listener, {}).update(dict.fromkeys(hostnames))
        parents.append(ParentStatus(ref, (*_accepted(compiled, rejection, generation), compiled.resolved)))
    if reached:
        _add_candidates(age(metadata.creation_timestamp, namespace, metadata.name), compiled, reached, state)
    return RouteStatus(tuple(parents))


def _accepted(compiled: CompiledRoute, rejection: Rejection | None, generation: int) -> tuple[Condition, ...]:
    if rejection is not None:
        return (fails("Accepted", generation, *rejection),)
    if not compiled.faults:
        return (holds("Accepted", generation, message="the route is attached"),)
    faults = "; ".join(compiled.faults)
    if not compiled.sound:
        return (fails("Accepted", generation, "UnsupportedValue", f"no rule is left: {faults}"),)
    return (
        holds("Accepted", generation, message="the route is attached"),
        holds("PartiallyInvalid", generation, "UnsupportedValue", f"Dropped Rule: {faults}"),
    )


def _add_candidates(
    born: Age, compiled: CompiledRoute, reached: dict[Attachable, dict[str, None]], state: _Pass
) -> None:
    """Put a route's candidates on the listeners that it reached.

    A route without a sound rule is not Accepted and not counted, and still answers 500 where its matches can be built:
    a request must not fall through to another route because the filter that should have guarded it is not served.
    """
    candidates = [(key, born, rule, position, match) for key, rule, position, match in compiled.candidates]
    for listener, hostnames in reached.items():
        if compiled.sound or not compiled.faults:
            listener.attached += 1
        if not listener.served:
            continue
        hosts = state.hosts[listener]
        for hostname in hostnames:
            hosts.setdefault(hostname, []).extend(candidates)
        state.clusters.update(dict.fromkeys(compiled.clusters))


def _sockets(
    gateways: list[ManagedGateway], hosts: dict[Attachable, dict[str, list[_Candidate]]]
) -> tuple[Socket, ...]:
    sockets = []
    for gateway in gateways:
        groups: dict[tuple[str, int], list[Listener]] = defaultdict(list)
        for listener in gateway.all_listeners:
            if not listener.sockets:
                continue
            candidates = hosts.get(listener, {})
            compiled = Listener(
                key=listener.key,
                gateway="/".join(gateway.name),
                name=listener.spec.name,
                hostname=listener.hostname,
                protocol=listener.spec.protocol,
                hosts=tuple(
                    VirtualHost(hostname, ordered(candidates[hostname]))
                    for hostname in sorted(candidates, key=hostname_key)
                ),
            )
            for socket in listener.sockets:
                groups[socket].append(compiled)
        for (address, port), listeners in groups.items():
            listeners.sort(key=lambda listener: hostname_key(listener.hostname))
            sockets.append(Socket(address, port, tuple(listeners), gateway.settings))
    return tuple(sorted(sockets, key=lambda socket: (socket.address, socket.port)))


def _endpoints(state: _Pass) -> Endpoints:
    clusters: dict[str, tuple[Endpoint, ...]] = {}
    names: dict[str, tuple[Endpoint, ...]] = {}
    for key in sorted(state.clusters):
        _, clusters[key], unresolved = state.backends.cluster(key)
        if unresolved:
            names[key] = unresolved
    return Endpoints(clusters, names)


def _warnings(store: Store, classes: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name the references of Gateways and routes to objects that do not exist, where no controller can answer for them."""
    warnings = []
    known = {entry.metadata.name for entry in store.list("GatewayClass")} | classes.keys()
    for gateway in store.list("Gateway"):
        name = gateway.spec.gateway_class_name
        if name not in known:
            place = f"Gateway/{gateway.metadata.namespace}/{gateway.metadata.name}"
            warnings.append((place, f"GatewayClass {name} does not exist"))
    for route in store.list(KIND):
        for ref in route.spec.parent_refs or ():
            kind, namespace = ref.kind or "Gateway", ref.namespace or route.metadata.namespace
            if (GROUP if ref.group is None else ref.group) != GROUP or kind not in ("Gateway", "ListenerSet"):
                continue
            if store.get(kind, namespace, ref.name) is None:
                place = f"{KIND}/{route.metadata.namespace}/{route.metadata.name}"
                warnings.append((place, f"{kind} {namespace}/{ref.name} does not exist"))
    return tuple(sorted(warnings))
