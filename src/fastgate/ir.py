"""What a configuration means, after every reference is resolved.

`translate` produces these objects, `core.snapshot` turns them into the image that the workers map. They are frozen,
compare by value, hold no Kubernetes object and import the standard library only. Every tuple is in its final order:
`VirtualHost.matches` is sorted by the specification's precedence, and nothing behind this module sorts again.

Units: times are integer milliseconds (0 means no limit), sizes are bytes. Names of resources are `namespace/name`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - who decodes an Ir reads the annotations
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
    TCP = "tcp"
    UDP = "udp"


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


class Action:
    """What is done with a request: Forward, Redirect or Respond. Each has a field that the others do not have."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Redirect(Action):
    """An answer with Location; None keeps what the request had (GEP: HTTPRequestRedirectFilter)."""

    status: int
    scheme: str | None = None
    hostname: str | None = None
    port: int | None = None  # None: derived, see the specification; the well-known port of the scheme is not printed
    path: PathRewrite | None = None


@dataclass(frozen=True, slots=True)
class Respond(Action):
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
class Forward(Action):
    """Proxy to one of the backends, chosen by smooth weighted round robin."""

    backends: tuple[WeightedBackend, ...]
    request_timeout: int = 0  # from the complete request head to the end of the response
    backend_timeout: int = 0  # of one try: from sending to the end of the response


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a route: what is done once a match was found. `key` is stable, and unique within a listener.

    Rules of one key differ by their listeners in nothing but Filters that are attached there, and clusters of which a
    Gateway that shows a certificate has its own.
    """

    key: str  # "HTTPRoute/namespace/name/index"
    route: str  # "HTTPRoute/namespace/name"
    name: str  # the rule's own name, "" when it has none
    action: Action
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
class KeyPair:
    """A certificate with its chain, and its key.

    `digest` (SHA-256 of all of it) tells pairs apart wherever the key itself must not be. `names` are the DNS names and
    IP addresses of subjectAltName, in lower case; `key_type` is such as "RSA 2048", "ECDSA P-256", "Ed25519".
    """

    digest: str
    names: tuple[str, ...]
    key_type: str
    not_before: datetime
    not_after: datetime
    chain: bytes = field(repr=False)  # PEM, the certificate itself first
    key: bytes = field(repr=False)  # PEM, PKCS#8
    staple: bytes = field(repr=False, default=b"")  # OCSP response, DER; b"" when there is none


@dataclass(frozen=True, slots=True)
class Authorities:
    """Certificates to verify others against. `digest` is the SHA-256 of `bundle`."""

    digest: str
    bundle: bytes = field(repr=False)  # PEM, without duplicates, in their order


@dataclass(frozen=True, slots=True)
class CertificateChoice:
    """Certificates for one pattern of server names: one of each kind of key, ECDSA before RSA. "" is for all others."""

    hostname: str  # "", "*.example.com" or "www.example.com"
    certificates: tuple[str, ...]  # digests of `Ir.key_pairs`


@dataclass(frozen=True, slots=True)
class ClientValidation:
    """How certificates of clients are checked."""

    authorities: tuple[str, ...]  # digests of `Ir.authorities`
    required: bool  # True: AllowValidOnly; False: AllowInsecureFallback, whose connections have no identity


TLS12, TLS13 = 0x0303, 0x0304


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS ends at a listener. Lists are as OpenSSL writes them; "" leaves the choice to the library."""

    choices: tuple[CertificateChoice, ...]  # that of "" is there, and comes first
    min_version: int = TLS12
    max_version: int = TLS13
    ciphers: str = ""  # of TLS 1.2
    ciphersuites: str = ""  # of TLS 1.3
    groups: str = ""
    alpn: tuple[str, ...] = ()
    clients: ClientValidation | None = None


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How TLS is spoken to the endpoints of a cluster."""

    server_name: str  # SNI, and what certificates are verified for unless there are `names`
    names: tuple[str, ...] = ()  # subject alternative names, one of which must be there: "DNS:..." or "URI:..."
    authorities: tuple[str, ...] = ()  # digests of `Ir.authorities`
    system_trust: bool = False
    certificate: str = ""  # digest of the pair that is shown when asked for one
    alpn: tuple[str, ...] = ()
    min_version: int = TLS12
    max_version: int = TLS13


@dataclass(frozen=True, slots=True)
class Relay:
    """One rule of a route of layer 4: its bytes or datagrams go to one of the backends. `key` is as a Rule's."""

    key: str  # "TLSRoute/namespace/name/index"
    route: str  # "TLSRoute/namespace/name"
    name: str
    backends: tuple[WeightedBackend, ...]  # without filters; those without a cluster close the connection
    passthrough: bool = False  # True: TLS is not ended here


