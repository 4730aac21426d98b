"""Statuses of Filters: whether they can be used, and what became of their targets, as policies say it (GEP-713)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.translate.conditions import Condition, FilterStatus, ParentRef, ParentStatus, fails, holds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastgate.store import Key, Store
    from fastgate.translate.attachment import Surroundings
    from fastgate.translate.placements import Placed
    from fastgate.translate.plugins import FoundFilter

_ROUTES = ("HTTPRoute",)


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the targets of Filters are looked for. `routes` are by key."""

    store: Store
    surroundings: Surroundings
    routes: Mapping[Key, Placed]

    def missing(self, namespace: str, ref: Any) -> str | None:
        """Return why a target of a Filter of `namespace` is not there, or None."""
        place = f"{ref.kind} {namespace}/{ref.name}"
        source = self.store.get(ref.kind, namespace, ref.name)
        if source is None:
            return f"{place} does not exist"
        if ref.kind in _ROUTES:
            if not self.routes[ref.kind, namespace, ref.name].status.parents:
                return f"{place} has no parent of this controller"
            names = [rule.name for rule in source.spec.rules or ()]
            return _without(place, "rule", ref.section_name, names)
        parent = self.surroundings.parents.get((ref.kind, namespace, ref.name))
        if parent is None:
            return f"{place} is not of this controller"
        listeners, rejection = parent
        if rejection is not None:
            return rejection[1]
        return _without(place, "listener", ref.section_name, [listener.name for listener in listeners])


def filter_status(found: FoundFilter, targets: Targets) -> FilterStatus:
    """Return the status of a Filter."""
    metadata = found.source.metadata
    generation = metadata.generation or 0
    if found.refusal is None:
        accepted = holds("Accepted", generation, message="the filter is configured")
    else:
        accepted = fails("Accepted", generation, found.refusal.reason, found.refusal.message)
    ancestors = []
    for ref in found.source.spec.target_refs or ():
        target = ParentRef(ref.group, ref.kind, metadata.namespace, ref.name, ref.section_name, None)
        ancestors.append(ParentStatus(target, (_attached(found, targets, ref, generation),)))
    return FilterStatus((accepted,), tuple(ancestors))


def _attached(found: FoundFilter, targets: Targets, ref: Any, generation: int) -> Condition:
    missing = targets.missing(found.source.metadata.namespace, ref)
    if missing is not None:
        return fails("Accepted", generation, "TargetNotFound", missing)
    if found.refusal is not None:
        return fails("Accepted", generation, "Invalid", "the Filter is not accepted: the target's rules answer 500")
    return holds("Accepted", generation, message="requests to the target meet the filter")


def _without(place: str, what: str, name: str | None, names: list[str | None]) -> str | None:
    return None if name is None or name in names else f"{place} has no {what} {name}"
