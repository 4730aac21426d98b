"""Where a connection or a source of datagrams goes, below HTTP: by its port, and over TLS by its server name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastgate.translate.explain import describe_endpoints, describe_tls
from fastgate.translate.hostnames import covers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastgate.ir import Endpoints, Ir, Listener, ServerName, Socket, UpstreamTls

_PROTOCOLS = {"tls": ("HTTPS", "TLS"), "tcp": ("TCP",), "udp": ("UDP",)}  # of listeners, by scheme
_TLS_PORT = 443


@dataclass(frozen=True, slots=True)
class Target:
    """What is connected to. `scheme` is tls, tcp or udp; `name` the server name in lower case, "" for none."""

    scheme: str
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Way:
    """What one socket does with it. Without `listener` or `taken` it goes nowhere."""

    socket: str
    scheme: str
    listener: Listener | None
    other_listeners: tuple[str, ...] = ()  # less specific ones that match too, and that isolation keeps out
    taken: ServerName | None = None

    @property
    def is_http(self) -> bool:
        """Whether requests are what comes out of the TLS that ends here."""
        return self.listener is not None and self.listener.protocol == "HTTPS"


def target_of(url: str) -> Target:
    """Return what `tls://name[:port]`, `tcp://host:port` or `udp://host:port` stands for.

    Raises:
        ValueError: it is none of these.
    """
    parts = urlsplit(url)
    port = parts.port or (_TLS_PORT if parts.scheme == "tls" else None)
    if parts.scheme not in _PROTOCOLS or port is None or parts.path.strip("/"):
        raise ValueError(f"{url!r} is not tls://name, tcp://host:port or udp://host:port")
    return Target(parts.scheme, (parts.hostname or "").rstrip(".") if parts.scheme == "tls" else "", port)


def explain(ir: Ir, target: Target) -> tuple[Way, ...]:
    """Explain it for every socket of its port that speaks its protocol: one for each address that is bound."""
    return tuple(
        _on_socket(socket, target)
        for socket in ir.sockets
        if socket.port == target.port
        and any(listener.protocol in _PROTOCOLS[target.scheme] for listener in socket.listeners)
    )


def _on_socket(socket: Socket, target: Target) -> Way:
    matching = [listener for listener in socket.listeners if covers(listener.hostname, target.name)]
    if not matching:
        return Way(socket.key, target.scheme, None)
    listener, *others = matching
    taken = next((name for name in listener.names if covers(name.hostname, target.name)), None)
    return Way(socket.key, target.scheme, listener, tuple(other.key for other in others), taken)


def _tls(way: Way) -> str:
    if way.is_http:
        return "ends here; requests are matched then: explain METHOD https://..."
    return "passes through" if way.taken is not None and way.taken.relay.passthrough else "ends here"


def _backends(way: Way, endpoints: Endpoints, tls: Mapping[str, UpstreamTls]) -> list[str]:
    relay = way.taken.relay if way.taken is not None else None
    if relay is None:
        return []
    total = sum(backend.weight for backend in relay.backends)
    nowhere = "dropped" if way.scheme == "udp" else "closed"
    return [
        f"{backend.weight} of {total}: {_describe_cluster(backend.cluster, endpoints, tls)}"
        if backend.cluster is not None
        else f"{backend.weight} of {total}: {nowhere}"
        for backend in relay.backends
    ]


def _describe_cluster(cluster: str, endpoints: Endpoints, tls: Mapping[str, UpstreamTls]) -> str:
    spoken = describe_tls(tls[cluster]) if cluster in tls else ""
    return f"{cluster} ({describe_endpoints(cluster, endpoints)}){spoken}"


def describe(way: Way, endpoints: Endpoints, tls: Mapping[str, UpstreamTls]) -> str:
    """Return an explanation as text for people."""
    lines = [f"socket    {way.socket}"]
    listener, end = way.listener, "datagrams are dropped" if way.scheme == "udp" else "the connection is closed"
    if listener is None:
        return "\n".join([*lines, f"listener  none has this server name: {end}"])
    name = f" ({listener.hostname or 'any server name'})" if way.scheme == "tls" else ""
    lines.append(f"listener  {listener.key}{name}")
    lines += [f"          not {other}: it is less specific" for other in way.other_listeners]
    if way.scheme == "tls" and (way.taken is not None or way.is_http):
        lines.append(f"TLS       {_tls(way)}")
    if way.taken is None:
        return "\n".join(lines if way.is_http else [*lines, f"route     none: {end}"])
    relay = way.taken.relay
    if way.scheme == "tls":
        lines.append(f"name      {way.taken.hostname or 'any'}")
    lines.append(f"route     {relay.route}{f' ({relay.name})' if relay.name else ''}")
    for position, line in enumerate(_backends(way, endpoints, tls)):
        lines.append(f"{'backend   ' if position == 0 else '          '}{line}")
    return "\n".join(lines)


def to_json(way: Way, endpoints: Endpoints, tls: Mapping[str, UpstreamTls]) -> dict[str, Any]:
    """Return an explanation for programs; what did not come to be is null."""
    relay = way.taken.relay if way.taken is not None else None
    return {
        "socket": way.socket,
        "listener": way.listener.key if way.listener is not None else None,
        "otherListeners": list(way.other_listeners),
        "hostname": way.taken.hostname if way.taken is not None else None,
        "tls": _tls(way) if way.scheme == "tls" and (way.taken is not None or way.is_http) else None,
        "route": relay.route if relay is not None else None,
        "rule": relay.key if relay is not None else None,
        "ruleName": relay.name if relay is not None else None,
        "action": _backends(way, endpoints, tls),
    }
