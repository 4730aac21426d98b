"""A compiled route at its place: the listeners it reached, its status, and what nobody else can report about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.translate.attachment import Rejection, attach, parent_ref
from fastgate.translate.conditions import GROUP, Condition, ParentStatus, RouteStatus, fails, holds
from fastgate.translate.http_route import KIND, CompiledRoute
from fastgate.translate.precedence import age

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastgate.ir import Match
    from fastgate.translate.listeners import Attachable
    from fastgate.translate.precedence import Age, MatchKey
    from fastgate.translate.selectors import Namespaces

Candidate = tuple["MatchKey", "Age", int, int, "Match"]
ParentKey = tuple[str, str, str]  # kind, namespace, name


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What routes attach to: our listeners by parent, and all parents that exist, whoever controls them."""

    parents: Mapping[ParentKey, tuple[list[Attachable], Rejection | None]]
    existing: frozenset[ParentKey]
    namespaces: Namespaces


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


def place(source: Any, compiled: CompiledRoute, surroundings: Surroundings) -> PlacedRoute:
    """Attach a compiled HTTPRoute to the listeners of its parents."""
    metadata = source.metadata
    namespace: str = metadata.namespace
    generation: int = metadata.generation or 0
    reached: dict[Attachable, dict[str, None]] = {}
    parents = []
    warnings = []
    for spec in source.spec.parent_refs or ():
        if (GROUP if spec.group is None else spec.group) != GROUP:
            continue
        key = (spec.kind or "Gateway", spec.namespace or namespace, spec.name)
        parent = surroundings.parents.get(key)
        if parent is None:
            if key[0] in ("Gateway", "ListenerSet") and key not in surroundings.existing:
                warnings.append((f"{KIND}/{namespace}/{metadata.name}", f"{key[0]} {key[1]}/{key[2]} does not exist"))
            continue
        ref = parent_ref(spec)
        listeners, rejection = parent
        if rejection is None:
            attached, rejection = attach(
                KIND, namespace, ref, listeners, hostnames=compiled.hostnames, namespaces=surroundings.namespaces
            )
            for listener, hostnames in attached:
                reached.setdefault(listener, {}).update(dict.fromkeys(hostnames))
        parents.append(ParentStatus(ref, (*_accepted(compiled, rejection, generation), compiled.resolved)))
    born = age(metadata.creation_timestamp, namespace, metadata.name)
    return PlacedRoute(
        source=source,
        compiled=compiled,
        candidates=tuple((key, born, rule, position, match) for key, rule, position, match in compiled.candidates),
        reached=tuple((listener, tuple(hostnames)) for listener, hostnames in reached.items()),
        counted=compiled.sound > 0 or not compiled.faults,
        status=RouteStatus(tuple(parents)),
        warnings=tuple(warnings),
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
