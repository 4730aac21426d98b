"""Why a request goes where it goes: the listener, the virtual hosts and every candidate that was tried before.

A slow, readable walk over the Ir in the order that the matcher has to obey; requests themselves are matched by
`core.router`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fastgate.ir import Endpoints, Forward, Match, PathKind, Redirect, Respond, ValueKind, ValueMatch
from fastgate.translate import regexes
from fastgate.translate.hostnames import covers
from fastgate.translate.http_route import normalized_path
from fastgate.translate.shadows import unreachable_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastgate.ir import Ir, Listener, Plugin, Socket, UpstreamTls

_DIGITS = 12  # of a digest, which tell it from others
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Request:
    """A request to explain. `host` is in lower case without port, `path` in normal form, header names in lower case."""

    method: str
    host: str
    port: int
    path: str
    headers: dict[str, str]
    query: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that precedes the one that matched, and the first of its conditions that does not hold."""

    hostname: str
    match: Match
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one socket does with a request. Without `listener` or `match` the answer is 404 (no_route)."""

    socket: str
    listener: Listener | None
    other_listeners: tuple[str, ...]  # less specific ones that match too, and that isolation keeps out
    hostname: str | None = None
    match: Match | None = None
    rejected: tuple[Rejected, ...] = field(default=())


def request_of(method: str, url: str, headers: Sequence[tuple[str, str]] = ()) -> Request:
    """Return the request for an absolute URL. A Host header decides the host, as it would on the wire.

    Raises:
        ValueError: the URL has no scheme or host, its port is no port, or its path climbs above the root.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is not an absolute http or https URL")
    fields: dict[str, str] = {}
    for name, value in headers:
        known = fields.get(name.lower())
        fields[name.lower()] = value if known is None else f"{known},{value}"
    host = urlsplit(f"//{fields['host']}").hostname if "host" in fields else parts.hostname
    query: dict[str, str] = {}
    for item in filter(None, parts.query.split("&")):
        name, _, value = item.partition("=")
        query.setdefault(unquote(name, "latin-1"), unquote(value, "latin-1"))
    return Request(
        method=method,
        host=(host or "").rstrip("."),
        port=parts.port or _DEFAULT_PORTS[parts.scheme],
        path=_without_dots(normalized_path(parts.path or "/")),
        headers=fields,
        query=query,
    )


def _without_dots(path: str) -> str:
    """Remove dot segments (RFC 3986 section 5.2.4)."""
    segments: list[str] = []
    parts = path.split("/")[1:]
    for position, segment in enumerate(parts):
        last = position == len(parts) - 1
        if segment == "..":
            if not segments:
                raise ValueError(f"path {path!r} climbs above the root")
            segments.pop()
        elif segment != ".":
            segments.append(segment)
            continue
        if last:
            segments.append("")
    return "/" + "/".join(segments)


def explain(ir: Ir, request: Request) -> tuple[Explanation, ...]:
    """Explain a request for every socket of its port: one for each address that is bound."""
    return tuple(
        _on_socket(socket, request) for socket in ir.sockets if socket.port == request.port and not socket.datagrams
    )


def _on_socket(socket: Socket, request: Request) -> Explanation:
    matching = [listener for listener in socket.listeners if covers(listener.hostname, request.host)]
    if not matching:
        return Explanation(socket.key, None, ())
    listener, *others = matching
    kept_out = tuple(other.key for other in others)
    rejected: list[Rejected] = []
    for host in listener.hosts:
        if not covers(host.hostname, request.host):
            continue
        for match in host.matches:
            reason = mismatch(match, request)
            if reason is None:
                return Explanation(socket.key, listener, kept_out, host.hostname, match, tuple(rejected))
            rejected.append(Rejected(host.hostname, match, reason))
    return Explanation(socket.key, listener, kept_out, rejected=tuple(rejected))


def mismatch(match: Match, request: Request) -> str | None:
    """Return why a candidate does not match a request: its first condition that does not hold, or None."""
    if not _path_matches(match, request.path):
        return f"path {request.path} is not {describe_path(match)}"
    if match.method and match.method != request.method:
        return f"method {request.method} is not {match.method}"
    for condition in match.headers:
        reason = _value_mismatch("header", condition, request.headers)
        if reason is not None:
            return reason
    for condition in match.query:
        reason = _value_mismatch("query parameter", condition, request.query)
        if reason is not None:
            return reason
    return None


