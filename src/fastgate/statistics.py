"""Statistics of all workers: the slabs of the living, and what the dead have counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fastgate.core import engine, snapshot

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable

OWN = ("reloads", "reloads_refused", "roll_backs", "workers_replaced", "plugin_processes_replaced")
_BUCKETS = len(engine.latency_bounds()) + 1
FILTER_ERRORS = tuple(engine.filter_errors())


@dataclass(slots=True)
class Series:
    """Counters of one listener and route."""

    status_class: list[int] = field(default_factory=lambda: [0] * 6)  # 0: no response; 1xx .. 5xx
    latency: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    latency_sum: int = 0  # µs
    received: int = 0  # bytes of request bodies
    sent: int = 0  # bytes of responses, heads included

    def add(self, other: tuple[str, str, list[int], list[int], int, int, int]) -> None:
        """Add a series of a slab."""
        _, _, status_class, latency, latency_sum, received, sent = other
        self.status_class = [a + b for a, b in zip(self.status_class, status_class, strict=True)]
        self.latency = [a + b for a, b in zip(self.latency, latency, strict=True)]
        self.latency_sum += latency_sum
        self.received += received
        self.sent += sent


@dataclass(slots=True)
class FilterSeries:
    """Counters of one Filter."""

    calls: int = 0
    errors: list[int] = field(default_factory=lambda: [0] * len(FILTER_ERRORS))  # in the order of FILTER_ERRORS
    waiting: int = 0  # calls without answer
    latency: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    latency_sum: int = 0  # ns
    counts: dict[str, int] = field(default_factory=dict)  # what it counts itself

    def add(self, other: FilterSeries) -> None:
        """Add one of another worker."""
        self.calls += other.calls
        self.errors = [a + b for a, b in zip(self.errors, other.errors, strict=True)]
        self.waiting += other.waiting
        self.latency = [a + b for a, b in zip(self.latency, other.latency, strict=True)]
        self.latency_sum += other.latency_sum
        for name, n in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + n


HANDSHAKES = tuple((version, how) for version in ("1.2", "1.3") for how in ("full", "resumed", "failed"))


@dataclass(slots=True)
class ListenerSeries:
    """What a listener counts below HTTP; bytes and datagrams are of TLSRoutes, TCPRoutes and UDPRoutes."""

    connections: int = 0  # or sessions of UDP
    active: int = 0
    handshakes: list[int] = field(default_factory=lambda: [0] * len(HANDSHAKES))  # in the order of HANDSHAKES
    unknown_names: int = 0
    received: int = 0
    sent: int = 0
    datagrams_received: int = 0
    datagrams_sent: int = 0
    datagrams_dropped: int = 0

    def add(self, other: ListenerSeries) -> None:
        """Add one of another worker."""
        self.connections += other.connections
        self.active += other.active
        self.handshakes = [a + b for a, b in zip(self.handshakes, other.handshakes, strict=True)]
        self.unknown_names += other.unknown_names
        self.received += other.received
        self.sent += other.sent
        self.datagrams_received += other.datagrams_received
        self.datagrams_sent += other.datagrams_sent
        self.datagrams_dropped += other.datagrams_dropped


@dataclass(slots=True)
class Totals:
    """What all workers count, by the names of `engine.counters` and `snapshot.reasons`."""

    counters: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    upstream_errors: dict[str, int] = field(default_factory=dict)
    series: dict[tuple[str, str], Series] = field(default_factory=dict)  # by (listener, route)
    filters: dict[str, FilterSeries] = field(default_factory=dict)  # by "namespace/name"
    listeners: dict[str, ListenerSeries] = field(default_factory=dict)  # by `Listener.key`

    def add(self, slab: bytes | mmap.mmap, *, gauges: bool = True) -> None:
        """Add what a slab says; without `gauges` only what never decreases."""
        _, counters, reasons, upstream_errors, series, filters, listeners = engine.read_stats(slab)
        for name, value in counters.items():
            if _KINDS[name] == "counter":
                self.counters[name] = self.counters.get(name, 0) + value
            elif gauges:
                combine = _GAUGES.get(name, int.__add__)
                self.counters[name] = combine(self.counters[name], value) if name in self.counters else value
        for sums, values in ((self.reasons, reasons), (self.upstream_errors, upstream_errors)):
            for name, value in zip(_REASONS, values, strict=True):
                if value:
                    sums[name] = sums.get(name, 0) + value
        for one in series:
            self.series.setdefault((one[0], one[1]), Series()).add(one)
        self._add_filters(filters, gauges=gauges)
        for name, words in listeners:
            listener = ListenerSeries(**words)
            listener.active *= gauges
            self.listeners.setdefault(name, ListenerSeries()).add(listener)

    def _add_filters(self, filters: list[Any], *, gauges: bool) -> None:
        for name, calls, errors, waiting, latency, latency_sum, counts in filters:
            known = self.filters.setdefault(name, FilterSeries())
            known.add(FilterSeries(calls, errors, waiting if gauges else 0, latency, latency_sum))
            for counted in counts:  # one at a time: the last name may be there twice
                known.add(FilterSeries(counts=dict([counted])))


_KINDS = {name: kind for name, kind, _ in engine.counters()}
_REASONS = [name for name, _, _ in snapshot.reasons()]
_GAUGES = {
    "heartbeat_ms": min,
    "generation": min,
    "endpoints_version": min,
    "generations_live": max,
    "longest_turn_ns": max,
}


class Statistics:
    """The slabs of the workers. A dead worker's counters stay in the sums, so that none ever decreases.

    What the dead and the manager itself have counted is a document that outlives the manager: its workers keep it.

    Attributes:
        own: what the manager counts.
    """

    def __init__(self) -> None:
        """Start with no slab."""
        self.own = dict.fromkeys(OWN, 0)
        self._slabs: list[mmap.mmap] = []
        self._base = Totals()
        self._serial = 0

    def attach(self, slab: mmap.mmap) -> None:
        """Count a worker's slab in."""
        self._slabs.append(slab)

    def detach(self, slab: mmap.mmap) -> None:
        """Fold a dead worker's counters into the base."""
        if slab in self._slabs:
            self._slabs.remove(slab)
            if engine.is_stats(slab):
                self._base.add(slab, gauges=False)

    def forget_workers(self) -> None:
        """Leave the slabs of workers that live on to another manager."""
        self._slabs.clear()

    def document(self) -> dict[str, Any]:
        """Return what a successor has to know."""
        self._serial += 1
        series = [[*key, asdict(one)] for key, one in self._base.series.items()]
        filters = {name: asdict(one) for name, one in self._base.filters.items()}
        listeners = {name: asdict(one) for name, one in self._base.listeners.items()}
        return {
            "serial": self._serial, "own": dict(self.own), "counters": dict(self._base.counters),
            "reasons": dict(self._base.reasons), "upstream_errors": dict(self._base.upstream_errors), "series": series,
            "filters": filters, "listeners": listeners,
        }  # fmt: skip

    def restore(self, documents: Iterable[dict[str, Any]]) -> None:
        """Go on from the latest of these documents, when it is later than what is known."""
        latest = max(documents, key=lambda d: int(d["serial"]), default=None)
        if latest is None or latest["serial"] < self._serial:
            return
        self._serial = latest["serial"]
        self.own.update(latest["own"])
        known = {name: value for name, value in latest["counters"].items() if _KINDS.get(name) == "counter"}
        reasons, upstream_errors = (
            {name: value for name, value in latest.get(what, {}).items() if name in _REASONS}
            for what in ("reasons", "upstream_errors")
        )
        self._base = Totals(known, reasons, upstream_errors)
        for listener, route, one in latest["series"]:
            series = Series(**one)
            if len(series.latency) == _BUCKETS:  # else of a version with other buckets
                self._base.series[listener, route] = series
        for name, one in latest.get("filters", {}).items():
            filter_series = FilterSeries(**one)
            if len(filter_series.latency) == _BUCKETS and len(filter_series.errors) == len(FILTER_ERRORS):
                self._base.filters[name] = filter_series

        for name, one in latest.get("listeners", {}).items():
            self._base.listeners[name] = ListenerSeries(**one)

    def totals(self) -> Totals:
        """Return the sums over all workers, dead ones included."""
        out = Totals(dict(self._base.counters), dict(self._base.reasons), dict(self._base.upstream_errors))
        for key, series in self._base.series.items():
            out.series[key] = Series(
                list(series.status_class), list(series.latency), series.latency_sum, series.received, series.sent
            )
        for name, one in self._base.filters.items():
            out.filters.setdefault(name, FilterSeries()).add(one)
        for name, listener in self._base.listeners.items():
            out.listeners.setdefault(name, ListenerSeries()).add(listener)
        for slab in self._slabs:
            if engine.is_stats(slab):
                out.add(slab)
        return out


def pulse_of(slab: mmap.mmap) -> tuple[int, bool]:
    """Return the turns of a worker's loop so far, 0 before the first, and whether it is in Python."""
    return engine.pulse(slab)
