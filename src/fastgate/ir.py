"""What a configuration means, after every reference is resolved.

`translate` produces these objects, `core.snapshot` turns them into the image that the workers map. They are frozen,
compare by value, hold no Kubernetes object and import the standard library only. Every tuple is in its final order:
`VirtualHost.matches` is sorted by the specification's precedence, and nothing behind this module sorts again.

Units: times are integer milliseconds (0 means no limit), sizes are bytes. Names of resources are `namespace/name`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class PathKind(Enum):
    """How a path is compared; in the order in which kinds precede one another."""

    EXACT = "Exact"
    REGEX = "RegularExpression"
    PREFIX = "PathPrefix"


class ValueKind(Enum):
    """How a header or query value is compared."""

    EXACT = "Exact"
    REGEX = "RegularExpression"


class Protocol(Enum):
    """What a cluster's endpoints speak."""

    HTTP1 = "http"
    H2C = "kubernetes.io/h2c"
    WEBSOCKET = "kubernetes.io/ws"


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A path condition. A prefix is matched by whole segments and is stored without trailing slash ("/" is "")."""

    kind: PathKind
    value: str


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """A condition on one header (name in lower case) or one query parameter (name as it is)."""

    name: str
    kind: ValueKind
    value: str


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Edits of a head, applied in the order set, add, remove. Names keep their spelling, values are latin-1."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PathRewrite:
    """A new path: the whole of it, or what stands in the place of the matched prefix."""

    kind: PathKind  # EXACT: replaces the full path; PREFIX: replaces the matched prefix
    value: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer with Location; None keeps what the request had (GEP: HTTPRequestRedirectFilter)."""

    status: int
    scheme: str | None = None
    hostname: str | None = None
    port: int | None = None  # None: derived, see the specification; the well-known port of the scheme is not printed
    path: PathRewrite | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    """A local answer. `reason` is a token of the access log: no_route, no_backends, invalid_backend, ..."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """One filter written in Python, as one Filter resource configures it."""

    name: str  # of the Filter: "namespace/name"
    type: str  # the entry point: "Stamp" or "distribution/Stamp"
    config: str = field(repr=False)  # canonical JSON, defaults filled in and references resolved: may hold secrets
    timeout: int  # of one call of one phase; never 0
    deny: bool  # what holds when it fails or is late: True, the request is refused; False, it goes on without
    inline: bool  # True: runs in the worker; False: in the plugin process
    phases: frozenset[str]  # values of plugins.filter.Phase
    buffer_body: int  # bytes of a request body that it is given in one piece; 0: in the pieces that arrive


@dataclass(frozen=True, slots=True)
class Filters:
    """What happens to a request and its response on a rule or on one of its backends."""

    request: HeaderEdits = HeaderEdits()
    response: HeaderEdits = HeaderEdits()
    hostname: str | None = None
    path: PathRewrite | None = None
    plugins: tuple[Plugin, ...] = ()  # in the order in which a request meets them


@dataclass(frozen=True, slots=True)
class WeightedBackend:
    """One choice of a rule. `cluster` is a key of `Ir.clusters`; None answers with `respond` instead."""

    weight: int
    cluster: str | None
    filters: Filters = Filters()
    respond: Respond | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """Proxy to one of the backends, chosen by smooth weighted round robin."""

    backends: tuple[WeightedBackend, ...]
    request_timeout: int = 0  # from the complete request head to the end of the response
    backend_timeout: int = 0  # of one try: from sending to the end of the response


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a route: what is done once a match was found. `key` is stable, and unique within a listener.

    Rules of one key differ where Filters are attached to their listeners, and in nothing else.
    """

    key: str  # "HTTPRoute/namespace/name/index"
    route: str  # "HTTPRoute/namespace/name"
    name: str  # the rule's own name, "" when it has none
    action: Forward | Redirect | Respond
    filters: Filters = Filters()


