"""Per-image records: `dataset, image_id, seed, lambda_ri, flow_weight, n, mpjpe_mm, re_mm,
protocol`.

A row is one image of one cell at one n. Every cell of a dataset holds the same images: the
statistics are paired. A dataset has one protocol; older records do not name theirs.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from multibodies.errors import UserError, nearest

METRICS = ("mpjpe", "re")
VALUES = tuple(f"{metric}_mm" for metric in METRICS)
KEYS = ("dataset", "image_id", "seed", "lambda_ri", "flow_weight", "n")
COLUMNS = (*KEYS, *VALUES)
CELL = ["lambda_ri", "flow_weight"]
PROTOCOL, UNRECORDED = "protocol", "protocol not recorded"
ORDER = ("lab", "wild", "alab", "awild")  # datasets in tables; others follow by name


def read_per_image(path: str | Path) -> pd.DataFrame:
    """Read and check the records. Raises UserError naming the file."""
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the sweep first") from None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable Parquet file ({reason}); score again") from None
    return check_per_image(frame, str(path))


def check_per_image(frame: pd.DataFrame, where: str = "per_image") -> pd.DataFrame:
    """Return the columns of the schema, sorted. Raises UserError naming column, cell or image."""
    for column in COLUMNS:
        if column not in frame.columns:
            hint = nearest(column, map(str, frame.columns))
            raise UserError(f"{where}: no column '{column}'{hint}; score again")
    if PROTOCOL not in frame.columns:
        frame = frame.assign(**{PROTOCOL: UNRECORDED})
    frame = frame[[*COLUMNS, PROTOCOL]].sort_values(list(KEYS), ignore_index=True)
    if frame.empty:
        raise UserError(f"{where}: no records; score at least one image")
    _check_finite(frame, where)
    _check_unique(frame, where)
    _check_paired(frame, where)
    _check_protocols(frame, where)
    return frame


def datasets_of(frame: pd.DataFrame) -> list[str]:
    """Return the datasets in the order of tables."""
    names = {str(name) for name in frame["dataset"].unique()}
    known = [name for name in ORDER if name in names]
    return known + sorted(names - set(known))


def protocols_of(frame: pd.DataFrame) -> dict[str, str]:
    """Return the protocol's key of each dataset, in the order of tables."""
    first = frame.groupby("dataset")[PROTOCOL].first()
    return {name: str(first[name]) for name in datasets_of(frame)}


def _check_protocols(frame: pd.DataFrame, where: str) -> None:
    """Numbers of two protocols must not share a table."""
    for dataset, part in frame.groupby("dataset"):
        found = sorted(part[PROTOCOL].unique())
        if len(found) > 1:
            raise UserError(
                f"{where}: dataset '{dataset}' was scored by several protocols "
                f"({', '.join(found)}); score all of it by one"
            )


def _check_finite(frame: pd.DataFrame, where: str) -> None:
    bad = ~np.isfinite(frame[list(VALUES)].to_numpy(dtype=float)).all(axis=1)
    if bad.any():
        row = frame.iloc[int(bad.argmax())]
        raise UserError(
            f"{where}: image '{row['image_id']}' of '{row['dataset']}' has an error that is not "
            f"finite at n = {row['n']}; score again"
        )


def _check_unique(frame: pd.DataFrame, where: str) -> None:
    twice = frame.duplicated(list(KEYS)).to_numpy()
    if twice.any():
        row = frame.iloc[int(twice.argmax())]
        raise UserError(
            f"{where}: image '{row['image_id']}' of '{row['dataset']}' is recorded twice at "
            f"n = {row['n']}; remove the scores and score again"
        )


def _check_paired(frame: pd.DataFrame, where: str) -> None:
    """Every seed, cell and n of a dataset must have every image of it."""
    for dataset, part in frame.groupby("dataset"):
        images = part["image_id"].nunique()
        names = ["seed", *CELL, "n"]
        cells = math.prod(part[name].nunique() for name in names)
        counts = part.groupby(names).size()
        if len(counts) == cells and (counts == images).all():
            continue
        least = dict(zip(names, counts.index[int(counts.to_numpy().argmin())], strict=True))
        raise UserError(
            f"{where}: dataset '{dataset}' is not complete: {cells} cells of {images} images "
            f"expected, {len(counts)} found; the smallest has {counts.min()} "
            f"({', '.join(f'{name} {value:g}' for name, value in least.items())}); "
            "score the missing ones"
        )
