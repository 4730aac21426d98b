"""How two Shares differ, and what one becomes by that. Pure.

Translations share the objects that did not change, so identity tells what has to travel; a data plane keeps its own
objects in their places, so that its image builder does only what is new. Equal objects are one to both.
"""

from __future__ import annotations

from dataclasses import replace
from operator import is_
from typing import TYPE_CHECKING, Any, TypeVar

from fastgate.ir import Endpoints, Ir
from fastgate.remote.share import Share
from fastgate.remote.wire import Changes, ListenerChange, SocketChange, Update, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fastgate.ir import Endpoint, Listener, Socket

T = TypeVar("T")

EMPTY = Share()


def difference(before: Share, after: Share) -> Update:
    """Return what makes `after` of `before`."""
    old, new = before.ir, after.ir
    gone, put, sources = _compared(old.sockets, new.sockets, _key)
    endpoints_gone, endpoints = _entries(before.endpoints.clusters, after.endpoints.clusters)
    names_gone, names = _entries(before.endpoints.names, after.endpoints.names)
    return Update(
        revision=after.revision,
        base=before.revision,
        sockets_gone=gone,
        sockets=tuple(_socket_change(at, new.sockets[at], sources.get(at, -1), old.sockets) for at in put),
        clusters=_changes(old.clusters, new.clusters, _key),
        key_pairs=_changes(old.key_pairs, new.key_pairs, _digest),
        authorities=_changes(old.authorities, new.authorities, _digest),
        endpoints_gone=endpoints_gone,
        endpoints=endpoints,
        names_gone=names_gone,
        names=names,
    )


def applied(before: Share, update: Update) -> Share:
    """Return what `before` becomes. WireError: the update is for another Share."""
    if update.base != before.revision:
        raise WireError(f"an update of revision {update.base} does not fit revision {before.revision}")
    old = before.ir
    try:
        sockets = [(change.at, _socket(change, old.sockets)) for change in update.sockets]
        ir = Ir(
            _put(old.sockets, update.sockets_gone, sockets),
            _put(old.clusters, update.clusters.gone, update.clusters.put),
            _put(old.key_pairs, update.key_pairs.gone, update.key_pairs.put),
            _put(old.authorities, update.authorities.gone, update.authorities.put),
        )
        endpoints = Endpoints(
            _kept(before.endpoints.clusters, update.endpoints_gone, update.endpoints),
            _kept(before.endpoints.names, update.names_gone, update.names),
        )
    except (IndexError, KeyError) as e:
        raise WireError(f"an update names what is not there: {e}") from None
    return Share(update.revision, ir, endpoints)


# --- differences ------------------------------------------------------------------------------------------------------


def _compared(
    before: Sequence[T], after: Sequence[T], key: Callable[[T], str]
) -> tuple[tuple[int, ...], tuple[int, ...], dict[int, int]]:
    """Compare two sequences of items whose keys are unique.

    Returns positions of `before` that are gone, positions of `after` that are new, and of the latter those that the
    items of the same key had before. What stays keeps its order.
    """
    start = _shared(before, after)
    end = _shared(before[start:][::-1], after[start:][::-1])
    known = {key(before[at]): at for at in range(start, len(before) - end)}
    kept: set[int] = set()
    put: list[int] = []
    sources: dict[int, int] = {}
    last = -1
    for at in range(start, len(after) - end):
        source = known.get(key(after[at]), -1)
        if source > last and (before[source] is after[at] or before[source] == after[at]):
            kept.add(source)
            last = source
        else:
            put.append(at)
            if source >= 0:
                sources[at] = source
    gone = tuple(at for at in range(start, len(before) - end) if at not in kept)
    return gone, tuple(put), sources


def _shared(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Return with how many items of one identity both begin."""
    same = bytes(map(is_, first, second))
    at = same.find(0)
    return len(same) if at < 0 else at


def _changes(before: Sequence[T], after: Sequence[T], key: Callable[[T], str]) -> Changes[T]:
    gone, put, _ = _compared(before, after, key)
    return Changes(gone, tuple((at, after[at]) for at in put))


def _socket_change(at: int, socket: Socket, source: int, sockets: Sequence[Socket]) -> SocketChange:
    before = sockets[source].listeners if source >= 0 else ()
    gone, put, sources = _compared(before, socket.listeners, _key)
    listeners = (_listener_change(at, socket.listeners[at], sources.get(at, -1), before) for at in put)
    return SocketChange(at, replace(socket, listeners=()), source, gone, tuple(listeners))


def _listener_change(at: int, listener: Listener, source: int, listeners: Sequence[Listener]) -> ListenerChange:
    before = listeners[source].hosts if source >= 0 else ()
    hosts = _changes(before, listener.hosts, lambda host: host.hostname)
    return ListenerChange(at, replace(listener, hosts=()), source, hosts)


def _entries(
    before: Mapping[str, tuple[Endpoint, ...]], after: Mapping[str, tuple[Endpoint, ...]]
) -> tuple[tuple[str, ...], dict[str, tuple[Endpoint, ...]]]:
    """Return the keys that are gone, and the entries that are new or others."""
    if before is after:
        return (), {}
    gone = tuple(key for key in before if key not in after)
    return gone, {key: value for key, value in after.items() if before.get(key) != value}


def _key(item: Any) -> str:
    key: str = item.key
    return key


def _digest(item: Any) -> str:
    digest: str = item.digest
    return digest


# --- and back ---------------------------------------------------------------------------------------------------------


def _put(before: tuple[T, ...], gone: Sequence[int], put: Sequence[tuple[int, T]]) -> tuple[T, ...]:
    """Take items away by their positions of before, and put others in at their positions of after, ascending."""
    if not gone and not put:
        return before
    items = list(before)
    for at in sorted(gone, reverse=True):
        del items[_within(at, len(items))]
    for at, item in put:
        items.insert(_within(at, len(items) + 1), item)
    return tuple(items)


def _within(at: int, length: int) -> int:
    if not 0 <= at < length:
        raise IndexError(f"position {at} of {length}")
    return at


def _socket(change: SocketChange, sockets: Sequence[Socket]) -> Socket:
    before = sockets[_within(change.source, len(sockets))].listeners if change.source >= 0 else ()
    listeners = [(each.at, _listener(each, before)) for each in change.listeners]
    return replace(change.head, listeners=_put(before, change.gone, listeners))


def _listener(change: ListenerChange, listeners: Sequence[Listener]) -> Listener:
    before = listeners[_within(change.source, len(listeners))].hosts if change.source >= 0 else ()
    return replace(change.head, hosts=_put(before, change.hosts.gone, change.hosts.put))


def _kept(
    before: dict[str, tuple[Endpoint, ...]], gone: Iterable[str], put: dict[str, tuple[Endpoint, ...]]
) -> dict[str, tuple[Endpoint, ...]]:
    if not gone and not put:
        return before
    after = {**before, **put}
    for key in gone:
        del after[key]
    return after
