"""The gateway's matcher as a library: which rule takes a request, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.core import http1, snapshot
from fastgate.core.router import Batch, Table
from fastgate.errors import ConfigurationError
from fastgate.gateway import sources_of
from fastgate.plugins.discovery import Catalog
from fastgate.problems import Severity
from fastgate.sources.objects import Objects
from fastgate.translate import translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from fastgate import ir


@dataclass(frozen=True, slots=True)
class Match:
    """Where a request goes.

    Attributes:
        listener: `Gateway/namespace/name/listener`.
        hostname: the pattern that matched: "", "*.example.com" or "www.example.com".
        route: `HTTPRoute/namespace/name`.
        index: of the rule in its route.
        name: of the rule, "" when it has none.
        prefix_length: bytes of the path that a PathPrefix matched; all of it for the other kinds.
        action: what the rule does: an ir.Forward, ir.Redirect or ir.Respond.
    """

    listener: str
    hostname: str
    route: str
    index: int
    name: str
    prefix_length: int
    action: ir.Action


class Router:
    """Matches requests against Gateway API resources with the code that the gateway runs. Immutable and thread-safe."""

    def __init__(self, resources: str | Path | Iterable[Mapping[str, Any] | Path]) -> None:
        """Load resources: YAML text, a path, or resources as mappings and paths.

        Raises:
            ConfigurationError: an object is not valid.
        """
        sources, problems = sources_of(resources)
        loaded = Objects().load(sources)
        errors = [p for p in (*problems, *loaded.problems) if p.severity is Severity.ERROR]
        if errors:
            raise ConfigurationError(errors)
        self.config = translate(loaded.store, Catalog()).ir
        self._table = Table(snapshot.build(self.config))
        self._rules = {
            (listener.key, match.rule.key): match.rule.action
            for socket in self.config.sockets
            for listener in socket.listeners
            for host in listener.hosts
            for match in host.matches
        }

    def match(
        self,
        method: str,
        host: str,
        path: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        query: str = "",
        *,
        port: int = 80,
    ) -> Match | None:
        """Return where a request goes, None when the gateway would answer 404.

        Args:
            method: as it would be sent.
            host: of the Host field, without port.
            path: without query; it is brought into normal form, as the gateway does.
            headers: names in any case; a name may come several times.
            query: what follows the `?`.
            port: that the client connected to.

        Raises:
            ParseError: the path has no normal form: the gateway would answer 400.
        """
        pairs = headers.items() if hasattr(headers, "items") else headers
        fields = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)
        request = (
            method.encode(),
            host.lower().rstrip(".").encode(),
            http1.normalize_path(path.encode("latin-1")),
            query.encode("latin-1"),
            fields,
        )
        for number, (_, socket_port) in enumerate(self._table.sockets):
            if socket_port == port and (found := self._table.match(number, Batch([request]))) is not None:
                listener, hostname, route, index, name, prefix_length = found
                action = self._rules[listener, f"{route}/{index}"]
                return Match(listener, hostname, route, index, name, prefix_length, action)
        return None
