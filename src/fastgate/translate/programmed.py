"""The second half of a status: what became of the sockets that a translation asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from fastgate.translate.conditions import (
    Condition,
    GatewayStatus,
    ListenerSetStatus,
    ListenerStatus,
    Statuses,
    condition_of,
    fails,
    holds,
    pending,
    replaced,
)

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S")

PORT_UNAVAILABLE = "PortUnavailable"


@dataclass(frozen=True, slots=True)
class Bound:
    """Fate of one socket: the addresses it is reachable at, or the error that keeps it from being served.

    `reason` is that of Programmed=False when there is an error.
    """

    addresses: tuple[str, ...] = ()
    error: str | None = None
    reason: str = PORT_UNAVAILABLE


Fates = Mapping[str, Bound]  # by `Socket.key`


class Programmed:
    """Decides Programmed, again and again; what was decided is not decided anew."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._fates: dict[str, Fates] = {}
        self._known: dict[int, tuple[Any, Any]] = {}  # by id of the status, which the value keeps alive

    def resolve(self, statuses: Statuses, fates: Mapping[str, Fates]) -> Statuses:
        """Return statuses whose Programmed conditions are decided, as far as the sockets' fates are known.

        Args:
            statuses: as `translate` returned them.
            fates: by realm. What is missing leaves its listeners' Programmed at Unknown.
        """
        moved = {realm for realm in {*fates, *self._fates} if fates.get(realm) != self._fates.get(realm)}
        known, self._known = self._known, {}
        self._fates = {realm: dict(there) for realm, there in fates.items()}

        def once(status: S, realm: str, decide: Callable[[S, Fates], S]) -> S:
            entry = None if realm in moved else known.get(id(status))
            entry = self._known[id(status)] = entry or (status, decide(status, self._fates.get(realm, {})))
            found: S = entry[1]
            return found

        realms = {name: status.realm for name, status in statuses.gateways.items()}
        gateways = {name: once(status, status.realm, _gateway) for name, status in statuses.gateways.items()}
        listener_sets = {
            name: once(status, realms[status.gateway], _listener_set) for name, status in statuses.listener_sets.items()
        }
        return replace(statuses, gateways=gateways, listener_sets=listener_sets)


def resolve(statuses: Statuses, fates: Mapping[str, Fates]) -> Statuses:
    """Return statuses whose Programmed conditions are decided; see `Programmed.resolve`."""
    return Programmed().resolve(statuses, fates)


def _listener_set(status: ListenerSetStatus, sockets: Fates) -> ListenerSetStatus:
    listeners = tuple(_listener(listener, sockets) for listener in status.listeners)
    return replace(status, conditions=_summary(status.conditions, listeners, "ListenersNotValid"), listeners=listeners)


def _listener(listener: ListenerStatus, sockets: Fates) -> ListenerStatus:
    before = condition_of(listener.conditions, "Programmed")
    if before is None or not listener.sockets:
        return listener
    fates = [sockets.get(key) for key in listener.sockets]
    failed = [fate for fate in fates if fate is not None and fate.error is not None]
    if failed:
        message = "; ".join(dict.fromkeys(str(fate.error) for fate in failed))
        after = fails("Programmed", before.generation, failed[0].reason, message)
    elif None in fates:
        return listener
    else:
        after = holds("Programmed", before.generation, message="every worker serves the listener")
    return replace(listener, conditions=replaced(listener.conditions, after))


def _gateway(status: GatewayStatus, sockets: Fates) -> GatewayStatus:
    listeners = tuple(_listener(listener, sockets) for listener in status.listeners)
    keys = dict.fromkeys(key for listener in status.listeners for key in listener.sockets)
    bound = (("IPAddress", address) for key in keys if key in sockets for address in sockets[key].addresses)
    addresses = dict.fromkeys(bound if status.shown is None else status.shown)
    conditions = _summary(status.conditions, listeners, "AddressNotUsable")
    return replace(status, conditions=conditions, listeners=listeners, addresses=tuple(addresses))


def _summary(
    conditions: tuple[Condition, ...], listeners: tuple[ListenerStatus, ...], unbound: str
) -> tuple[Condition, ...]:
    """Decide the Programmed condition of listeners' owner, if translation left it open: one that is served suffices.

    `unbound` is the reason when sockets could not be bound; what else keeps listeners from being served is its own.
    """
    before = condition_of(conditions, "Programmed")
    if before is None or before.status != "Unknown":
        return conditions
    verdicts = [condition_of(listener.conditions, "Programmed") for listener in listeners if listener.sockets]
    if any(verdict is not None and verdict.status == "True" for verdict in verdicts):
        after = holds("Programmed", before.generation, message="the configuration is served")
    elif any(verdict is not None and verdict.status == "Unknown" for verdict in verdicts):
        after = pending("Programmed", before.generation, before.message)
    else:
        failed = [verdict for verdict in verdicts if verdict is not None]
        others = [verdict.reason for verdict in failed if verdict.reason != PORT_UNAVAILABLE]
        messages = dict.fromkeys(verdict.message for verdict in failed)
        after = fails("Programmed", before.generation, others[0] if others else unbound, "; ".join(messages))
    return replaced(conditions, after)
