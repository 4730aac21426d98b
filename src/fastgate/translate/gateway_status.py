"""Statuses of GatewayClasses, Gateways and ListenerSets, as far as translation decides them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.ir import Socket
from fastgate.translate.conditions import (
    GROUP,
    Condition,
    GatewayClassStatus,
    GatewayStatus,
    ListenerSetStatus,
    ListenerStatus,
    fails,
    holds,
    pending,
)
from fastgate.translate.features import VERSION
from fastgate.translate.listeners import Attachable, listener_conditions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.translate.gateways import ManagedClass, ManagedGateway, ManagedSet
    from fastgate.translate.mode import Mode


def class_status(managed: ManagedClass, mode: Mode) -> GatewayClassStatus:
    """Return the status of a GatewayClass.

    Files are validated against the version that is supported; an API server says itself which one it has.
    """
    generation = managed.source.metadata.generation or 0
    if managed.rejection is None:
        accepted = holds("Accepted", generation, message="Gateways of this class are served")
    else:
        accepted = fails("Accepted", generation, *managed.rejection)
    if mode.unsupported:
        supported = fails("SupportedVersion", generation, "UnsupportedVersion", mode.unsupported)
    else:
        supported = holds("SupportedVersion", generation, message=f"Gateway API {VERSION}")
    return GatewayClassStatus((accepted, supported), mode.features)


def gateway_status(gateway: ManagedGateway) -> GatewayStatus:
    """Return the status of a Gateway. Its listeners' `attached` counts are final by now."""
    generation = gateway.source.metadata.generation or 0
    invalid = [listener.name for listener in gateway.listeners if not listener.accepted]
    if gateway.rejection is not None:
        accepted = fails("Accepted", generation, *gateway.rejection)
    else:
        accepted = _accepted(generation, invalid, "the Gateway is valid")
    return GatewayStatus(
        conditions=(
            accepted,
            _gateway_programmed(gateway, generation),
            *_gateway_resolved(gateway, generation),
            *_insecure(gateway, generation),
        ),
        listeners=_listener_statuses(gateway.listeners),
        attached_listener_sets=sum(_set_serves(child) for child in gateway.sets),
        realm=gateway.home.realm,
        shown=gateway.home.shown,
    )


def listener_set_status(child: ManagedSet) -> ListenerSetStatus:
    """Return the status of a ListenerSet."""
    generation = child.source.metadata.generation or 0
    invalid = [listener.name for listener in child.listeners if not listener.accepted]
    conditions: tuple[Condition, Condition]
    if child.rejection is not None:
        conditions = (
            fails("Accepted", generation, *child.rejection),
            fails("Programmed", generation, *child.rejection),
        )
    elif not _set_serves(child):
        message = "no listener is valid"
        conditions = (
            fails("Accepted", generation, "ListenersNotValid", message),
            fails("Programmed", generation, "ListenersNotValid", message),
        )
    else:
        withheld = [entry.withheld for entry in child.listeners if entry.withheld is not None]
        if any(entry.sockets for entry in child.listeners):
            programmed = pending("Programmed", generation, "waiting for the sockets")
        else:
            programmed = fails("Programmed", generation, *withheld[0])
        conditions = (_accepted(generation, invalid, "the ListenerSet is valid"), programmed)
    return ListenerSetStatus(conditions, _listener_statuses(child.listeners), child.gateway)


def _set_serves(child: ManagedSet) -> bool:
    """Whether some listener can be served as far as it is the set's own matter: it is valid, and has a certificate."""
    return child.rejection is None and any(entry.accepted and not entry.is_bare for entry in child.listeners)


def _accepted(generation: int, invalid: list[str], message: str) -> Condition:
    if invalid:
        return holds("Accepted", generation, "ListenersNotValid", f"not valid: listener {', '.join(invalid)}")
    return holds("Accepted", generation, message=message)


def _gateway_programmed(gateway: ManagedGateway, generation: int) -> Condition:
    if gateway.rejection is not None:
        return fails("Programmed", generation, "Invalid", gateway.rejection[1])
    if gateway.home.unusable is not None:
        return fails("Programmed", generation, *gateway.home.unusable)
    if gateway.unusable:
        return fails("Programmed", generation, "AddressNotUsable", "; ".join(dict.fromkeys(gateway.unusable)))
    if not any(listener.sockets for listener in gateway.all_listeners):
        return fails("Programmed", generation, "Invalid", "no listener can be served")
    return pending("Programmed", generation, "waiting for the sockets")


def _gateway_resolved(gateway: ManagedGateway, generation: int) -> tuple[Condition, ...]:
    """Return ResolvedRefs of a Gateway that refers to something itself."""
    if gateway.client_certificate_ref is None:
        return ()
    if gateway.unresolved is not None:
        return (fails("ResolvedRefs", generation, *gateway.unresolved),)
    return (holds("ResolvedRefs", generation, message="every reference is resolved"),)


def _insecure(gateway: ManagedGateway, generation: int) -> tuple[Condition, ...]:
    """Return the condition that clients need no valid certificate; it is not there when they do."""
    if not gateway.is_insecure:
        return ()
    message = "AllowInsecureFallback: clients without a valid certificate are served, too"
    return (holds("InsecureFrontendValidationMode", generation, "ConfigurationChanged", message),)


def _listener_statuses(listeners: Iterable[Attachable]) -> tuple[ListenerStatus, ...]:
    return tuple(map(_listener_status, listeners))


def _listener_status(listener: Attachable) -> ListenerStatus:
    """Return the status of a listener: the same one until something that it says is another."""
    said = (
        listener.attached,
        listener.sockets,
        listener.conflict,
        listener.unsupported,
        listener.distrust,
        listener.withheld,
        listener.unresolved,
        listener.overlap,
    )
    if listener.status is None or listener.status[0] != said:
        status = ListenerStatus(
            name=listener.name,
            supported_kinds=tuple((GROUP, kind) for kind in listener.kinds),
            attached_routes=listener.attached,
            conditions=listener_conditions(listener),
            sockets=tuple(
                Socket(address, port, (), datagrams=listener.datagrams).key for address, port in listener.sockets
            ),
        )
        listener.status = (said, status)
    return listener.status[1]
