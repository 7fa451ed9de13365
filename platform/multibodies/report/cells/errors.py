"""Per-image records as one dense array per dataset, a column a cell.

Shapes: B image, C cell, N output count, D = 2 metrics (MPJPE, RE; mm). NaN where a cell was not
scored for an n, as those above its M.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from multibodies.errors import UserError
from multibodies.protocols import label_of
from multibodies.report.bootstrap import Floats
from multibodies.report.cells.facts import Facts
from multibodies.report.records import PROTOCOL, UNRECORDED, VALUES, datasets_of


@dataclass(frozen=True)
class Errors:
    """All errors [B, C, N, D] of one dataset."""

    dataset: str
    protocol: str
    ns: tuple[int, ...]
    values: Floats

    def has(self, cells: Sequence[int], n: int) -> bool:
        """Tell whether all these cells were scored for n."""
        scored = np.isfinite(self.values[0, list(cells), self.ns.index(n), 0])
        return bool(scored.all())


def read_errors(path: Path, facts: Facts) -> list[Errors]:
    """Return the errors of each dataset, in the order of tables.

    Raises UserError where a cell or some of its images are missing, recorded twice or not finite.
    """
    frame = pd.read_parquet(path)
    if PROTOCOL not in frame.columns:
        frame = frame.assign(**{PROTOCOL: UNRECORDED})
    placed = with_cells(frame, facts)
    return [
        _dense(str(path), facts, name, placed[placed["dataset"] == name])
        for name in datasets_of(placed)
    ]


def with_cells(frame: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return the rows of the sweep's cells with a column `cell`, their place among all cells."""
    keys = pd.DataFrame([dict(cell.records) for cell in facts.cells])
    return frame.merge(keys.assign(cell=range(len(keys))), on=list(keys.columns))


def _dense(where: str, facts: Facts, dataset: str, rows: pd.DataFrame) -> Errors:
    images, names = pd.factorize(rows["image_id"], sort=True)
    places, ns = pd.factorize(rows["n"], sort=True)
    cells = rows["cell"].to_numpy()
    shape = len(names), len(facts.cells), len(ns)
    counts = np.zeros(shape, dtype=np.int16)
    np.add.at(counts, (images, cells, places), 1)
    per_cell = counts.sum(axis=0)  # [C, N]
    whole = np.isin(per_cell, (0, len(names))) & (counts <= 1).all(axis=0)
    whole[:, 0] &= per_cell.sum(axis=1) > 0
    if not whole.all():
        cell = facts.cells[int(np.argwhere(~whole)[0][0])].id
        raise UserError(
            f"{where}: '{cell}' has not each of the {len(names)} images of '{dataset}' once; "
            "give the sweep's command again"
        )
    values = np.full((*shape, len(VALUES)), np.nan)
    values[images, cells, places] = rows[list(VALUES)].to_numpy(dtype=float)
    return Errors(dataset, label_of(str(rows[PROTOCOL].iloc[0])), tuple(int(n) for n in ns), values)
