"""A random search: the metric against each drawn setting, the point chosen on val marked.

Draws differ in all settings at once: nothing here is a paired effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from multibodies.report.cells.facts import Facts, points_of
from multibodies.report.cells.scatter import Mark, Panel
from multibodies.sweep import best_of
from multibodies.sweep.definition import FLOW_WEIGHT

Record = dict[str, Any]


def draw_rows(facts: Facts, curves: Sequence[Record]) -> list[Record]:
    """Return a row per drawn point, the best on val first: its settings, error_mm, chosen.

    The error is `best_of`'s: at each point's best flow weight, mean over datasets. Raises UserError
    as it does.
    """
    drawn = [axis.key for axis in facts.axes if axis.drawn]
    if not drawn or facts.metric is None:
        return []
    points = {point.label: point for point in points_of(facts)}
    names = {label: facts.label(point.settings, (FLOW_WEIGHT,)) for label, point in points.items()}
    name, _, _ = facts.metric.rpartition("_n")
    frame = pd.DataFrame(
        {
            "point": names[row["point"]],
            "flow_weight": facts.cells[points[row["point"]].cells[0]].records["flow_weight"],
            **{key: row[key] for key in ("dataset", "n")},
            f"{name}_mm": row["mean_mm"],
        }
        for row in curves
        if row["metric"] == name
    )
    best, errors = best_of(frame, facts.metric)
    settings = {names[label]: point.settings for label, point in points.items()}
    return [
        {
            "point": point,
            "settings": {key: settings[point][key] for key in drawn},
            "error_mm": error,
            "chosen": point == best,
        }
        for point, error in errors.items()
    ]


def draw_panels_of(facts: Facts, rows: Sequence[Record]) -> list[list[Panel]]:
    """Return a panel per drawn setting that is a number, or whose values are few words."""
    panels = []
    for axis in (axis for axis in facts.axes if axis.drawn):
        values = axis.values
        numbers = all(isinstance(value, int | float) for value in values)
        marks = tuple(
            Mark(
                row["settings"][axis.key] if numbers else values.index(row["settings"][axis.key]),
                row["error_mm"],
                row["point"],
                row["chosen"],
            )
            for row in rows
        )
        words = "" if numbers else f": {', '.join(map(str, values))}"
        panels.append(Panel("", axis.key + words, f"{facts.metric} (mm)", marks, log=numbers))
    return [panels]