def _path_matches(match: Match, path: str) -> bool:
    value = match.path.value
    match match.path.kind:
        case PathKind.EXACT:
            return path == value
        case PathKind.PREFIX:
            return path == value or path.startswith(f"{value}/")
        case PathKind.REGEX:
            return regexes.search(value, path)


def _value_mismatch(what: str, condition: ValueMatch, values: dict[str, str]) -> str | None:
    value = values.get(condition.name)
    if value is None:
        return f"{what} {condition.name} is absent"
    if condition.kind is ValueKind.EXACT:
        holds, relation = value == condition.value, "is not"
    else:
        holds, relation = regexes.search(condition.value, value), "does not match"
    return None if holds else f"{what} {condition.name} {value!r} {relation} {condition.value!r}"


def describe_path(match: Match) -> str:
    """Return a path condition in words."""
    match match.path.kind:
        case PathKind.EXACT:
            return f"exactly {match.path.value}"
        case PathKind.PREFIX:
            return f"under {match.path.value or '/'}"
        case PathKind.REGEX:
            return f"matched by {match.path.value}"


def describe_match(match: Match) -> str:
    """Return all conditions of a candidate in words."""
    words = [f"path {describe_path(match)}"]
    if match.method:
        words.append(f"method {match.method}")
    for what, conditions in (("header", match.headers), ("query parameter", match.query)):
        for condition in conditions:
            sign = "=" if condition.kind is ValueKind.EXACT else "~"
            words.append(f"{what} {condition.name}{sign}{condition.value}")
    return ", ".join(words)


def upstream_tls(ir: Ir) -> dict[str, UpstreamTls]:
    """Return the TLS that is spoken to clusters, by their keys."""
    return {cluster.key: cluster.tls for cluster in ir.clusters if cluster.tls is not None}


def describe_action(match: Match, endpoints: Endpoints, tls: Mapping[str, UpstreamTls]) -> list[str]:
    """Return what the rule of a candidate does with a request, a line for each backend."""
    action = match.rule.action
    match action:
        case Respond(status, reason):
            return [f"answers {status} ({reason})"]
        case Redirect():
            return [f"redirects with {action.status}"]
        case Forward(backends):
            lines = []
            total = sum(backend.weight for backend in backends)
            for backend in backends:
                share = f"{backend.weight} of {total}"
                if backend.cluster is None:
                    respond = backend.respond or Respond(500, "invalid_backend")
                    lines.append(f"{share}: answers {respond.status} ({respond.reason})")
                else:
                    places = describe_endpoints(backend.cluster, endpoints, otherwise="no ready endpoint: 503")
                    spoken = describe_tls(tls[backend.cluster]) if backend.cluster in tls else ""
                    through = ", ".join(_plugins(backend.filters.plugins))
                    passes = f", through {through}" if through else ""
                    lines.append(f"{share}: {backend.cluster} ({places}){spoken}{passes}")
            return lines
    raise TypeError(f"no action: {action!r}")


def describe_endpoints(cluster: str, endpoints: Endpoints, otherwise: str = "no ready endpoint") -> str:
    """Return the endpoints of a cluster, by address and by name, in one line."""
    known = (*endpoints.clusters.get(cluster, ()), *endpoints.names.get(cluster, ()))
    places = (
        f"[{each.address}]:{each.port}" if ":" in each.address else f"{each.address}:{each.port}" for each in known
    )
    return ", ".join(places) or otherwise


def describe_tls(tls: UpstreamTls) -> str:
    """Return how TLS is spoken to a cluster, to follow its endpoints."""
    trusted = [*(digest[:_DIGITS] for digest in tls.authorities), *(["of the system"] if tls.system_trust else [])]
    verified = f" for {' or '.join(tls.names)}" if tls.names else ""
    shown = f", showing certificate {tls.certificate[:_DIGITS]}" if tls.certificate else ""
    return f", TLS as {tls.server_name}, verified{verified} by authorities {', '.join(trusted)}{shown}"


