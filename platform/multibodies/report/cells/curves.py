"""MPJPE-n of every point with its 95 % interval over images; seeds are averaged first.

Shapes: B image, P point, S seed, N output count, D metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from multibodies.report.bootstrap import paired_bootstrap
from multibodies.report.cells.errors import Errors
from multibodies.report.cells.facts import Facts, Point, points_of
from multibodies.report.figures import COLOURS, dataset_panels
from multibodies.report.records import METRICS

Record = dict[str, Any]
NAMED = len(COLOURS)  # lines that a reader can tell apart
OTHERS = "#d6dae0"


def curve_rows(found: Sequence[Errors], facts: Facts, samples: int) -> list[Record]:
    """Return a row per dataset, point, n and metric: mean_mm, low, high, each seed's mean."""
    return [row for errors in found for row in _of_dataset(errors, points_of(facts), samples)]


def _of_dataset(errors: Errors, points: Sequence[Point], samples: int) -> list[Record]:
    seeds = [errors.values[:, list(point.cells)] for point in points]  # [B, S, N, D] each
    means = np.stack([values.mean(axis=1) for values in seeds], axis=1)  # [B, P, N, D]
    there = np.argwhere(np.isfinite(means[0]))
    intervals = paired_bootstrap(means[:, *there.T], samples)
    rows = []
    for (p, n, d), mean, low, high in zip(there, *intervals, strict=True):
        by_seed = seeds[p][:, :, n, d].mean(axis=0).tolist()
        names = {"dataset": errors.dataset, "point": points[p].label, "n": errors.ns[n]}
        numbers = {"mean_mm": float(mean), "low": float(low), "high": float(high)}
        rows.append({**names, "metric": METRICS[d], **numbers, "by_seed": by_seed})
    return rows


def named(rows: Sequence[Record], points: Sequence[Point], facts: Facts) -> list[str]:
    """Return the points to draw in colour: all if few, else the base and others evenly by rank.

    The rank is by MPJPE at a point's largest n, mean over datasets.
    """
    labels = [point.label for point in points]
    if len(labels) <= NAMED:
        return labels
    errors = ranks(rows)
    base = [point.label for point in points if facts.is_base(point.settings) and not point.ours]
    order = [label for label in sorted(labels, key=lambda name: errors[name]) if label not in base]
    places = np.linspace(0, len(order) - 1, NAMED - len(base)).round().astype(int)
    return base + [order[place] for place in places]


def ranks(rows: Sequence[Record]) -> dict[str, float]:
    """Return each point's MPJPE at its largest n, mean over datasets."""
    last: dict[tuple[str, str], tuple[int, float]] = {}
    for row in (row for row in rows if row["metric"] == "mpjpe"):
        key = row["point"], row["dataset"]
        last[key] = max(last.get(key, (0, 0.0)), (row["n"], row["mean_mm"]))
    found: dict[str, list[float]] = {}
    for (point, _), (_, mean) in last.items():
        found.setdefault(point, []).append(mean)
    return {point: sum(values) / len(values) for point, values in found.items()}


def draw_curves(rows: Sequence[Record], coloured: Sequence[str]) -> Figure:
    """Draw MPJPE-n against n, a panel per dataset; points that are not `coloured` in grey."""
    mine = [row for row in rows if row["metric"] == "mpjpe"]
    datasets = list(dict.fromkeys(row["dataset"] for row in mine))
    ns = sorted({row["n"] for row in mine})
    figure, panels = dataset_panels(len(datasets), 5.2, 4.2)
    for axes, dataset in zip(panels, datasets, strict=True):
        lines: dict[str, list[Record]] = {}
        for row in mine:
            if row["dataset"] == dataset:
                lines.setdefault(row["point"], []).append(row)
        others = [line for label, line in lines.items() if label not in coloured]
        paths = [[(ns.index(row["n"]), row["mean_mm"]) for row in line] for line in others]
        axes.add_collection(LineCollection(paths, colors=OTHERS, linewidths=0.7, zorder=1))
        for label in coloured:
            _draw_line(axes, lines[label], ns, coloured)
        axes.set_xticks(range(len(ns)), [str(n) for n in ns])
        axes.set(title=dataset, xlabel="n", ylabel="MPJPE-n (mm)")
        axes.grid(axis="y", alpha=0.3)
    handles, labels = panels[-1].get_legend_handles_labels()
    at = {label: handle for handle, label in zip(handles, labels, strict=True)}
    figure.legend([at[name] for name in coloured], coloured, fontsize=7, loc="outside right upper")
    return figure


def _draw_line(axes: Axes, line: Sequence[Record], ns: list[int], coloured: Sequence[str]) -> None:
    label, x = line[0]["point"], np.array([ns.index(row["n"]) for row in line], dtype=float)
    mean = np.array([row["mean_mm"] for row in line])
    place = coloured.index(label)
    x += 0.05 * (place - (len(coloured) - 1) / 2)
    ends = [[row["mean_mm"] - row["low"] for row in line], [r["high"] - r["mean_mm"] for r in line]]
    marker = "o" if len(line) > 1 else "D"
    axes.errorbar(x, mean, ends, color=COLOURS[place], label=label, marker=marker, ms=4, lw=1.2)
    for at, row in zip(x, line, strict=True):
        if len(row["by_seed"]) > 1:
            seeds = row["by_seed"]
            axes.plot([at] * len(seeds), seeds, ".", color=COLOURS[place], ms=3, mfc="none")
