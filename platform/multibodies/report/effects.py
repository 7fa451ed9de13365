"""The two effects of Table 2, with paired bootstrap 95 % intervals over images.

An effect is a contrast between cells of the grid (lambda_ri, flow_weight); negative helps:

    reprojection = mean over flow weights {0, 1} of error(lambda_ri > 0) - error(lambda_ri 0)
    flow         = mean over every lambda_ri     of error(flow weight 1) - error(flow weight 0)

Each image's error is first averaged over the seeds; then images are resampled. The interval tells
how well the images determine the difference of these trainings; `effects_per_seed` tells how much
another training seed moves it.

Shapes: B image, S seed, N output count, D metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from multibodies.report.bootstrap import Floats, paired_bootstrap
from multibodies.report.grid import Cell, Grid
from multibodies.report.records import METRICS

MAIN = ("reprojection", "flow")


class Contrast(NamedTuple):
    """A named difference: mean error of the cells `plus` minus mean error of the cells `minus`."""

    effect: str
    plus: tuple[Cell, ...]
    minus: tuple[Cell, ...]


def contrasts(cells: Sequence[Cell]) -> list[Contrast]:
    """Return the contrasts that these (lambda_ri, flow_weight) cells allow.

    The two main effects first, then each at one level of the other factor, then each lambda_ri of
    several, then, marked as ours, other flow weights against uniform ones.
    """
    weights = sorted({weight for _, weight in cells})
    levels = sorted({level for level, _ in cells})
    on = [level for level in levels if level > 0] if 0.0 in levels else []
    paper = [weight for weight in weights if weight in (0.0, 1.0)]
    main = [_levels("reprojection", on, paper)]
    simple = [_levels(f"reprojection at flow weight {w:g}", on, [w]) for w in paper]
    if len(paper) == 2:
        main.append(_weights("flow", levels, 1.0))
        simple += [_weights(f"flow at lambda_ri {level:g}", [level], 1.0) for level in levels]
    if len(on) > 1:
        simple += [_levels(f"reprojection of lambda_ri {level:g}", [level], paper) for level in on]
    ours = [w for w in weights if w not in paper and 0.0 in paper]
    simple += [_weights(f"ours: flow weight {weight:g}", levels, weight) for weight in ours]
    return [contrast for contrast in main + simple if contrast.plus]


def effects(grids: Sequence[Grid], samples: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return every contrast per dataset, n and metric: difference_mm with its interval.

    All contrasts of a dataset share the resampled images.
    """
    return [record for grid in grids for record in _of_dataset(grid, samples, seed)]


def effects_per_seed(grids: Sequence[Grid]) -> list[dict[str, Any]]:
    """Return the main effects of each seed alone, without intervals."""
    return [
        {**names, "seed": seed, "difference_mm": float(values[:, index].mean())}
        for grid in grids
        for names, values in _differences(grid)
        if names["effect"] in MAIN
        for index, seed in enumerate(grid.seeds)
    ]


def _levels(effect: str, on: Sequence[float], weights: Sequence[float]) -> Contrast:
    return Contrast(
        effect,
        tuple((level, weight) for level in on for weight in weights),
        tuple((0.0, weight) for weight in weights),
    )


def _weights(effect: str, levels: Sequence[float], weight: float) -> Contrast:
    plus, minus = ((level, weight) for level in levels), ((level, 0.0) for level in levels)
    return Contrast(effect, tuple(plus), tuple(minus))


def _of_dataset(grid: Grid, samples: int, seed: int) -> Iterator[dict[str, Any]]:
    found = list(_differences(grid))
    if not found:
        return
    columns = np.stack([values.mean(axis=1) for _, values in found], axis=1)
    intervals = paired_bootstrap(columns, samples, seed)
    for (names, _), mean, low, high in zip(found, *intervals, strict=True):
        yield {**names, "difference_mm": float(mean), "low": float(low), "high": float(high)}


def _differences(grid: Grid) -> Iterator[tuple[dict[str, Any], Floats]]:
    """Yield (names, difference per image and seed [B, S]) in the order of tables."""
    for effect, plus, minus in contrasts(grid.cells):
        difference = _mean(grid, plus) - _mean(grid, minus)
        for index, n in enumerate(grid.ns):
            for part, metric in enumerate(METRICS):
                names = {"dataset": grid.dataset, "effect": effect, "n": n, "metric": metric}
                yield names, difference[:, :, index, part]


def _mean(grid: Grid, cells: Sequence[Cell]) -> Floats:
    mean: Floats = np.mean([grid.of(cell) for cell in cells], axis=0)
    return mean
