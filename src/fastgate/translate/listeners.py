"""Listeners of Gateways and ListenerSets: what each one supports, and which of them exclude one another."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.translate.conditions import GROUP, Condition, fails, holds, pending
from fastgate.translate.listener_options import options_of
from fastgate.translate.tls_options import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.ir import Authorities, KeyPair, Tls
    from fastgate.translate.conditions import ListenerStatus

# Kinds of routes that a protocol carries. A protocol that is missing here is not served.
_ROUTE_KINDS: dict[str, tuple[str, ...]] = {
    "HTTP": ("HTTPRoute",),
    "HTTPS": ("HTTPRoute",),
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
    "UDP": ("UDPRoute",),
}
# Protocols that can share a port, told apart by the hostname (HTTP by Host, HTTPS and TLS by SNI).
_FAMILIES = {"HTTP": "HTTP", "HTTPS": "TLS", "TLS": "TLS"}


FieldFault = tuple[tuple[str | int, ...], str, str]  # path in the listener, reason, message


@dataclass(slots=True, eq=False)
class Attachable:
    """One listener as routes see it. `owner` is the kind of the object that holds it: Gateway or ListenerSet.

    What follows from its references (`certificates.Certificates`) and from its neighbours (`gateways.decide`) is set
    anew whenever one of these changes.
    """

    owner: str
    namespace: str
    owner_name: str
    gateway: tuple[str, str]
    spec: Any
    generation: int
    name: str
    port: int
    hostname: str
    kinds: tuple[str, ...]
    invalid_kinds: tuple[str, ...]
    conflict: tuple[str, str] | None = None  # reason, message
    unsupported: tuple[str, str] | None = None  # reason of Accepted=False, message
    withheld: tuple[str, str] | None = None  # reason of Programmed=False of a listener that is valid, message
    options: Tls | None = None  # what its options ask for; None where TLS does not end, or one is faulty
    option_faults: tuple[FieldFault, ...] = ()
    certificates: tuple[KeyPair, ...] = ()  # what it terminates TLS with
    authorities: tuple[Authorities, ...] = ()  # what it verifies clients by
    unresolved: tuple[str, str] | None = None  # reason of ResolvedRefs=False of its references, message
    distrust: tuple[str, str] | None = None  # reason of Accepted=False: clients could not be verified, message
    reference_faults: tuple[FieldFault, ...] = ()
    tls: Tls | None = None  # how TLS ends at it; None: not at all, or no certificate can be used
    overlap: tuple[str, str] | None = None  # reason of OverlappingTLSConfig, message
    sockets: tuple[tuple[str, int], ...] = ()  # (address, port) that it is served on
    attached: int = 0
    status: tuple[tuple[Any, ...], ListenerStatus] | None = None  # the last one, and what it was made of

    @property
    def key(self) -> str:
        """Key of the listener in the Ir."""
        return f"{self.owner}/{self.namespace}/{self.owner_name}/{self.name}"

    @property
    def datagrams(self) -> bool:
        """Whether its sockets are those of UDP."""
        return bool(self.spec.protocol == "UDP")

    @property
    def speaks_http(self) -> bool:
        """Whether requests come to it, and not connections or datagrams of any kind."""
        return self.spec.protocol in ("HTTP", "HTTPS")

    @property
    def accepted(self) -> bool:
        """Whether the listener is valid, and free of conflicts."""
        return self.conflict is None and self.unsupported is None and self.distrust is None

    @property
    def is_bare(self) -> bool:
        """Whether it has to terminate TLS and has no certificate that it could use."""
        return self.unresolved is not None and self.tls is None

    @property
    def served(self) -> bool:
        """Whether the listener takes part in the configuration."""
        return self.accepted and self.withheld is None


def attachable(owner: Any, kind: str, spec: Any, gateway: tuple[str, str]) -> Attachable:
    """Return the listener `spec` of a Gateway or ListenerSet (`owner`, of `kind`)."""
    kinds, invalid = _kinds(spec)
    listener = Attachable(
        owner=kind,
        namespace=owner.metadata.namespace,
        owner_name=owner.metadata.name,
        gateway=gateway,
        spec=spec,
        generation=owner.metadata.generation or 0,
        name=spec.name,
        port=spec.port,
        hostname=(spec.hostname or "").lower(),
        kinds=kinds,
        invalid_kinds=invalid,
    )
    if spec.protocol not in _ROUTE_KINDS:
        listener.unsupported = ("UnsupportedProtocol", f"protocol {spec.protocol} is not supported")
    elif terminates(listener):
        _set_options(listener)
    return listener


def terminates(listener: Attachable) -> bool:
    """Say whether TLS ends at a listener."""
    tls = listener.spec.tls
    passes = tls is not None and tls.mode == "Passthrough"
    return listener.spec.protocol in ("HTTPS", "TLS") and not passes


def _set_options(listener: Attachable) -> None:
    options = listener.spec.tls.options if listener.spec.tls is not None else None
    try:
        listener.options = options_of(listener.spec.protocol, options or {})
    except OptionError as error:
        listener.unsupported = ("UnsupportedValue", f"tls.options[{error.key}]: {error}")
        listener.option_faults = ((("tls", "options", error.key), "UnsupportedValue", str(error)),)


def _kinds(spec: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the kinds of routes that may attach, and the ones asked for that may not."""
    supported = _ROUTE_KINDS.get(spec.protocol, ())
    asked = spec.allowed_routes.kinds if spec.allowed_routes is not None else None
    if not asked:
        return supported, ()
    good: dict[str, None] = {}
    bad: dict[str, None] = {}
    for entry in asked:
        group = GROUP if entry.group is None else entry.group
        if group == GROUP and entry.kind in supported:
            good[entry.kind] = None
        else:
            bad[f"{group}/{entry.kind}"] = None
    return tuple(good), tuple(bad)


