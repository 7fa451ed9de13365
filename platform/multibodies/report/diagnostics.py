"""What Table 2 does not show: oracle, dead hypotheses, effective number, consistency, diversity,
quantisation energy.

From the per-image diagnostics that scoring writes; means over images and seeds.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from multibodies.report.cells.facts import shown
from multibodies.report.page import Section, Table
from multibodies.report.records import CELL, datasets_of

Columns = Mapping[str, tuple[str, int]]
ENERGY = re.compile(r"energy_n\d+_m2$")
SHOWN: Columns = {  # column -> (heading, decimals)
    "oracle_mpjpe_mm": ("oracle MPJPE mm", 1),
    "oracle_re_mm": ("oracle RE mm", 1),
    "oracle_pve_mm": ("oracle PVE mm", 1),
    "dead_share": ("dead share", 2),
    "effective_number": ("effective number", 1),
    "consistency_px": ("consistency px", 2),
    "diversity_visible_mm": ("diversity visible mm", 1),
    "diversity_hidden_mm": ("diversity hidden mm", 1),
    "diversity_all_mm": ("diversity all mm", 1),
}


def summarise(frame: pd.DataFrame, by: Sequence[str] = CELL) -> pd.DataFrame:
    """Return one row per dataset and what tells lines apart: means of SHOWN and of energies."""
    keys = ["dataset", *by]
    found = [name for name in SHOWN if name in frame.columns] + energies(frame)
    means = frame.groupby(keys)[found].mean()
    if {"best_hypothesis", "num_hypotheses"} <= set(frame.columns):
        shares = frame.groupby([*keys, "seed"])[["best_hypothesis", "num_hypotheses"]].agg(
            {"best_hypothesis": "nunique", "num_hypotheses": "first"}
        )
        dead = 1 - shares["best_hypothesis"] / shares["num_hypotheses"]
        means["dead_share"] = dead.groupby(keys).mean()
    return means.reset_index()


def diagnostics_section(frame: pd.DataFrame, by: Sequence[str] = CELL) -> Section:
    """Return the tables of `summarise`: SHOWN, and the energies by n."""
    means = summarise(frame, by)
    found = {name: SHOWN[name] for name in SHOWN if name in means.columns}
    tables = [_table(means, by, found)]
    if by_n := {name: (f"n = {n_of(name)}", 4) for name in energies(means)}:
        tables.append(_table(means, by, by_n, "quantisation energy (eq. 3), square metres"))
    text = (
        "Oracle: best of all M. Dead: hypotheses that are best for no image. Effective number: "
        "1 / sum of squared weights. Consistency: mean 2D error on visible joints. Diversity: "
        "mean distance to the mean hypothesis; a good model is diverse where joints are hidden."
    )
    return Section("Diagnostics", (text, *tables))


def energies(frame: pd.DataFrame) -> list[str]:
    """Return the columns `energy_n5_m2` by rising n."""
    return sorted((name for name in map(str, frame.columns) if ENERGY.match(name)), key=n_of)


def n_of(name: str) -> int:
    """Return the n of an energy's column."""
    return int(name.split("_")[1][1:])


def _table(means: pd.DataFrame, by: Sequence[str], columns: Columns, caption: str = "") -> Table:
    """Lay columns out, a line per dataset and what tells lines apart."""
    rows = tuple(
        (dataset, *(shown(row[key]) for key in by), *_cells(row, columns))
        for dataset in datasets_of(means)
        for row in means[means["dataset"] == dataset].to_dict("records")
    )
    names = (key.replace("flow_weight", "flow weight") for key in by)
    header = ("data", *names, *(heading for heading, _ in columns.values()))
    return Table(header, rows, caption, labels=1 + len(by))


def _cells(row: Mapping[Hashable, Any], columns: Columns) -> list[str]:
    return [
        "–" if pd.isna(row[name]) else f"{row[name]:.{decimals}f}"
        for name, (_, decimals) in columns.items()
    ]
