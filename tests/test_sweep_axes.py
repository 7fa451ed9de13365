"""Axes beyond a grid over the loss: M, the prior, one axis at a time, random draws."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from multibodies.errors import UserError
from multibodies.sweep import (
    Plan,
    best_of,
    check_recipe,
    describe_plan,
    expand,
    load_sweep,
    smoke_variant,
)
from multibodies.sweep.definition import Range
from multibodies.sweep.estimate import estimate

SWEEPS = Path(__file__).parents[1] / "sweeps"
SEARCH = '[evaluation]\nsplits=["wild-val"]\n[search]\nmethod="random"\nsamples=6\n'


def planned(tmp_path: Path, *lines: str) -> Plan:
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(['name="a"', *lines]))
    return expand(load_sweep(path))


def test_each_m_is_scored_for_the_n_that_it_has() -> None:
    plan = expand(load_sweep(SWEEPS / "num_hypotheses.toml"))
    found = {t.config.stage2.num_hypotheses: t.config.evaluation.n for t in plan.trainings}
    assert found == {
        m: tuple(n for n in (1, 5, 10, 25) if n <= m) for m in (1, 5, 10, 25, 50, 100, 200)
    }
    assert plan.base.stage2.num_hypotheses == 200
    assert all(c.config.evaluation.n == found[c.config.stage2.num_hypotheses] for c in plan.cells)
    assert {t.rows for t in plan.trainings} == {"features"}
    ends = {t.config.stage2.num_hypotheses for t in expand(smoke_variant(plan.sweep)).trainings}
    assert ends == {1, 200}


def test_n_above_a_profiles_m_is_fine_where_a_swept_m_has_it(tmp_path: Path) -> None:
    sizes = '[train]\n"stage2.num_hypotheses"=[1, 100]'
    plan = planned(tmp_path, "[evaluation]\nn=[1, 100]", sizes)
    assert [t.config.evaluation.n for t in plan.trainings] == [(1,), (1, 100)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[evaluation]\nn=[300]\n[train]\n"stage2.num_hypotheses"=[1, 200]', "asks for 300"),
        ('[evaluation]\nn=[5]\n[train]\n"stage2.num_hypotheses"=[1, 5]', "1 has no n <= 1"),
        ('[prior]\n"loss.ri"=[1]', "[prior] loss.ri: only prior.* settings"),
        ('[prior]\n"prior.couplings"=[]', "[prior] prior.couplings: expected a list"),
        ('[prior]\n"prior.couplings"=[1]', "greater than or equal to 2"),
        ('vary="some"', "vary: unknown value 'some'"),
        ('[train]\n"loss.ri"={low=0.1, high=1}', "a range needs [search]"),
        (SEARCH, "[search] metric: expected mpjpe_nN"),
        (SEARCH + 'metric="mpjpe_n7"', "[search] metric: expected mpjpe_nN"),
        (SEARCH.replace("-val", "-test") + 'metric="re_n5"', "choose on val splits only"),
        (SEARCH.replace("6", "0") + 'metric="re_n5"', "[search] samples: expected a whole"),
        (SEARCH.replace("random", "rndom") + 'metric="re_n5"', "[search] method: unknown"),
        (SEARCH + 'metrik="re_n5"', "did you mean 'metric'"),
        ('vary="one"\n' + SEARCH + 'metric="re_n5"', "vary = 'one' goes with a grid"),
        (SEARCH + 'metric="re_n5"\n[train]\n"loss.ri"={low=0, high=1, log=true}', "low > 0"),
        (SEARCH + 'metric="re_n5"\n[train]\n"loss.ri"={low=2, high=1}', "low < high"),
        (SEARCH + 'metric="re_n5"\n[train]\n"loss.ri"={low=-1, high=1}', "greater than or equal"),
        (SEARCH + 'metric="re_n5"\n[train]\n"loss.form"={low=1, high=2}', "loss.form"),
        (SEARCH + 'metric="re_n5"\n[train]\n"loss.ri"=[0, 1]', "gave 2; ask for fewer"),
    ],
)
def test_bad_axes_are_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        planned(tmp_path, text)
    assert message in str(caught.value)


def test_weights_vary_one_at_a_time_around_the_papers() -> None:
    sweep = load_sweep(SWEEPS / "loss_weights.toml")
    plan = expand(sweep)
    assert sweep.config().loss.ri == 1.0 and sweep.config().loss.best == 25.0
    assert len(plan.trainings) == 1 + sum(len(values) for values in sweep.train.values())
    assert plan.trainings[0].overrides == {} and plan.trainings[0].id == "seed0-as_set"
    for training in plan.trainings[1:]:
        ((key, value),) = training.overrides.items()
        assert value in sweep.train[key]
        assert training.config != plan.trainings[0].config
    assert min(t.config.loss.ri for t in plan.trainings) == 0.0
    assert estimate(plan, "nowhere").scoring > 0
    assert sum(estimate(plan, "nowhere").seconds.values()) < 3600
    ids = [t.id for t in expand(smoke_variant(sweep)).trainings]
    assert ids == ["seed0-as_set", "seed0-ri0", "seed0-depth1"]


def test_a_listed_value_that_is_the_base_is_trained_once(tmp_path: Path) -> None:
    plan = planned(tmp_path, 'vary="one"', '[train]\n"loss.ri"=[1.0, 0.5]')
    assert [t.overrides for t in plan.trainings] == [{}, {"loss.ri": 0.5}]


def test_a_deeper_flow_refits_the_prior_alone() -> None:
    plan = expand(load_sweep(SWEEPS / "flow_depth.toml"))
    assert len(plan.trainings) == len(plan.sweep.seeds)
    assert [p.stage.directory for p in plan.priors] == [
        f"prior-couplings{depth}" for depth in (4, 8, 12, 16, 20)
    ]
    assert len({p.stage.fingerprint for p in plan.priors}) == 5
    assert len(plan.cells) == len(plan.sweep.seeds) * 5 * 3
    assert not plan.is_table2
    first = {c.stage.recipe["inference"] for c in plan.cells if c.seed == 0}
    assert len(first) == 1, "one inference for all depths"
    for cell in plan.cells:
        prior = next(p for p in plan.priors if p.config.prior == cell.config.prior)
        assert cell.stage.recipe["prior"] == prior.stage.fingerprint
    table2 = expand(load_sweep(SWEEPS / "table2.toml"))
    assert plan.priors[1].stage.fingerprint == table2.stage("prior").fingerprint


def test_draws_depend_on_the_searchs_seed_alone(tmp_path: Path) -> None:
    text = (
        SEARCH + 'metric="mpjpe_n5"\nseed={}\n[train]\n"loss.ri"={{low=0.01, high=1, log=true}}\n'
    )
    text += '"stage2.steps"={{low=100, high=200}}\n"loss.rb"=[0.0, 1.0]'
    first, again, other = (planned(tmp_path, text.format(seed)) for seed in (0, 0, 1))
    assert [t.overrides for t in first.trainings] == [t.overrides for t in again.trainings]
    assert [t.overrides for t in first.trainings] != [t.overrides for t in other.trainings]
    assert first.recipe() != other.recipe()
    assert len(first.trainings) == 6
    for training in first.trainings:
        loss, steps = training.config.loss, training.config.stage2.steps
        assert 0.01 <= loss.ri <= 1 and loss.rb in (0.0, 1.0)
        assert isinstance(steps, int) and 100 <= steps <= 200
    fewer = replace(first.sweep, search=replace(first.sweep.search, samples=4))  # type: ignore[type-var]
    kept = [t.overrides for t in expand(fewer).trainings]
    assert kept == [t.overrides for t in first.trainings[:4]]
    assert "6 random draws, seed 0" in describe_plan(first, "nowhere")


def test_a_log_range_is_even_in_the_logarithm() -> None:
    span = Range(0.01, 1.0, log=True)
    assert [span.at(share) for share in (0.0, 0.5, 1.0)] == [0.01, 0.1, 1.0]
    assert span.at(0.25) == pytest.approx(math.exp(math.log(0.01) * 0.75), rel=5e-3)
    assert Range(2, 5, whole=True).at(0.5) in (3, 4)


def test_the_best_point_is_chosen_at_its_own_flow_weight_over_equal_datasets() -> None:
    rows = [
        {"point": point, "flow_weight": alpha, "dataset": name, "n": n, "mpjpe_mm": error}
        for point, alpha, errors in (
            ("a", 0.0, (60.0, 100.0)),
            ("a", 1.0, (70.0, 110.0)),
            ("b", 0.0, (90.0, 90.0)),
            ("b", 1.0, (70.0, 80.0)),
        )
        for name, error in zip(("wild", "awild"), errors, strict=True)
        for n in (5, 25)
    ]
    val = pd.DataFrame(rows)
    val.loc[val["n"] == 5, "mpjpe_mm"] = 0.0
    assert best_of(val, "mpjpe_n25") == ("b", {"b": 75.0, "a": 80.0})
    more = pd.concat([val, *[val[val["dataset"] == "wild"]] * 20])
    assert best_of(more, "mpjpe_n25")[1] == {"b": 75.0, "a": 80.0}
    with pytest.raises(UserError, match="no n = 10"):
        best_of(val, "mpjpe_n10")
    with pytest.raises(UserError, match="lack the column 're_mm'"):
        best_of(val, "re_n25")


def test_other_axes_under_an_old_name_are_refused_with_the_difference(tmp_path: Path) -> None:
    weights = load_sweep(SWEEPS / "loss_weights.toml")
    check_recipe(tmp_path / "a", expand(weights))
    with pytest.raises(UserError, match='vary was "one", now "absent"'):
        check_recipe(tmp_path / "a", expand(replace(weights, vary="all")))
    depth = load_sweep(SWEEPS / "flow_depth.toml")
    check_recipe(tmp_path / "b", expand(depth))
    with pytest.raises(UserError, match=r"prior\.couplings was .*, now \[6\]"):
        check_recipe(tmp_path / "b", expand(replace(depth, prior={"prior.couplings": (6,)})))
