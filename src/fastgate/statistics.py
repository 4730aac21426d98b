"""Statistics of all workers: the slabs of the living, and what the dead have counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastgate.core import engine, snapshot

if TYPE_CHECKING:
    import mmap


@dataclass(slots=True)
class Series:
    """Counters of one listener and route."""

    status_class: list[int] = field(default_factory=lambda: [0] * 6)  # 0: no response; 1xx .. 5xx
    latency: list[int] = field(default_factory=lambda: [0] * (len(engine.latency_bounds()) + 1))
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
class Totals:
    """What all workers count, by the names of `engine.counters` and `snapshot.reasons`."""

    counters: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    series: dict[tuple[str, str], Series] = field(default_factory=dict)  # by (listener, route)

    def add(self, slab: bytes | mmap.mmap, *, gauges: bool = True) -> None:
        """Add what a slab says; without `gauges` only what never decreases."""
        _, counters, reasons, series = engine.read_stats(slab)
        for name, value in counters.items():
            if _KINDS[name] == "counter":
                self.counters[name] = self.counters.get(name, 0) + value
            elif gauges:
                combine = _GAUGES.get(name, int.__add__)
                self.counters[name] = combine(self.counters[name], value) if name in self.counters else value
        for name, value in zip(_REASONS, reasons, strict=True):
            if value:
                self.reasons[name] = self.reasons.get(name, 0) + value
        for one in series:
            self.series.setdefault((one[0], one[1]), Series()).add(one)


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
    """The slabs of a number of workers. A dead worker's counters stay in the sums, so that none ever decreases."""

    def __init__(self, workers: int) -> None:
        """Start with no slab."""
        self._slabs: list[mmap.mmap | None] = [None] * workers
        self._base = Totals()

    def attach(self, worker: int, slab: mmap.mmap) -> None:
        """Take over the slab of a new worker."""
        self._slabs[worker] = slab

    def detach(self, worker: int) -> None:
        """Fold a dead worker's counters into the base."""
        slab, self._slabs[worker] = self._slabs[worker], None
        if slab is not None:
            self._base.add(slab, gauges=False)

    def heartbeat(self, worker: int) -> float:
        """Return the monotonic time (s) of a worker's last loop turn, 0 when it has none."""
        slab = self._slabs[worker]
        return 0.0 if slab is None else engine.read_stats(slab)[1]["heartbeat_ms"] / 1000

    def totals(self) -> Totals:
        """Return the sums over all workers, dead ones included."""
        out = Totals(dict(self._base.counters), dict(self._base.reasons))
        for key, series in self._base.series.items():
            out.series[key] = Series(
                list(series.status_class), list(series.latency), series.latency_sum, series.received, series.sent
            )
        for slab in self._slabs:
            if slab is not None:
                out.add(slab)
        return out
