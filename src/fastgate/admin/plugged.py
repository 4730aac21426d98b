"""Metrics of plugins that implement `fastgate_metrics`."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from fastgate.admin.metrics import family
from fastgate.plugins.distributions import said

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.plugins.hookspecs import Metric

log = logging.getLogger("fastgate")

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def exposition(metrics: Iterable[tuple[str, Metric]]) -> str:
    """Return metrics, each with its plugin's name, as text. What would spoil the page is left out and logged."""
    lines: list[str] = []
    seen: set[str] = set()
    for plugin, metric in metrics:
        try:
            name = _checked(metric, seen)
            samples = [("", {n: str(v) for n, v in labels.items()}, float(value)) for labels, value in metric.samples]
            text = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
            lines += family(name, metric.kind, text, samples)
        except Exception as e:  # noqa: BLE001 - whatever the author's objects do
            log.warning("a metric of plugin %s is left out: %s", plugin, said(e))
            continue
        seen.add(name)
    return "".join(f"{line}\n" for line in lines)


def _checked(metric: Metric, seen: set[str]) -> str:
    """The full name of a family that may stand on the page."""
    if metric.kind not in ("counter", "gauge"):
        raise ValueError(f"{metric.name} is neither counter nor gauge")
    name = metric.name + ("_total" if metric.kind == "counter" else "")
    if not _NAME.fullmatch(name) or name.startswith("fastgate_"):
        raise ValueError(f"{name!r} is no name of a metric, or one of the gateway's own")
    if name in seen:
        raise ValueError(f"there are two metrics {name}")
    for labels, _ in metric.samples:
        if not all(_NAME.fullmatch(label) for label in labels):
            raise ValueError(f"{name} has labels that have no names: {', '.join(labels)}")
    return name
