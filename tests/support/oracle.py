"""The matcher as the specification tells it: every candidate of every host in turn, in Python."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from fastgate import ir

if TYPE_CHECKING:
    from collections.abc import Iterable

Request = tuple[bytes, bytes, bytes, bytes, tuple[tuple[bytes, bytes], ...]]


def serves(pattern: str, host: str) -> bool:
    if pattern == "":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern == host


def specificity(pattern: str) -> tuple[bool, int]:
    """Sort key: exact names first, then the longest."""
    return (pattern == "" or pattern.startswith("*"), -len(pattern))


def best(patterns: Iterable[str], host: str) -> str | None:
    """The most specific pattern that serves a host."""
    return min((p for p in patterns if serves(p, host)), key=specificity, default=None)


def value_holds(condition: ir.ValueMatch, value: bytes | None) -> bool:
    if value is None:
        return False
    if condition.kind is ir.ValueKind.REGEX:
        return re.search(condition.value.encode(), value) is not None
    return value == condition.value.encode()


def header(headers: Iterable[tuple[bytes, bytes]], name: str) -> bytes | None:
    values = [value for n, value in headers if n.lower() == name.encode()]
    return b",".join(values) if values else None


def parameter(query: bytes, name: str) -> bytes | None:
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if part and unquote_to_bytes(key) == name.encode():
            return unquote_to_bytes(value)
    return None


def path_holds(match: ir.PathMatch, path: bytes) -> bool:
    value = match.value.encode()
    if match.kind is ir.PathKind.EXACT:
        return path == value
    if match.kind is ir.PathKind.PREFIX and path == b"*":
        return value == b""
    if match.kind is ir.PathKind.PREFIX:
        return path == value or path.startswith(value + b"/")
    return re.search(value, path) is not None


def holds(match: ir.Match, request: Request) -> bool:
    method, _, path, query, headers = request
    return (
        match.method.encode() in (b"", method)
        and path_holds(match.path, path)
        and all(value_holds(c, header(headers, c.name)) for c in match.headers)
        and all(value_holds(c, parameter(query, c.name)) for c in match.query)
    )


def find(socket: ir.Socket, request: Request) -> tuple[str, str, str] | None:
    """Return (listener, hostname, key of the rule), or None."""
    host = request[1].decode()
    hostname = best((x.hostname for x in socket.listeners), host)
    if hostname is None:
        return None
    listener = next(x for x in socket.listeners if x.hostname == hostname)
    for vhost in sorted((v for v in listener.hosts if serves(v.hostname, host)), key=lambda v: specificity(v.hostname)):
        for match in vhost.matches:
            if holds(match, request):
                return listener.key, vhost.hostname, match.rule.key
    return None
