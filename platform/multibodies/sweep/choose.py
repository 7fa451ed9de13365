"""Choosing the flow weight alpha (weights proportional to p^alpha, ours) on val."""

from __future__ import annotations

import pandas as pd

from multibodies.errors import UserError

COLUMNS = ("dataset", "flow_weight", "n", "mpjpe_mm")


def choose_flow_weight(val: pd.DataFrame) -> tuple[float, dict[float, float]]:
    """Return the alpha of least error on val, and every candidate's error in mm.

    The error is MPJPE-n averaged over images, seeds and trainings, then over datasets and over
    n > 1 with equal weight. One alpha serves all cells. Ties go to the smaller alpha, the weaker
    departure from uniform. Raises UserError on missing columns, on no n > 1, or where a candidate
    misses a dataset or an n.
    """
    missing = [column for column in COLUMNS if column not in val.columns]
    if missing:
        raise UserError(f"val scores lack the column '{missing[0]}'; expected {', '.join(COLUMNS)}")
    several = val[val["n"] > 1]
    if several.empty:
        raise UserError("val scores have no n > 1; n = 1 alone cannot choose the flow weight")
    grouped = several.groupby(["flow_weight", "dataset", "n"])["mpjpe_mm"]
    means = grouped.mean().unstack(["dataset", "n"])
    if means.isna().to_numpy().any():
        raise UserError(
            "val scores: a candidate flow weight misses a dataset or an n; score them all"
        )
    ranked = means.mean(axis=1).sort_index()
    errors = {float(str(alpha)): float(error) for alpha, error in ranked.items()}
    return min(errors, key=lambda alpha: (errors[alpha], alpha)), errors
