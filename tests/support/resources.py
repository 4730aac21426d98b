"""Stores made of plain documents, as tests write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastgate import api
from fastgate.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable


def store_of(documents: Iterable[dict[str, Any]]) -> Store:
    """Return a store of the resources that the documents say, validated as an API server would."""
    return Store().apply([getattr(api, document["kind"]).model_validate(document) for document in documents], [])
