"""The pass from a store to the Ir, the endpoints and the statuses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import is_
from typing import TYPE_CHECKING, Any, TypeVar

from fastgate.ir import Ir
from fastgate.plugins.discovery import Catalog
from fastgate.translate.assembly import Assembly
from fastgate.translate.attachment import Surroundings
from fastgate.translate.authorities import TrustAnchors
from fastgate.translate.backend_tls import KIND as BACKEND_TLS_POLICY
from fastgate.translate.backend_tls import BackendTLS
from fastgate.translate.backends import Backends
from fastgate.translate.certificates import Certificates
from fastgate.translate.clusters import Clusters
from fastgate.translate.conditions import Statuses
from fastgate.translate.filter_status import Targets, filter_status
from fastgate.translate.gateway_status import class_status, gateway_status, listener_set_status
from fastgate.translate.gateways import ManagedClass, ManagedGateway, collect, decide
from fastgate.translate.grants import Grants
from fastgate.translate.http_route import KIND, compile_route, still_resolved
from fastgate.translate.layer4 import KINDS, PlacedLayer4Route, place_layer4, still_placed
from fastgate.translate.mode import FILES, Mode
from fastgate.translate.placement import place
from fastgate.translate.placements import Placements
from fastgate.translate.plugins import Plugins
from fastgate.translate.secrets import secrets_of
from fastgate.translate.selectors import Namespaces
from fastgate.translate.tls_options import foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fastgate.ir import Endpoints, Socket
    from fastgate.store import Key, Store
    from fastgate.translate.attachment import ParentKey, Rejection
    from fastgate.translate.backends import Section, Target
    from fastgate.translate.conditions import Name
    from fastgate.translate.homes import Home
    from fastgate.translate.listeners import Attachable
    from fastgate.translate.placements import Placed
    from fastgate.translate.upstream_tls import Terms

Owner = TypeVar("Owner")
S = TypeVar("S")

# What decides the listeners and their certificates, where a backendRef leads, how TLS is spoken there, and what an
# ExtensionRef stands for.
_LISTENER_KINDS = ("GatewayClass", "Gateway", "ListenerSet", "Namespace", "GatewayParameters")
_CERTIFICATE_KINDS = ("Secret", "ConfigMap", "ClusterTrustBundle", "ReferenceGrant")
_BACKEND_KINDS = ("Service", "EndpointSlice", "Backend")
_BACKEND_TLS_KINDS = (BACKEND_TLS_POLICY, "Service", "Backend", *_CERTIFICATE_KINDS)
_FILTER_KINDS = ("Filter", "Secret", "ConfigMap", "ReferenceGrant")
_ROUTE_KINDS = (KIND, *KINDS)


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
    is a function of the store, the homes and the catalog alone, equal to that of a new translator. A store that was
    amended costs what the amendment reaches; of another one every object is looked at. Not thread-safe.

    Attributes:
        mode: how stores are read; of another one only the features and the version may differ.
    """

    def __init__(self, catalog: Catalog | None = None, mode: Mode = FILES) -> None:
        """Use the filters of this catalog; without one there are none."""
        self.mode = mode
        self._homes: Mapping[Name, Home] = {}
        self._store: Store | None = None
        self._listener_objects = _Inputs(_LISTENER_KINDS)
        self._certificate_objects = _Inputs(_CERTIFICATE_KINDS)
        self._grant_objects = _Inputs(("ReferenceGrant",))
        self._backend_objects = _Inputs(_BACKEND_KINDS)
        self._backend_tls_objects = _Inputs(_BACKEND_TLS_KINDS)
        self._filter_objects = _Inputs(_FILTER_KINDS)
        self._classes: dict[str, ManagedClass] = {}
        self._gateways: list[ManagedGateway] = []
        self._surroundings = Surroundings({}, frozenset(), Namespaces(()))
        self._served: dict[ParentKey, tuple[bool, ...]] = {}  # which of a parent's listeners are
        self._reserved: set[ParentKey] = set()  # where that changed
        self._decided = False  # whether Gateways and listeners were decided about in this pass
        self._listener_warnings: tuple[tuple[str, str], ...] = ()
        self._listener_faults: tuple[Fault, ...] = ()
        self._owners: dict[Any, tuple[list[int], Any]] = {}  # statuses of Gateways and ListenerSets, and those before
        self._owners_before: dict[Any, tuple[list[int], Any]] = {}
        self._certificates = Certificates()
        self._anchors = TrustAnchors()
        self._backends: Backends
        self._backend_tls: BackendTLS
        self._terms: Mapping[Section, Terms] = {}  # that the backends were resolved by
        self._plugins = Plugins(Catalog(installed=False) if catalog is None else catalog)
        self._warnings: list[tuple[str, str]] = []
        self._placements = Placements()
        self._clusters = Clusters()
        self._assembly = Assembly()

    def translate(self, store: Store, homes: Mapping[Name, Home] | None = None) -> Translation:
        """Translate a store. Faults in it become statuses; nothing is raised for them.

        `homes` are those of the Gateways that somebody assigns one to.
        """
        changes = store.changes_since(self._store)
        self._store = store
        self._decided = False
        moved = self._follow_gateways(store, changes, homes or {})
        targets = self._follow_backends(store, changes)
        refiltered = self._filter_objects.changed(store, changes)
        if refiltered:
            self._plugins.update(store, Grants(store))
        if changes is None or moved is None or refiltered or targets is None:
            self._place_all(store, moved is None, refiltered or targets is None or bool(targets), moved or ())
        else:
            self._place(store, changes, targets, moved)
        identities = {gateway.name: gateway.client_certificate for gateway in self._gateways}
        at = None if targets is None else self._backends.clusters_of(targets)
        self._clusters.update(self._placements, self._backends, identities, at)
        settled = not self._decided and not refiltered
        sockets = self._assembly.sockets(
            self._gateways, self._placements, self._plugins, self._backends.speaks_tls, settled=settled
        )
        self._placements.settle()
        ir = self._with_secrets(sockets)
        warnings = [
            *self._warnings,
            *self._listener_warnings,
            *self._backend_tls.warnings(),
            *self._placements.warnings,
        ]
        faults = (*self._faults(), *_policy_faults(self._backend_tls))
        return Translation(ir, self._clusters.endpoints, self._statuses(store), tuple(sorted(warnings)), faults)

    def _follow_gateways(
        self, store: Store, changes: frozenset[Key] | None, homes: Mapping[Name, Home]
    ) -> frozenset[ParentKey] | None:
        """Decide about Gateways and listeners. Returns the parents to which routes have to attach anew; None: all."""
        before, self._reserved = self._surroundings, set()
        collected = self._listener_objects.changed(store, changes) or self._homes != homes
        if collected:
            self._homes = dict(homes)
            self._collect(store)
        if not self._certificate_objects.changed(store, changes) and not collected:
            return frozenset()
        self._certificates.resolve(self._gateways, store, Grants(store))
        decide(self._gateways, self._surroundings.namespaces)
        self._decided = True
        self._listener_warnings, self._listener_faults = tuple(self._foreign_options()), tuple(self._faulty_listeners())
        parents, served = _parents(self._gateways), _served(self._gateways)
        self._surroundings = replace(self._surroundings, parents=parents)
        known, self._served = self._served, served
        self._reserved = {key for key in {*known, *served} if known.get(key) != served.get(key)}
        if not before.namespaces.agrees(self._surroundings.namespaces) and _selects(self._gateways):
            return None
        return frozenset(
            key
            for key in {*before.parents, *parents, *before.existing, *self._surroundings.existing}
            if before.parents.get(key) != parents.get(key)
            or (key in before.existing) != (key in self._surroundings.existing)
        )

    def _collect(self, store: Store) -> None:
        self._classes, self._gateways = collect(store, self.mode.controller, self._homes, self._gateways)
        existing = frozenset(
            (kind, source.metadata.namespace, source.metadata.name)
            for kind in ("Gateway", "ListenerSet")
            for source in store.list(kind)
        )
        self._surroundings = Surroundings(self._surroundings.parents, existing, Namespaces(store.list("Namespace")))
        known = {source.metadata.name for source in store.list("GatewayClass")}
        self._warnings = [
            (
                f"Gateway/{source.metadata.namespace}/{source.metadata.name}",
                f"GatewayClass {source.spec.gateway_class_name} does not exist",
            )
            for source in store.list("Gateway")
            if source.spec.gateway_class_name not in known
        ]

    def _foreign_options(self) -> Iterator[tuple[str, str]]:
        for gateway in self._gateways:
            for listener in gateway.all_listeners:
                if listener.options is not None and listener.spec.tls is not None:
                    for name in foreign(listener.spec.tls.options or {}):
                        owner = f"{listener.owner}/{listener.namespace}/{listener.owner_name}"
                        yield owner, f"listener {listener.name}: option {name} has no effect here"

    def _follow_backends(self, store: Store, changes: frozenset[Key] | None) -> Iterable[Target] | None:
        """Resolve references by this store. Returns the targets that may be others now; None: all of them."""
        if self._backend_tls_objects.changed(store, changes):
            self._anchors.update(store)
            self._backend_tls = BackendTLS(store, self._anchors)
        granted = self._grant_objects.changed(store, changes)
        moved = self._backend_objects.changed(store, changes)
        if granted or self._backend_tls.terms != self._terms or (moved and changes is None):
            self._terms = self._backend_tls.terms
            self._backends = Backends(store, Grants(store), self._terms, guarded=self.mode.guarded, zone=self.mode.zone)
            return None
        return self._backends.follow(store, (key for key in changes or () if key[0] in _BACKEND_KINDS))

    def _place_all(self, store: Store, moved: bool, resolved_anew: bool, parents: Iterable[ParentKey]) -> None:
        """Place every route that is not what and where it was; those of `parents` are elsewhere in any case."""
        known = self._placements.routes
        elsewhere = set(self._placements.attached_to(parents))
        placed: dict[Key, Placed] = {}
        for kind in _ROUTE_KINDS:
            for source in store.list(kind):
                key = (kind, source.metadata.namespace, source.metadata.name)
                before = known.get(key)
                if before is not None and before.source is source:
                    placed[key] = self._placed_again(before, moved or key in elsewhere, resolved_anew)
                else:
                    placed[key] = self._placed(kind, source)
        for gateway in self._gateways:
            for listener in gateway.all_listeners:
                listener.attached = 0
        self._placements.reset(placed)

    def _place(
        self, store: Store, changes: Iterable[Key], targets: Iterable[Target], parents: Iterable[ParentKey]
    ) -> None:
        """Place the routes that changed, and those whose references or parents may be something else."""
        for key in changes:
            if key[0] in _ROUTE_KINDS:
                source = store.get(*key)
                self._placements.put(key, None if source is None else self._placed(key[0], source))
        elsewhere = set(self._placements.attached_to(parents))
        for key in dict.fromkeys([*self._placements.leading_to(targets), *elsewhere]):
            before = self._placements.routes[key]
            after = self._placed_again(before, key in elsewhere, True)
            if after is not before:
                self._placements.put(key, after)
        for key in self._placements.attached_to(self._reserved):
            self._placements.put(key, self._placements.routes[key])

    def _placed(self, kind: str, source: Any) -> Placed:
        if kind != KIND:
            return place_layer4(kind, source, self._backends, self._surroundings)
        return place(source, compile_route(source, self._backends, self._plugins), self._surroundings)

    def _placed_again(self, before: Placed, moved: bool, resolved_anew: bool) -> Placed:
        """Return a route whose object did not change: the same, where nothing around it did."""
        if isinstance(before, PlacedLayer4Route):
            if moved or (resolved_anew and not still_placed(before, self._backends)):
                return self._placed(before.kind, before.source)
            return before
        compiled = before.compiled
        if resolved_anew and not still_resolved(before.source, compiled, self._backends, self._plugins):
            compiled = compile_route(before.source, self._backends, self._plugins)
        if compiled is before.compiled and not moved:
            return before
        return place(before.source, compiled, self._surroundings)

    def _with_secrets(self, sockets: tuple[Socket, ...]) -> Ir:
        listeners = [listener for gateway in self._gateways for listener in gateway.all_listeners]
        pairs = [pair for listener in listeners for pair in listener.certificates]
        pairs += [gateway.client_certificate for gateway in self._gateways if gateway.client_certificate is not None]
        authorities = [authority for listener in listeners for authority in listener.authorities]
        clusters = self._clusters.all
        upstreams = self._clusters.upstreams
        found = secrets_of(sockets, upstreams, pairs, [*authorities, *self._backend_tls.authorities])
        return Ir(sockets, clusters, *found)

    def _faults(self) -> tuple[Fault, ...]:
        return (*self._listener_faults, *self._filter_faults())

    def _faulty_listeners(self) -> Iterator[Fault]:
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

    def _status_of(self, owner: Owner, listeners: Iterable[Attachable], make: Callable[[Owner], S]) -> S:
        """Return the status of a Gateway or ListenerSet: the same object for as long as it is equal."""
        parts = [listener.attached for listener in listeners]
        known = self._owners_before.get(owner)
        status: S
        if known is not None and known[0] == parts and not self._decided:
            status = known[1]
        else:
            status = make(owner)
            if known is not None and known[1] == status:
                status = known[1]
        self._owners[owner] = (parts, status)
        return status

    def _statuses(self, store: Store) -> Statuses:
        gateways = sorted(self._gateways, key=lambda gateway: gateway.name)
        sets = sorted((child for gateway in gateways for child in gateway.sets), key=lambda child: child.name)
        targets = Targets(store, self._surroundings, self._placements.routes)
        self._owners_before, self._owners = self._owners, {}
        return Statuses(
            gateway_classes={name: class_status(managed, self.mode) for name, managed in sorted(self._classes.items())},
            gateways={each.name: self._status_of(each, each.listeners, gateway_status) for each in gateways},
            listener_sets={each.name: self._status_of(each, each.listeners, listener_set_status) for each in sets},
            routes=self._placements.statuses,
            changes=self._placements.changes,
            backend_tls_policies=self._backend_tls.statuses(self._placements),
            filters={name: filter_status(found, targets) for name, found in sorted(self._plugins.filters.items())},
        )


