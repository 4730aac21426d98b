"""Gateways, their classes and ListenerSets: which are ours, whether they are valid, and which sockets they get."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from fastgate.ir import Settings
from fastgate.translate.conditions import GROUP
from fastgate.translate.homes import Home
from fastgate.translate.listener_tls import mark_overlaps
from fastgate.translate.listeners import Attachable, attachable, mark_conflicts
from fastgate.translate.literals import is_ip
from fastgate.translate.parameters import InvalidParameters, settings_of
from fastgate.translate.precedence import age

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastgate.ir import KeyPair
    from fastgate.store import Store
    from fastgate.translate.conditions import Name
    from fastgate.translate.selectors import Namespaces

Rejection = tuple[str, str]  # reason of a condition that is False, message
INSECURE = "AllowInsecureFallback"


@dataclass(slots=True, eq=False)
class ManagedClass:
    """A GatewayClass of this controller."""

    source: Any
    settings: Settings
    rejection: Rejection | None


@dataclass(slots=True, eq=False)
class ManagedSet:
    """A ListenerSet whose parent is a Gateway of ours. A rejected one has candidates, and no listeners."""

    source: Any
    gateway: tuple[str, str]
    candidates: list[Attachable]
    rejection: Rejection | None = None

    @property
    def name(self) -> tuple[str, str]:
        """(namespace, name)."""
        return (self.source.metadata.namespace, self.source.metadata.name)

    @property
    def listeners(self) -> list[Attachable]:
        """The listeners that it adds to its Gateway."""
        return self.candidates if self.rejection is None else []


@dataclass(slots=True, eq=False)
class ManagedGateway:
    """A Gateway of ours. `refusal` is what it says of itself, or its home of it."""

    source: Any
    settings: Settings
    home: Home
    refusal: Rejection | None
    rejection: Rejection | None = None
    listeners: list[Attachable] = field(default_factory=list)
    sets: list[ManagedSet] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)  # what keeps an address and port from it
    client_certificate: KeyPair | None = None  # shown to backends
    unresolved: Rejection | None = None  # reason of ResolvedRefs=False of its client certificate, message
    frontend_faults: dict[tuple[str | int, ...], Rejection] = field(default_factory=dict)  # by path: reason, message

    @property
    def name(self) -> tuple[str, str]:
        """(namespace, name)."""
        return (self.source.metadata.namespace, self.source.metadata.name)

    @property
    def client_certificate_ref(self) -> Any:
        """What `tls.backend` refers to, or None."""
        tls = self.source.spec.tls
        return tls.backend.client_certificate_ref if tls is not None and tls.backend is not None else None

    @property
    def is_insecure(self) -> bool:
        """Whether clients are served, on some port, whose certificates are missing or not valid."""
        tls = self.source.spec.tls
        if tls is None or tls.frontend is None:
            return False
        entries = [tls.frontend.default, *(entry.tls for entry in tls.frontend.per_port or ())]
        return any(entry.validation is not None and entry.validation.mode == INSECURE for entry in entries)

    @property
    def all_listeners(self) -> Iterable[Attachable]:
        """The Gateway's listeners, then those of its ListenerSets."""
        yield from self.listeners
        for listener_set in self.sets:
            yield from listener_set.listeners

    @property
    def candidates(self) -> Iterable[Attachable]:
        """Likewise, with the listeners of ListenerSets that are rejected."""
        yield from self.listeners
        for listener_set in self.sets:
            yield from listener_set.candidates


def collect(
    store: Store, controller: str, homes: Mapping[Name, Home], known: Iterable[ManagedGateway]
) -> tuple[dict[str, ManagedClass], list[ManagedGateway]]:
    """Return the GatewayClasses of this controller by name, and their Gateways by age; `decide` has yet to follow.

    Of `known` Gateways and their ListenerSets those that say the same are the same again, and so are their listeners.
    """
    before = {gateway.name: gateway for gateway in known}
    classes = {
        source.metadata.name: _class(store, source)
        for source in store.list("GatewayClass")
        if source.spec.controller_name == controller
    }
    gateways = [
        _same(before, _gateway(store, source, classes[source.spec.gateway_class_name], homes))
        for source in sorted(store.list("Gateway"), key=_age)
        if source.spec.gateway_class_name in classes
    ]
    sets: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for source in sorted(store.list("ListenerSet"), key=_age):
        parent = source.spec.parent_ref
        if (GROUP if parent.group is None else parent.group, parent.kind or "Gateway") == (GROUP, "Gateway"):
            sets[parent.namespace or source.metadata.namespace, parent.name].append(source)
    for gateway in gateways:
        _collect_listeners(gateway, sets.get(gateway.name, []))
    return classes, gateways


def _same(known: Mapping[Name, ManagedGateway], gateway: ManagedGateway) -> ManagedGateway:
    """Return what is known of a Gateway if it would be the same."""
    before = known.get(gateway.name)
    if before is None or before.source is not gateway.source:
        return gateway
    said = (gateway.settings, gateway.home, gateway.refusal)
    return before if (before.settings, before.home, before.refusal) == said else gateway


def decide(gateways: list[ManagedGateway], namespaces: Namespaces) -> None:
    """Decide which listeners conflict, which Gateways and ListenerSets are accepted, and who gets which sockets.

    It can be decided again, once references of the listeners stand for something else.
    """
    for gateway in gateways:
        _decide(gateway, namespaces)
    _assign_sockets(gateways)
    for gateway in gateways:
        mark_overlaps(gateway.all_listeners)


def _age(source: Any) -> tuple[str, str, str]:
    metadata = source.metadata
    return age(metadata.creation_timestamp, metadata.namespace, metadata.name)


