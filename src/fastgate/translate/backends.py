"""From a backendRef to a cluster and its endpoints.

A Service is reached through its EndpointSlices, never through its cluster IP, so that the balancing, the health and the
pools are ours. A `fastgate.dev` Backend names addresses outside a cluster. Where TLS is asked for (`backend_tls`),
nothing is ever sent in plaintext.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from fastgate.durations import milliseconds
from fastgate.ir import Cluster, Endpoint, HealthCheck, Protocol, UpstreamTls
from fastgate.translate.conditions import GROUP
from fastgate.translate.literals import is_elsewhere, is_ip
from fastgate.translate.upstream_tls import Barred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fastgate.store import Key, Store
    from fastgate.translate.conditions import Name
    from fastgate.translate.grants import Grants
    from fastgate.translate.upstream_tls import Terms

BACKEND_GROUP = "fastgate.dev"
KINDS = (("", "Service"), (BACKEND_GROUP, "Backend"))  # of backends: group, kind
_SERVICE_NAME = "kubernetes.io/service-name"

# appProtocol in lower case: GEP-1911 and the names that IANA and Kubernetes give to HTTP/1.
_PROTOCOLS = {
    "": Protocol.HTTP1,
    "http": Protocol.HTTP1,
    "kubernetes.io/http": Protocol.HTTP1,
    "kubernetes.io/ws": Protocol.WEBSOCKET,
    "kubernetes.io/h2c": Protocol.H2C,
    "https": Protocol.HTTP1,
    "kubernetes.io/wss": Protocol.WEBSOCKET,
}
_SECURE = ("https", "kubernetes.io/wss")  # those that mean nothing without terms of TLS
_ALPN = ("http/1.1",)
_PROXY_VERSIONS = {None: 0, "V1": 1, "V2": 2}
_SERVED = (Protocol.HTTP1, Protocol.WEBSOCKET)
# Kinds of routes of layer 4, and what they speak to their backends, which is what they need of a Service's port.
LAYER4 = {"TLSRoute": Protocol.TCP, "TCPRoute": Protocol.TCP, "UDPRoute": Protocol.UDP}


Target = tuple[str, str, str, str]  # namespace, group, kind, name
_Addresses = tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]  # those with an address, those with a DNS name
ResolvedCluster = tuple[Cluster, tuple[Endpoint, ...], tuple[Endpoint, ...]]  # and its endpoints as _Addresses
_Reference = tuple[str, str, str, str, str, str, int | None]  # kind, namespace of the route; group, ..., port
Section = tuple[Target, str]  # a target and the name of its port, "" for all of them


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a backendRef stands for: a cluster's key, or why there is none (a reason of ResolvedRefs and its message).

    `unserved` marks a backend that exists and is permitted, and that needs something which is not served: its requests
    are answered with the log reason `unsupported`. A backend that nobody may speak to, because of a policy that says so
    itself, has a message and no reason. `tls` says that TLS is spoken to the cluster. `opaque`, of layer 4, is the
    cluster for bytes that pass as they are, whatever is said of TLS. `target` (namespace, group, kind, name) and `port`
    are what the reference names.
    """

    cluster: str | None
    reason: str = ""
    message: str = ""
    unserved: bool = False
    tls: bool = False
    opaque: str | None = None
    target: Target | None = None
    port: int | None = None


