"""Kinds of fastgate.dev/v1alpha1: Backend for addresses outside of a cluster, GatewayParameters for limits and logs."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fastgate.api.base import (
    SET,
    Duration,
    Group,
    HeaderName,
    Kind,
    Model,
    ObjectName,
    PortNumber,
    PreciseHostname,
    fault,
)
from fastgate.api.infrastructure import Infrastructure
from fastgate.api.metadata import Metadata
from fastgate.durations import milliseconds

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*\.?")
_STATUSES = re.compile(r"([2-5][0-9]{2})(?:-([2-5][0-9]{2}))?")
_MIN_INTERVAL = 100  # ms


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if _NAME.fullmatch(value) and not value.rstrip(".").rpartition(".")[2].isdecimal():
            return value
    raise fault("must be an IPv4 address, an IPv6 address or a DNS name")


def _long_enough(value: str) -> str:
    if milliseconds(value) < _MIN_INTERVAL:
        raise fault(f"must be at least {_MIN_INTERVAL}ms")
    return value


def _statuses(value: int | str) -> int | str:
    found = _STATUSES.fullmatch(str(value))
    if found is None or int(found[1]) > int(found[2] or found[1]):
        raise fault("must be a final status, or a range such as 200-299")
    return value


class BackendEndpoint(Model):
    """Where a backend is reached. A DNS name stands for all of its addresses."""

    address: Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_address)]
    port: PortNumber
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1


MAX_TIME = 1000 * 3_600_000  # ms; the engine counts in 32 bits


def _bounded(value: str) -> str:
    if milliseconds(value) > MAX_TIME:
        raise fault(f"must be at most 1000h, not {value}")
    return value


Time = Annotated[Duration, AfterValidator(_bounded)]


class BackendHealthCheck(Model):
    """Active health check by `GET path`, one probe an interval and endpoint however many workers there are.

    An endpoint is used until `unhealthyThreshold` probes in a row failed, and again after `healthyThreshold` succeeded.
    When less than half of a Backend's endpoints are healthy, all are used.

    Attributes:
        host: of the request; the endpoint's address and port unless given.
        interval: between two probes of an endpoint, give or take a tenth.
        timeout: from the connect to the response head.
        expected_statuses: healthy ones, as numbers and ranges such as "200-299".
    """

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[!-~]*$")]
    host: PreciseHostname | None = None
    interval: Annotated[Time, AfterValidator(_long_enough)] = "10s"
    timeout: Time = "1s"
    healthy_threshold: Annotated[int, Field(ge=1, le=100)] = 1
    unhealthy_threshold: Annotated[int, Field(ge=1, le=100)] = 3
    expected_statuses: Annotated[
        list[Annotated[int | str, AfterValidator(_statuses)]], Field(min_length=1, max_length=16)
    ] = Field(default=["200-399"])

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if milliseconds(self.timeout) == 0:
            raise fault("timeout must be longer than 0s")
        if milliseconds(self.interval) < milliseconds(self.timeout):
            raise fault(f"interval ({self.interval}) must not be shorter than timeout ({self.timeout})")
        return self


class CertificateReference(Model):
    """What holds certificates of authorities, in the Backend's namespace."""

    group: Group
    kind: Kind
    name: ObjectName


class BackendTLS(Model):
    """TLS to the endpoints, spelt as in XBackend."""

    hostname: PreciseHostname
    ca_certificate_refs: Annotated[list[CertificateReference], Field(max_length=8)] | None = None
    well_known_ca_certificates: Literal["System"] | None = Field(default=None, alias="wellKnownCACertificates")

    @model_validator(mode="after")
    def _one_source_of_trust(self) -> Self:
        if bool(self.ca_certificate_refs) == (self.well_known_ca_certificates is not None):
            raise fault("exactly one of caCertificateRefs and wellKnownCACertificates must be specified")
        return self


class BackendSpec(Model):
    """Spec of a Backend."""

    protocol: Literal["http", "kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss", "https"] = "http"
    endpoints: Annotated[list[BackendEndpoint], Field(min_length=1, max_length=1000)]
    health_check: BackendHealthCheck | None = None
    tls: BackendTLS | None = None
    proxy_protocol: Literal["V1", "V2"] | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        seen = set()
        for endpoint in self.endpoints:
            key = (endpoint.address, endpoint.port)
            if key in seen:
                raise fault(f"duplicate endpoint {endpoint.address} port {endpoint.port}: give it a weight instead")
            seen.add(key)
        if self.protocol in ("https", "kubernetes.io/wss") and self.tls is None:
            raise fault(f"tls must be specified for protocol {self.protocol}")
        return self


