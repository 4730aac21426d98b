"""The specification's order of matches and of hostnames: the only place that decides it.

HTTPRouteRule.matches of Gateway API v1.7.0: an Exact path first, then the longest PathPrefix, then a method, then the
most header matches, then the most query parameter matches; among equals the oldest route, then the first by
`namespace/name`, then the first rule and match of the route. RegularExpression stands between Exact and PathPrefix, the
longest pattern first (GEP-4359 leaves the place to implementations).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastgate.ir import Match, PathKind

if TYPE_CHECKING:
    from collections.abc import Iterable

_RANKS = {PathKind.EXACT: 0, PathKind.REGEX: 1, PathKind.PREFIX: 2}

Age = tuple[str, str, str]  # creationTimestamp in one comparable form ("" when unknown), namespace, name
MatchKey = tuple[int, int, bool, int, int]


def match_key(match: Match) -> MatchKey:
    """Return the part of a match's order that its conditions decide. Smaller precedes."""
    return (
        _RANKS[match.path.kind],
        -len(match.path.value),
        not match.method,
        -len(match.headers),
        -len(match.query),
    )


def age(created: datetime | str | None, namespace: str, name: str) -> Age:
    """Return the key that decides between equal claims of two objects: the older, then `namespace/name`.

    Objects without creationTimestamp (files) count as equally old, and older than any that has one.
    """
    if created is None:
        return ("", namespace, name)
    if isinstance(created, datetime):
        return (created.astimezone(UTC).isoformat(), namespace, name)
    return (created, namespace, name)


def ordered(candidates: Iterable[tuple[MatchKey, Age, int, int, Match]]) -> tuple[Match, ...]:
    """Return the matches of one virtual host in their final order.

    Args:
        candidates: (match_key, age of the route, rule index, match index, match). The four keys together are unique
            within a virtual host, so that matches themselves are never compared.
    """
    return tuple(candidate[4] for candidate in sorted(candidates))


def hostname_key(hostname: str) -> tuple[int, int, str]:
    """Return the order of host patterns, most specific first: exact names, wildcards by length, then any host."""
    if not hostname:
        return (2, 0, "")
    if hostname.startswith("*."):
        return (1, -len(hostname), hostname)
    return (0, -len(hostname), hostname)
