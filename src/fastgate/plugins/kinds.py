"""Kinds of resources that plugins have (`fastgate_resource_kinds`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.api import KINDS
from fastgate.api.metadata import Resource

if TYPE_CHECKING:
    from fastgate.api import Kinds

_OWN = frozenset(kind for _, kind in KINDS)


def fault(key: object, model: object, known: Kinds) -> str | None:
    """What keeps a kind of a plugin from being used beside those that are known."""
    match key:
        case (str(version), str(kind)) if version and kind:
            pass
        case _:
            return f"a kind is named by apiVersion and kind, not by {key!r}"
    if not isinstance(model, type) or not issubclass(model, Resource):
        return f"the model of {kind} is not a class derived from fastgate.Resource"
    if kind in _OWN:
        return f"{kind} is a kind of fastgate's own"
    if any(kind == other for _, other in known):
        return f"{kind} is a kind of another plugin, too"
    return None
