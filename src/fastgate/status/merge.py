"""What a status becomes when ours is put into what is stored: what others wrote stays as it is, and where it is.

`parents` of routes and `ancestors` of policies are lists that several controllers share (GEP-713): an entry belongs to
the controller that it names. Of other statuses each condition belongs to who knows its type.
"""

from __future__ import annotations

from typing import Any

_SHARED = {"parents": ("parentRef", 32), "ancestors": ("ancestorRef", 16)}  # list: what tells entries apart, how many
_OURS = frozenset(
    (
        "Accepted",
        "Conflicted",
        "InsecureFrontendValidationMode",
        "OverlappingTLSConfig",
        "PartiallyInvalid",
        "Programmed",
        "ResolvedRefs",
        "SupportedVersion",
    )
)

Status = dict[str, Any]
_Moment = tuple[str, int]  # now, and the generation of the object


def merged(stored: Status | None, ours: Status, controller: str, now: str, generation: int) -> Status | None:
    """Return the status to write, or None when the stored one says all of it.

    Args:
        stored: as the API server has it.
        ours: as `conditions.to_json` gives it; without `lastTransitionTime`.
        controller: whose entries of shared lists are ours.
        now: RFC 3339, for conditions whose status changes.
        generation: of the object. What claims to be of a later one is of another object of this name.
    """
    before, moment = stored or {}, (now, generation)
    after = dict(before)
    for field, value in ours.items():
        if field in _SHARED:
            after[field] = _entries(before.get(field) or [], value, field, controller, moment)
        elif field == "conditions":
            after[field] = _conditions(before.get(field) or [], value, moment)
        elif field == "listeners":
            after[field] = _listeners(before.get(field) or [], value, moment)
        else:
            after[field] = value
    return None if _without_nothing(after) == _without_nothing(before) else after


def without(stored: Status | None, controller: str) -> Status | None:
    """Return the status to write when nothing of a shared list is ours any more, or None when that is so already."""
    before = stored or {}
    after = {
        field: [entry for entry in value if entry.get("controllerName") != controller] if field in _SHARED else value
        for field, value in before.items()
    }
    return None if after == before else after


def has_ours(stored: Status | None, controller: str) -> bool:
    """Say whether an entry of a shared list is ours."""
    return any(
        entry.get("controllerName") == controller for field in _SHARED for entry in (stored or {}).get(field) or ()
    )


def _entries(before: list[Any], ours: list[Any], field: str, controller: str, moment: _Moment) -> list[Any]:
    ref, limit = _SHARED[field]
    wanted = {_identity(entry[ref]): entry for entry in ours}
    out = []
    for entry in before:
        if entry.get("controllerName") != controller:
            out.append(entry)
            continue
        new = wanted.pop(_identity(entry.get(ref) or {}), None)
        if new is not None:
            out.append({**new, "conditions": _conditions(entry.get("conditions") or [], new["conditions"], moment)})
    out += [{**new, "conditions": _conditions([], new["conditions"], moment)} for new in wanted.values()]
    return out[:limit]


def _identity(ref: Status) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(ref.items()))


def _conditions(before: list[Any], ours: list[Any], moment: _Moment) -> list[Any]:
    wanted = {condition["type"]: condition for condition in ours}
    out = []
    for condition in before:
        new = wanted.pop(condition.get("type"), None)
        if new is not None:
            out.append(_condition(condition, new, moment))
        elif condition.get("type") not in _OURS:
            out.append(condition)
    return out + [{**new, "lastTransitionTime": moment[0]} for new in wanted.values()]


def _condition(before: Status, new: Status, moment: _Moment) -> Status:
    """A condition that was decided by a newer generation than ours stands."""
    now, generation = moment
    if new["observedGeneration"] < (before.get("observedGeneration") or 0) <= generation:
        return before
    since = before.get("lastTransitionTime") if before.get("status") == new["status"] else None
    return {**new, "lastTransitionTime": since or now}


def _listeners(before: list[Any], ours: list[Any], moment: _Moment) -> list[Any]:
    known = {listener.get("name"): listener for listener in before}
    return [
        {
            **new,
            "conditions": _conditions(known.get(new["name"], {}).get("conditions") or [], new["conditions"], moment),
        }
        for new in ours
    ]


def _without_nothing(status: Status) -> Status:
    """An absent list or number is an empty one."""
    return {field: value for field, value in status.items() if value not in ([], 0, None)}
