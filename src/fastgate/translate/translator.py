"""The pass from a store to the Ir, the endpoints and the statuses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import is_
from typing import TYPE_CHECKING, Any

from fastgate.ir import Endpoints, Ir
from fastgate.plugins.discovery import Catalog
from fastgate.translate.assembly import Assembly
from fastgate.translate.attachment import Surroundings
from fastgate.translate.authorities import TrustAnchors
from fastgate.translate.backend_tls import KIND as BACKEND_TLS_POLICY
from fastgate.translate.backend_tls import BackendTLS
from fastgate.translate.backends import Backends
from fastgate.translate.certificates import Certificates
from fastgate.translate.client_identity import own_cluster, own_key
from fastgate.translate.conditions import Statuses
from fastgate.translate.filter_status import Targets, filter_status
from fastgate.translate.gateway_status import class_status, gateway_status, listener_set_status
from fastgate.translate.gateways import ManagedClass, ManagedGateway, collect, decide
from fastgate.translate.grants import Grants
from fastgate.translate.http_route import KIND, compile_route, still_resolved
from fastgate.translate.layer4 import KINDS, PlacedLayer4Route, place_layer4, still_placed
from fastgate.translate.mode import FILES, Mode
from fastgate.translate.placement import PlacedRoute, place
from fastgate.translate.plugins import Plugins
from fastgate.translate.secrets import secrets_of
from fastgate.translate.selectors import Namespaces
from fastgate.translate.tls_options import foreign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fastgate.ir import Cluster, KeyPair, Socket
    from fastgate.store import Key, Store
    from fastgate.translate.attachment import ParentKey, Rejection
    from fastgate.translate.backends import ResolvedCluster, Section
    from fastgate.translate.conditions import Name
    from fastgate.translate.homes import Home
    from fastgate.translate.listeners import Attachable
    from fastgate.translate.upstream_tls import Terms

# What decides the listeners and their certificates, where a backendRef leads, and what an ExtensionRef stands for.
_LISTENER_KINDS = ("GatewayClass", "Gateway", "ListenerSet", "Namespace", "GatewayParameters")
_CERTIFICATE_KINDS = ("Secret", "ConfigMap", "ClusterTrustBundle", "ReferenceGrant")
_BACKEND_KINDS = ("Service", "EndpointSlice", "Backend", "ReferenceGrant")
_FILTER_KINDS = ("Filter", "Secret", "ConfigMap", "ReferenceGrant")


@dataclass(frozen=True, slots=True)
class Fault:
    """A field that keeps an object from being accepted, and the reason that its condition gives."""

    key: Key
    path: tuple[str | int, ...]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Translation:
    """Everything that follows from a store.

    `warnings` says what has no object of ours to report it on: (kind/namespace/name, message). `faults` says which
    fields of an object made its status what it is, for those who know where the object was written.
    """

    ir: Ir
    endpoints: Endpoints
    statuses: Statuses
    warnings: tuple[tuple[str, str], ...] = ()
    faults: tuple[Fault, ...] = ()


class Translator:
    """Translates stores, one after the other, and does again only what a change can reach.

    Stores share the objects that did not change, and objects are immutable: identity tells what changed. The result
    is a function of the store and the catalog alone, equal to that of a new translator. Not thread-safe.
    """

    def __init__(self, catalog: Catalog | None = None, mode: Mode = FILES) -> None:
        """Use the filters of this catalog; without one there are none."""
        self._mode = mode
        self._homes: Mapping[Name, Home] = {}
        self._listener_objects = _Inputs(_LISTENER_KINDS)
        self._certificate_objects = _Inputs(_CERTIFICATE_KINDS)
        self._backend_objects = _Inputs(_BACKEND_KINDS)
        self._filter_objects = _Inputs(_FILTER_KINDS)
        self._classes: dict[str, ManagedClass] = {}
        self._gateways: list[ManagedGateway] = []
        self._surroundings: Surroundings
        self._certificates = Certificates()
        self._anchors = TrustAnchors()
        self._backends: Backends
        self._terms: Mapping[Section, Terms] = {}  # that the backends were resolved by
        self._plugins = Plugins(Catalog(installed=False) if catalog is None else catalog)
        self._warnings: list[tuple[str, str]] = []
        self._routes: dict[int, PlacedRoute] = {}  # by id of the source, which the value keeps alive
        self._layer4: dict[int, PlacedLayer4Route] = {}  # the same
        self._assembly = Assembly()

    def translate(self, store: Store, homes: Mapping[Name, Home] | None = None) -> Translation:
        """Translate a store. Faults in it become statuses; nothing is raised for them.

        `homes` are those of the Gateways that somebody assigns one to.
        """
        moved = self._listener_objects.changed(store) or self._homes != (homes or {})
        if moved:
            self._homes = dict(homes or {})
            self._collect(store)
        if self._certificate_objects.changed(store) or moved:
            self._certificates.resolve(self._gateways, store, Grants(store))
            moved |= self._decide()
        self._anchors.update(store)
        backend_tls = BackendTLS(store, self._anchors)
        retargeted = self._backend_objects.changed(store) or backend_tls.terms != self._terms
        if retargeted:
            self._terms = backend_tls.terms
            self._backends = Backends(store, Grants(store), self._terms, guarded=self._mode.guarded)
        refiltered = self._filter_objects.changed(store)
        if refiltered:
            self._plugins.update(store, Grants(store))
        routes = [self._placed(source, moved, retargeted or refiltered) for source in store.list(KIND)]
        self._routes = {id(route.source): route for route in routes}
        layer4 = [self._placed_layer4(kind, source, moved, retargeted) for kind in KINDS for source in store.list(kind)]
        self._layer4 = {id(route.source): route for route in layer4}
        placed: list[PlacedRoute | PlacedLayer4Route] = [*routes, *layer4]
        self._count(placed)
        clusters = self._clusters(placed)
        sockets = self._assembly.sockets(self._gateways, routes, layer4, self._plugins, self._backends.speaks_tls)
        ir = self._with_secrets(sockets, tuple(cluster for cluster, _, _ in clusters), backend_tls)
        of_routes = (warning for route in placed for warning in route.warnings)
        warnings = sorted([*self._warnings, *self._foreign_options(), *backend_tls.warnings(), *of_routes])
        statuses = self._statuses(store, placed, backend_tls)
        faults = (*self._faults(), *_policy_faults(backend_tls))
        return Translation(ir, _endpoints(clusters), statuses, tuple(warnings), faults)

    def _collect(self, store: Store) -> None:
        self._classes, self._gateways = collect(store, self._mode.controller, self._homes)
        existing = frozenset(
            (kind, source.metadata.namespace, source.metadata.name)
            for kind in ("Gateway", "ListenerSet")
            for source in store.list(kind)
        )
        self._surroundings = Surroundings({}, existing, Namespaces(store))
        known = {source.metadata.name for source in store.list("GatewayClass")}
        self._warnings = [
            (
                f"Gateway/{source.metadata.namespace}/{source.metadata.name}",
                f"GatewayClass {source.spec.gateway_class_name} does not exist",
            )
            for source in store.list("Gateway")
            if source.spec.gateway_class_name not in known
        ]

    def _decide(self) -> bool:
        """Decide what becomes of Gateways and listeners; whether routes attach to others than before."""
        decide(self._gateways, self._surroundings.namespaces)
        parents = _parents(self._gateways)
        moved = parents != self._surroundings.parents
        self._surroundings = replace(self._surroundings, parents=parents)
        return moved

    def _foreign_options(self) -> Iterator[tuple[str, str]]:
        for gateway in self._gateways:
            for listener in gateway.all_listeners:
                if listener.options is not None and listener.spec.tls is not None:
                    for name in foreign(listener.spec.tls.options or {}):
                        owner = f"{listener.owner}/{listener.namespace}/{listener.owner_name}"
                        yield owner, f"listener {listener.name}: option {name} has no effect here"

    def _placed(self, source: Any, moved: bool, retargeted: bool) -> PlacedRoute:
        before = self._routes.get(id(source))
        if before is None:
            return place(source, compile_route(source, self._backends, self._plugins), self._surroundings)
        compiled = before.compiled
        if retargeted and not still_resolved(source, compiled, self._backends, self._plugins):
            compiled = compile_route(source, self._backends, self._plugins)
        if compiled is before.compiled and not moved:
            return before
        return place(source, compiled, self._surroundings)

    def _placed_layer4(self, kind: str, source: Any, moved: bool, retargeted: bool) -> PlacedLayer4Route:
        before = self._layer4.get(id(source))
        if before is None or moved or (retargeted and not still_placed(before, self._backends)):
            return place_layer4(kind, source, self._backends, self._surroundings)
        return before

    def _count(self, routes: Iterable[PlacedRoute | PlacedLayer4Route]) -> None:
        for gateway in self._gateways:
            for listener in gateway.all_listeners:
                listener.attached = 0
        for route in routes:
            for listener, _ in route.reached:
                listener.attached += route.counted

    def _clusters(self, routes: Iterable[PlacedRoute | PlacedLayer4Route]) -> list[ResolvedCluster]:
        """Return the clusters that are in use, by their keys."""
        identities = {gateway.name: gateway.client_certificate for gateway in self._gateways}
        shared: set[str] = set()
        own: dict[str, tuple[Name, str, KeyPair]] = {}
        for route in routes:
            gateways = {listener.gateway for listener, _ in route.reached if listener.served}
            for key in route.clusters:
                for gateway in gateways:
                    certificate = identities[gateway]
                    if certificate is not None and self._backends.speaks_tls(key):
                        own[own_key(gateway, key)] = (gateway, key, certificate)
                    else:
                        shared.add(key)
        found = [self._backends.cluster(key) for key in shared]
        for gateway, key, certificate in own.values():
            cluster, addresses, names = self._backends.cluster(key)
            found.append((own_cluster(gateway, cluster, certificate), addresses, names))
        return sorted(found, key=lambda entry: entry[0].key)

    def _with_secrets(self, sockets: tuple[Socket, ...], clusters: tuple[Cluster, ...], backend_tls: BackendTLS) -> Ir:
        listeners = [listener for gateway in self._gateways for listener in gateway.all_listeners]
        pairs = [pair for listener in listeners for pair in listener.certificates]
        pairs += [gateway.client_certificate for gateway in self._gateways if gateway.client_certificate is not None]
        authorities = [authority for listener in listeners for authority in listener.authorities]
        return Ir(sockets, clusters, *secrets_of(sockets, clusters, pairs, [*authorities, *backend_tls.authorities]))

    def _faults(self) -> tuple[Fault, ...]:
        return (*self._listener_faults(), *self._filter_faults())

    def _listener_faults(self) -> Iterator[Fault]:
        for gateway in sorted(self._gateways, key=lambda gateway: gateway.name):
            owners: list[tuple[Key, list[Attachable]]] = [(("Gateway", *gateway.name), gateway.listeners)]
            owners += [(("ListenerSet", *child.name), child.listeners) for child in gateway.sets]
            for path, (reason, message) in gateway.frontend_faults.items():
                yield Fault(("Gateway", *gateway.name), path, reason, message)
            for key, listeners in owners:
                for index, listener in enumerate(listeners):
                    for path, reason, message in (*listener.option_faults, *listener.reference_faults):
                        yield Fault(key, ("spec", "listeners", index, *path), reason, message)

    def _filter_faults(self) -> Iterator[Fault]:
        return (
            Fault(("Filter", *name), path, found.refusal.reason, message)
            for name, found in sorted(self._plugins.filters.items())
            if found.refusal is not None
            for path, message in found.refusal.faults
        )

    def _statuses(
        self, store: Store, routes: list[PlacedRoute | PlacedLayer4Route], backend_tls: BackendTLS
    ) -> Statuses:
        gateways = sorted(self._gateways, key=lambda gateway: gateway.name)
        sets = sorted((child for gateway in gateways for child in gateway.sets), key=lambda child: child.name)
        named = sorted(
            ((route.kind, route.source.metadata.namespace, route.source.metadata.name), route.status)
            for route in routes
            if route.status.parents
        )
        targets = Targets(store, self._surroundings, self._routes)
        return Statuses(
            gateway_classes={
                name: class_status(managed, self._mode.features) for name, managed in sorted(self._classes.items())
            },
            gateways={gateway.name: gateway_status(gateway) for gateway in gateways},
            listener_sets={child.name: listener_set_status(child) for child in sets},
            routes=dict(named),
            backend_tls_policies=backend_tls.statuses(routes),
            filters={name: filter_status(found, targets) for name, found in sorted(self._plugins.filters.items())},
        )


def _endpoints(found: list[ResolvedCluster]) -> Endpoints:
    clusters = {cluster.key: addresses for cluster, addresses, _ in found}
    return Endpoints(clusters, {cluster.key: names for cluster, _, names in found if names})


def _policy_faults(backend_tls: BackendTLS) -> Iterator[Fault]:
    for policy, path, reason, message in backend_tls.faults():
        yield Fault((BACKEND_TLS_POLICY, policy.metadata.namespace, policy.metadata.name), path, reason, message)


class _Inputs:
    """The objects of some kinds that the last store held."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._kinds = kinds
        self._objects: list[Any] | None = None

    def changed(self, store: Store) -> bool:
        """Say whether a store holds other objects than the one before; true for the first."""
        objects = [source for kind in self._kinds for source in store.list(kind)]
        before, self._objects = self._objects, objects
        return before is None or len(before) != len(objects) or not all(map(is_, before, objects))


def _parents(gateways: list[ManagedGateway]) -> dict[ParentKey, tuple[list[Attachable], Rejection | None]]:
    parents: dict[ParentKey, tuple[list[Attachable], Rejection | None]] = {}
    for gateway in gateways:
        parents["Gateway", *gateway.name] = (gateway.listeners, None)
        for child in gateway.sets:
            rejection = None
            if child.rejection is not None:
                rejection = ("NoMatchingParent", f"the ListenerSet is not accepted: {child.rejection[1]}")
            parents["ListenerSet", *child.name] = (child.listeners, rejection)
    return parents