def _policy_faults(backend_tls: BackendTLS) -> Iterator[Fault]:
    for policy, path, reason, message in backend_tls.faults():
        yield Fault((BACKEND_TLS_POLICY, policy.metadata.namespace, policy.metadata.name), path, reason, message)


class _Inputs:
    """The objects of some kinds that the last store held."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._kinds = kinds
        self._objects: list[Any] | None = None

    def changed(self, store: Store, changes: frozenset[Key] | None) -> bool:
        """Say whether a store, known to differ from the last one at these keys, holds other objects; true at first."""
        before = self._objects
        if changes is not None and before is not None and not any(key[0] in self._kinds for key in changes):
            return False
        self._objects = [source for kind in self._kinds for source in store.list(kind)]
        return before is None or len(before) != len(self._objects) or not all(map(is_, before, self._objects))


def _served(gateways: list[ManagedGateway]) -> dict[ParentKey, tuple[bool, ...]]:
    """Return which listeners of each parent are served."""
    found: dict[ParentKey, tuple[bool, ...]] = {}
    for gateway in gateways:
        found["Gateway", *gateway.name] = tuple(listener.served for listener in gateway.listeners)
        for child in gateway.sets:
            found["ListenerSet", *child.name] = tuple(listener.served for listener in child.listeners)
    return found


def _selects(gateways: list[ManagedGateway]) -> bool:
    """Say whether some listener admits routes by labels of their namespaces."""
    rules = (entry.spec.allowed_routes for gateway in gateways for entry in gateway.candidates)
    return any(
        rule is not None and rule.namespaces is not None and rule.namespaces.from_ == "Selector" for rule in rules
    )


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
