"""A compiled route at its place: the listeners it reached, its status, and what nobody else can report about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.translate.attachment import attachments, reached
from fastgate.translate.conditions import Condition, ParentStatus, RouteStatus, fails, holds
from fastgate.translate.http_route import KIND, CompiledRoute
from fastgate.translate.precedence import age

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.ir import Match
    from fastgate.translate.attachment import Rejection, Surroundings
    from fastgate.translate.backends import Resolution
    from fastgate.translate.listeners import Attachable
    from fastgate.translate.precedence import Age, MatchKey

Candidate = tuple["MatchKey", "Age", int, int, "Match"]


@dataclass(frozen=True, slots=True, eq=False)
class PlacedRoute:
    """A route and everything that follows from it and its surroundings. `source` keeps the object's identity alive.

    A route without a sound rule is not Accepted and not `counted`, and still answers 500 where its matches can be
    built: a request must not fall through to another route because the filter that should have guarded it is not
    served.
    """

    source: Any
    compiled: CompiledRoute
    candidates: tuple[Candidate, ...]
    reached: tuple[tuple[Attachable, tuple[str, ...]], ...]
    counted: bool
    status: RouteStatus
    warnings: tuple[tuple[str, str], ...]
    kind: str = KIND

    @property
    def clusters(self) -> Iterable[str]:
        """The clusters that its rules lead to."""
        return self.compiled.clusters

    @property
    def references(self) -> tuple[tuple[Any, Resolution], ...]:
        """The backendRefs and what they stand for."""
        return self.compiled.references


def place(source: Any, compiled: CompiledRoute, surroundings: Surroundings) -> PlacedRoute:
    """Attach a compiled HTTPRoute to the listeners of its parents."""
    metadata = source.metadata
    generation: int = metadata.generation or 0
    found, warnings = attachments(KIND, source, compiled.hostnames, surroundings)
    parents = tuple(
        ParentStatus(each.ref, (*_accepted(compiled, each.rejection, generation), compiled.resolved)) for each in found
    )
    born = age(metadata.creation_timestamp, metadata.namespace, metadata.name)
    return PlacedRoute(
        source=source,
        compiled=compiled,
        candidates=tuple((key, born, rule, position, match) for key, rule, position, match in compiled.candidates),
        reached=reached(found),
        counted=compiled.sound > 0 or not compiled.faults,
        status=RouteStatus(parents),
        warnings=warnings,
    )


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
