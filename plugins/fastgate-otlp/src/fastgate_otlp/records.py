"""Log records of requests, by OpenTelemetry's semantic conventions for HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_ERROR, SEVERITY_NUMBER_INFO, LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    import fastgate
    from fastgate_otlp.config import OTLPLogsConfig

    Attribute = str | bool | int | float | list[str]

EVENT = "fastgate.access"
LONGEST_VALUE = 4096  # characters of an attribute; longer ones are cut

_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
_PORTS = {"http": 80, "https": 443}
_SERVER_ERROR = 500


def record(
    config: OTLPLogsConfig, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
) -> LogRecord:
    """Return the record of a request that has ended."""
    failed = response.status >= _SERVER_ERROR
    now = time.time_ns()
    made = LogRecord(
        time_unix_nano=now,
        observed_time_unix_nano=now,
        severity_number=SEVERITY_NUMBER_ERROR if failed else SEVERITY_NUMBER_INFO,
        severity_text="ERROR" if failed else "INFO",
        event_name=EVENT,
        body=AnyValue(string_value=f"{request.method} {request.raw_path} {response.status}"[:LONGEST_VALUE]),
        attributes=key_values(_attributes(config, request, context, response)),
    )
    if trace := context.traceparent:
        made.trace_id, made.span_id, made.flags = (*map(bytes.fromhex, trace[:2]), trace.flags)
    return made


def key_values(attributes: Iterable[tuple[str, Attribute]]) -> list[KeyValue]:
    """Return attributes as OTLP has them."""
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes]


def _attributes(
    config: OTLPLogsConfig, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
) -> list[tuple[str, Attribute]]:
    found: list[tuple[str, Attribute]] = []
    known = request.method in _METHODS
    found.append(("http.request.method", request.method if known else "_OTHER"))
    if not known:
        found.append(("http.request.method_original", request.method))
    found += (
        ("url.scheme", request.scheme),
        ("url.path", request.raw_path),
        ("http.response.status_code", response.status),
        ("client.address", request.client.address),
        ("client.port", request.client.port),
        ("server.address", request.host.removeprefix("[").removesuffix("]")),
        ("server.port", _port(request)),
    )
    if request.query and config.query == "Record":
        found.append(("url.query", _redacted(request.query, config.redacted_parameters)))
    if (agent := request.headers.get("user-agent")) is not None:
        found.append(("user_agent.original", agent))
    if response.status >= _SERVER_ERROR:
        found.append(("error.type", response.reason or str(response.status)))
    if (outcome := context.outcome) is not None:
        found += (
            ("http.server.request.duration", outcome.duration),
            ("http.request.body.size", outcome.bytes_received),
            ("http.response.size", outcome.bytes_sent),
        )
    for side, headers, names in (
        ("request", request.headers, config.request_headers),
        ("response", response.headers, config.response_headers),
    ):
        found += ((f"http.{side}.header.{name}", values) for name in names if (values := headers.getall(name)))
    for name, value in (
        ("id", request.id),
        ("route", request.route),
        ("rule", request.rule),
        ("reason", response.reason),
    ):
        if value:
            found.append((f"fastgate.{name}", value))
    found += ((f"fastgate.log.{name}", value) for name, value in context.log.items())
    return found


def _port(request: fastgate.Request) -> int:
    port = request.authority.rpartition(":")[2]
    return int(port) if port.isdecimal() and request.host != request.authority else _PORTS[request.scheme]


def _redacted(query: str, names: Iterable[str]) -> str:
    parts = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        parts.append(f"{name}=REDACTED" if equals and unquote_plus(name) in names else part)
    return "&".join(parts)


def _any_value(value: Attribute) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int() if -(2**63) <= value < 2**63:
            return AnyValue(int_value=value)
        case int() | float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value[:LONGEST_VALUE])
    return AnyValue(array_value=ArrayValue(values=[_any_value(one) for one in value]))