@dataclass(frozen=True, slots=True)
class Match:
    """One candidate: every condition must hold. An empty method matches every method."""

    path: PathMatch
    method: str
    headers: tuple[ValueMatch, ...]
    query: tuple[ValueMatch, ...]
    rule: Rule


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """Candidates of one host pattern: "" (any host), "*.example.com" (one label or more) or "www.example.com"."""

    hostname: str
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of a Gateway or ListenerSet.

    Only the most specific listener of a socket sees a request (isolation); within it the virtual hosts are tried from
    the most specific one down until a match is found.
    """

    key: str  # "Gateway/namespace/name/listener" or "ListenerSet/..."
    gateway: str  # "namespace/name"
    name: str
    hostname: str  # "" for any host
    protocol: str  # "HTTP"
    hosts: tuple[VirtualHost, ...]
    plugins: tuple[Plugin, ...] = ()  # that requests meet before a route is looked for


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the connections of a socket; 0 switches a time off. Every one is enforced from the first byte."""

    request_line: int = 8 * 1024
    head_bytes: int = 32 * 1024
    head_fields: int = 100
    response_head_bytes: int = 64 * 1024
    body_bytes: int = 0  # 0: no limit
    first_byte_timeout: int = 10_000
    head_timeout: int = 10_000
    idle_timeout: int = 60_000
    body_min_rate: int = 240  # bytes per second, over any window in which the client should have sent or read
    body_rate_window: int = 5_000
    connect_timeout: int = 5_000
    response_timeout: int = 60_000  # from the end of the request, or a stop on its way, to the response's head
    stream_idle_timeout: int = 300_000  # between two pieces of a response
    upstream_idle_timeout: int = 55_000
    tunnel_idle_timeout: int = 3_600_000
    keepalive_requests: int = 0  # 0: no limit
    connections: int = 0  # of one socket, over all workers; 0: follows from RLIMIT_NOFILE
    upstream_connections: int = 0  # of one endpoint, over all workers; 0: no limit
    interim_responses: int = 16


# Trailer fields that are made for it: digests of what was sent, its validator, timings, the status of a call.
TRAILERS = (
    "content-digest",
    "etag",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "repr-digest",
    "server-timing",
)


class AccessLog(Enum):
    """Form of the access log's lines."""

    OFF = "off"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a Gateway's GatewayParameters say."""

    limits: Limits = Limits()
    trusted_hops: int = 0  # proxies before us whose Forwarded and X-Forwarded-* are believed
    underscores: bool = False  # True: field names with an underscore are forwarded
    request_id: bool = True  # make an x-request-id when the client sent none (or is not trusted)
    via: str = "fastgate"
    server: str = ""  # "" leaves the backend's Server as it is
    trailers: tuple[str, ...] = TRAILERS  # trailer fields that are forwarded, in lower case
    access_log: AccessLog = AccessLog.JSON
    access_log_format: str = ""  # template of TEXT


@dataclass(frozen=True, slots=True)
class Socket:
    """One (address, port) that is bound, and whose listeners share it. `address` "" binds every address."""

    address: str
    port: int
    listeners: tuple[Listener, ...]  # most specific hostname first
    settings: Settings = Settings()

    @property
    def key(self) -> str:
        """Identity over reloads: `address:port`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Active health check of a cluster's endpoints by `GET path`. No number is 0."""

    path: str
    host: str = ""  # the Host field; "" for the endpoint's address and port
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)  # healthy ones, from and to
    interval: int = 10_000
    timeout: int = 1_000
    healthy: int = 1  # probes in a row
    unhealthy: int = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """A set of endpoints that requests are balanced over (least requests of two random choices)."""

    key: str  # "Service/namespace/name/port" or "Backend/namespace/name"
    protocol: Protocol = Protocol.HTTP1
    health_check: HealthCheck | None = None


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address of a cluster. `address` is an IP literal; a DNS name is resolved by the listener manager first."""

    address: str
    port: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Ir:
    """The second-by-second stable part of a configuration: what the image holds."""

    sockets: tuple[Socket, ...] = ()
    clusters: tuple[Cluster, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The part that churns, published on its own: endpoints by cluster key, sorted.

    A cluster without ready endpoints has an empty tuple. `names` lists DNS names that have to be resolved, by cluster.
    """

    clusters: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    names: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
