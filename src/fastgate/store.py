"""What users wrote, validated: an immutable set of resources by kind, namespace and name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Key = tuple[str, str, str]  # kind, namespace ("" for cluster-scoped kinds), name
_Name = tuple[str, str]


class Store:
    """Resources of one moment. Two stores share the objects that did not change between them.

    A store that was made by `amended` knows what distinguishes it from the one that it was made of, so that who has
    seen that one need not look at everything again.

    Attributes:
        identity: of this store; it does not keep the store alive.
    """

    def __init__(self, resources: Mapping[Key, Any] = {}) -> None:
        """Hold these resources; a kind's order of iteration is that of the mapping."""
        self._kinds: dict[str, dict[_Name, Any]] = {}
        for (kind, namespace, name), resource in resources.items():
            self._kinds.setdefault(kind, {})[namespace, name] = resource
        self.identity = object()
        self._origin: object | None = None
        self._changes: frozenset[Key] = frozenset()

    def amended(self, changes: Mapping[Key, Any]) -> Store:
        """Return a store with other resources, or None, at these keys. It costs a copy of each kind concerned."""
        store = Store()
        store._kinds = dict(self._kinds)
        copied = set()
        for (kind, namespace, name), resource in changes.items():
            if kind not in copied:
                copied.add(kind)
                store._kinds[kind] = dict(self._kinds.get(kind, {}))
            if resource is None:
                store._kinds[kind].pop((namespace, name), None)
            else:
                store._kinds[kind][namespace, name] = resource
        store._origin = self.identity
        store._changes = frozenset(changes)
        return store

    def changes_since(self, other: Store | None) -> frozenset[Key] | None:
        """Return the keys where this store may differ from another one; None when that is not known."""
        if other is self:
            return frozenset()
        return self._changes if other is not None and self._origin is other.identity else None

    def get(self, kind: str, namespace: str, name: str) -> Any | None:
        """Return a resource, or None."""
        return self._kinds.get(kind, {}).get((namespace, name))

    def list(self, kind: str) -> tuple[Any, ...]:
        """Return every resource of a kind."""
        return tuple(self._kinds.get(kind, {}).values())

    def keys(self) -> Iterable[Key]:
        """Return the keys of all resources."""
        return self._keys()

    def _keys(self) -> Iterator[Key]:
        for kind, resources in self._kinds.items():
            for namespace, name in resources:
                yield (kind, namespace, name)

    def __len__(self) -> int:
        """Return the number of resources."""
        return sum(map(len, self._kinds.values()))
