"""Which namespaces a listener or a Gateway admits: `from: Same | All | Selector | None`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME_LABEL = "kubernetes.io/metadata.name"


def selects(selector: Any, labels: Mapping[str, str]) -> bool:
    """Evaluate a LabelSelector. None selects nothing, an empty one everything (LabelSelectorAsSelector)."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.match_labels or {}).items()):
        return False
    return all(_requirement(entry, labels) for entry in selector.match_expressions or ())


def _requirement(requirement: Any, labels: Mapping[str, str]) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case "In":
            return present and labels[requirement.key] in requirement.values
        case "NotIn":
            return not present or labels[requirement.key] not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
    raise ValueError(f"unknown operator {requirement.operator!r} of a label selector")


class Namespaces:
    """Labels of namespaces. One that the store does not hold has the label that the API server gives to every one."""

    def __init__(self, namespaces: Iterable[Any]) -> None:
        self._labels: dict[str, Mapping[str, str]] = {
            namespace.metadata.name: {_NAME_LABEL: namespace.metadata.name, **(namespace.metadata.labels or {})}
            for namespace in namespaces
        }

    def agrees(self, other: Namespaces) -> bool:
        """Say whether both give every namespace the same labels."""
        return all(self.labels(name) == other.labels(name) for name in {*self._labels, *other._labels})

    def labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of a namespace."""
        return self._labels.get(name) or {_NAME_LABEL: name}

    def admits(self, namespaces: Any, default: str, own: str, other: str) -> bool:
        """Say whether objects of namespace `other` are admitted.

        Args:
            namespaces: a RouteNamespaces or ListenerNamespaces, or None.
            default: what an absent `from` means.
            own: the namespace of the object that holds `namespaces`.
            other: the namespace of the object that wants in.
        """
        source = (namespaces.from_ if namespaces is not None else None) or default
        if source == "Same":
            return own == other
        if source == "Selector":
            return selects(namespaces.selector, self.labels(other))
        return bool(source == "All")
