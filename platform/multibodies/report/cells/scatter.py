"""Scatter plots of points with few words: accuracy against diversity, cost, a drawn setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from multibodies.report.figures import COLOURS

LARGE = 1e5  # numbers from here on are short, such as 5.3M
NUMBERED = 40  # points that have a number beside their mark, and a line in the legend


class Mark(NamedTuple):
    """A point of a panel; the legend names its label by a number. `chosen` stands out, `hollow`
    was measured elsewhere."""

    x: float
    y: float
    label: str
    chosen: bool = False
    hollow: bool = False


class Panel(NamedTuple):
    """Marks over named axes; `log`: x may have a log axis."""

    title: str
    x: str
    y: str
    marks: tuple[Mark, ...]
    log: bool = False


def draw_panels(rows: Sequence[Sequence[Panel]]) -> Figure:
    """Draw panels in rows of equal length, and a numbered legend of their marks if they are few."""
    columns = len(rows[0])
    labels = list(dict.fromkeys(m.label for row in rows for panel in row for m in panel.marks))
    numbers = (
        {label: str(i) for i, label in enumerate(labels, 1)} if len(labels) <= NUMBERED else {}
    )
    height = max(3.8 * len(rows), 0.14 * len(numbers) + 0.6)
    figure = Figure(figsize=(4.4 * columns + 2.6, height), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, panels in zip(grid, rows, strict=True):
        for axes, panel in zip(line, panels, strict=True):
            _draw(axes, panel, numbers)
    if numbers:
        handles = [Line2D([], [], linestyle="") for _ in labels]
        texts = [f"{number}  {label}" for label, number in numbers.items()]
        figure.legend(handles, texts, fontsize=6.5, handlelength=0, loc="outside right upper")
    return figure


def _draw(axes: Axes, panel: Panel, numbers: Mapping[str, str]) -> None:
    at: dict[tuple[float, float], list[str]] = {}
    alike: dict[tuple[bool, bool], list[Mark]] = {}
    for mark in panel.marks:
        alike.setdefault((mark.chosen, mark.hollow), []).append(mark)
        if number := numbers.get(mark.label):
            at.setdefault((mark.x, mark.y), []).append(number)
    for (chosen, hollow), marks in alike.items():
        colour, sign, size = (COLOURS[5], "*", 11) if chosen else (COLOURS[1], "o", 5)
        x, y = [mark.x for mark in marks], [mark.y for mark in marks]
        axes.plot(x, y, sign, color=colour, mfc="none" if hollow else colour, ms=size)
    for place, found in at.items():
        axes.annotate(" ".join(found), place, (4, 3), textcoords="offset points", fontsize=6.5)
    _scale(axes, panel)
    axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    axes.margins(0.12)
    axes.grid(alpha=0.3)


def _scale(axes: Axes, panel: Panel) -> None:
    """Put values that span more than a power of ten on a log axis, where all are positive."""
    values = [mark.x for mark in panel.marks]
    if panel.log and values and 0 < min(values) < max(values) / 10:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if panel.log and values:
        large = max(values) >= LARGE
        axes.xaxis.set_major_formatter(EngFormatter(sep="") if large else "{x:g}")
