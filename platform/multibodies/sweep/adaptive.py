"""Adaptive search: the next points by Optuna's TPE, from those that have been looked at.

Asked in batches, and not by Ray Tune's OptunaSearch: a cell's id and recipe are known before it is
trained, its metric is scored on stored hypotheses outside of any trial, and nobody's pickled
searcher is needed to go on. A batch depends on the search's seed and on what was told alone, so
that a killed search, told again from its folder, goes on with the very points that it would have
drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from multibodies.config import fingerprint
from multibodies.runs import read_record, write_record
from multibodies.sweep.definition import Axes, Range, Search
from multibodies.sweep.expand import with_points
from multibodies.sweep.plan import Plan
from multibodies.sweep.points import Point, draws

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

MOST_ASKED = 20  # times for each point
DRAWN = "search.json"  # the points after the first ones, batch by batch, before they are trained


class Outcome(NamedTuple):
    """What became of a point: its metric on val; where it was stopped early, the step and the
    metric that it had there."""

    value: float
    stopped_at: int | None = None


Told = Sequence[tuple[Point, Outcome]]


def with_drawn(plan: Plan, run_dir: Path) -> Plan:
    """Return the plan with the points that an earlier command has drawn. Raises UserError where
    their record is damaged."""
    path = run_dir / DRAWN
    batches = read_record(path)["batches"] if plan.undrawn and path.exists() else []
    return with_points(plan, [point for batch in batches for point in batch])


def draw_more(plan: Plan, run_dir: Path, told: Told, count: int) -> Plan:
    """Return the plan with a batch of new points, which are recorded first."""
    search, path = plan.sweep.search, run_dir / DRAWN
    assert search is not None
    batch = next_points(search, plan.sweep.train, told, min(count, plan.undrawn))
    before = read_record(path)["batches"] if path.exists() else []
    write_record(path, {"batches": [*before, batch]})
    return with_points(plan, batch)


def next_points(search: Search, choices: Axes, told: Told, count: int) -> list[Point]:
    """Return `count` points unlike each other and all that were told."""
    space = space_of(choices, search.ranges)
    seen = [(_places(point, choices), outcome) for point, outcome in told]
    study = study_of(search, space, seen)
    found = [point for point, _ in told]
    for _ in range(MOST_ASKED * count):
        point = _point(study.ask(space).params, choices, search.ranges)
        found += [point] * (point not in found)
        if len(found) == len(told) + count:
            break
    else:  # of a small space TPE asks for the same points again and again
        spare = [point for point in draws(choices, search) if point not in found]
        found += spare[: len(told) + count - len(found)]
    return found[len(told) :]


def space_of(choices: Axes, ranges: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    """Return Optuna's form of the axes; of listed values it sees the places."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    space: dict[str, BaseDistribution] = {
        key: CategoricalDistribution(range(len(values))) for key, values in choices.items()
    }
    for key, span in ranges.items():
        if span.whole:
            space[key] = IntDistribution(int(span.low), int(span.high), log=span.log)
        else:
            space[key] = FloatDistribution(span.low, span.high, log=span.log)
    return space


def study_of(search: Search, space: dict[str, BaseDistribution], told: Told) -> Study:
    """Return a study in memory that was told so much; a stopped point counts as pruned."""
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(fingerprint("tpe", search.seed, len(told))[:8], 16)
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=search.startup, constant_liar=True, seed=seed
    )
    study = optuna.create_study(sampler=sampler)
    for point, outcome in told:
        step = outcome.stopped_at
        pruned: dict[str, Any] = {
            "state": TrialState.PRUNED,
            "intermediate_values": {step: outcome.value},
        }
        how = {"value": outcome.value} if step is None else pruned
        study.add_trial(create_trial(params=point, distributions=space, **how))
    return study


def _places(point: Point, choices: Axes) -> Point:
    """Return a point in Optuna's form, with the places of listed values."""
    return {k: choices[k].index(value) if k in choices else value for k, value in point.items()}


def _point(params: Point, choices: Axes, ranges: Mapping[str, Range]) -> Point:
    """Return Optuna's answer as settings, which folders can be named by."""
    listed = {key: values[params[key]] for key, values in choices.items()}
    return listed | {key: span.rounded(params[key]) for key, span in ranges.items()}
