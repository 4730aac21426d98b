"""What users wrote, validated: an immutable set of resources by kind, namespace and name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key = tuple[str, str, str]  # kind, namespace ("" for cluster-scoped kinds), name


class Store:
    """Resources of one moment. Two stores share the objects that did not change between them."""

    def __init__(self, resources: Mapping[Key, Any] = {}) -> None:
        """Hold these resources; the kinds' order of iteration is that of the mapping."""
        self._resources = dict(resources)
        self._by_kind: dict[str, list[Any]] = {}
        for (kind, _, _), resource in self._resources.items():
            self._by_kind.setdefault(kind, []).append(resource)

    def get(self, kind: str, namespace: str, name: str) -> Any | None:
        """Return a resource, or None."""
        return self._resources.get((kind, namespace, name))

    def list(self, kind: str) -> tuple[Any, ...]:
        """Return every resource of a kind."""
        return tuple(self._by_kind.get(kind, ()))

    def keys(self) -> Iterable[Key]:
        """Return the keys of all resources."""
        return self._resources.keys()

    def __len__(self) -> int:
        """Return the number of resources."""
        return len(self._resources)
