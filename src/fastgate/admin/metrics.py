"""Prometheus text exposition (format 0.0.4) of what the workers count."""

from __future__ import annotations

import functools
import math
import os
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fastgate.admin.views import authority
from fastgate.core import engine
from fastgate.statistics import FILTER_ERRORS, HANDSHAKES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastgate.health import Checked
    from fastgate.runtime import LastReload
    from fastgate.statistics import Totals
    from fastgate.translate.expiry import Shown

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
MAX_ENDPOINTS = 1000
_BY_FILTER = ("filter_calls", "filter_failures", "filter_timeouts", "filter_overloads", "filter_waiting")
_INTERNAL = frozenset(("heartbeat_ms", "longest_turn_ns", "py_inside", *_BY_FILTER))  # the last are shown by Filter


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def family(name: str, kind: str, text: str, samples: Iterable[tuple[str, Mapping[str, str], float]]) -> Iterable[str]:
    """Return the lines of a family; a sample is a suffix of the name, labels and a value."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for suffix, labels, value in samples:
        yield f"{name}{suffix}{_labels(labels)} {value}"


@functools.cache
def _started() -> float:
    """When this process started, in seconds since the epoch: proc(5) counts it in ticks since the system did."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def exposition(
    totals: Totals,
    own: Mapping[str, int],
    checked: Sequence[Checked],
    last: LastReload,
    certificates: Iterable[Shown] = (),
    *,
    ready: bool,
) -> str:
    """Return all metrics as text. Cardinality is bounded by the engine's table of series, and by MAX_ENDPOINTS."""
    endpoints = {(one.cluster, authority(one.endpoint)): int(one.healthy) for one in checked}  # each once
    lines: list[str] = []
    lines += family("fastgate_ready", "gauge", "Whether the configuration is served.", [("", {}, int(ready))])
    lines += family(
        "fastgate_reloads_total", "counter", "Configurations that were applied or refused.",
        [("", {"result": "success"}, own["reloads"]), ("", {"result": "failure"}, own["reloads_refused"])],
    )  # fmt: skip
    for name, text, value in (
        (
            "fastgate_config_last_reload_successful",
            "Whether all that was read last is served: 0 as well when one object was refused.",
            int(last.successful),
        ),
        (
            "fastgate_config_last_reload_success_timestamp_seconds",
            "When everything that was read last came to be served, 0 if never.",
            last.succeeded_at,
        ),
        ("process_start_time_seconds", "When the process that answers this started.", _started()),
    ):
        lines += family(name, "gauge", text, [("", {}, value)])
    for name, text in (
        ("workers_replaced", "Workers that died and were replaced."),
        ("roll_backs", "Configurations given up after they were applied, because workers died over them."),
        ("plugin_processes_replaced", "Plugin processes that died or hung and were replaced."),
    ):
        lines += family(f"fastgate_{name}_total", "counter", text, [("", {}, own[name])])
    for name, kind, text in engine.counters():
        if name in _INTERNAL or name not in totals.counters:
            continue
        full = f"fastgate_{name}" + ("_total" if kind == "counter" else "")
        lines += family(full, kind, text[0].upper() + text[1:] + ".", [("", {}, totals.counters[name])])
    lines += family(
        "fastgate_ended_total", "counter", "Exchanges and connections that ended for a reason.",
        [("", {"reason": reason}, count) for reason, count in sorted(totals.reasons.items())],
    )  # fmt: skip
    lines += family(
        "fastgate_upstream_errors_total", "counter",
        "Tries at an endpoint that failed for a reason, also those that another try made good.",
        [("", {"reason": reason}, count) for reason, count in sorted(totals.upstream_errors.items())],
    )  # fmt: skip
    lines += family(
        "fastgate_endpoint_healthy", "gauge", "What the active check of an endpoint says; of the first 1,000.",
        [
            ("", {"backend": backend, "endpoint": endpoint}, healthy)
            for (backend, endpoint), healthy in islice(endpoints.items(), MAX_ENDPOINTS)
        ],
    )  # fmt: skip
    lines += family(
        "fastgate_endpoints_unhealthy", "gauge", "Endpoints whose active check fails.",
        [("", {}, sum(not healthy for healthy in endpoints.values()))],
    )  # fmt: skip
    lines += _certificates(certificates)
    lines += _series(totals)
    lines += _filters(totals)
    lines += _listeners(totals)
    return "\n".join(lines) + "\n"


def _certificates(certificates: Iterable[Shown]) -> Iterable[str]:
    """Return when certificates are over: of those of one listener, name and kind of key the one that is over first."""
    ends: dict[tuple[str, str, str], float] = {}
    for one in islice(certificates, MAX_ENDPOINTS):
        key = (one.listener, next(iter(one.pair.names), ""), one.pair.key_type)
        ends[key] = min(one.pair.not_after.timestamp(), ends.get(key, math.inf))
    yield from family(
        "fastgate_certificate_not_after_timestamp_seconds", "gauge",
        "When a listener's certificate is over, by its first name; of the first 1,000.",
        [("", {"listener": at, "name": name, "key": kind}, end) for (at, name, kind), end in ends.items()],
    )  # fmt: skip


