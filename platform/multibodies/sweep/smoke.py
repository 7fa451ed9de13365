"""The smallest variant of a sweep: the same roads, in seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from multibodies.config import PROFILES
from multibodies.sweep.definition import Axes, Search, Sweep

SAMPLES = 2  # of a search
GRACE = 2  # steps before a training may be stopped


def smoke_variant(sweep: Sweep) -> Sweep:
    """Return the ends of each axis for the first seed at smoke size, named `<name>-smoke`.

    Smoke's sizes win over `[set]` unless those are smaller. Of axes that vary one at a time, only
    the first and the last are kept.
    """
    over_files = sweep.config().data.source != "embedded"
    profile, full = ("paper-smoke", "paper") if over_files else ("smoke", "embedded")
    smoke = PROFILES[profile]

    def gives_way(key: str, value: Any) -> bool:
        section, _, leaf = key.partition(".")
        size, usual = (tree.get(section, {}).get(leaf) for tree in (smoke, PROFILES[full]))
        if size is None or size == usual:
            return False
        return not (isinstance(size, int) and isinstance(value, int) and value < size)

    kept = {key: value for key, value in sweep.fixed.items() if not gives_way(key, value)}
    train = {key: values[-1:] for key, values in sweep.train.items()}
    small = replace(
        sweep,
        name=f"{sweep.name}-smoke",
        profile=profile,
        fixed=kept,
        seeds=sweep.seeds[:1],
        train=_ends(sweep.train) if sweep.vary == "all" else _outer(train),
        prior=_ends(sweep.prior),
        score=_ends(sweep.score),
        search=sweep.search and _few(sweep.search),
        stopping=sweep.stopping and replace(sweep.stopping, grace=GRACE),
    )
    for key, values in (*small.train.items(), *small.prior.items(), *small.score.items()):
        for value in values:
            small.config({key: value})
    return small


def _few(search: Search) -> Search:
    """Return a search of two points; where it is adaptive the second follows from the first."""
    return replace(search, samples=min(SAMPLES, search.samples), startup=min(1, search.startup))


def _ends(axes: Axes) -> Axes:
    return {key: _first_and_last(values) for key, values in axes.items()}


def _outer(axes: Axes) -> Axes:
    return {key: axes[key] for key in _first_and_last(tuple(axes))}


def _first_and_last(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return (values[0], *values[1:][-1:])
