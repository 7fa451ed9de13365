"""The figure of an axis: MPJPE-n at each value, and each value's paired difference to the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multibodies.report.cells.contrasts import Record, pairs_of
from multibodies.report.cells.errors import Errors
from multibodies.report.cells.facts import Axis, Facts, shown
from multibodies.report.figures import COLOURS
from multibodies.sweep.definition import FLOW_WEIGHT

LINES = ("-", "--", ":", "-.")


def draw_axis(found: Sequence[Errors], facts: Facts, axis: Axis, rows: Sequence[Record]) -> Figure:
    """Draw a column per dataset: levels by n (colour) and flow weight (style), differences by n.

    rows: `axis_effects`. Values are evenly spaced: 0 has no place on a log axis.
    """
    figure = Figure(figsize=(5.2 * len(found) + 1.2, 6.4), layout="constrained")
    panels = figure.subplots(2, len(found), squeeze=False, sharex=True)
    for column, errors in enumerate(found):
        mine = [
            row
            for row in rows
            if (row["dataset"], row["axis"], row["metric"]) == (errors.dataset, axis.key, "mpjpe")
        ]
        _draw_levels(panels[0][column], errors, facts, axis)
        _draw_differences(panels[1][column], errors, axis, mine)
        panels[0][column].set_title(errors.dataset)
        ticks = [shown(value) for value in axis.values]
        panels[1][column].set_xticks(range(len(ticks)), ticks, rotation=30 * (len(ticks) > 8))
        panels[1][column].set_xlabel(axis.key)
    panels[0][0].set_ylabel("MPJPE-n (mm)")
    panels[1][0].set_ylabel(f"difference to {shown(axis.base)} (mm)")
    handles, labels = panels[0][-1].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, loc="outside right upper")
    return figure


def levels(errors: Errors, facts: Facts, axis: Axis) -> dict[tuple[int, float], dict[int, float]]:
    """Return MPJPE-n by (n, flow weight) and place of the value: means over the cells of pairs."""
    places: dict[int, set[int]] = {}
    base = axis.values.index(axis.base)
    for index, value in enumerate(axis.values):
        pairs = [pair for seed in pairs_of(facts, axis, value) for pair in seed]
        places.setdefault(index, set()).update(pair[0] for pair in pairs)
        places.setdefault(base, set()).update(pair[1] for pair in pairs)
    found: dict[tuple[int, float], dict[int, list[float]]] = {}
    for index, cells in places.items():
        for cell in sorted(cells):
            weight = float(facts.cells[cell].records["flow_weight"])
            style = 0.0 if axis.key == FLOW_WEIGHT else weight
            for n in errors.ns:
                if errors.has([cell], n):
                    mean = float(errors.values[:, cell, errors.ns.index(n), 0].mean())
                    found.setdefault((n, style), {}).setdefault(index, []).append(mean)
    return {
        line: {index: sum(part) / len(part) for index, part in sorted(values.items())}
        for line, values in sorted(found.items())
    }


def _draw_levels(axes: Axes, errors: Errors, facts: Facts, axis: Axis) -> None:
    lines = levels(errors, facts, axis)
    weights = sorted({weight for _, weight in lines})
    for (n, weight), line in lines.items():
        flow = f", flow {weight:g}" if len(weights) > 1 else ""
        style: dict[str, Any] = {
            "color": COLOURS[errors.ns.index(n) % len(COLOURS)],
            "linestyle": LINES[weights.index(weight) % len(LINES)],
        }
        axes.plot(
            list(line), list(line.values()), marker=".", lw=1.2, label=f"n = {n}{flow}", **style
        )
    axes.grid(axis="y", alpha=0.3)


def _draw_differences(axes: Axes, errors: Errors, axis: Axis, rows: Sequence[Record]) -> None:
    for index, n in enumerate(errors.ns):
        mine = [row for row in rows if row["n"] == n]
        shift = 0.12 * (index - (len(errors.ns) - 1) / 2)
        x = np.array([axis.values.index(row["value"]) for row in mine]) + shift
        colour = COLOURS[index % len(COLOURS)]
        mean = [row["difference_mm"] for row in mine]
        ends = [
            [row["difference_mm"] - row["low"] for row in mine],
            [row["high"] - row["difference_mm"] for row in mine],
        ]
        axes.errorbar(x, mean, ends, fmt="o", ms=3.5, lw=1.6, color=colour)
        if mine and "seeds_low" in mine[0]:
            axes.vlines(
                x, [r["seeds_low"] for r in mine], [r["seeds_high"] for r in mine],
                color=colour, lw=0.6,
            )  # fmt: skip
    axes.axhline(0, color="#1b1f24", lw=0.8)
    axes.plot(axis.values.index(axis.base), 0, "s", color="#1b1f24", ms=5)
    axes.grid(axis="y", alpha=0.3)
