"""Which listeners a route attaches to through a parentRef, and the reason when there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.translate.conditions import GROUP, ParentRef
from fastgate.translate.hostnames import intersects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastgate.translate.listeners import Attachable
    from fastgate.translate.selectors import Namespaces

Rejection = tuple[str, str]  # reason of Accepted=False, message
ParentKey = tuple[str, str, str]  # kind, namespace, name


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What routes attach to: our listeners by parent, and all parents that exist, whoever controls them."""

    parents: Mapping[ParentKey, tuple[list[Attachable], Rejection | None]]
    existing: frozenset[ParentKey]
    namespaces: Namespaces


@dataclass(frozen=True, slots=True)
class Attachment:
    """What became of one parentRef to a parent of this controller: listeners, or why there are none."""

    ref: ParentRef
    listeners: tuple[tuple[Attachable, tuple[str, ...]], ...]
    rejection: Rejection | None


def attachments(
    kind: str, source: Any, hostnames: Sequence[str], surroundings: Surroundings
) -> tuple[list[Attachment], tuple[tuple[str, str], ...]]:
    """Attach a route to the listeners of its parents; the second value says which parents nobody has."""
    metadata = source.metadata
    namespace: str = metadata.namespace
    found = []
    warnings = []
    for spec in source.spec.parent_refs or ():
        if (GROUP if spec.group is None else spec.group) != GROUP:
            continue
        key = (spec.kind or "Gateway", spec.namespace or namespace, spec.name)
        parent = surroundings.parents.get(key)
        if parent is None:
            if key[0] in ("Gateway", "ListenerSet") and key not in surroundings.existing:
                warnings.append((f"{kind}/{namespace}/{metadata.name}", f"{key[0]} {key[1]}/{key[2]} does not exist"))
            continue
        ref = parent_ref(spec)
        listeners, rejection = parent
        attached: list[tuple[Attachable, tuple[str, ...]]] = []
        if rejection is None:
            attached, rejection = attach(
                kind, namespace, ref, listeners, hostnames=hostnames, namespaces=surroundings.namespaces
            )
        found.append(Attachment(ref, tuple(attached), rejection))
    return found, tuple(warnings)


def parents_of(source: Any) -> set[ParentKey]:
    """Return the parents that a route names."""
    return {
        (spec.kind or "Gateway", spec.namespace or source.metadata.namespace, spec.name)
        for spec in source.spec.parent_refs or ()
    }


def reached(found: Sequence[Attachment]) -> tuple[tuple[Attachable, tuple[str, ...]], ...]:
    """Return each listener that a route reached once, with the hostnames that it has there."""
    listeners: dict[Attachable, dict[str, None]] = {}
    for attachment in found:
        for listener, hostnames in attachment.listeners:
            listeners.setdefault(listener, {}).update(dict.fromkeys(hostnames))
    return tuple((listener, tuple(hostnames)) for listener, hostnames in listeners.items())


def parent_ref(ref: Any) -> ParentRef:
    """Return a route's parentRef as its status repeats it."""
    return ParentRef(ref.group, ref.kind, ref.namespace, ref.name, ref.section_name, ref.port)


def attach(
    kind: str,
    namespace: str,
    ref: ParentRef,
    listeners: Sequence[Attachable],
    *,
    hostnames: Sequence[str],
    namespaces: Namespaces,
) -> tuple[list[tuple[Attachable, tuple[str, ...]]], Rejection | None]:
    """Attach a route to the listeners of one parent.

    Args:
        kind: the route's kind.
        namespace: the route's namespace.
        ref: the parentRef, of which sectionName and port choose among the listeners.
        listeners: of the parent object itself (a Gateway's ListenerSets are parents of their own).
        hostnames: the route's hostnames in lower case; ("",) for any.
        namespaces: labels for allowedRoutes selectors.

    Returns:
        Each listener with those of the route's hostnames that intersect its own; and why there is none, or None. The
        hostnames are the route's own, not the intersection: the listener narrows them, and a route with the more
        specific hostname precedes (HTTPRouteSpec.hostnames).
    """
    chosen = [
        listener
        for listener in listeners
        if (ref.section_name is None or listener.name == ref.section_name)
        and (ref.port is None or listener.port == ref.port)
    ]
    if not chosen:
        return [], ("NoMatchingParent", f"{ref.kind or 'Gateway'} {ref.name} has no listener {_choice(ref)}".rstrip())
    allowed = [listener for listener in chosen if _allows(listener, kind, namespace, namespaces)]
    if not allowed:
        names = ", ".join(listener.name for listener in chosen)
        message = f"allowedRoutes of listener {names} does not admit {kind}s of namespace {namespace}"
        return [], ("NotAllowedByListeners", message)
    attached = []
    for listener in allowed:
        common = tuple(name for name in hostnames if intersects(listener.hostname, name))
        if common:
            attached.append((listener, common))
    if not attached:
        names = ", ".join(f"{listener.name} ({listener.hostname})" for listener in allowed)
        message = f"no hostname of the route intersects that of listener {names}"
        return [], ("NoMatchingListenerHostname", message)
    return attached, None


def _choice(ref: ParentRef) -> str:
    parts = []
    if ref.section_name is not None:
        parts.append(f"with name {ref.section_name}")
    if ref.port is not None:
        parts.append(f"with port {ref.port}")
    return " and ".join(parts)


def _allows(listener: Attachable, kind: str, namespace: str, namespaces: Namespaces) -> bool:
    if kind not in listener.kinds:
        return False
    allowed = listener.spec.allowed_routes
    return namespaces.admits(allowed.namespaces if allowed is not None else None, "Same", listener.namespace, namespace)
