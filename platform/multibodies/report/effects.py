"""The two effects of Table 2, with paired bootstrap 95 % intervals over images.

An effect is a contrast between cells of the grid (lambda_ri, flow_weight); negative helps:

    reprojection = mean over flow weights {0, 1} of error(lambda_ri > 0) - error(lambda_ri 0)
    flow         = mean over every lambda_ri     of error(flow weight 1) - error(flow weight 0)

Each image's error is first averaged over the seeds; then images are resampled. The interval tells
how well the images determine the difference of these trainings; `effects_per_seed` tells how much
another training seed moves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from multibodies.report.bootstrap import Floats, paired_bootstrap
from multibodies.report.records import CELL, METRICS, datasets_of, seed_means

MAIN = ("reprojection", "flow")
Cell = tuple[float, float]


class Contrast(NamedTuple):
    """A named difference: mean error of the cells `plus` minus mean error of the cells `minus`."""

    effect: str
    plus: tuple[Cell, ...]
    minus: tuple[Cell, ...]


def contrasts(cells: Sequence[Cell]) -> list[Contrast]:
    """Return the contrasts that these (lambda_ri, flow_weight) cells allow.

    The two main effects first, then each at one level of the other factor, then, marked as ours,
    other flow weights against uniform ones.
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
    ours = [w for w in weights if w not in paper and 0.0 in paper]
    simple += [_weights(f"ours: flow weight {weight:g}", levels, weight) for weight in ours]
    return [contrast for contrast in main + simple if contrast.plus]


def effects(frame: pd.DataFrame, samples: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return every contrast per dataset, n and metric: difference_mm with its interval."""
    averaged = seed_means(frame)
    return [
        record
        for dataset in datasets_of(averaged)
        for record in _of_dataset(averaged, dataset, samples, seed)
    ]


def effects_per_seed(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the main effects of each seed alone, without intervals."""
    return [
        {**_names(dataset, contrast, n, metric), "seed": int(str(seed)), "difference_mm": mean}
        for seed, part in frame.groupby("seed")
        for dataset in datasets_of(part)
        for contrast, n, metric, values in _differences(part, dataset)
        if contrast.effect in MAIN
        for mean in [float(values.mean())]
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


def _of_dataset(
    averaged: pd.DataFrame, dataset: str, samples: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Bootstrap all contrasts of a dataset on the same resampled images."""
    found = list(_differences(averaged, dataset))
    if not found:
        return
    columns = np.stack([values for *_, values in found], axis=1)
    intervals = paired_bootstrap(columns, samples, seed)
    for index, (contrast, n, metric, _) in enumerate(found):
        yield {
            **_names(dataset, contrast, n, metric),
            "difference_mm": float(intervals.mean[index]),
            "low": float(intervals.low[index]),
            "high": float(intervals.high[index]),
        }


def _names(dataset: str, contrast: Contrast, n: int, metric: str) -> dict[str, Any]:
    return {"dataset": dataset, "effect": contrast.effect, "n": n, "metric": metric}


def _differences(frame: pd.DataFrame, dataset: str) -> Iterator[tuple[Contrast, int, str, Floats]]:
    """Yield (contrast, n, metric, difference per image [B]) in the order of tables."""
    part = frame[frame["dataset"] == dataset]
    for contrast in contrasts(cells_of(part)):
        for n in sorted(int(value) for value in part["n"].unique()):
            at_n = part[part["n"] == n]
            for metric in METRICS:
                table = at_n.pivot(index="image_id", columns=CELL, values=f"{metric}_mm")
                plus = table[list(contrast.plus)].to_numpy(dtype=float).mean(axis=1)
                minus = table[list(contrast.minus)].to_numpy(dtype=float).mean(axis=1)
                yield contrast, n, metric, plus - minus


def cells_of(frame: pd.DataFrame) -> list[Cell]:
    """Return the distinct (lambda_ri, flow_weight), sorted."""
    distinct = frame[CELL].drop_duplicates().to_numpy(dtype=float)
    return sorted((float(level), float(weight)) for level, weight in distinct)
