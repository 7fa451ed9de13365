"""Errors by what is hidden: a table for the smallest n and one for the largest, systems across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from multibodies.report.cells.errors import with_cells
from multibodies.report.cells.facts import Facts, Point
from multibodies.report.figures import COLOURS, dataset_panels
from multibodies.report.page import Figure, Section, Table

Record = dict[str, Any]
SYSTEM = "system"  # the column that names a line
NONE = "–"


def with_lines(frame: pd.DataFrame, facts: Facts, lines: Sequence[Point]) -> pd.DataFrame:
    """Return the records or diagnostics of the lines, with a column that names them, in order."""
    labels = {cell: line.label for line in lines for cell in line.cells}
    frame = with_cells(frame, facts)
    frame = frame[frame["cell"].isin(list(labels))]
    names = pd.Categorical(frame["cell"].map(labels), [line.label for line in lines])
    return frame.assign(**{SYSTEM: names})


def hidden_section(rows: Sequence[Record], figure: Figure) -> Section:
    """Return MPJPE-n by dataset and strategy at the smallest and the largest n; rows:
    `slice_rows`."""
    ns = sorted({row["n"] for row in rows})
    keys = ", ".join(dict.fromkeys(f"{row['dataset']} {row['protocol']}" for row in rows))
    tables = [_table([row for row in rows if row["n"] == n], n, keys) for n in ends(ns)]
    return Section("MPJPE-n by what is hidden", (figure, *tables))


def ends(ns: Sequence[int]) -> list[int]:
    """Return the smallest and the largest n, once if they are one."""
    return sorted({min(ns), max(ns)})


def draw_hidden(rows: Sequence[Record]) -> Drawing:
    """Draw MPJPE by strategy, a panel per dataset, a colour per system; hollow: the smallest n."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    systems = list(dict.fromkeys(row[SYSTEM] for row in rows))
    figure, panels = dataset_panels(len(datasets), 4.8, 3.8)
    for axes, dataset in zip(panels, datasets, strict=True):
        _draw(axes, [row for row in rows if row["dataset"] == dataset], systems)
        axes.set(title=dataset, ylabel="MPJPE-n (mm)")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, loc="outside right upper")
    return figure


def _draw(axes: Axes, rows: Sequence[Record], systems: Sequence[str]) -> None:
    ns = ends([row["n"] for row in rows])
    strategies = list(dict.fromkeys(row["occlusion"] for row in rows))
    for place, system in enumerate(systems):
        shift, colour = 0.1 * (place - (len(systems) - 1) / 2), COLOURS[place % len(COLOURS)]
        for n in ns:
            mine = [row for row in rows if row[SYSTEM] == system and row["n"] == n]
            x = [strategies.index(row["occlusion"]) + shift for row in mine]
            y = [row["mpjpe_mm"] for row in mine]
            fill = colour if n == ns[-1] else "none"
            label = f"{system}, n = {n}" if mine else None
            axes.plot(x, y, "o", color=colour, mfc=fill, ms=4, label=label)
    axes.set_xticks(range(len(strategies)), strategies)
    axes.set_xlim(-0.5, len(strategies) - 0.5)
    axes.grid(axis="y", alpha=0.3)


def _table(rows: Sequence[Record], n: int, protocols: str) -> Table:
    systems = list(dict.fromkeys(row[SYSTEM] for row in rows))
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        name = (row["dataset"], row["occlusion"], str(row["images"]))
        lines.setdefault(name, {})[row[SYSTEM]] = f"{row['mpjpe_mm']:.1f}"
    body = tuple((*name, *(at.get(s, NONE) for s in systems)) for name, at in lines.items())
    caption = f"MPJPE-{n} in mm; hidden: the paper's strategies; protocols: {protocols}"
    return Table(("data", "hidden", "images", *systems), body, caption, labels=3)
