"""Errors by what is hidden: a mean per dataset, occlusion strategy, cell and n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from multibodies.data.schema import OCCLUSIONS
from multibodies.errors import UserError
from multibodies.report.page import Section, Table
from multibodies.report.records import CELL, VALUES, datasets_of

Record = dict[str, Any]


def slice_rows(
    per_image: pd.DataFrame, diagnostics: pd.DataFrame, by: Sequence[str] = CELL
) -> list[Record]:
    """Return mean errors in mm over the images of each strategy (and over seeds).

    by: the columns that tell lines apart. The diagnostics say how each image is hidden. Raises
    UserError on an image they lack.
    """
    keys = ["dataset", "image_id"]
    hidden = diagnostics[[*keys, "occlusion"]].drop_duplicates(keys)
    frame = per_image.merge(hidden, on=keys, how="left", validate="many_to_one")
    lost = frame["occlusion"].isna().to_numpy()
    if lost.any():
        image = frame["image_id"].iloc[int(lost.argmax())]
        raise UserError(f"diagnostics: no row of image '{image}'; score again")
    names = ["dataset", "protocol", "occlusion", *by, "n"]
    groups = frame.groupby(names)
    found = groups[list(VALUES)].mean().assign(images=groups["image_id"].nunique()).reset_index()
    ranks = {name: index for index, name in enumerate((*datasets_of(frame), *OCCLUSIONS))}
    rows = [_plain(row, names) for row in found.to_dict("records")]
    return sorted(rows, key=lambda r: (ranks[r["dataset"]], ranks.get(r["occlusion"], len(ranks))))


def slice_section(rows: Sequence[Record]) -> Section:
    """Return MPJPE-n by dataset and strategy, a line per cell."""
    ns = sorted({row["n"] for row in rows})
    lines: dict[tuple[str, ...], dict[int, float]] = {}
    for row in rows:
        name = (row["dataset"], row["occlusion"], str(row["images"]))
        cell = tuple(f"{row[key]:g}" for key in CELL)
        lines.setdefault((*name, *cell), {})[row["n"]] = row["mpjpe_mm"]
    body = tuple((*name, *(f"{at[n]:.1f}" for n in ns)) for name, at in lines.items())
    header = ("data", "hidden", "images", "lambda_ri", "flow weight", *(f"MPJPE-{n}" for n in ns))
    keys = ", ".join(dict.fromkeys(f"{row['dataset']} {row['protocol']}" for row in rows))
    table = Table(header, body, f"mm; hidden: the paper's strategies; protocols: {keys}", labels=5)
    return Section("MPJPE-n by what is hidden", (table,))


def _plain(row: dict[Any, Any], names: Sequence[str]) -> Record:
    text = dict.fromkeys(("dataset", "protocol", "occlusion", "system"), str)
    kinds = {**text, "n": int, "images": int}
    return {name: kinds.get(name, float)(row[name]) for name in (*names, "images", *VALUES)}
