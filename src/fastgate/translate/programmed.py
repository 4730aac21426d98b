"""The second half of a status: what became of the sockets that a translation asked for."""

from __future__ import annotations

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
    from collections.abc import Callable, Mapping

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Bound:
    """Fate of one socket: the addresses it is reachable at, or the error that keeps it from being served."""

    addresses: tuple[str, ...] = ()
    error: str | None = None


class Programmed:
    """Decides Programmed, again and again; what was decided is not decided anew."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._sockets: Mapping[str, Bound] | None = None
        self._known: dict[int, tuple[Any, Any]] = {}  # by id of the status, which the value keeps alive

    def resolve(self, statuses: Statuses, sockets: Mapping[str, Bound], realm: str = "") -> Statuses:
        """Return statuses whose Programmed conditions are decided, as far as the sockets' fates are known.

        Args:
            statuses: as `translate` returned them.
            sockets: by `Socket.key`. One that is missing leaves its listeners' Programmed at Unknown.
            realm: where they are; Gateways that live elsewhere stay as they are.
        """
        known = self._known if self._sockets == sockets else {}
        self._sockets, self._known = dict(sockets), {}

        def once(status: S, decide: Callable[[S, Mapping[str, Bound]], S]) -> S:
            entry = known.get(id(status)) or (status, decide(status, sockets))
            self._known[id(status)] = entry
            found: S = entry[1]
            return found

        realms = {name: status.realm for name, status in statuses.gateways.items()}
        gateways = {
            name: once(status, _gateway) if status.realm == realm else status
            for name, status in statuses.gateways.items()
        }
        listener_sets = {
            name: once(status, _listener_set) if realms[status.gateway] == realm else status
            for name, status in statuses.listener_sets.items()
        }
        return replace(statuses, gateways=gateways, listener_sets=listener_sets)


def resolve(statuses: Statuses, sockets: Mapping[str, Bound], realm: str = "") -> Statuses:
    """Return statuses whose Programmed conditions are decided; see `Programmed.resolve`."""
    return Programmed().resolve(statuses, sockets, realm)


def _listener_set(status: ListenerSetStatus, sockets: Mapping[str, Bound]) -> ListenerSetStatus:
    listeners = tuple(_listener(listener, sockets) for listener in status.listeners)
    return replace(status, conditions=_summary(status.conditions, listeners, "ListenersNotValid"), listeners=listeners)


def _listener(listener: ListenerStatus, sockets: Mapping[str, Bound]) -> ListenerStatus:
    before = condition_of(listener.conditions, "Programmed")
    if before is None or not listener.sockets:
        return listener
    fates = [sockets.get(key) for key in listener.sockets]
    errors = [fate.error for fate in fates if fate is not None and fate.error is not None]
    if errors:
        after = fails("Programmed", before.generation, "PortUnavailable", "; ".join(errors))
    elif None in fates:
        return listener
    else:
        after = holds("Programmed", before.generation, message="every worker serves the listener")
    return replace(listener, conditions=replaced(listener.conditions, after))


def _gateway(status: GatewayStatus, sockets: Mapping[str, Bound]) -> GatewayStatus:
    listeners = tuple(_listener(listener, sockets) for listener in status.listeners)
    keys = dict.fromkeys(key for listener in status.listeners for key in listener.sockets)
    bound = (("IPAddress", address) for key in keys if key in sockets for address in sockets[key].addresses)
    addresses = dict.fromkeys(bound if status.shown is None else status.shown)
    conditions = _summary(status.conditions, listeners, "AddressNotUsable")
    return replace(status, conditions=conditions, listeners=listeners, addresses=tuple(addresses))


def _summary(
    conditions: tuple[Condition, ...], listeners: tuple[ListenerStatus, ...], reason: str
) -> tuple[Condition, ...]:
    """Decide the Programmed condition of listeners' owner, if translation left it open: one that is served suffices."""
    before = condition_of(conditions, "Programmed")
    if before is None or before.status != "Unknown":
        return conditions
    verdicts = [condition_of(listener.conditions, "Programmed") for listener in listeners if listener.sockets]
    if any(verdict is not None and verdict.status == "True" for verdict in verdicts):
        after = holds("Programmed", before.generation, message="the configuration is served")
    elif any(verdict is not None and verdict.status == "Unknown" for verdict in verdicts):
        after = pending("Programmed", before.generation, before.message)
    else:
        messages = dict.fromkeys(verdict.message for verdict in verdicts if verdict is not None)
        after = fails("Programmed", before.generation, reason, "; ".join(messages))
    return replaced(conditions, after)
