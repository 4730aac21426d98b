"""The figures of `benchmarks.proxy` as bars, a panel for each case."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

COLORS = {"fastgate": "#1f6feb", "floor": "#8b949e", "one route": "#79b8ff"}
COLUMNS = 3


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the cases; lower is better in each."""
    mpl.use("agg")
    lines = math.ceil(len(results) / COLUMNS)
    figure, axes = plt.subplots(lines, COLUMNS, figsize=(4.2 * COLUMNS, 2.4 * lines), squeeze=False)
    for panel in axes.flat[len(results) :]:
        panel.axis("off")
    for panel, result in zip(axes.flat, results, strict=False):
        rows = result["rows"][::-1]
        values = [row.get("cpu_us", row.get("kib")) for row in rows]
        names = [row["proxy"] for row in rows]
        bars = panel.barh(names, values, color=[COLORS.get(name, "#d0a215") for name in names])
        panel.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
        panel.set_title(f"{result['case']} ({result['unit']})", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
