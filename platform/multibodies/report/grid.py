"""Per-image records as one dense array per dataset.

Shapes: B image, S seed, L lambda_ri, W flow weight, N output count, D = 2 metrics (MPJPE, RE; mm).
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from multibodies.report.bootstrap import Floats
from multibodies.report.records import KEYS, VALUES, check_per_image, datasets_of

Cell = tuple[float, float]


@dataclass(frozen=True)
class Grid:
    """All errors [B, S, L, W, N, D] of one dataset and what its axes stand for."""

    dataset: str
    seeds: tuple[int, ...]
    levels: tuple[float, ...]
    weights: tuple[float, ...]
    ns: tuple[int, ...]
    errors: Floats

    @property
    def cells(self) -> list[Cell]:
        """(lambda_ri, flow_weight) of every cell, sorted."""
        return [(level, weight) for level in self.levels for weight in self.weights]

    def of(self, cell: Cell) -> Floats:
        """Return the errors [B, S, N, D] of one cell."""
        level, weight = cell
        errors: Floats = self.errors[:, :, self.levels.index(level), self.weights.index(weight)]
        return errors


def grids(frame: pd.DataFrame) -> list[Grid]:
    """Return one grid per dataset, in the order of tables.

    Raises UserError (`check_per_image`) unless every cell of a dataset holds the same images.
    """
    frame = check_per_image(frame)
    return [_grid(name, frame[frame["dataset"] == name]) for name in datasets_of(frame)]


def _grid(dataset: str, part: pd.DataFrame) -> Grid:
    """Reshape one dataset's rows, which are sorted by KEYS and complete."""
    axes = [sorted(part[key].unique().tolist()) for key in KEYS[1:]]
    shape = [len(axis) for axis in axes]
    errors = part[list(VALUES)].to_numpy(dtype=float).reshape(*shape, len(VALUES))
    _, seeds, levels, weights, ns = axes
    return Grid(
        dataset,
        tuple(int(seed) for seed in seeds),
        tuple(float(level) for level in levels),
        tuple(float(weight) for weight in weights),
        tuple(int(n) for n in ns),
        errors,
    )
