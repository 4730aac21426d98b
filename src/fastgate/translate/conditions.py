"""Conditions and status objects that a translation produces, and their JSON form.

Condition types and reasons are those of Gateway API v1.7.0 (apis/v1/*_types.go). A condition carries no time: whoever
stores a status sets `lastTransitionTime` when the status of a condition changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CONTROLLER_NAME = "fastgate.dev/gateway-controller"
GROUP = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str
    generation: int


def holds(type_: str, generation: int, reason: str = "", message: str = "") -> Condition:
    """Return the condition `type_` with status True; its reason defaults to the type, as the API's constants do."""
    return Condition(type_, "True", reason or type_, message, generation)


def fails(type_: str, generation: int, reason: str, message: str) -> Condition:
    """Return the condition `type_` with status False."""
    return Condition(type_, "False", reason, message, generation)


def pending(type_: str, generation: int, message: str) -> Condition:
    """Return the condition `type_` with status Unknown: somebody else will decide it."""
    return Condition(type_, "Unknown", "Pending", message, generation)


@dataclass(frozen=True, slots=True)
class GatewayClassStatus:
    """Status of a GatewayClass."""

    conditions: tuple[Condition, ...]
    supported_features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """Status of one listener of a Gateway or ListenerSet.

    `sockets` holds the keys of the sockets that the listener needs. When it is empty the listener is not served and its
    Programmed condition is final; otherwise Programmed is Unknown until `programmed.resolve` knows the sockets' fate.
    """

    name: str
    supported_kinds: tuple[tuple[str, str], ...]  # (group, kind)
    attached_routes: int
    conditions: tuple[Condition, ...]
    sockets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """Status of a Gateway. `addresses` (type, value) are known once its sockets are bound.

    `realm` is where the sockets are, `shown` the addresses that its home says, if it does (see `homes.Home`).
    """

    conditions: tuple[Condition, ...]
    listeners: tuple[ListenerStatus, ...]
    attached_listener_sets: int = 0
    addresses: tuple[tuple[str, str], ...] = ()
    realm: str = ""
    shown: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class ListenerSetStatus:
    """Status of a ListenerSet. `gateway` is the parent (namespace, name)."""

    conditions: tuple[Condition, ...]
    listeners: tuple[ListenerStatus, ...]
    gateway: tuple[str, str]


@dataclass(frozen=True, slots=True)
class ParentRef:
    """A parentRef as the route spells it, or a target of a policy: None where it says nothing."""

    group: str | None
    kind: str | None
    namespace: str | None
    name: str
    section_name: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class ParentStatus:
    """Status of a route with respect to one of its parentRefs, or of a policy to one of its targets."""

    parent: ParentRef
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """Status of a route: one entry for every parentRef to a parent of this controller, in their order."""

    parents: tuple[ParentStatus, ...]


@dataclass(frozen=True, slots=True)
class FilterStatus:
    """Status of a Filter: whether it can be used, and one entry for each of its targets (GEP-713), in their order."""

    conditions: tuple[Condition, ...]
    ancestors: tuple[ParentStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """Status of a policy: one entry for each Gateway of this controller that it has to do with, by name."""

    ancestors: tuple[ParentStatus, ...]


Name = tuple[str, str]  # (namespace, name)
Key = tuple[str, str, str]  # (kind, namespace, name)


@dataclass(frozen=True, slots=True, eq=False)
class RouteChanges:
    """How the statuses of routes differ from those that were told before: at these keys, and nowhere else."""

    before: dict[Key, RouteStatus]
    keys: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Statuses:
    """Statuses of all objects that this controller answers for: by name, routes of every kind by key, in no order."""

    gateway_classes: dict[str, GatewayClassStatus] = field(default_factory=dict)
    gateways: dict[Name, GatewayStatus] = field(default_factory=dict)
    listener_sets: dict[Name, ListenerSetStatus] = field(default_factory=dict)
    routes: dict[Key, RouteStatus] = field(default_factory=dict)
    filters: dict[Name, FilterStatus] = field(default_factory=dict)
    backend_tls_policies: dict[Name, PolicyStatus] = field(default_factory=dict)
    changes: RouteChanges | None = field(default=None, compare=False, repr=False)


def condition_of(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    """Return the condition of a type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def replaced(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """Return `conditions` with the one of the type of `new` replaced by it."""
    return tuple(new if condition.type == new.type else condition for condition in conditions)


def _condition_json(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.generation,
    }


def _conditions_json(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    return [_condition_json(condition) for condition in conditions]


def _listener_json(listener: ListenerStatus) -> dict[str, Any]:
    return {
        "name": listener.name,
        "supportedKinds": [{"group": group, "kind": kind} for group, kind in listener.supported_kinds],
        "attachedRoutes": listener.attached_routes,
        "conditions": _conditions_json(listener.conditions),
    }


def _parent_ref_json(parent: ParentRef) -> dict[str, Any]:
    document = {
        "group": parent.group,
        "kind": parent.kind,
        "namespace": parent.namespace,
        "name": parent.name,
        "sectionName": parent.section_name,
        "port": parent.port,
    }
    return {key: value for key, value in document.items() if value is not None}


def _entries_json(field_name: str, entries: tuple[ParentStatus, ...], controller: str) -> list[dict[str, Any]]:
    return [
        {
            field_name: _parent_ref_json(entry.parent),
            "controllerName": controller,
            "conditions": _conditions_json(entry.conditions),
        }
        for entry in entries
    ]


def to_json(
    status: GatewayClassStatus | GatewayStatus | ListenerSetStatus | RouteStatus | FilterStatus | PolicyStatus,
    controller: str = CONTROLLER_NAME,
) -> dict[str, Any]:
    """Return the `status` object of a resource as JSON-able dicts, without `lastTransitionTime`.

    `controller` is the controllerName that entries of parents and ancestors carry.
    """
    if isinstance(status, RouteStatus):
        return {"parents": _entries_json("parentRef", status.parents, controller)}
    if isinstance(status, PolicyStatus):
        return {"ancestors": _entries_json("ancestorRef", status.ancestors, controller)}
    if isinstance(status, FilterStatus):
        return {
            "conditions": _conditions_json(status.conditions),
            "ancestors": _entries_json("ancestorRef", status.ancestors, controller),
        }
    document: dict[str, Any] = {"conditions": _conditions_json(status.conditions)}
    if isinstance(status, GatewayClassStatus):
        document["supportedFeatures"] = [{"name": name} for name in status.supported_features]
        return document
    document["listeners"] = [_listener_json(listener) for listener in status.listeners]
    if isinstance(status, GatewayStatus):
        document["attachedListenerSets"] = status.attached_listener_sets
        document["addresses"] = [{"type": type_, "value": value} for type_, value in status.addresses]
    return document


def all_json(statuses: Statuses) -> dict[str, dict[str, Any]]:
    """Return every status as `to_json` does, by `Kind/namespace/name`."""
    out = {f"GatewayClass/{name}": to_json(status) for name, status in statuses.gateway_classes.items()}
    out |= {"/".join(key): to_json(status) for key, status in sorted(statuses.routes.items())}
    for kind, found in (
        ("Gateway", statuses.gateways),
        ("ListenerSet", statuses.listener_sets),
        ("Filter", statuses.filters),
        ("BackendTLSPolicy", statuses.backend_tls_policies),
    ):
        out |= {f"{kind}/{namespace}/{name}": to_json(status) for (namespace, name), status in found.items()}
    return out
