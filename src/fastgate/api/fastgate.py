"""Kinds of fastgate.dev/v1alpha1: Backend for addresses outside of a cluster, GatewayParameters for limits and logs."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from fastgate.api.base import Duration, HeaderValue, Hostname, Model, PortNumber, fault
from fastgate.api.metadata import Metadata

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*\.?")


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if _NAME.fullmatch(value) and not value.rstrip(".").rpartition(".")[2].isdecimal():
            return value
    raise fault("must be an IPv4 address, an IPv6 address or a DNS name")


class BackendEndpoint(Model):
    """Where a backend is reached. A DNS name stands for all of its addresses."""

    address: Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_address)]
    port: PortNumber
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1


class BackendHealthCheck(Model):
    """Active health check by `GET path`: 2xx and 3xx are healthy."""

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[!-~]*$")]
    interval: Duration | None = None
    timeout: Duration | None = None
    healthy_threshold: Annotated[int, Field(ge=1, le=100)] | None = None
    unhealthy_threshold: Annotated[int, Field(ge=1, le=100)] | None = None


class BackendTLS(Model):
    """TLS to the endpoints, spelt as in XBackend."""

    hostname: Hostname
    ca_certificate_refs: list[dict[str, Any]] | None = None
    well_known_ca_certificates: Literal["System"] | None = Field(default=None, alias="wellKnownCACertificates")


class BackendSpec(Model):
    """Spec of a Backend."""

    protocol: Literal["http", "kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss", "https"] = "http"
    endpoints: Annotated[list[BackendEndpoint], Field(min_length=1, max_length=1000)]
    health_check: BackendHealthCheck | None = None
    tls: BackendTLS | None = None


class Backend(Model):
    """A set of endpoints that is not a Service."""

    api_version: Literal["fastgate.dev/v1alpha1"]
    kind: Literal["Backend"]
    metadata: Metadata
    spec: BackendSpec


Bytes = Annotated[int, Field(ge=256, le=16 * 1024 * 1024)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Limits(Model):
    """Limits of a Gateway's connections; see `fastgate.ir.Limits` for what each one is and its default."""

    request_line: Annotated[int, Field(ge=256, le=65536)] | None = None
    head_bytes: Annotated[int, Field(ge=1024, le=65536)] | None = None
    head_fields: Annotated[int, Field(ge=1, le=256)] | None = None
    response_head_bytes: Annotated[int, Field(ge=1024, le=65536)] | None = None
    body_bytes: Annotated[int, Field(ge=0)] | None = None
    first_byte_timeout: Duration | None = None
    head_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    body_min_rate: Count | None = None
    body_rate_window: Duration | None = None
    connect_timeout: Duration | None = None
    response_timeout: Duration | None = None
    stream_idle_timeout: Duration | None = None
    upstream_idle_timeout: Duration | None = None
    tunnel_idle_timeout: Duration | None = None
    keepalive_requests: Count | None = None
    connections: Count | None = None
    upstream_connections: Count | None = None
    interim_responses: Annotated[int, Field(ge=0, le=1000)] | None = None


# The columns of csrc/fg_log_columns.h; a test holds them together.
LOG_COLUMNS = frozenset(
    (
        "time",
        "client",
        "client_address",
        "method",
        "target",
        "host",
        "path",
        "query",
        "protocol",
        "status",
        "reason",
        "parse_error",
        "bytes_received",
        "bytes_sent",
        "duration_us",
        "listener",
        "route",
        "upstream",
        "tries",
        "request_id",
        "user_agent",
        "referer",
    )
)


def _template(value: str) -> str:
    for name in re.findall(r"\{([^}]*)\}", value):
        if name not in LOG_COLUMNS:
            raise fault(f"{{{name}}} is no column of the access log; there are {', '.join(sorted(LOG_COLUMNS))}")
    return value


class AccessLogParameters(Model):
    """Form of the access log. In a template `{status}` stands for that column, `-` for one without value."""

    format: Literal["off", "json", "text"] | None = None
    template: (
        Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[ -~]*$"), AfterValidator(_template)] | None
    ) = None


class GatewayParametersSpec(Model):
    """Spec of GatewayParameters; what is left out keeps its default."""

    trusted_hops: Annotated[int, Field(ge=0, le=32)] | None = None
    underscores: bool | None = None
    request_id: bool | None = None
    via: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")] | None = None
    server: HeaderValue | None = None
    limits: Limits | None = None
    access_log: AccessLogParameters | None = None


class GatewayParameters(Model):
    """Settings of a Gateway or of all Gateways of a class, by parametersRef."""

    api_version: Literal["fastgate.dev/v1alpha1"]
    kind: Literal["GatewayParameters"]
    metadata: Metadata
    spec: GatewayParametersSpec
