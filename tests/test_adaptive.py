"""Adaptive search: TPE's points from what was told, the same whoever was killed in between."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from multibodies.errors import UserError
from multibodies.runs import read_record
from multibodies.sweep import Plan, describe_plan, draw_more, expand, load_sweep, smoke_variant
from multibodies.sweep.adaptive import DRAWN, Outcome, next_points, with_drawn
from multibodies.sweep.definition import Range, Search
from multibodies.sweep.points import draws

SWEEPS = Path(__file__).parents[1] / "sweeps"
RANGES = {"loss.ri": Range(0.01, 1.0, log=True), "stage2.steps": Range(100, 900, whole=True)}
CHOICES = {"loss.rb": (0.2, 1.0, 5.0)}
SEARCH = Search(30, "mpjpe_n5", 3, RANGES, "optuna", 8)


def error(point: dict[str, Any]) -> float:
    """A bowl: least at ri = 0.1, 300 steps, rb = 1."""
    off = math.log10(point["loss.ri"]) + 1, (point["stage2.steps"] - 300) / 400
    return 50 + 20 * sum(x * x for x in off) + 5 * abs(point["loss.rb"] - 1)


def searched(search: Search, width: int) -> list[dict[str, Any]]:
    points = draws(CHOICES, search)[: search.startup]
    while len(points) < search.samples:
        told = [(point, Outcome(error(point))) for point in points]
        count = min(width, search.samples - len(points))
        points += next_points(search, CHOICES, told, count)
    return points


def test_later_points_are_better_than_random_ones_and_all_differ() -> None:
    points = searched(SEARCH, 2)
    assert len(points) == 30 and all(points.count(point) == 1 for point in points)
    for point in points:
        assert point["loss.rb"] in CHOICES["loss.rb"] and 0.01 <= point["loss.ri"] <= 1
        assert isinstance(point["stage2.steps"], int) and 100 <= point["stage2.steps"] <= 900
        assert float(f"{point['loss.ri']:.3g}") == point["loss.ri"]
    drawn = draws(CHOICES, SEARCH)
    mean = sum(map(error, points[8:])) / 22
    assert mean < sum(map(error, drawn[8:])) / 22 - 3


def test_points_follow_from_what_was_told_and_the_seed_alone() -> None:
    told = [(point, Outcome(error(point))) for point in draws(CHOICES, SEARCH)[:10]]
    first = next_points(SEARCH, CHOICES, told, 3)
    assert next_points(SEARCH, CHOICES, told, 3) == first
    assert next_points(SEARCH, CHOICES, told, 2) == first[:2]
    assert next_points(SEARCH, CHOICES, told[:9], 3) != first
    other = Search(30, "mpjpe_n5", 4, RANGES, "optuna", 8)
    assert next_points(other, CHOICES, told, 3) != first


def test_a_stopped_point_is_told_as_worse_than_a_whole_one() -> None:
    points = draws(CHOICES, SEARCH)[:16]
    told = [
        (p, Outcome(error(p)) if error(p) < 65 else Outcome(error(p), stopped_at=30))
        for p in points
    ]
    assert 0 < sum(outcome.stopped_at is not None for _, outcome in told) < 16
    new = next_points(SEARCH, CHOICES, told, 4)
    assert sum(map(error, new)) / 4 < sum(map(error, points)) / 16


def test_a_small_space_is_searched_in_full() -> None:
    search = Search(3, "mpjpe_n5", 0, {}, "optuna", 1)
    told = [({"loss.rb": 1.0}, Outcome(1.0))]
    found = next_points(search, CHOICES, told, 2)
    assert sorted(point["loss.rb"] for point in found) == [0.2, 5.0]


def planned(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "mine.toml"
    path.write_text(f'name="a"\n[evaluation]\nsplits=["wild-val"]\n{text}')
    return expand(load_sweep(path))


TEXT = """[search]
method="optuna"
samples=6
metric="mpjpe_n5"
[train]
"loss.ri"={low=0.01, high=1, log=true}
"""


def test_a_plan_has_the_first_points_and_takes_up_those_drawn(tmp_path: Path) -> None:
    plan = planned(tmp_path, TEXT)
    assert (len(plan.trainings), plan.undrawn) == (2, 4)
    text = describe_plan(plan, tmp_path)
    assert "4 more, not yet drawn" in text and "after 2 by Optuna's TPE" in text
    told = [(dict(t.overrides), Outcome(60.0 + k)) for k, t in enumerate(plan.trainings)]
    more = draw_more(plan, tmp_path, told, 3)
    assert (len(more.trainings), len(more.cells), more.undrawn) == (5, 5, 1)
    assert len(read_record(tmp_path / DRAWN)["batches"]) == 1
    again = with_drawn(plan, tmp_path)
    assert again == more
    told += [(dict(t.overrides), Outcome(50.0)) for t in more.trainings[2:]]
    last = draw_more(more, tmp_path, told, 3)
    assert (len(last.trainings), last.undrawn) == (6, 0)
    assert with_drawn(plan, tmp_path) == last and "not yet drawn" not in describe_plan(last, "no")
    assert plan.recipe() == last.recipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("samples=6", "samples=6\nstartup=0"),
            "startup: expected a whole number >= 1",
        ),
        (TEXT.replace('"optuna"', '"random"\nstartup=2'), "startup: goes with method = 'optuna'"),
        (TEXT.replace('"optuna"', '"optun"'), "[search] method: unknown value"),
        (TEXT + '[stopping]\nmethod="median"', "[stopping] method: expected 'asha'"),
        (TEXT + '[stopping]\nmetod="asha"', "did you mean 'method'"),
        (TEXT + '[stopping]\nmethod="asha"\nmetric="total"', "[stopping] metric: expected"),
        (TEXT + '[stopping]\nmethod="asha"\nmetric="re_n5"', "grace: expected a whole number"),
        (TEXT + '[stopping]\nmethod="asha"\nmetric="re_n5"\ngrace=1500', "expected fewer steps"),
        (
            TEXT + '[stopping]\nmethod="asha"\nmetric="re_n5"\ngrace=9\nsplits=["wild-test"]',
            "judged on val splits only",
        ),
        (
            TEXT + '[stopping]\nmethod="asha"\nmetric="re_n5"\ngrace=9\nreduction=1',
            "reduction: expected a whole number >= 2",
        ),
    ],
)
def test_bad_tables_are_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        planned(tmp_path, text)
    assert message in str(caught.value)


def test_stopping_asks_for_one_seed_and_an_n_that_every_m_has(tmp_path: Path) -> None:
    rule = '[stopping]\nmethod="asha"\nmetric="mpjpe_n25"\ngrace=9\n'
    path = tmp_path / "mine.toml"
    path.write_text(f'name="a"\nseeds=[0, 1]\n[train]\n"loss.ri"=[0, 1]\n{rule}splits=["wild-val"]')
    with pytest.raises(UserError, match="goes with one seed"):
        load_sweep(path)
    path.write_text(f'name="a"\n[train]\n"stage2.num_hypotheses"=[5, 25]\n{rule}')
    with pytest.raises(UserError, match=r"mpjpe_n25 cannot be had of stage2\.num_hypotheses = 5"):
        load_sweep(path)
    path.write_text(f'name="a"\n[train]\n"loss.ri"=[0, 1]\n{rule}')
    with pytest.raises(UserError, match="judged on val splits only"):
        load_sweep(path)


def test_the_smoke_variant_draws_and_stops_too() -> None:
    small = smoke_variant(load_sweep(SWEEPS / "loss_search_optuna.toml"))
    assert small.search is not None and small.stopping is not None
    assert (small.search.samples, small.search.startup) == (2, 1)
    assert small.stopping.rungs(small.config().stage2.steps)
