"""TLSRoutes, TCPRoutes and UDPRoutes: where they attach, what their backendRefs resolve to, and their statuses.

No listener of their protocols is served yet (`listeners.SERVED_PROTOCOLS`): such a route is not accepted, and says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.translate.attachment import attachments, reached
from fastgate.translate.backends import LAYER4
from fastgate.translate.conditions import Condition, ParentStatus, RouteStatus, fails, holds
from fastgate.translate.listeners import SERVED_PROTOCOLS

if TYPE_CHECKING:
    from fastgate.translate.attachment import Attachment, Surroundings
    from fastgate.translate.backends import Backends, Resolution
    from fastgate.translate.listeners import Attachable

KINDS = tuple(LAYER4)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedLayer4Route:
    """A route and everything that follows from it and its surroundings. `source` keeps the object's identity alive."""

    kind: str
    source: Any
    references: tuple[tuple[Any, Resolution], ...]
    reached: tuple[tuple[Attachable, tuple[str, ...]], ...]
    status: RouteStatus
    warnings: tuple[tuple[str, str], ...]

    @property
    def counted(self) -> bool:
        """Whether the listeners that it reached count it: those that are served do."""
        return any(listener.spec.protocol in SERVED_PROTOCOLS for listener, _ in self.reached)


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
        references=references,
        reached=reached(found),
        status=RouteStatus(tuple(ParentStatus(each.ref, (_accepted(each, generation), resolved)) for each in found)),
        warnings=warnings,
    )


def still_placed(route: PlacedLayer4Route, backends: Backends) -> bool:
    """Say whether everything that a route refers to is what it was."""
    namespace = route.source.metadata.namespace
    return all(backends.resolve(route.kind, namespace, ref) == before for ref, before in route.references)


def _accepted(found: Attachment, generation: int) -> Condition:
    if found.rejection is not None:
        return fails("Accepted", generation, *found.rejection)
    protocols = {listener.spec.protocol for listener, _ in found.listeners}
    if protocols.isdisjoint(SERVED_PROTOCOLS):
        message = f"listeners of protocol {', '.join(sorted(protocols))} are not served"
        return fails("Accepted", generation, "UnsupportedValue", message)
    return holds("Accepted", generation, message="the route is attached")


def _resolved(references: tuple[tuple[Any, Resolution], ...], generation: int) -> Condition:
    refusals = {found.message: found.reason for _, found in references if found.reason}
    if not refusals:
        return holds("ResolvedRefs", generation, message="every reference is resolved")
    return fails("ResolvedRefs", generation, next(iter(refusals.values())), "; ".join(refusals))
