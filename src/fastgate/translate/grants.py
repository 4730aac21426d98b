"""ReferenceGrants: which objects of a namespace may be referred to from other namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgate.store import Store

_Key = tuple[str, str, str, str, str, str]  # from group, kind, namespace; to namespace, group, kind


class Grants:
    """All ReferenceGrants of a store, indexed by who refers to what."""

    def __init__(self, store: Store) -> None:
        names: dict[_Key, set[str]] = {}
        everything: set[_Key] = set()
        for grant in store.list("ReferenceGrant"):
            namespace = grant.metadata.namespace
            for source in grant.spec.from_:
                for target in grant.spec.to:
                    key = (source.group, source.kind, source.namespace, namespace, target.group, target.kind)
                    if target.name is None:
                        everything.add(key)
                    else:
                        names.setdefault(key, set()).add(target.name)
        self._names = names
        self._everything = everything

    def allow(self, source: tuple[str, str, str], target: tuple[str, str, str, str]) -> bool:
        """Say whether an object may refer to another.

        Args:
            source: (group, kind, namespace) of the object that holds the reference.
            target: (group, kind, namespace, name) of what it refers to. Within one namespace no grant is needed.
        """
        group, kind, namespace, name = target
        if source[2] == namespace:
            return True
        key = (*source, namespace, group, kind)
        return key in self._everything or name in self._names.get(key, ())