def _histogram(
    labels: Mapping[str, str], buckets: Sequence[int], seconds: float
) -> Iterable[tuple[str, Mapping[str, str], float]]:
    """Return the samples of one set of labels, from the engine's buckets."""
    total = 0
    for bound, count in zip([f"{bound / 1e6:g}" for bound in engine.latency_bounds()] + ["+Inf"], buckets, strict=True):
        total += count
        yield "_bucket", {**labels, "le": bound}, total
    yield "_sum", labels, seconds
    yield "_count", labels, total


def _series(totals: Totals) -> Iterable[str]:
    named = [
        ({"listener": at or "none", "route": route or "none"}, s) for (at, route), s in sorted(totals.series.items())
    ]
    yield from family(
        "fastgate_requests_by_route_total", "counter", "Requests by listener, route and class of the status.",
        [
            ("", {**labels, "code": _CLASSES[n]}, count)
            for labels, series in named
            for n, count in enumerate(series.status_class)
            if count
        ],
    )  # fmt: skip
    yield from family(
        "fastgate_request_duration_seconds",
        "histogram",
        "From the request's head to the response's last byte.",
        [sample for labels, s in named for sample in _histogram(labels, s.latency, s.latency_sum / 1e6)],
    )
    for name, attribute, text in (
        ("fastgate_request_body_bytes_total", "received", "Bytes of request bodies, by listener and route."),
        ("fastgate_response_bytes_total", "sent", "Bytes of responses with their heads, by listener and route."),
    ):
        yield from family(name, "counter", text, [("", labels, getattr(series, attribute)) for labels, series in named])


def _filters(totals: Totals) -> Iterable[str]:
    named = [({"filter": name}, s) for name, s in sorted(totals.filters.items())]
    yield from family(
        "fastgate_filter_calls_total", "counter", "Calls of a Filter, one for each phase and piece of a body.",
        [("", labels, s.calls) for labels, s in named],
    )  # fmt: skip
    yield from family(
        "fastgate_filter_errors_total", "counter", "Calls of a Filter that came to nothing.",
        [
            ("", {**labels, "kind": kind}, count)
            for labels, s in named
            for kind, count in zip(FILTER_ERRORS, s.errors, strict=True)
        ],
    )  # fmt: skip
    yield from family(
        "fastgate_filter_waiting", "gauge", "Calls of a Filter that wait for their turn or for its answer.",
        [("", labels, s.waiting) for labels, s in named],
    )  # fmt: skip
    yield from family(
        "fastgate_filter_duration_seconds", "histogram", "From the start to the end of a Filter's method.",
        [sample for labels, s in named for sample in _histogram(labels, s.latency, s.latency_sum / 1e9)],
    )  # fmt: skip
    yield from family(
        "fastgate_filter_counts_total", "counter", "What a Filter counts itself.",
        [("", {**labels, "name": name}, n) for labels, s in named for name, n in sorted(s.counts.items())],
    )  # fmt: skip


def _listeners(totals: Totals) -> Iterable[str]:
    named = [({"listener": name}, s) for name, s in sorted(totals.listeners.items())]
    yield from family(
        "fastgate_listener_connections_total", "counter",
        "Connections that came to a listener of TLS, HTTPS or TCP, and sessions of one of UDP.",
        [("", labels, s.connections) for labels, s in named],
    )  # fmt: skip
    yield from family(
        "fastgate_listener_relays_open", "gauge", "Connections and UDP sessions that a listener relays.",
        [("", labels, s.active) for labels, s in named],
    )  # fmt: skip
    yield from family(
        "fastgate_tls_handshakes_total", "counter", "TLS handshakes with clients; 1.2 is older versions, too.",
        [
            ("", {**labels, "version": version, "result": result}, count)
            for labels, s in named
            for (version, result), count in zip(HANDSHAKES, s.handshakes, strict=True)
            if count
        ],
    )  # fmt: skip
    yield from family(
        "fastgate_tls_unknown_names_total", "counter", "Server names that a listener has no route for.",
        [("", labels, s.unknown_names) for labels, s in named],
    )  # fmt: skip
    for name, attribute, text in (
        ("fastgate_relay_received_bytes_total", "received", "Bytes that a listener's relays took from clients."),
        ("fastgate_relay_sent_bytes_total", "sent", "Bytes that a listener's relays gave to clients."),
    ):
        yield from family(name, "counter", text, [("", labels, getattr(s, attribute)) for labels, s in named])
    yield from family(
        "fastgate_datagrams_total", "counter", "Datagrams from clients, to clients, and dropped ones of both.",
        [
            ("", {**labels, "what": what}, getattr(s, f"datagrams_{what}"))
            for labels, s in named
            for what in ("received", "sent", "dropped")
        ],
    )  # fmt: skip