def _class(store: Store, source: Any) -> ManagedClass:
    try:
        ref = source.spec.parameters_ref
        return ManagedClass(source, settings_of(store, ref, "default", Settings()), None)
    except InvalidParameters as reason:
        return ManagedClass(source, Settings(), ("InvalidParameters", str(reason)))


def _gateway(store: Store, source: Any, gateway_class: ManagedClass, homes: Mapping[Name, Home]) -> ManagedGateway:
    settings = gateway_class.settings
    rejection = None
    if gateway_class.rejection is not None:
        message = f"GatewayClass {gateway_class.source.metadata.name} is not accepted: {gateway_class.rejection[1]}"
        rejection = (gateway_class.rejection[0], message)
    infrastructure = source.spec.infrastructure
    if infrastructure is not None:
        try:
            settings = settings_of(store, infrastructure.parameters_ref, source.metadata.namespace, settings)
        except InvalidParameters as reason:
            rejection = rejection or ("InvalidParameters", str(reason))
    home = homes.get((source.metadata.namespace, source.metadata.name)) or _own_home(source)
    return ManagedGateway(source, settings, home, rejection or home.refusal)


def _own_home(source: Any) -> Home:
    """Return the home of a Gateway that nobody else assigns one to: the addresses that it asks for, else all."""
    addresses: dict[str, None] = {}
    refusal = None
    for entry in source.spec.addresses or ():
        if (entry.type or "IPAddress") != "IPAddress":
            refusal = refusal or ("UnsupportedAddress", f"addresses of type {entry.type} are not supported")
        elif entry.value and not is_ip(entry.value):
            refusal = refusal or ("UnsupportedAddress", f"{entry.value} is no IP address")
        else:
            addresses[str(ip_address(entry.value)) if entry.value else ""] = None
    return Home(bind=tuple(addresses) or ("",), refusal=refusal)


def _collect_listeners(gateway: ManagedGateway, sets: list[Any]) -> None:
    """Give a Gateway its listeners, and its ListenerSets (sorted by age) theirs."""
    source = gateway.source
    if not gateway.listeners:
        gateway.listeners = [attachable(source, "Gateway", spec, gateway.name) for spec in source.spec.listeners or ()]
    known = {child.name: child for child in gateway.sets}
    gateway.sets = []
    for child in sets:
        before = known.get((child.metadata.namespace, child.metadata.name))
        if before is None or before.source is not child:
            candidates = [attachable(child, "ListenerSet", spec, gateway.name) for spec in child.spec.listeners]
            before = ManagedSet(child, gateway.name, candidates)
        gateway.sets.append(before)


def _decide(gateway: ManagedGateway, namespaces: Namespaces) -> None:
    # The Gateway's own conflicts first: whether it is accepted, which its ListenerSets depend on, follows from them.
    mark_conflicts([gateway.listeners])
    gateway.rejection = gateway.refusal
    if gateway.rejection is None and gateway.listeners and not any(entry.accepted for entry in gateway.listeners):
        gateway.rejection = ("ListenersNotValid", "no listener is valid")
    allowed = gateway.source.spec.allowed_listeners
    for child in gateway.sets:
        child.rejection = None
        place = child.source.metadata.namespace
        if not namespaces.admits(allowed.namespaces if allowed is not None else None, "None", gateway.name[0], place):
            child.rejection = ("NotAllowed", f"allowedListeners of the Gateway does not admit namespace {place}")
        elif gateway.rejection is not None:
            child.rejection = ("ParentNotAccepted", f"the Gateway is not accepted: {gateway.rejection[1]}")
    mark_conflicts([gateway.listeners, *(child.listeners for child in gateway.sets)])
    for listener in gateway.all_listeners:
        listener.withheld = None
        if gateway.rejection is not None:
            listener.withheld = ("Invalid", f"the Gateway is not accepted: {gateway.rejection[1]}")
        elif listener.is_bare and listener.unresolved is not None:
            listener.withheld = ("Invalid", f"no certificate can be used: {listener.unresolved[1]}")


def _assign_sockets(gateways: list[ManagedGateway]) -> None:
    """Give every served listener its sockets. An address and port belongs to the first Gateway (by age) that asks."""
    owners: dict[tuple[str, bool, int], dict[str, ManagedGateway]] = defaultdict(dict)
    for gateway in gateways:
        gateway.unusable = []
        for listener in gateway.all_listeners:
            listener.sockets = ()
            if not listener.served:
                continue
            port = listener.port
            of_port = owners[gateway.home.realm, listener.datagrams, port]
            sockets = []
            for address in gateway.home.bind:
                other = next(
                    (owner for taken, owner in of_port.items() if owner is not gateway and _overlap(taken, address)),
                    None,
                )
                if other is None:
                    of_port[address] = gateway
                    sockets.append((address, port))
                else:
                    place = f"{address or 'every address'}, port {port}"
                    gateway.unusable.append(f"{place} belongs to Gateway {'/'.join(other.name)}")
            listener.sockets = tuple(sockets)
            if not sockets and gateway.home.bind:
                listener.withheld = ("PortUnavailable", gateway.unusable[-1])
            elif not sockets:
                listener.withheld = gateway.home.unusable or ("Pending", "the Gateway has no address yet")


def _overlap(first: str, second: str) -> bool:
    """Say whether two addresses cannot both be bound to one port. "" stands for all of them, of both families."""
    if first == second or not first or not second:
        return True
    left, right = ip_address(first), ip_address(second)
    return left.version == right.version and (left.is_unspecified or right.is_unspecified)