def mark_conflicts(groups: Iterable[list[Attachable]]) -> None:
    """Decide which listeners of one Gateway lose to others.

    Args:
        groups: the Gateway's own listeners, then those of each ListenerSet, in the order of their precedence
            (GEP-1713: the Gateway, then ListenerSets by age, then by name).

    Within one group every party of a conflict loses (the Gateway's specification leaves no order among its listeners);
    against an earlier group the later one loses. A listener that lost claims nothing.
    """
    families: dict[tuple[str, int], str] = {}
    taken: dict[tuple[str, int, str], str] = {}
    for group in groups:
        for listener in group:
            listener.conflict = _conflict_with_earlier(listener, families, taken)
        _mark_within([listener for listener in group if listener.conflict is None])
        for listener in group:
            if listener.conflict is None:
                layer, family = _family(listener)
                families[layer, listener.port] = family
                taken[family, listener.port, listener.hostname] = listener.key


def _conflict_with_earlier(
    listener: Attachable, families: dict[tuple[str, int], str], taken: dict[tuple[str, int, str], str]
) -> tuple[str, str] | None:
    layer, family = _family(listener)
    port = listener.port
    earlier = families.get((layer, port))
    if earlier is not None and earlier != family:
        return ("ProtocolConflict", f"port {port} already serves {earlier}")
    winner = taken.get((family, port, listener.hostname))
    if winner is not None:
        return ("HostnameConflict", f"{listener.hostname or 'every hostname'} on port {port} belongs to {winner}")
    return None


def _mark_within(group: list[Attachable]) -> None:
    families: dict[tuple[str, int], set[str]] = defaultdict(set)
    claims: dict[tuple[str, int, str], int] = defaultdict(int)
    for listener in group:
        layer, family = _family(listener)
        families[layer, listener.port].add(family)
        claims[family, listener.port, listener.hostname] += 1
    for listener in group:
        layer, family = _family(listener)
        port = listener.port
        if len(families[layer, port]) > 1:
            protocols = ", ".join(sorted(families[layer, port]))
            listener.conflict = ("ProtocolConflict", f"port {port} is claimed for several protocols: {protocols}")
        elif claims[family, port, listener.hostname] > 1:
            message = f"several listeners claim {listener.hostname or 'every hostname'} on port {port}"
            listener.conflict = ("HostnameConflict", message)


def _family(listener: Attachable) -> tuple[str, str]:
    """Return the transport and the group of protocols that can share one of its ports."""
    protocol = listener.spec.protocol
    return ("UDP" if listener.datagrams else "TCP", _FAMILIES.get(protocol, protocol))


def listener_conditions(listener: Attachable) -> tuple[Condition, ...]:
    """Return the conditions of a listener. Programmed is Unknown where the binding of its socket decides."""
    generation = listener.generation
    if listener.conflict is not None:
        reason, message = listener.conflict
        conditions = [
            fails("Accepted", generation, reason, message),
            fails("Programmed", generation, reason, message),
            holds("Conflicted", generation, reason, message),
        ]
    else:
        conditions = []
        if (refusal := listener.unsupported or listener.distrust) is not None:
            reason, message = refusal
            conditions.append(fails("Accepted", generation, reason, message))
            conditions.append(fails("Programmed", generation, "Invalid", message))
        else:
            conditions.append(holds("Accepted", generation, message="the listener is valid"))
            if listener.withheld is not None:
                conditions.append(fails("Programmed", generation, *listener.withheld))
            else:
                conditions.append(pending("Programmed", generation, "waiting for the socket"))
        conditions.append(fails("Conflicted", generation, "NoConflicts", "no other listener claims the same"))
    conditions.append(_resolved(listener))
    if listener.overlap is not None:  # must not be there when it is False
        conditions.append(holds("OverlappingTLSConfig", generation, *listener.overlap))
    return tuple(conditions)


def _resolved(listener: Attachable) -> Condition:
    if listener.invalid_kinds:
        message = f"routes of {', '.join(listener.invalid_kinds)} cannot attach to a listener of this protocol"
        return fails("ResolvedRefs", listener.generation, "InvalidRouteKinds", message)
    if listener.unresolved is not None:
        return fails("ResolvedRefs", listener.generation, *listener.unresolved)
    return holds("ResolvedRefs", listener.generation, message="every reference is resolved")
