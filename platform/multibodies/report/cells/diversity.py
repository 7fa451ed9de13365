"""Accuracy against diversity: MPJPE at a point's largest n, by how its hypotheses spread."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies.report.cells.errors import with_cells
from multibodies.report.cells.facts import Facts, Point, points_of
from multibodies.report.cells.scatter import Mark, Panel

Record = dict[str, Any]
MEASURES = {  # columns of diagnostics.parquet: mean distance to the mean hypothesis, mm
    "diversity_all_mm": "all joints",
    "diversity_visible_mm": "visible joints",
    "diversity_hidden_mm": "hidden joints",
}


def diversity_rows(path: Path, facts: Facts, curves: Sequence[Record]) -> list[Record]:
    """Return a row per dataset and point: n, mpjpe_mm at the largest n with its interval, and the
    mean diversities in mm over images, then seeds; a measure that no image has is left out.

    curves: `curve_rows`. None without diagnostics.
    """
    if not path.exists():
        return []
    frame = with_cells(pd.read_parquet(path), facts)
    found = [name for name in MEASURES if name in frame.columns]
    means = frame.groupby(["dataset", "cell"])[found].mean()
    at = {(r["dataset"], r["point"], r["n"]): r for r in curves if r["metric"] == "mpjpe"}
    return [
        _row(dataset, point, n, at[dataset, point.label, n], means.loc[dataset])
        for dataset in dict.fromkeys(row["dataset"] for row in curves)
        for point in points_of(facts)
        if dataset in means.index.get_level_values(0)
        for n in [max(n for d, p, n in at if (d, p) == (dataset, point.label))]
    ]


def _row(dataset: str, point: Point, n: int, curve: Record, means: pd.DataFrame) -> Record:
    cells = means.reindex(list(point.cells)).mean()
    spread = {str(name): float(value) for name, value in cells.items() if isfinite(value)}
    accuracy = {"mpjpe_mm": curve["mean_mm"], "low": curve["low"], "high": curve["high"]}
    return {"dataset": dataset, "point": point.label, "n": n, **accuracy, **spread}


def diversity_panels(rows: Sequence[Record]) -> list[list[Panel]]:
    """Return a row of panels per dataset, a panel per measure; points have words if few."""
    ns = sorted({row["n"] for row in rows})
    y = f"MPJPE-{ns[-1]} (mm)" if len(ns) == 1 else "MPJPE at the largest n (mm)"
    measures = [name for name in MEASURES if any(name in row for row in rows)]
    return [
        [
            Panel(
                f"{dataset}, {MEASURES[name]}",
                "diversity (mm)",
                y,
                tuple(
                    Mark(row[name], row["mpjpe_mm"], row["point"])
                    for row in rows
                    if row["dataset"] == dataset and name in row
                ),
            )
            for name in measures
        ]
        for dataset in dict.fromkeys(row["dataset"] for row in rows)
    ]
