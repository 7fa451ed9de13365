"""The points of a sweep: which settings each of its trainings and priors gets."""

from __future__ import annotations

import itertools
import random
from typing import Any

from multibodies.errors import UserError
from multibodies.sweep.definition import Axes, Search, Sweep

Point = dict[str, Any]
TRIES = 100  # draws a sample before a space counts as too small


def training_points(sweep: Sweep) -> list[Point]:
    """Return the settings of each training of a seed: a grid, one axis at a time, or draws; of an
    adaptive search those before it has looked at any; or the rows that the file names."""
    if sweep.rows:
        return [dict(row) for row in sweep.rows.values()]
    if sweep.search:
        return draws(sweep.train, sweep.search)[: sweep.search.startup or None]
    return grid(sweep.train) if sweep.vary == "all" else one_at_a_time(sweep)


def grid(axes: Axes) -> list[Point]:
    """Return every combination, the last axis fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def one_at_a_time(sweep: Sweep) -> list[Point]:
    """Return the settings as they are, then each axis' other values with all else as it is."""
    base = sweep.config()
    changes = [{key: value} for key, values in sweep.train.items() for value in values]
    return [{}, *(point for point in changes if sweep.config(point) != base)]


def draws(choices: Axes, search: Search) -> list[Point]:
    """Return `samples` different points, a function of the search's seed alone.

    Raises UserError where the space has fewer.
    """
    source, found = random.Random(search.seed), list[Point]()
    for _ in range(TRIES * search.samples):
        drawn = {key: source.choice(values) for key, values in choices.items()}
        drawn |= {key: span.at(source.random()) for key, span in search.ranges.items()}
        if drawn not in found:
            found.append(drawn)
        if len(found) == search.samples:
            return found
    raise UserError(
        f"[search] samples: {search.samples} different points asked, the axes under [train] gave "
        f"{len(found)}; ask for fewer"
    )
