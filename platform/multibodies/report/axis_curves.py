"""The figure that answers a sweep: MPJPE-n against the values of each of its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from multibodies.report.figures import COLOURS, FOLDER, save
from multibodies.report.page import Figure
from multibodies.report.records import datasets_of
from multibodies.report.summary import PER_IMAGE
from multibodies.sweep import Plan

LINES = ("-", "--", ":", "-.")


def axis_figures(plan: Plan, run_dir: Path) -> list[Figure]:
    """Draw a figure per axis of trainings or priors that has several values."""
    frame = pd.read_parquet(run_dir / PER_IMAGE)
    sweep = plan.sweep
    spans = sweep.search.ranges if sweep.search else {}
    drawn = []
    for key in (*sweep.train, *spans, *sweep.prior):
        values = axis_values(plan, key)
        if len(set(values.values())) > 1:
            mine = frame.assign(value=frame["training"].map(values)).dropna(subset=["value"])
            path = run_dir / FOLDER / f"axis-{key}.png"
            caption = f"MPJPE-n against {key}, mean over images, seeds and all other axes"
            drawn.append(Figure(save(axis_curves(mine, key), path), caption))
    return drawn


def axis_values(plan: Plan, key: str) -> dict[str, Any]:
    """Return the value of a setting in each scoring that the axis is about.

    Of axes that vary one at a time these are the settings as they are, and this one's changes.
    """
    alone = plan.sweep.vary == "one"
    cells = {cell.scoring: cell for cell in plan.cells}
    section, _, leaf = key.partition(".")
    return {
        scoring.id: getattr(getattr(cells[scoring.id].config, section), leaf)
        for scoring in plan.scorings
        if not alone or set(scoring.training.overrides) <= {key}
    }


def axis_curves(frame: pd.DataFrame, key: str) -> Drawing:
    """Draw a panel per dataset, a line per n and flow weight.

    frame: records with a column `value`. Values are evenly spaced: 0 has no place on a log axis.
    """
    values = sorted(frame["value"].unique())
    datasets = datasets_of(frame)
    figure = Drawing(figsize=(5.2 * len(datasets), 3.8), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        for line in mean_lines(frame[frame["dataset"] == dataset], values):
            axes.plot(line["x"], line["y"], line["style"], color=line["colour"], marker=".",
                      label=line["label"])  # fmt: skip
        axes.set_xticks(range(len(values)), [f"{v:g}" if _number(v) else str(v) for v in values])
        axes.set(title=dataset, xlabel=key, ylabel="MPJPE-n (mm)")
        axes.grid(axis="y", alpha=0.3)
    panels[-1].legend(fontsize=7)
    return figure


def mean_lines(frame: pd.DataFrame, values: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Return a line per n (colour) and flow weight (style): places of values, errors in mm."""
    means = frame.groupby(["n", "flow_weight", "value"])["mpjpe_mm"].mean().reset_index()
    ns, alphas = sorted(means["n"].unique()), sorted(means["flow_weight"].unique())
    return [
        {
            "x": [values.index(value) for value in part["value"]],
            "y": part["mpjpe_mm"].tolist(),
            "style": LINES[alphas.index(alpha) % len(LINES)],
            "colour": COLOURS[ns.index(n) % len(COLOURS)],
            "label": f"n = {n}, flow {alpha:g}",
        }
        for (n, alpha), part in means.groupby(["n", "flow_weight"])
    ]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
