"""The effect of each axis: a value against the axis' base, all else equal.

    difference(image) = mean over pairs of error(value) - error(base)

A pair is two cells of one seed that differ in this axis alone. What a search drew has no pairs.
Shapes: B image, C cell, S seed, N output count, D metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from multibodies.report.bootstrap import Floats, Intervals, paired_bootstrap, seeds_bootstrap
from multibodies.report.cells.errors import Errors
from multibodies.report.cells.facts import Axis, CellFacts, Facts
from multibodies.report.records import METRICS

Record = dict[str, Any]
Pairs = list[tuple[int, int]]  # places of (value, base) among all cells


def axis_effects(found: Sequence[Errors], facts: Facts, samples: int) -> list[Record]:
    """Return a row per dataset, axis, value but the base, n and metric: difference_mm, its interval
    over images [low, high], over images and seeds (seeds_low, seeds_high) where there are several
    seeds, each seed's difference, and the pairs of a seed.
    """
    return [
        row
        for axis in facts.axes
        if not (axis.drawn or axis.named)
        for errors in found
        for row in _of_axis(errors, facts, axis, samples)
    ]


def pairs_of(facts: Facts, axis: Axis, value: Any) -> list[Pairs]:
    """Return each seed's pairs: cells at the value and at the base, equal in all other axes."""
    at = {_rest(cell, axis): i for i, cell in _cells_at(facts, axis, axis.base)}
    pairs: dict[int, Pairs] = {seed: [] for seed in facts.seeds}
    for i, cell in _cells_at(facts, axis, value):
        if (base := at.get(_rest(cell, axis))) is not None:
            pairs[cell.seed].append((i, base))
    return list(pairs.values())


def _cells_at(facts: Facts, axis: Axis, value: Any) -> Iterator[tuple[int, CellFacts]]:
    return ((i, cell) for i, cell in enumerate(facts.cells) if cell.settings[axis.key] == value)


def _rest(cell: CellFacts, axis: Axis) -> str:
    """Return the identity of all that a cell is but for an axis."""
    rest = {key: value for key, value in cell.settings.items() if key != axis.key}
    return json.dumps([cell.seed, rest], sort_keys=True)


def _of_axis(errors: Errors, facts: Facts, axis: Axis, samples: int) -> list[Record]:
    others = [value for value in axis.values if value != axis.base]
    named = [({"value": value}, pairs_of(facts, axis, value)) for value in others]
    about = {"dataset": errors.dataset, "axis": axis.key, "base": axis.base}
    return [{**about, **row} for row in paired_rows(errors, named, samples)]


def paired_rows(
    errors: Errors, named: Sequence[tuple[Record, Sequence[Pairs]]], samples: int
) -> list[Record]:
    """Return a row per name, n that its pairs have, and metric: the name, n, pairs of a seed,
    difference_mm with its intervals as `axis_effects`, each seed's.

    named: what a difference is called, and each seed's pairs; all have the same seeds.
    """
    names, columns = [], []
    for name, by_seed in named:
        for n in errors.ns:
            scored = [[p for p in pairs if errors.has(p, n)] for pairs in by_seed]
            if not all(scored):
                continue  # an n above an M, or what never differs in this alone
            names.append({**name, "n": n, "pairs": len(scored[0])})
            columns.append(_difference(errors, scored, n))
    if not columns:
        return []
    values = np.stack(columns, axis=2)  # [B, S, V, D]
    flat = values.reshape(*values.shape[:2], -1)
    intervals = paired_bootstrap(flat.mean(axis=1), samples)
    both = seeds_bootstrap(flat, samples) if flat.shape[1] > 1 else None
    return [
        {**name, "metric": metric, **_numbers(flat, intervals, both, index)}
        for index, (name, metric) in enumerate((a, b) for a in names for b in METRICS)
    ]


def _difference(errors: Errors, scored: Sequence[Pairs], n: int) -> Floats:
    """Return the mean difference of each seed's pairs at n [B, S, D]."""
    place = errors.ns.index(n)
    seeds = []
    for pairs in scored:
        plus, minus = (errors.values[:, [pair[side] for pair in pairs], place] for side in (0, 1))
        seeds.append((plus - minus).mean(axis=1))
    return np.stack(seeds, axis=1)


def _numbers(
    flat: Floats, intervals: Intervals, both: Intervals | None, index: int
) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "difference_mm": float(intervals.mean[index]),
        "low": float(intervals.low[index]),
        "high": float(intervals.high[index]),
        "by_seed": flat[:, :, index].mean(axis=0).tolist(),
    }
    if both is not None:
        numbers |= {"seeds_low": float(both.low[index]), "seeds_high": float(both.high[index])}
    return numbers
