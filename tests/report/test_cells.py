"""The comparison of cells: effects against paired means by hand, intervals, choice of lines."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multibodies.errors import UserError
from multibodies.report.bootstrap import paired_bootstrap, seeds_bootstrap
from multibodies.report.cells import contrasts, costs, curves, diversity, draws
from multibodies.report.cells.axis_figure import levels
from multibodies.report.cells.errors import Errors, read_errors
from multibodies.report.cells.facts import (
    Axis,
    CellFacts,
    Cost,
    Facts,
    points_of,
    read_facts,
    write_facts,
)
from multibodies.report.cells.planned import axes_of_plan, cell_facts
from multibodies.report.cells.scatter import Mark, Panel, draw_panels
from multibodies.sweep import expand, load_sweep

SWEEPS = Path(__file__).parents[2] / "sweeps"
RI, SIZE, FLOW = "loss.ri", "stage2.num_hypotheses", "evaluation.flow_weight"
AXES = (
    Axis(RI, "ri", (0.0, 0.1), 0.1),
    Axis(SIZE, "M", (1, 25, 50), 25),
    Axis(FLOW, "flow_weight", (0.0, 1.0), 1.0),
)
IMAGES = 12


def facts_of(axes: tuple[Axis, ...] = AXES, seeds: tuple[int, ...] = (0, 1)) -> Facts:
    """Return a grid over the axes."""
    cells = []
    for seed, *values in itertools.product(seeds, *(axis.values for axis in axes)):
        settings = dict(zip((axis.key for axis in axes), values, strict=True))
        fit = f"seed{seed}-ri{settings[RI]:g}-M{settings[SIZE]}"
        records = {"training": fit, "flow_weight": settings[FLOW]}
        name = f"{fit}-flow{settings[FLOW]:g}"
        cells.append(CellFacts(name, fit, seed, False, settings, records))
    names = dict.fromkeys(cell.training for cell in cells)
    return Facts(axes, tuple(cells), tuple(Cost(t, 9, 100 + i, None) for i, t in enumerate(names)))


def records_of(facts: Facts) -> pd.DataFrame:
    """Return random errors of each cell and n <= M, shuffled: order must not matter."""
    rng, rows = np.random.default_rng(7), []
    for cell in facts.cells:
        for n in (n for n in (1, 25) if n <= cell.settings[SIZE]):
            for image in range(IMAGES):
                row: dict[str, Any] = {"dataset": "wild", "image_id": f"w{image:02d}", "n": n}
                error = float(rng.normal(100, 9))
                values = {"mpjpe_mm": error, "re_mm": error / 2, "protocol": "embedded@1"}
                rows.append({**row, **cell.records, "seed": cell.seed, **values})
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


@pytest.fixture
def facts() -> Facts:
    return facts_of()


@pytest.fixture
def frame(facts: Facts) -> pd.DataFrame:
    return records_of(facts)


@pytest.fixture
def found(facts: Facts, frame: pd.DataFrame, tmp_path: Path) -> list[Errors]:
    frame.to_parquet(tmp_path / "per_image.parquet")
    return read_errors(tmp_path / "per_image.parquet", facts)


def mean(frame: pd.DataFrame, n: int, **where: Any) -> float:
    """Return the mean error of the rows that have these values, by looking at each."""
    rows = frame[frame["n"] == n]
    kept = [
        row["mpjpe_mm"]
        for row in rows.to_dict("records")
        if all(row[key] == value for key, value in where.items())
    ]
    return sum(kept) / len(kept)


def test_an_effect_is_the_mean_over_pairs(
    facts: Facts, frame: pd.DataFrame, found: list[Errors]
) -> None:
    rows = contrasts.axis_effects(found, facts, 100)
    mine = [row for row in rows if row["axis"] == RI and row["metric"] == "mpjpe"]
    assert [(row["value"], row["base"], row["n"]) for row in mine] == [
        (0.0, 0.1, 1),
        (0.0, 0.1, 25),
    ]
    for row, sizes in zip(mine, ((1, 25, 50), (25, 50)), strict=True):
        assert row["pairs"] == 2 * len(sizes)
        by_seed = []
        for seed in (0, 1):
            names = [(f"seed{seed}-ri0-M{m}", f"seed{seed}-ri0.1-M{m}") for m in sizes]
            parts = [
                mean(frame, row["n"], training=a) - mean(frame, row["n"], training=b)
                for a, b in names
            ]
            by_seed.append(sum(parts) / len(parts))
        assert row["by_seed"] == pytest.approx(by_seed)
        assert row["difference_mm"] == pytest.approx(sum(by_seed) / 2)
        assert row["low"] <= row["difference_mm"] <= row["high"]
        assert row["seeds_low"] <= row["difference_mm"] <= row["seeds_high"]


def test_what_has_no_n_has_no_effect_there(facts: Facts, found: list[Errors]) -> None:
    rows = contrasts.axis_effects(found, facts, 100)
    mine = {(row["value"], row["n"]) for row in rows if row["axis"] == SIZE}
    assert mine == {(1, 1), (50, 1), (50, 25)}


def test_a_search_has_no_pairs_but_of_what_it_crosses(found: list[Errors], facts: Facts) -> None:
    drawn = tuple(replace(axis, drawn=axis.key != FLOW) for axis in facts.axes)
    rows = contrasts.axis_effects(found, replace(facts, axes=drawn), 100)
    assert {row["axis"] for row in rows} == {FLOW}


def test_a_drawn_point_is_chosen_by_the_least_error(
    found: list[Errors], facts: Facts, frame: pd.DataFrame
) -> None:
    drawn = tuple(replace(axis, drawn=axis.key != FLOW) for axis in facts.axes)
    facts = replace(facts, axes=drawn, metric="mpjpe_n1")
    rows = draws.draw_rows(facts, curves.curve_rows(found, facts, 100))
    errors = {
        (ri, m): min(
            sum(mean(frame, 1, training=f"seed{s}-ri{ri:g}-M{m}", flow_weight=w) for s in (0, 1))
            / 2
            for w in (0.0, 1.0)
        )
        for ri in (0.0, 0.1)
        for m in (1, 25, 50)
    }
    told = [(row["settings"][RI], row["settings"][SIZE]) for row in rows]
    assert told == sorted(errors, key=lambda point: errors[point])
    assert [row["error_mm"] for row in rows] == pytest.approx(sorted(errors.values()))
    assert [row["chosen"] for row in rows] == [True, *[False] * 5]
    panels = draws.draw_panels_of(facts, rows)
    assert [[panel.x for panel in line] for line in panels] == [[RI, SIZE]]
    assert [mark.chosen for mark in panels[0][0].marks].count(True) == 1


def test_curves_average_seeds_and_tell_each(
    facts: Facts, frame: pd.DataFrame, found: list[Errors]
) -> None:
    rows = curves.curve_rows(found, facts, 100)
    assert len(rows) == 2 * (12 + 8)  # points and metrics; M = 1 has no n = 25
    row = next(r for r in rows if (r["point"], r["n"]) == ("ri 0, M 25, flow_weight 1", 25))
    seeds = [mean(frame, 25, training=f"seed{s}-ri0-M25", flow_weight=1.0) for s in (0, 1)]
    assert row["by_seed"] == pytest.approx(seeds)
    assert row["mean_mm"] == pytest.approx(sum(seeds) / 2)


def test_of_many_lines_base_best_and_worst_are_named(facts: Facts, found: list[Errors]) -> None:
    rows, points = curves.curve_rows(found, facts, 100), points_of(facts)
    coloured = curves.named(rows, points, facts)
    errors = curves.ranks(rows)
    base = "ri 0.1, M 25, flow_weight 1"
    assert coloured[0] == base and len(set(coloured)) == curves.NAMED < len(points)
    others = sorted((label for label in errors if label != base), key=lambda name: errors[name])
    assert (coloured[1], coloured[-1]) == (others[0], others[-1])
    figure = curves.draw_curves(rows, coloured)
    (grey,) = figure.axes[0].collections[:1]
    assert len(grey.get_paths()) == len(points) - curves.NAMED
    assert [text.get_text() for text in figure.legends[0].get_texts()] == coloured


def test_levels_are_means_of_the_cells_that_pair(
    facts: Facts, frame: pd.DataFrame, found: list[Errors]
) -> None:
    line = levels(found[0], facts, facts.axes[0])[25, 1.0]
    for index, ri in enumerate((0.0, 0.1)):
        names = [f"seed{s}-ri{ri:g}-M{m}" for s in (0, 1) for m in (25, 50)]
        expected = [mean(frame, 25, training=name, flow_weight=1.0) for name in names]
        assert line[index] == pytest.approx(sum(expected) / 4)


def test_diversity_stands_beside_accuracy(
    facts: Facts, found: list[Errors], tmp_path: Path
) -> None:
    path = tmp_path / "diagnostics.parquet"
    rows = curves.curve_rows(found, facts, 100)
    assert diversity.diversity_rows(path, facts, rows) == []
    table = [
        {
            **{"dataset": "wild", "image_id": f"w{i}", **cell.records},
            "diversity_all_mm": 10.0 * i + place,
            "diversity_hidden_mm": float("nan") if i else 4.0,
            "diversity_visible_mm": float("nan"),
        }
        for place, cell in enumerate(facts.cells)
        for i in range(3)
    ]
    pd.DataFrame(table).to_parquet(path)
    told = diversity.diversity_rows(path, facts, rows)
    assert len(told) == 12 and [row["n"] for row in told] == 2 * [1, 1, 25, 25, 25, 25]
    assert told[3]["diversity_all_mm"] == pytest.approx(10 + (3 + 15) / 2)  # seeds' cells 3 and 15
    assert told[3]["diversity_hidden_mm"] == 4.0 and "diversity_visible_mm" not in told[3]
    assert len(diversity.diversity_panels(told)[0]) == 2


def test_cost_is_that_of_the_cell_nearest_to_the_base(
    facts: Facts, frame: pd.DataFrame, found: list[Errors]
) -> None:
    costly = replace(facts, costs=(*facts.costs[:-1], replace(facts.costs[-1], taken_from="old")))
    rows = costs.cost_rows(found, costly)
    assert len(rows) == len({row["training"] for row in rows}) == 12
    last = rows[-1]
    assert (last["cell"], last["n"], last["parameters"]) == ("seed1-ri0.1-M50-flow1", 25, 111)
    expected = mean(frame, 25, training="seed1-ri0.1-M50", flow_weight=1.0)
    assert last["mpjpe_mm"] == pytest.approx(expected)
    marks = costs.cost_panels(rows)[0][0].marks
    assert [mark.hollow for mark in marks] == [False] * 11 + [True]


def test_points_have_numbers_while_they_are_few() -> None:
    marks = tuple(Mark(float(i), 1.0, f"cell {i}", chosen=i == 2) for i in range(1, 40))
    figure = draw_panels([[Panel("wild", "x", "y", marks, log=True)]])
    assert len(figure.legends[0].get_texts()) == 39 and len(figure.axes[0].texts) == 39
    assert figure.axes[0].get_xscale() == "log"
    many = tuple(Mark(float(i), 1.0, f"cell {i}") for i in range(41))
    figure = draw_panels([[Panel("wild", "x", "y", many)]])
    assert not figure.legends and not figure.axes[0].texts


def test_seeds_widen_an_interval_only_where_they_differ() -> None:
    images = np.random.default_rng(0).normal(size=(40, 1, 1))
    same = seeds_bootstrap(np.repeat(images, 2, axis=1), 400)
    alone = paired_bootstrap(images[:, 0], 400)
    assert same.mean == pytest.approx(alone.mean)
    assert same.low == pytest.approx(alone.low) and same.high == pytest.approx(alone.high)
    apart = seeds_bootstrap(images + np.array([-5.0, 5.0])[None, :, None], 400)
    assert apart.mean == pytest.approx(alone.mean)
    assert apart.low[0] < -4 and apart.high[0] > 4


@pytest.mark.parametrize("fault", ["lost", "twice", "cell"])
def test_incomplete_records_are_named(
    facts: Facts, frame: pd.DataFrame, tmp_path: Path, fault: str
) -> None:
    mine = (frame["training"] == "seed1-ri0-M25") & (frame["flow_weight"] == 0)
    row = frame[mine].iloc[[0]]
    broken = {
        "lost": frame.drop(row.index),
        "twice": pd.concat([frame, row]),
        "cell": frame[~mine],
    }
    broken[fault].to_parquet(tmp_path / "per_image.parquet")
    with pytest.raises(UserError, match=r"per_image\.parquet: 'seed1-ri0-M25-flow0' has not each"):
        read_errors(tmp_path / "per_image.parquet", facts)


def test_facts_come_back_from_their_file(facts: Facts, tmp_path: Path) -> None:
    assert read_facts(tmp_path) is None
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts
    tree = json.loads((tmp_path / "cells.json").read_text())
    del tree["axes"]
    (tmp_path / "cells.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"cells\.json: damaged .* trains nothing anew"):
        read_facts(tmp_path)


BASES: Mapping[str, dict[str, Any]] = {
    "num_hypotheses": {SIZE: 100, FLOW: 1.0},  # the paper's, since they are listed
    "flow_depth": {"prior.couplings": 20, FLOW: 1.0},
    "lambda_ri": {RI: 1.0, FLOW: 1.0},
    "table2": {RI: 0.0, FLOW: 1.0},  # 1 is not listed: the first
    "head": {"model.feedback": "all", "model.rank": 0},  # one flow weight is no axis
}


@pytest.mark.parametrize("name", BASES)
def test_the_base_is_the_papers_value_or_the_first(name: str) -> None:
    axes = axes_of_plan(expand(load_sweep(SWEEPS / f"{name}.toml")))
    assert {axis.key: axis.base for axis in axes} == BASES[name]


def test_axes_that_vary_alone_pair_with_the_settings_as_they_are() -> None:
    plan = expand(load_sweep(SWEEPS / "loss_weights.toml"))
    axes = axes_of_plan(plan)
    keys = [axis.key for axis in axes]
    facts = Facts(axes, tuple(cell_facts(plan, cell, keys) for cell in plan.cells), ())
    best = next(axis for axis in axes if axis.key == "loss.best")
    assert (best.values, best.base) == ((5.0, 25.0, 125.0), 25.0)
    ((first, second),) = contrasts.pairs_of(facts, best, 5.0)
    names = [[facts.cells[i].id for i in pair] for pair in (first, second)]
    assert names == [
        [f"seed0-{which}-flow_weight{weight}" for which in ("best5", "as_set")] for weight in (0, 1)
    ]
