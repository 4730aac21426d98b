"""Stores made of plain documents, with the read interface that translation expects of any store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

_CLUSTER_SCOPED = frozenset(("ClusterTrustBundle", "GatewayClass", "Namespace"))
_MAPPINGS = frozenset(("labels", "matchLabels", "annotations", "config", "data", "options"))
_SPELT_OTHERWISE = {"well_known_ca_certificates": "wellKnownCACertificates"}


class Resource:
    """A document whose fields are read as snake_case attributes; a field that it does not have is None."""

    __slots__ = ("_document",)

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        first, *rest = attribute.rstrip("_").split("_")
        field = _SPELT_OTHERWISE.get(attribute, first + "".join(word.capitalize() for word in rest))
        value = self._document.get(field)
        return value if field in _MAPPINGS else _wrapped(value)


def _wrapped(value: Any) -> Any:
    if isinstance(value, dict):
        return Resource(value)
    return [_wrapped(item) for item in value] if isinstance(value, list) else value


class Documents:
    """A store of resources by kind, namespace and name."""

    def __init__(self, resources: dict[tuple[str, str, str], Resource]) -> None:
        self._resources = resources

    def changes_since(self, other: object) -> None:
        """Not known: every object is compared."""

    def get(self, kind: str, namespace: str, name: str) -> Resource | None:
        return self._resources.get((kind, namespace, name))

    def list(self, kind: str) -> tuple[Resource, ...]:
        return tuple(resource for key, resource in self._resources.items() if key[0] == kind)

    def replaced(self, document: dict[str, Any]) -> Documents:
        """Return a store that shares every object with this one but the given."""
        return Documents({**self._resources, _key(document): Resource(document)})

    def without(self, kind: str, namespace: str, name: str) -> Documents:
        return Documents({key: value for key, value in self._resources.items() if key != (kind, namespace, name)})


def _key(document: dict[str, Any]) -> tuple[str, str, str]:
    metadata = document["metadata"]
    namespace = "" if document["kind"] in _CLUSTER_SCOPED else metadata["namespace"]
    return (document["kind"], namespace, metadata["name"])


def resources_of(documents: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str], Resource]:
    return {_key(document): Resource(document) for document in documents}


def store_of(documents: Iterable[dict[str, Any]]) -> Documents:
    return Documents(resources_of(documents))