def _plugins(plugins: Iterable[Plugin]) -> list[str]:
    """Return the filters in Python that a request meets, in their order."""
    return [
        f"{plugin.name} ({plugin.type}, {'inline' if plugin.inline else 'offloaded'}, {plugin.timeout} ms, "
        f"{'deny' if plugin.deny else 'skip'})"
        for plugin in plugins
    ]


def describe(explanation: Explanation, endpoints: Endpoints, tls: Mapping[str, UpstreamTls]) -> str:
    """Return an explanation as text for people."""
    lines = [f"socket    {explanation.socket}"]
    listener = explanation.listener
    if listener is None:
        return "\n".join([*lines, "listener  none has this hostname: answers 404 (no_route)"])
    lines.append(f"listener  {listener.key} ({listener.hostname or 'any hostname'})")
    lines += [f"          not {other}: it is less specific" for other in explanation.other_listeners]
    for position, line in enumerate(_plugins(listener.plugins)):
        lines.append(f"{'before    ' if position == 0 else '          '}{line}: what it edits is not foreseen here")
    if explanation.rejected:
        lines.append("tried     in order of precedence, without a match:")
        for entry in explanation.rejected:
            lines.append(f"          {entry.match.rule.key}: {describe_match(entry.match)}")
            lines.append(f"              {entry.reason}")
    match = explanation.match
    if match is None:
        return "\n".join([*lines, "match     none: answers 404 (no_route)"])
    name = f" ({match.rule.name})" if match.rule.name else ""
    lines.append(f"hostname  {explanation.hostname or 'any'}")
    lines.append(f"route     {match.rule.route}")
    lines.append(f"rule      {match.rule.key.rpartition('/')[2]}{name}")
    lines.append(f"match     {describe_match(match)}")
    for position, line in enumerate(_plugins(match.rule.filters.plugins)):
        lines.append(f"{'filters   ' if position == 0 else '          '}{line}")
    for position, line in enumerate(describe_action(match, endpoints, tls)):
        lines.append(f"{'backend   ' if position == 0 else '          '}{line}")
    return "\n".join(lines)


def to_json(explanation: Explanation, endpoints: Endpoints, tls: Mapping[str, UpstreamTls]) -> dict[str, Any]:
    """Return an explanation for programs; what did not come to be is null."""
    listener, match = explanation.listener, explanation.match
    return {
        "socket": explanation.socket,
        "listener": listener.key if listener is not None else None,
        "otherListeners": list(explanation.other_listeners),
        "tried": [
            {"rule": entry.match.rule.key, "match": describe_match(entry.match), "reason": entry.reason}
            for entry in explanation.rejected
        ],
        "hostname": explanation.hostname,
        "route": match.rule.route if match is not None else None,
        "rule": match.rule.key if match is not None else None,
        "ruleName": match.rule.name if match is not None else None,
        "match": describe_match(match) if match is not None else None,
        "filtersBeforeRouting": _plugins(listener.plugins) if listener is not None else [],
        "filters": _plugins(match.rule.filters.plugins) if match is not None else [],
        "action": describe_action(match, endpoints, tls) if match is not None else ["answers 404 (no_route)"],
    }


def unreachable_json(ir: Ir) -> list[dict[str, Any]]:
    """Return the rules that no request can reach, for programs: each with its candidates and what takes them first."""
    return [
        {
            "rule": key,
            "candidates": [
                {
                    "listener": entry.listener,
                    "hostname": entry.hostname,
                    "match": describe_match(entry.match),
                    "takenBy": entry.by.rule.key if isinstance(entry.by, Match) else entry.by,
                }
                for entry in entries
            ],
        }
        for key, entries in sorted(unreachable_rules(ir).items())
    ]


def describe_unreachable(ir: Ir) -> list[str]:
    """Return a line for each rule that no request can reach, and one for each of its candidates that says why."""
    lines = []
    for key, entries in sorted(unreachable_rules(ir).items()):
        lines.append(f"{key} can never match:")
        for entry in entries:
            if isinstance(entry.by, Match):
                reason = f"{entry.by.rule.key} takes it first ({describe_match(entry.by)})"
            else:
                reason = f"requests for {entry.hostname} go to {entry.by}"
            lines.append(
                f"    {describe_match(entry.match)}, host {entry.hostname or 'any'}, {entry.listener}: {reason}"
            )
    return lines
