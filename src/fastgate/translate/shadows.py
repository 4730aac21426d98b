"""Rules that can never match, because something before them takes every request that they could take."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastgate.ir import Match, PathKind, PathMatch
from fastgate.translate.hostnames import covers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastgate.ir import Ir, Listener, Socket

# Unanchored patterns that find something in every path. Others may do so too; that is not decided here.
_UNIVERSAL = frozenset(("", "/", ".*", "/.*", "^/", "^/.*", "^/.*$", "^.*$", ".+", "^.*", ".*$"))


@dataclass(frozen=True, slots=True)
class Shadow:
    """One candidate that no request reaches. `by` is the candidate, or the key of the listener, that is in its way."""

    listener: str
    hostname: str
    match: Match
    by: Match | str


def shadows(ir: Ir) -> tuple[Shadow, ...]:
    """Return every candidate that something before it covers, in the order of the Ir."""
    return tuple(shadow for socket in ir.sockets for shadow in _of_socket(socket))


def unreachable_rules(ir: Ir) -> dict[str, tuple[Shadow, ...]]:
    """Return the rules none of whose candidates is reachable anywhere, by key, each with what is in its way.

    A rule that is reachable through one of its matches, hostnames or listeners is not among them.
    """
    found: dict[str, list[Shadow]] = defaultdict(list)
    for shadow in shadows(ir):
        found[shadow.match.rule.key].append(shadow)
    if not found:
        return {}
    total: dict[str, int] = defaultdict(int)
    for socket in ir.sockets:
        for listener in socket.listeners:
            for host in listener.hosts:
                for match in host.matches:
                    total[match.rule.key] += 1
    return {key: tuple(entries) for key, entries in found.items() if len(entries) == total[key]}


def _of_socket(socket: Socket) -> Iterator[Shadow]:
    for position, listener in enumerate(socket.listeners):
        yield from _of_listener(listener, socket.listeners[:position])


def _of_listener(listener: Listener, before: tuple[Listener, ...]) -> Iterator[Shadow]:
    carried = _Index()
    for host in listener.hosts:
        isolated = next((other for other in before if other.hostname and covers(other.hostname, host.hostname)), None)
        if isolated is not None:
            for match in host.matches:
                yield Shadow(listener.key, host.hostname, match, isolated.key)
            continue
        index = _Index(carried)
        for match in host.matches:
            by = index.find(match)
            if by is not None:
                yield Shadow(listener.key, host.hostname, match, by)
            else:
                index.add(match)
        if covers(host.hostname, listener.hostname):
            carried = index


class _Index:
    """Candidates by path, to find one that covers another. `parent` holds those of virtual hosts tried before."""

    def __init__(self, parent: _Index | None = None) -> None:
        self._parent = parent
        self._matches: dict[PathMatch, list[Match]] = defaultdict(list)

    def add(self, match: Match) -> None:
        self._matches[match.path].append(match)

    def find(self, match: Match) -> Match | None:
        for path in _covering_paths(match.path):
            for other in self._matches.get(path, ()):
                if _conditions_cover(other, match):
                    return other
        return self._parent.find(match) if self._parent is not None else None


def _covering_paths(path: PathMatch) -> Iterator[PathMatch]:
    """Return the path conditions that hold whenever `path` does, itself among them."""
    yield path
    for pattern in _UNIVERSAL:
        yield PathMatch(PathKind.REGEX, pattern)
    if path.kind is PathKind.REGEX:
        yield PathMatch(PathKind.PREFIX, "")
        return
    value = path.value.rstrip("/") if path.kind is PathKind.EXACT else path.value
    yield PathMatch(PathKind.PREFIX, value)
    while value:
        value = value.rpartition("/")[0]
        yield PathMatch(PathKind.PREFIX, value)


def _conditions_cover(first: Match, second: Match) -> bool:
    return (
        first.method in ("", second.method)
        and set(first.headers) <= set(second.headers)
        and set(first.query) <= set(second.query)
    )
