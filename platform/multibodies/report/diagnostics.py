"""What Table 2 does not show: oracle, dead hypotheses, effective number, consistency, diversity.

From the per-image diagnostics that scoring writes; means over images and seeds.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from multibodies.report.page import Section, Table
from multibodies.report.records import CELL, datasets_of

SHOWN = {  # column -> (heading, decimals)
    "oracle_mpjpe_mm": ("oracle MPJPE mm", 1),
    "oracle_re_mm": ("oracle RE mm", 1),
    "dead_share": ("dead share", 2),
    "effective_number": ("effective number", 1),
    "consistency_px": ("consistency px", 2),
    "diversity_visible_mm": ("diversity visible mm", 1),
    "diversity_hidden_mm": ("diversity hidden mm", 1),
    "diversity_all_mm": ("diversity all mm", 1),
}


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per dataset, lambda_ri and flow weight with the means of SHOWN."""
    keys = ["dataset", *CELL]
    found = [name for name in SHOWN if name in frame.columns]
    means = frame.groupby(keys)[found].mean()
    if {"best_hypothesis", "num_hypotheses"} <= set(frame.columns):
        shares = frame.groupby([*keys, "seed"])[["best_hypothesis", "num_hypotheses"]].agg(
            {"best_hypothesis": "nunique", "num_hypotheses": "first"}
        )
        dead = 1 - shares["best_hypothesis"] / shares["num_hypotheses"]
        means["dead_share"] = dead.groupby(keys).mean()
    return means.reset_index()


def diagnostics_section(frame: pd.DataFrame) -> Section:
    """Return the table of `summarise`."""
    means = summarise(frame)
    shown = [name for name in SHOWN if name in means.columns]
    rows = tuple(
        (dataset, f"{row['lambda_ri']:g}", f"{row['flow_weight']:g}", *_cells(row, shown))
        for dataset in datasets_of(means)
        for row in means[means["dataset"] == dataset].to_dict("records")
    )
    header = ("data", "lambda_ri", "flow weight", *(SHOWN[name][0] for name in shown))
    text = (
        "Oracle: best of all M. Dead: hypotheses that are best for no image. Effective number: "
        "1 / sum of squared weights. Consistency: mean 2D error on visible joints. Diversity: "
        "mean distance to the mean hypothesis; a good model is diverse where joints are hidden."
    )
    return Section("Diagnostics", (text, Table(header, rows, labels=3)))


def _cells(row: Mapping[Hashable, Any], names: list[str]) -> list[str]:
    return ["–" if pd.isna(row[name]) else f"{row[name]:.{SHOWN[name][1]}f}" for name in names]