@dataclass(frozen=True, slots=True)
class ServerName:
    """Where connections of one pattern of server names go: "" (any, and none), "*.example.com" or "www.example.com"."""

    hostname: str
    relay: Relay


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener of a Gateway or ListenerSet.

    Only the most specific listener of a socket sees a request or a server name (isolation); within it the virtual hosts
    are tried from the most specific one down until a match is found. HTTP and HTTPS have `hosts`; TLS has `names`, TCP
    and UDP at most one of them, of hostname "".
    """

    key: str  # "Gateway/namespace/name/listener" or "ListenerSet/..."
    gateway: str  # "namespace/name"
    name: str
    hostname: str  # "" for any host
    protocol: str  # "HTTP", "HTTPS", "TLS", "TCP", "UDP"
    hosts: tuple[VirtualHost, ...] = ()
    plugins: tuple[Plugin, ...] = ()  # that requests meet before a route is looked for
    tls: Tls | None = None  # where TLS ends here
    names: tuple[ServerName, ...] = ()


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
    idle_timeout: int = 60_000  # of a connection between two requests; of a UDP session
    body_min_rate: int = 240  # bytes per second, over any window in which the client should have sent or read
    body_rate_window: int = 5_000
    connect_timeout: int = 5_000
    response_timeout: int = 60_000  # from the end of the request, or a stop on its way, to the response's head
    stream_idle_timeout: int = 300_000  # between two pieces of a response
    upstream_idle_timeout: int = 55_000
    tunnel_idle_timeout: int = 3_600_000
    keepalive_requests: int = 0  # 0: no limit
    connections: int = 0  # of one socket, or UDP sessions, over all workers; 0: follows from RLIMIT_NOFILE
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
    proxy_protocol: bool = False  # connections begin with a PROXY protocol header
    client_cert: bool = False  # verified client certificates go on in Client-Cert (RFC 9440)


@dataclass(frozen=True, slots=True)
class Socket:
    """One (address, port) that is bound, and whose listeners share it. `address` "" binds every address.

    `realm` says where: "" is this host. It is no part of the image.
    """

    address: str
    port: int
    listeners: tuple[Listener, ...]  # most specific hostname first
    settings: Settings = Settings()
    datagrams: bool = False  # True: UDP
    realm: str = ""

    @property
    def key(self) -> str:
        """Identity over reloads: `address:port`, of a UDP socket `udp:address:port`."""
        where = f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"
        return f"udp:{where}" if self.datagrams else where


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

    # "Service/namespace/name/port" or "Backend/namespace/name"; of layer 4 with "/tcp", "/tls" or "/udp"; where a
    # Gateway has its own, "@namespace/gateway" follows.
    key: str
    protocol: Protocol = Protocol.HTTP1
    health_check: HealthCheck | None = None
    tls: UpstreamTls | None = None
    send_proxy: int = 0  # version of the PROXY protocol header that connections begin with; 0: none


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address of a cluster. `address` is an IP literal; a DNS name is resolved by the listener manager first."""

    address: str
    port: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Ir:
    """The second-by-second stable part of a configuration: what the image holds, and the secrets that it names."""

    sockets: tuple[Socket, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    key_pairs: tuple[KeyPair, ...] = ()  # by digest, as the authorities are
    authorities: tuple[Authorities, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The part that churns, published on its own: endpoints by cluster key, sorted.

    A cluster without ready endpoints has an empty tuple. `names` lists DNS names that have to be resolved, by cluster.
    """

    clusters: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    names: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
