"""TLSRoutes, TCPRoutes and UDPRoutes: where they attach, what they are relayed to, and their statuses.

Of several routes that claim the same server name of a listener, or the same TCP or UDP listener, the oldest serves. All
of them are accepted, and counted (TCPRouteMultipleRoutesAttachment).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.ir import Relay, ServerName, WeightedBackend
from fastgate.translate.attachment import attachments, reached
from fastgate.translate.backends import LAYER4
from fastgate.translate.conditions import Condition, ParentStatus, RouteStatus, fails, holds
from fastgate.translate.listeners import terminates
from fastgate.translate.precedence import age, hostname_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.translate.attachment import Attachment, Surroundings
    from fastgate.translate.backends import Backends, Resolution
    from fastgate.translate.listeners import Attachable
    from fastgate.translate.precedence import Age

KINDS = tuple(LAYER4)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedLayer4Route:
    """A route and everything that follows from it and its surroundings. `source` keeps the object's identity alive."""

    kind: str
    source: Any
    born: Age
    relay: Relay  # with the TLS of its backends
    opaque: Relay  # of what passes as it is
    references: tuple[tuple[Any, Resolution], ...]
    reached: tuple[tuple[Attachable, tuple[str, ...]], ...]
    status: RouteStatus
    warnings: tuple[tuple[str, str], ...]
    counted: bool = True  # by the listeners that it reached

    @property
    def clusters(self) -> tuple[str, ...]:
        """The clusters that it leads to."""
        relays = {self.relay_at(listener) for listener, _ in self.reached if listener.served}
        found = {backend.cluster for relay in relays for backend in relay.backends}
        return tuple(sorted(cluster for cluster in found if cluster is not None))

    def relay_at(self, listener: Attachable) -> Relay:
        """Return what becomes of the connections of a listener: TLS that is not ended there passes as it is."""
        return self.opaque if self.kind == "TLSRoute" and not terminates(listener) else self.relay


def place_layer4(kind: str, source: Any, backends: Backends, surroundings: Surroundings) -> PlacedLayer4Route:
    """Resolve a route's backendRefs and attach it to the listeners of its parents."""
    metadata = source.metadata
    generation: int = metadata.generation or 0
    references = tuple(
        (ref, backends.resolve(kind, metadata.namespace, ref))
        for rule in source.spec.rules
        for ref in rule.backend_refs or ()
    )
    names = source.spec.hostnames if kind == "TLSRoute" else None
    hostnames = tuple(dict.fromkeys(name.lower() for name in names or ())) or ("",)
    found, warnings = attachments(kind, source, hostnames, surroundings)
    resolved = _resolved(references, generation)
    return PlacedLayer4Route(
        kind=kind,
        source=source,
        born=age(metadata.creation_timestamp, metadata.namespace, metadata.name),
        relay=_relay(kind, source, backends),
        opaque=_relay(kind, source, backends, passthrough=True),
        references=references,
        reached=reached(found),
        status=RouteStatus(tuple(ParentStatus(each.ref, (_accepted(each, generation), resolved)) for each in found)),
        warnings=warnings,
    )


def _relay(kind: str, source: Any, backends: Backends, *, passthrough: bool = False) -> Relay:
    """Of several rules (v1alpha2) the first one serves: nothing could tell them apart."""
    metadata, rule = source.metadata, source.spec.rules[0]
    route = f"{kind}/{metadata.namespace}/{metadata.name}"
    resolved = [(ref, backends.resolve(kind, metadata.namespace, ref)) for ref in rule.backend_refs]
    weighted = tuple(
        WeightedBackend(1 if ref.weight is None else ref.weight, found.opaque if passthrough else found.cluster)
        for ref, found in resolved
    )
    return Relay(f"{route}/0", route, rule.name or "", weighted, passthrough)


def server_names(routes: Iterable[PlacedLayer4Route]) -> dict[Attachable, tuple[ServerName, ...]]:
    """Return where each served listener sends what comes to it, the most specific name first."""
    found: dict[Attachable, dict[str, Relay]] = defaultdict(dict)
    for route in sorted(routes, key=lambda route: route.born):
        for listener, hostnames in route.reached:
            if listener.served:
                relay = route.relay_at(listener)
                for hostname in hostnames:
                    found[listener].setdefault(hostname, relay)
    return {
        listener: tuple(ServerName(hostname, relays[hostname]) for hostname in sorted(relays, key=hostname_key))
        for listener, relays in found.items()
    }


def still_placed(route: PlacedLayer4Route, backends: Backends) -> bool:
    """Say whether everything that a route refers to is what it was."""
    namespace = route.source.metadata.namespace
    return all(backends.resolve(route.kind, namespace, ref) == before for ref, before in route.references)


def _accepted(found: Attachment, generation: int) -> Condition:
    if found.rejection is not None:
        return fails("Accepted", generation, *found.rejection)
    return holds("Accepted", generation, message="the route is attached")


def _resolved(references: tuple[tuple[Any, Resolution], ...], generation: int) -> Condition:
    refusals = {found.message: found.reason for _, found in references if found.reason}
    if not refusals:
        return holds("ResolvedRefs", generation, message="every reference is resolved")
    return fails("ResolvedRefs", generation, next(iter(refusals.values())), "; ".join(refusals))
