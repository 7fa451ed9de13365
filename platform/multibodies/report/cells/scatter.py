"""Scatter plots of points with few words: accuracy against diversity, cost, a drawn setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multibodies.report.figures import COLOURS

LABELLED = 12  # points of a panel that are named beside their marks; more are numbered or bare


class Mark(NamedTuple):
    """A point of a panel; `chosen` stands out, `hollow` was measured elsewhere."""

    x: float
    y: float
    label: str
    chosen: bool = False
    hollow: bool = False


class Panel(NamedTuple):
    """Marks over named axes; `log`: the values of x as powers."""

    title: str
    x: str
    y: str
    marks: tuple[Mark, ...]
    log: bool = False


def draw_panels(rows: Sequence[Sequence[Panel]]) -> Figure:
    """Draw panels in rows of equal length."""
    columns = len(rows[0])
    figure = Figure(figsize=(4.6 * columns, 3.8 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, panels in zip(grid, rows, strict=True):
        for axes, panel in zip(line, panels, strict=True):
            _draw(axes, panel)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    for mark in panel.marks:
        colour = COLOURS[5] if mark.chosen else COLOURS[1]
        face = "none" if mark.hollow else colour
        size = 11 if mark.chosen else 5
        sign = "*" if mark.chosen else "o"
        axes.plot(mark.x, mark.y, sign, color=colour, mfc=face, ms=size)
    for mark in panel.marks:
        if len(panel.marks) <= LABELLED or mark.chosen:
            axes.annotate(
                mark.label, (mark.x, mark.y), (4, 3), textcoords="offset points", fontsize=6
            )
    if panel.log and panel.marks and all(mark.x > 0 for mark in panel.marks):
        axes.set_xscale("log")
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    axes.margins(0.12)
    axes.grid(alpha=0.3)