class Backends:
    """Resolves backendRefs against one store, each target once, and collects the clusters that are in use."""

    def __init__(
        self,
        store: Store,
        grants: Grants,
        terms: Mapping[Section, Terms],
        *,
        guarded: bool = False,
        zone: str = "",
    ) -> None:
        """Resolve against a store; `terms` say how TLS is spoken to its backends, where it is.

        `guarded`: no endpoint of a Service may be on this host or its link, or nowhere. `zone`: that this host is in.
        """
        self._guarded = guarded
        self._zone = zone
        self._store = store
        self._grants = grants
        self._terms = terms
        self._resolved: dict[_Reference, Resolution] = {}
        self._by_target: dict[Target, dict[_Reference, None]] = defaultdict(dict)
        self._clusters: dict[str, ResolvedCluster] = {}
        self._slices = Slices(store)

    def resolve(self, route_kind: str, namespace: str, ref: Any) -> Resolution:
        """Resolve the backendRef of a route of `namespace`. Equal references give the same object."""
        group = ref.group or ""
        kind = ref.kind or "Service"
        target = ref.namespace or namespace
        key = (route_kind, namespace, group, kind, target, ref.name, ref.port)
        found = self._resolved.get(key)
        if found is None:
            source = (GROUP, route_kind, namespace)
            resolution = self._resolve(source, (group, kind, target, ref.name), ref.port)
            named = (target, group, kind, ref.name)
            found = self._resolved[key] = replace(resolution, target=named, port=ref.port)
            self._by_target[named][key] = None
        return found

    def follow(self, store: Store, changes: Iterable[Key]) -> dict[Target, None]:
        """Resolve against a store that differs at these keys, of Services, EndpointSlices and Backends.

        Returns the targets whose references, resolved again, may stand for something else.
        """
        self._store = store
        targets: dict[Target, None] = {}
        for kind, namespace, name in changes:
            if kind == "EndpointSlice":
                owners = self._slices.put(namespace, name, store.get(kind, namespace, name))
                targets.update(dict.fromkeys((namespace, "", "Service", owner) for owner in owners))
            else:
                targets[namespace, BACKEND_GROUP if kind == "Backend" else "", kind, name] = None
        for target in targets:
            for reference in self._by_target.pop(target, ()):
                found = self._resolved.pop(reference)
                for cluster in (found.cluster, found.opaque):
                    self._clusters.pop(cluster or "", None)
        return targets

    def clusters_of(self, targets: Iterable[Target]) -> set[str]:
        """Return the clusters that resolved references to these targets lead to."""
        found = (self._resolved[reference] for target in targets for reference in self._by_target.get(target, ()))
        return {cluster for each in found for cluster in (each.cluster, each.opaque) if cluster is not None}

    def cluster(self, key: str) -> ResolvedCluster:
        """Return a cluster that `resolve` named, and its endpoints."""
        return self._clusters[key]

    def speaks_tls(self, key: str) -> bool:
        """Say whether TLS is spoken to the endpoints of a cluster that `resolve` named."""
        return self._clusters[key][0].tls is not None

    def _resolve(self, source: tuple[str, str, str], target: tuple[str, str, str, str], port: int | None) -> Resolution:
        group, kind, namespace, name = target
        if (group, kind) not in KINDS:
            return Resolution(
                None, "InvalidKind", f"{group or 'core'}/{kind} is not a kind of backend that is supported"
            )
        if not self._grants.allow(source, target):
            return Resolution(None, "RefNotPermitted", f"no ReferenceGrant in {namespace} permits {kind} {name}")
        backend = self._store.get(kind, namespace, name)
        if backend is None:
            return Resolution(None, "BackendNotFound", f"{kind} {namespace}/{name} does not exist")
        if kind == "Backend" and backend.spec.proxy_protocol and LAYER4.get(source[1]) is not Protocol.TCP:
            message = f"proxyProtocol of Backend {namespace}/{name} is for TCPRoutes and TLSRoutes"
            return Resolution(None, "UnsupportedProtocol", message, unserved=True)
        if kind == "Backend":
            return self._layer4_backend(backend, source[1]) if source[1] in LAYER4 else self._backend(backend)
        return self._service(backend, port, source[1])

    def _service(self, service: Any, number: int | None, route_kind: str) -> Resolution:
        name = f"{service.metadata.namespace}/{service.metadata.name}"
        if service.spec.type == "ExternalName":
            return Resolution(None, "InvalidKind", f"Service {name} is of type ExternalName, which can reach anything")
        transport = LAYER4.get(route_kind, Protocol.TCP).value.upper()
        wanted = (number, transport)
        ports = service.spec.ports or ()
        port = next((entry for entry in ports if (entry.port, entry.protocol or "TCP") == wanted), None)
        if port is None:
            return Resolution(None, "BackendNotFound", f"Service {name} has no {transport} port {number}")
        terms = self._terms_of((service.metadata.namespace, "", "Service", service.metadata.name), port.name or "")
        if route_kind in LAYER4:
            key = f"Service/{name}/{number}"
            return self._layer4_cluster(key, route_kind, terms, lambda: self._endpoints(service, port))
        app_protocol = (port.app_protocol or "").lower()
        protocol = _PROTOCOLS.get(app_protocol)
        if isinstance(terms, Barred):
            return Resolution(None, terms.reason, terms.message)
        if protocol not in _SERVED or (app_protocol in _SECURE and terms is None):
            without = " without a BackendTLSPolicy" if app_protocol in _SECURE else ""
            message = f"appProtocol {port.app_protocol} of Service {name} is not supported{without}"
            return Resolution(None, "UnsupportedProtocol", message, unserved=True)
        key = f"Service/{name}/{number}"
        if key not in self._clusters:
            self._clusters[key] = (Cluster(key, protocol, tls=_for_http(terms)), *self._endpoints(service, port))
        return Resolution(key, tls=terms is not None)

    def _endpoints(self, service: Any, port: Any) -> _Addresses:
        """Return the ready endpoints of a Service's port by address and by name: one for every endpoint of its slices.

        The addresses of one endpoint are interchangeable (discovery/v1), so the first stands for it. When none is
        ready, those that end and still serve are better than none (KEP-1669). When all that are ready have hints, and
        some are meant for our zone, it is those (KEP-2433).
        """
        ready, near, ending = _Found(set(), set()), _Found(set(), set()), _Found(set(), set())
        is_hinted = bool(self._zone)
        for piece in self._slices.of(service.metadata.namespace, service.metadata.name):
            number = next((entry.port for entry in piece.ports or () if (entry.name or "") == (port.name or "")), None)
            if number is None:
                continue
            for endpoint in piece.endpoints or ():
                conditions = endpoint.conditions
                if conditions is None or conditions.ready is not False:
                    zones = {zone.name for zone in (endpoint.hints and endpoint.hints.for_zones) or ()}
                    is_hinted = is_hinted and bool(zones)
                    into = (ready, near) if self._zone in zones else (ready,)
                elif conditions.serving and conditions.terminating:
                    into = (ending,)
                else:
                    continue
                for each in into:
                    if piece.address_type == "FQDN":
                        each.names.add(Endpoint(endpoint.addresses[0], number))
                    elif is_ip(endpoint.addresses[0]) and (not self._guarded or is_elsewhere(endpoint.addresses[0])):
                        each.addresses.add(Endpoint(endpoint.addresses[0], number))
        candidates = (near, ready) if is_hinted else (ready,)
        found = next((each for each in candidates if each.addresses or each.names), ending)
        return tuple(sorted(found.addresses)), tuple(sorted(found.names))

    def _backend(self, backend: Any) -> Resolution:
        name = f"{backend.metadata.namespace}/{backend.metadata.name}"
        spec = backend.spec
        protocol = _PROTOCOLS.get((spec.protocol or "").lower())
        if protocol not in _SERVED:
            message = f"protocol {spec.protocol} of Backend {name} is not supported"
            return Resolution(None, "UnsupportedProtocol", message, unserved=True)
        terms = self._terms_of((backend.metadata.namespace, BACKEND_GROUP, "Backend", backend.metadata.name), "")
        if isinstance(terms, Barred):
            return Resolution(None, terms.reason, terms.message)
        key = f"Backend/{name}"
        if key not in self._clusters:
            cluster = Cluster(key, protocol, _health_check(spec.health_check), _for_http(terms))
            self._clusters[key] = (cluster, *_endpoints_of(backend))
        return Resolution(key, tls=terms is not None)

    def _layer4_backend(self, backend: Any, route_kind: str) -> Resolution:
        """Its protocol and its health check are those of HTTP, and no matter here."""
        namespace, name = backend.metadata.namespace, backend.metadata.name
        terms = self._terms_of((namespace, BACKEND_GROUP, "Backend", name), "")
        key = f"Backend/{namespace}/{name}"
        send_proxy = _PROXY_VERSIONS[backend.spec.proxy_protocol]
        return self._layer4_cluster(key, route_kind, terms, lambda: _endpoints_of(backend), send_proxy)

    def _layer4_cluster(
        self,
        name: str,
        route_kind: str,
        terms: Terms | None,
        endpoints: Callable[[], _Addresses],
        send_proxy: int = 0,
    ) -> Resolution:
        protocol = LAYER4[route_kind]
        opaque = f"{name}/{protocol.value}"
        if opaque not in self._clusters:
            self._clusters[opaque] = (Cluster(opaque, protocol, send_proxy=send_proxy), *endpoints())
        if terms is None or protocol is Protocol.UDP:
            return Resolution(opaque, opaque=opaque)
        if isinstance(terms, Barred):
            return Resolution(None, terms.reason, terms.message, opaque=opaque)
        key = f"{name}/tls"
        if key not in self._clusters:
            cluster = Cluster(key, protocol, tls=terms, send_proxy=send_proxy)
            self._clusters[key] = (cluster, *self._clusters[opaque][1:])
        return Resolution(key, tls=True, opaque=opaque)

    def _terms_of(self, target: Target, port_name: str) -> Terms | None:
        """Return how TLS is spoken to a port of a target; None: it is not."""
        terms = self._terms.get((target, port_name)) if port_name else None
        return self._terms.get((target, "")) if terms is None else terms


