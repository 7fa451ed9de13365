"""Choosing on val: the flow weight alpha (weights proportional to p^alpha, ours), or the best point
of a search."""

from __future__ import annotations

import pandas as pd

from multibodies.errors import UserError

COLUMNS = ("dataset", "flow_weight", "n", "mpjpe_mm")


def choose_flow_weight(val: pd.DataFrame) -> tuple[float, dict[float, float]]:
    """Return the alpha of least error on val, and every candidate's error in mm.

    The error is MPJPE-n averaged over images, seeds and trainings, then over datasets and over
    n > 1 with equal weight. One alpha serves all cells. Ties go to the smaller alpha, the weaker
    departure from uniform. Raises UserError on missing columns, on no n > 1, on an error that is no
    number, or where a candidate misses a dataset or an n.
    """
    missing = [column for column in COLUMNS if column not in val.columns]
    if missing:
        raise UserError(f"val scores lack the column '{missing[0]}'; expected {', '.join(COLUMNS)}")
    several = val[val["n"] > 1]
    if several.empty:
        raise UserError("val scores have no n > 1; n = 1 alone cannot choose the flow weight")
    refuse_nan(several, "mpjpe_mm")
    grouped = several.groupby(["flow_weight", "dataset", "n"])["mpjpe_mm"]
    means = grouped.mean().unstack(["dataset", "n"])
    if means.isna().to_numpy().any():
        raise UserError(
            "val scores: a candidate flow weight misses a dataset or an n; score them all"
        )
    ranked = means.mean(axis=1).sort_index()
    errors = {float(str(alpha)): float(error) for alpha, error in ranked.items()}
    return min(errors, key=lambda alpha: (errors[alpha], alpha)), errors


def best_of(val: pd.DataFrame, metric: str) -> tuple[str, dict[str, float]]:
    """Return the scoring of least error on val, and each one's error in mm, the best first.

    `val`: records of val splits; a point is its training's id without the seed. The error is that
    of `metric` (mpjpe_n25: MPJPE at n = 25) at each point's best flow weight, averaged over images
    and seeds, then over datasets with equal weight. Ties go to the name that sorts first. Raises
    UserError on missing columns and where no record has that n.
    """
    value, _, n = metric.rpartition("_n")
    wanted = ("point", "flow_weight", "dataset", "n", f"{value}_mm")
    missing = [column for column in wanted if column not in val.columns]
    if missing:
        raise UserError(f"val scores lack the column '{missing[0]}'; expected {', '.join(wanted)}")
    mine = val[val["n"] == int(n)]
    if mine.empty:
        raise UserError(f"val scores have no n = {n}, which {metric} asks for")
    errors = errors_by(mine, ["point", "flow_weight"], f"{value}_mm").groupby("point").min()
    ranked = sorted((float(error), str(point)) for point, error in errors.items())
    return ranked[0][1], {point: error for error, point in ranked}


def errors_by(val: pd.DataFrame, by: list[str], column: str) -> pd.Series:
    """Return the mean of `column` for each value of the columns `by`, sorted by them: over the
    records of each dataset and n, then over datasets and n with equal weight. Raises UserError on
    an error that is no number."""
    refuse_nan(val, column)
    return val.groupby([*by, "dataset", "n"])[column].mean().groupby(by).mean()


def refuse_nan(val: pd.DataFrame, column: str) -> None:
    """Raise UserError where a record's error is no number, which a mean would leave out."""
    bad = val[val[column].isna()]
    if len(bad):
        first = ", ".join(f"{key} {value}" for key, value in bad.iloc[0].items() if key != column)
        raise UserError(
            f"val scores: {len(bad)} of {len(val)} records have no {column} (the first: {first}); "
            "a training that diverged? leave it out or score it again"
        )
