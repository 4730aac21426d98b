"""What a status says for the first time that a user must see: what is not as it should be, and what is so again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# Types of conditions, and what is bad of each.
_BAD = {
    "Accepted": "False",
    "Conflicted": "True",
    "PartiallyInvalid": "True",
    "Programmed": "False",
    "ResolvedRefs": "False",
    "SupportedVersion": "False",
}
_PASSING = frozenset(("Pending",))  # reasons for what is about to be otherwise

Status = dict[str, Any]


class News(NamedTuple):
    """Reason and message of a condition."""

    reason: str
    message: str
    is_bad: bool


def news(before: Status | None, after: Status, controller: str) -> list[News]:
    """Return what `after` says, each once: what is bad and was not said before, and what is good again."""
    old = dict(_conditions(before or {}, controller))
    known = {_news(condition) for condition in old.values()}
    found: dict[News, None] = {}
    for place, condition in _conditions(after, controller):
        new = _news(condition)
        was_bad = place in old and _news(old[place]).is_bad
        if new not in known if new.is_bad else was_bad:
            found[new] = None
    return list(found)


def _news(condition: dict[str, Any]) -> News:
    is_bad = _BAD[condition["type"]] == condition["status"] and condition["reason"] not in _PASSING
    return News(condition["reason"], condition["message"], is_bad)


def _conditions(status: Status, controller: str) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """Those that may be bad, by place and type: of the object, its listeners, and our entries for its parents."""
    places = [("", status)]
    places += [(listener["name"], listener) for listener in status.get("listeners") or ()]
    for field, reference in (("parents", "parentRef"), ("ancestors", "ancestorRef")):
        ours = [entry for entry in status.get(field) or () if entry.get("controllerName") == controller]
        places += [(str(sorted(entry[reference].items())), entry) for entry in ours]
    for place, part in places:
        for condition in part.get("conditions") or ():
            if condition["type"] in _BAD:
                yield (place, condition["type"]), condition
