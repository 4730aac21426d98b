"""Intersection of the hostnames of listeners and routes (Gateway API v1.7.0, HTTPRouteSpec.hostnames)."""

from __future__ import annotations


def covers(pattern: str, hostname: str) -> bool:
    """Say whether every host that `hostname` stands for also belongs to `pattern`.

    Both are "" (any host), `*.suffix` (one or more labels before the suffix) or a name, in lower case.
    """
    if not pattern or pattern == hostname:
        return True
    return pattern.startswith("*.") and bool(hostname) and hostname.lstrip("*").endswith(pattern[1:])


def intersects(listener: str, route: str) -> bool:
    """Say whether some host belongs to both patterns."""
    return covers(listener, route) or covers(route, listener)