class Backend(Model):
    """A set of endpoints that is not a Service."""

    api_version: Literal["fastgate.dev/v1alpha1"]
    kind: Literal["Backend"]
    metadata: Metadata
    spec: BackendSpec


Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Limits(Model):
    """Limits of a Gateway's connections; see `fastgate.ir.Limits` for what each one is and its default."""

    request_line: Annotated[int, Field(ge=256, le=65536)] | None = None
    head_bytes: Annotated[int, Field(ge=1024, le=65536)] | None = None
    head_fields: Annotated[int, Field(ge=1, le=256)] | None = None
    response_head_bytes: Annotated[int, Field(ge=1024, le=65536)] | None = None
    body_bytes: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    first_byte_timeout: Time | None = None
    head_timeout: Time | None = None
    idle_timeout: Time | None = None
    body_min_rate: Count | None = None
    body_rate_window: Time | None = None
    connect_timeout: Time | None = None
    response_timeout: Time | None = None
    stream_idle_timeout: Time | None = None
    upstream_idle_timeout: Time | None = None
    tunnel_idle_timeout: Time | None = None
    keepalive_requests: Count | None = None
    connections: Count | None = None
    upstream_connections: Count | None = None
    interim_responses: Annotated[int, Field(ge=0, le=1000)] | None = None

    @model_validator(mode="after")
    def _a_line_is_part_of_a_head(self) -> Self:
        if self.request_line is not None and self.head_bytes is not None and self.request_line > self.head_bytes:
            raise fault(f"requestLine ({self.request_line}) must not be larger than headBytes ({self.head_bytes})")
        return self


# The columns of csrc/fg_log_columns.h; a test holds them together.
LOG_COLUMNS = frozenset(
    (
        "time",
        "client",
        "client_address",
        "local",
        "scheme",
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
        "response_us",
        "listener",
        "route",
        "rule",
        "upstream",
        "upstream_error",
        "tries",
        "request_id",
        "user_agent",
        "referer",
        "x_forwarded_for",
        "tls_version",
        "tls_cipher",
        "server_name",
        "alpn",
        "client_subject",
        "client_names",
        "client_fingerprint",
        "log",
    )
)


_LOG_FIELD = re.compile(r"log\.[a-zA-Z_][a-zA-Z0-9_]{0,63}")  # what filters say there


def _template(value: str) -> str:
    for name in re.findall(r"\{([^}]*)\}", value):
        if name not in LOG_COLUMNS and not _LOG_FIELD.fullmatch(name):
            raise fault(
                f"{{{name}}} is no column of the access log; there are {', '.join(sorted(LOG_COLUMNS))} and log.NAME"
            )
    return value


class AccessLogParameters(Model):
    """Form of the access log. In a template `{status}` stands for that column, `-` for one without value."""

    format: Literal["off", "json", "text"] | None = None
    template: (
        Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[ -~]*$"), AfterValidator(_template)] | None
    ) = None

    @model_validator(mode="after")
    def _templates_are_for_text(self) -> Self:
        if self.template is not None and self.format in ("off", "json"):
            raise fault(f"template needs format text, not {self.format}")
        return self


# Fields that route, frame, authenticate, or change how a message is handled: they count in the head or not at all
# (RFC 9110 section 6.5.1). Those that csrc/fg_headers.h marks are among them; a test holds them together.
NO_TRAILERS = frozenset(
    (
        *("age", "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range"),
        *("content-type", "cookie", "date", "expect", "expires", "forwarded", "host", "http2-settings", "if-match"),
        *("if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "location"),
        *("max-forwards", "origin", "pragma", "range", "retry-after", "set-cookie", "te", "traceparent", "trailer"),
        *("tracestate", "transfer-encoding", "upgrade", "vary", "via", "www-authenticate", "x-real-ip", "x-request-id"),
    )
)
_NO_TRAILER_FAMILIES = ("accept", "access-control-", "client-cert", "proxy-", "sec-", "x-forwarded-")


def _trailer(name: str) -> str:
    if name.lower() in NO_TRAILERS or name.lower().startswith(_NO_TRAILER_FAMILIES):
        raise fault(
            f"{name} counts in the head of a message only and cannot be a trailer field (RFC 9110 section 6.5.1)"
        )
    return name


class GatewayParametersSpec(Model):
    """Spec of GatewayParameters; what is left out keeps its default."""

    trusted_hops: Annotated[int, Field(ge=0, le=32)] | None = None
    underscores: bool | None = None
    request_id: bool | None = None
    via: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")] | None = None
    server: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]([ -~]*[!-~])?$")] | None = None
    proxy_protocol: bool | None = None
    client_certificate_header: bool | None = None
    trailers: Annotated[list[Annotated[HeaderName, AfterValidator(_trailer)]], Field(max_length=64), SET] | None = None
    limits: Limits | None = None
    access_log: AccessLogParameters | None = None
    infrastructure: Infrastructure | None = None


class GatewayParameters(Model):
    """Settings of a Gateway or of all Gateways of a class, by parametersRef."""

    api_version: Literal["fastgate.dev/v1alpha1"]
    kind: Literal["GatewayParameters"]
    metadata: Metadata
    spec: GatewayParametersSpec