class Slices:
    """EndpointSlices by the Service that they belong to."""

    def __init__(self, store: Store) -> None:
        """Index those of a store."""
        self._owners: dict[Name, str] = {}  # of each slice
        self._of: dict[Name, dict[str, Any]] = defaultdict(dict)  # by Service
        for piece in store.list("EndpointSlice"):
            self.put(piece.metadata.namespace, piece.metadata.name, piece)

    def put(self, namespace: str, name: str, piece: Any) -> set[str]:
        """Have another slice in a place; None: none. Returns the names of the Services concerned."""
        before = self._owners.pop((namespace, name), "")
        if before:
            del self._of[namespace, before][name]
        owner = (piece.metadata.labels or {}).get(_SERVICE_NAME) if piece is not None else None
        if owner:
            self._owners[namespace, name] = owner
            self._of[namespace, owner][name] = piece
        return {each for each in (before, owner) if each}

    def of(self, namespace: str, service: str) -> Iterable[Any]:
        """Return the slices of a Service."""
        return self._of.get((namespace, service), {}).values()


class _Found(NamedTuple):
    """Endpoints by address and by name."""

    addresses: set[Endpoint]
    names: set[Endpoint]


def _for_http(terms: UpstreamTls | None) -> UpstreamTls | None:
    return replace(terms, alpn=_ALPN) if terms is not None else None


def _endpoints_of(backend: Any) -> _Addresses:
    """Return the endpoints of a Backend by address and by name."""
    endpoints = [
        Endpoint(entry.address, entry.port, entry.weight if entry.weight is not None else 1)
        for entry in backend.spec.endpoints
        if entry.weight != 0
    ]
    return (
        tuple(sorted({endpoint for endpoint in endpoints if is_ip(endpoint.address)})),
        tuple(sorted({endpoint for endpoint in endpoints if not is_ip(endpoint.address)})),
    )


def _health_check(check: Any) -> HealthCheck | None:
    if check is None:
        return None
    default = HealthCheck(check.path)
    return HealthCheck(
        check.path,
        check.host or default.host,
        tuple(sorted(_statuses(each) for each in check.expected_statuses or ())) or default.statuses,
        milliseconds(check.interval) or default.interval,
        milliseconds(check.timeout) or default.timeout,
        check.healthy_threshold or default.healthy,
        check.unhealthy_threshold or default.unhealthy,
    )


def _statuses(expected: int | str) -> tuple[int, int]:
    """Read `200` or `"200-399"`."""
    first, _, last = str(expected).partition("-")
    return int(first), int(last or first)
