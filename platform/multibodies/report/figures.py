"""Figures of a report. Each function returns a matplotlib Figure; `save` writes it.

No pyplot: no display, no global state.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from multibodies.core.joints import J24_EDGES
from multibodies.files import write_bytes
from multibodies.report.bootstrap import paired_bootstrap
from multibodies.report.grid import Grid

FOLDER = "figures"  # of a run
DPI = 110
COLOURS = ("#7a828c", "#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d")
VISIBLE, BONE = "#ffd92f", "#ff5d5d"


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, whole or not at all. Raises UserError when the disk refuses it."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return Path(path)


def mpjpe_curves(grids: Sequence[Grid], samples: int) -> Figure:
    """Draw MPJPE-n against n, a panel per dataset, a line per row with 95 % intervals of its mean.

    Intervals of rows overlap even where the paired effect is clear: both hold the same images.
    """
    figure, panels = _panels(1, len(grids), width=5.2, height=3.8)
    for axes, grid in zip(panels, grids, strict=True):
        for index, (level, weight) in enumerate(grid.cells):
            curve = paired_bootstrap(grid.of((level, weight)).mean(axis=1)[..., 0], samples)
            x = np.arange(len(grid.ns)) + 0.05 * (index - (len(grid.cells) - 1) / 2)
            errors = [curve.mean - curve.low, curve.high - curve.mean]
            label = f"reproj. {level:g}, flow {weight:g}"
            colour = COLOURS[index % len(COLOURS)]
            axes.errorbar(x, curve.mean, errors, label=label, color=colour, marker="o", ms=3)
        axes.set_xticks(np.arange(len(grid.ns)), [str(n) for n in grid.ns])
        axes.set(title=grid.dataset, xlabel="n", ylabel="MPJPE-n (mm)")
        axes.grid(axis="y", alpha=0.3)
    panels[-1].legend(fontsize=8)
    return figure


def dataset_panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with room for a legend and a panel per dataset, two in a row if there are
    more than two, so that words stay large on a page; sizes in inches each."""
    rows, columns = (1, count) if count <= 2 else (-(-count // 2), 2)
    figure = Figure(figsize=(width * columns + 2.4, height * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in panels[count:]:
        unused.remove()
    return figure, panels[:count]


def effects_forest(effects: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw every effect with its interval, a panel per dataset and metric; left of 0 helps."""
    names = list(dict.fromkeys((r["dataset"], r["metric"]) for r in effects))
    lines = list(dict.fromkeys((r["effect"], r["n"]) for r in effects))
    figure, panels = _panels(1, len(names), width=3.4, height=0.9 + 0.26 * len(lines))
    for axes, (dataset, metric) in zip(panels, names, strict=True):
        mine = [r for r in effects if (r["dataset"], r["metric"]) == (dataset, metric)]
        for record in mine:
            y = -lines.index((record["effect"], record["n"]))
            clear = record["low"] > 0 or record["high"] < 0
            colour = COLOURS[1] if clear else COLOURS[0]
            axes.plot([record["low"], record["high"]], [y, y], color=colour, lw=2)
            axes.plot(record["difference_mm"], y, "o", color=colour, ms=4)
        axes.axvline(0, color="#1b1f24", lw=0.8)
        axes.set(title=f"{dataset}, {metric.upper()}", xlabel="difference (mm)")
        axes.set_yticks([-i for i in range(len(lines))], [f"{e}, n={n}" for e, n in lines])
        axes.set_ylim(-len(lines) + 0.5, 0.5)
        axes.label_outer()
    return figure


def samples(rows: Mapping[str, Any], count: int = 16) -> Figure:
    """Draw the first `count` samples of a split with their keypoints.

    `rows` holds `image` [B, S, S, 3] uint8 and `keypoints_2d` [B, 24, 3]: x, y in [-1, 1], visible.
    """
    shown = min(count, len(rows["image"]))
    columns = min(8, shown)
    figure, panels = _panels(-(-shown // columns), columns, width=1.5, height=1.5)
    for index, axes in enumerate(panels):
        axes.set_axis_off()
        if index < shown:
            image = np.asarray(rows["image"][index])
            axes.imshow(image, interpolation="nearest")
            draw_skeleton(axes, np.asarray(rows["keypoints_2d"][index]), image.shape[0])
    return figure


def draw_skeleton(axes: Axes, keypoints: npt.NDArray[Any], size: int) -> None:
    """Draw visible keypoints [24, 3] and the bones between them over an image of `size` pixels."""
    pixels = (keypoints[:, :2] + 1) * (size / 2) - 0.5
    seen = keypoints[:, 2] > 0
    bones = [pixels[[a, b]] for a, b in J24_EDGES if seen[a] and seen[b]]
    axes.add_collection(LineCollection(bones, colors=BONE, linewidths=1.0))
    axes.plot(*pixels[seen].T, ".", color=VISIBLE, ms=3)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)


def training_curves(
    runs: Mapping[str, Sequence[Mapping[str, float]]], keys: Sequence[str] = ("loss",)
) -> Figure:
    """Draw logged numbers against steps, a panel per key, a line per run.

    A run is its journal's lines: `{"step": 10, "loss": 3.2, ...}`.
    """
    figure, panels = _panels(1, len(keys), width=5.2, height=3.4)
    for axes, key in zip(panels, keys, strict=True):
        for index, (name, lines) in enumerate(runs.items()):
            points = [(line["step"], line[key]) for line in lines if key in line]
            colour = COLOURS[index % len(COLOURS)]
            steps, values = [x for x, _ in points], [y for _, y in points]
            axes.plot(steps, values, color=colour, lw=1, label=name)
        axes.set(title=key, xlabel="step")
        axes.grid(alpha=0.3)
    panels[-1].legend(fontsize=7)
    return figure


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure and its rows x columns panels in reading order; sizes in inches each."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)
