"""Sweep files, plans, recipes and the dry run."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from multibodies.errors import UserError
from multibodies.sweep import (
    Plan,
    Sweep,
    check_recipe,
    choose_flow_weight,
    describe_plan,
    errors_by,
    expand,
    is_done,
    load_sweep,
    mark_done,
    smoke_variant,
    stage_path,
    with_flow_weight,
    write_timings,
)

SWEEPS = Path(__file__).parents[1] / "sweeps"


@pytest.fixture
def table2() -> Sweep:
    return load_sweep(SWEEPS / "table2.toml")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_sweep_expands_in_under_30_lines(path: Path) -> None:
    sweep = load_sweep(path)
    assert sweep.name == path.stem
    common = path.read_text().partition("[rows.")[0]
    assert len(common.splitlines()) < 30
    for variant in (sweep, smoke_variant(sweep)):
        if variant.config().data.source != "embedded":
            with pytest.raises(UserError, match=r"learns from prepared files.*--data"):
                expand(variant)
            continue
        plan = expand(variant)
        assert len(plan.cells) % len(plan.trainings) == 0


def test_table2_is_the_paper_grid_with_two_trainings_per_seed(table2: Sweep) -> None:
    plan = expand(table2)
    assert len(plan.trainings) == 2 * len(table2.seeds)
    found = {
        (c.seed, c.config.loss.ri > 0, c.config.evaluation.flow_weight, c.training)
        for c in plan.cells
    }
    rows = {cell[:3] for cell in found}
    assert rows == set(itertools.product(table2.seeds, (False, True), (0.0, 1.0)))
    assert len({(seed, on, training) for seed, on, _, training in found}) == len(plan.trainings)
    assert [stage.name for stage in plan.shared] == ["dataset", "prior", "stage1", "features"]
    assert all(cell.config.evaluation.n == (1, 5, 10, 25) for cell in plan.cells)


def test_seed_and_axes_reach_the_config_and_nothing_else_changes(table2: Sweep) -> None:
    plan = expand(table2)
    base = plan.base.model_dump()
    for cell in plan.cells:
        config = cell.config.model_dump()
        assert config["stage2"].pop("seed") == cell.seed
        assert config["loss"].pop("ri") == cell.overrides["loss.ri"]
        assert config["evaluation"].pop("flow_weight") == cell.overrides["evaluation.flow_weight"]
        expected = json.loads(json.dumps(base))
        del expected["stage2"]["seed"], expected["loss"]["ri"]
        del expected["evaluation"]["flow_weight"]
        assert json.loads(json.dumps(config)) == expected


def test_values_are_read_as_their_types(tmp_path: Path) -> None:
    text = 'name="a"\n[train]\nloss.ri=[0, 1]\n"stage2.cosine"=[true,false]\n'
    sweep = load_sweep(written(tmp_path, text))
    assert [type(v) for v in sweep.train["loss.ri"]] == [float, float]
    assert [t.id for t in expand(sweep).trainings] == [
        "seed0-ri0-cosineTrue",
        "seed0-ri0-cosineFalse",
        "seed0-ri1-cosineTrue",
        "seed0-ri1-cosineFalse",
    ]


def planned(tmp_path: Path, *lines: str) -> Plan:
    return expand(load_sweep(written(tmp_path, "\n".join(['name="a"', *lines]))))


def test_heads_differ_on_one_stage_1_and_its_features(tmp_path: Path) -> None:
    axes = '"model.rank"=[0, 8]', '"model.trains"=["head", "all"]'
    plan = planned(tmp_path, 'stage1="shipped"', "[train]", *axes)
    assert [s.name for s in plan.shared] == ["dataset", "prior", "stage1", "features"]
    assert {t.id: t.rows for t in plan.trainings} == {
        "seed0-rank0-trainshead": "features",
        "seed0-rank0-trainsall": "data",
        "seed0-rank8-trainshead": "features",
        "seed0-rank8-trainsall": "data",
    }
    before = {t.rows: t.stage.recipe["before"] for t in plan.trainings}
    assert before["features"] == plan.stage("features").fingerprint
    assert before["data"] == plan.stage("stage1").fingerprint
    assert len({t.stage.fingerprint for t in plan.trainings}) == 4


def test_layer5_beside_the_stacked_head_reads_images(tmp_path: Path) -> None:
    pooling, heads = '"model.pooling"="average"', '"model.head"=["stacked", "layer5"]'
    plan = planned(tmp_path, "[set]", pooling, "[train]", heads)
    assert [t.rows for t in plan.trainings] == ["features", "data"]


def test_without_a_training_that_reads_features_none_are_made(tmp_path: Path) -> None:
    plan = planned(tmp_path, "[train]", '"model.trains"=["all"]')
    assert [s.name for s in plan.shared] == ["dataset", "prior", "stage1"]


BAD = [
    ('nam="a"', "'nam'; did you mean 'name'"),
    ('name="../a"', "name: expected letters"),
    ("profile='embedded'", "name: expected letters"),
    ('name="a"\nprofile="embeded"', "did you mean 'embedded'"),
    ('name="a"\nseeds=[0,0]', "seeds: 0 is listed twice"),
    ('name="a"\nseeds=[]', "seeds: expected whole numbers"),
    ('name="a"\nseeds=[true]', "seeds: expected whole numbers"),
    ('name="a"\nstage1="shiped"', "did you mean 'shipped'"),
    ('name="a"\n[train]\n"loss.rii"=[0.0]', "'loss.rii'; did you mean 'loss.ri'"),
    ('name="a"\n[train]\n"loss.ri"=0.0', "[train] loss.ri: expected a list"),
    ('name="a"\n[train]\n"loss.ri"=[]', "[train] loss.ri: expected a list"),
    ('name="a"\n[train]\n"loss.ri"=[1, 1.0]', "[train] loss.ri: 1.0 is listed twice"),
    ('name="a"\n[train]\n"loss.ri"=[-1]', "loss.ri: Input should be greater"),
    ('name="a"\n[train]\n"loss.ri"=[nan]', "loss.ri: Input should be a finite number"),
    ('name="a"\n[train]\n"prior.couplings"=[4]', "move it to [prior]"),
    ('name="a"\n[train]\n"model.hidden"=[64]', "give it one value under [set]"),
    ('name="a"\n[train]\n"model.head"=["layer5"]', "set model.pooling to 'average'"),
    ('name="a"\n[train]\n"evaluation.flow_weight"=[1]', "move it to [score]"),
    ('name="a"\n[train]\n"stage2.seed"=[1]', "list them under seeds"),
    ('name="a"\n[score]\n"loss.ri"=[1]', "[score] loss.ri: only evaluation.*"),
    ('name="a"\n[score]\n"evaluation.n"=[[1]]', "n and splits go under [evaluation]"),
    ('name="a"\n[score]\n"evaluation.restarts"=[1, 2]', "multibodies score RUN --set"),
    ('name="a"\n[set]\n"loss.ri"=1\n[train]\n"loss.ri"=[1]', "keep one of the two"),
    ('name="a"\n[evaluation]\nn=[51]', "asks for 51 hypotheses"),
    ('name="a"\n[evaluation]\nm=[1]', "'evaluation.m'"),
    ('name="a"\n[evaluation]\nsplits=["wild-tst"]', "did you mean 'wild-test'"),
    ('name="a"\n[ours]\nflow_weight_candidates=[0.5]', "[ours]: expected both"),
    (
        'name="a"\n[ours]\nflow_weight_candidates=[0.5]\nchoose_on=["wild-test"]',
        "choose on val splits only",
    ),
    ('name="a"\n[ours]\nalphas=[0.5]', "[ours] key 'alphas'"),
    ('name="a"\ntrain=3', "train: expected a table"),
    ("name=", "not valid TOML"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_files_are_refused_by_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_sweep(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml: cannot be read"):
        load_sweep(tmp_path / "none.toml")


def test_values_that_round_to_one_folder_are_refused(table2: Sweep) -> None:
    twins = replace(table2, train={"loss.ri": (1.0, 1.00000001)})
    with pytest.raises(UserError, match="share the folder 'seed0-ri1'"):
        expand(twins)


def test_equal_last_words_keep_their_whole_key(table2: Sweep) -> None:
    sweep = replace(
        table2,
        seeds=(0,),
        train={"stage2.steps": (5,)},
        score={"evaluation.restarts": (1,), "evaluation.flow_weight": (0.5,)},
    )
    assert expand(sweep).cells[0].id == "seed0-steps5-restarts1-flow_weight0.5"


def test_a_stage_depends_on_its_own_settings_only(table2: Sweep) -> None:
    def prints(**fixed: object) -> dict[str, str]:
        plan = expand(replace(table2, fixed={k.replace("__", "."): v for k, v in fixed.items()}))
        return {stage.directory: stage.fingerprint for stage in plan.stages()}

    def changed(**fixed: object) -> set[str]:
        before, after = prints(), prints(**fixed)
        return {key.split("/")[0] for key in before if before[key] != after[key]}

    assert changed(prior__couplings=4) == {"prior", "scores"}
    assert changed(evaluation__restarts=2) == {"scores"}
    assert changed(stage2__steps=7) == {"cells", "hypotheses", "scores"}
    assert changed(stage1__steps=7) == set(), "a shipped stage 1 was made before"
    assert changed(data__seed=7) == {"data", "prior", "features", "cells", "hypotheses", "scores"}


def test_training_stage_1_anew_changes_what_depends_on_it(table2: Sweep) -> None:
    shipped, anew = expand(table2), expand(replace(table2, stage1="train"))
    same = {s.directory for s, t in zip(shipped.stages(), anew.stages(), strict=True) if s == t}
    assert same == {"data", "prior"}


def test_recipe_claims_the_folder_and_refuses_another(tmp_path: Path, table2: Sweep) -> None:
    check_recipe(tmp_path, expand(table2))
    check_recipe(tmp_path, expand(table2))
    other = expand(replace(table2, fixed={"prior.hidden": 77}, seeds=(0, 1, 2)))
    with pytest.raises(UserError) as caught:
        check_recipe(tmp_path, other)
    text = str(caught.value)
    assert "config.prior.hidden was 128, now 77" in text
    assert "seeds was [0, 1], now [0, 1, 2]" in text
    assert text.count(", now ") == 2


def test_a_torn_plan_is_named(tmp_path: Path, table2: Sweep) -> None:
    (tmp_path / "plan.json").write_text('{"name": ')
    with pytest.raises(UserError, match=r"plan\.json: damaged"):
        check_recipe(tmp_path, expand(table2))


def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path: Path, table2: Sweep) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        check_recipe(tmp_path / "file" / "run", expand(table2))


def test_done_stages_are_known_by_their_recipe(tmp_path: Path, table2: Sweep) -> None:
    plan = expand(table2)
    prior = plan.stage("prior")
    assert not is_done(tmp_path, prior)
    mark_done(tmp_path, prior, 12.5)
    assert is_done(tmp_path, prior)
    assert not list(stage_path(tmp_path, prior).glob("*.tmp"))
    other = expand(replace(table2, fixed={"prior.hidden": 77})).stage("prior")
    with pytest.raises(UserError, match="made by another recipe"):
        is_done(tmp_path, other)


def test_dry_run_tells_what_is_done_and_measured_times_replace_rates(
    tmp_path: Path, table2: Sweep
) -> None:
    plan = expand(table2)
    fresh = describe_plan(plan, tmp_path)
    assert fresh.count("[done]") == 0
    assert "ours, not in the paper" in fresh
    *most, last = plan.stages()
    for stage, seconds in zip(most, itertools.count(1000.0), strict=False):
        mark_done(tmp_path, stage, 120.0 if stage.kind == "scoring" else seconds)
    trainings = [1000.0 + i for i, s in enumerate(plan.stages()) if s.kind == "training"]
    assert write_timings(tmp_path, plan)["training"] == sum(trainings) / len(trainings)
    later = describe_plan(plan, tmp_path)
    assert later.count("[done]") == len(most)
    assert f"[    ] cell       {last.directory}/" in later
    left = (1 + (len(table2.candidates) + 1) * len(plan.trainings)) * 2
    assert f"estimated time left: {left} min 00 s" in later
    assert f"scoring as measured in {tmp_path}" in later


def test_chosen_weight_adds_marked_cells_once(table2: Sweep) -> None:
    plan = expand(table2)
    chosen = with_flow_weight(plan, 0.1)
    extra = chosen.cells[len(plan.cells) :]
    assert [cell.training for cell in extra] == [training.id for training in plan.trainings]
    assert all(cell.ours and cell.config.evaluation.flow_weight == 0.1 for cell in extra)
    assert with_flow_weight(plan, 1.0) is plan
    assert "ours " in describe_plan(chosen, "nowhere")


def test_smoke_sizes_win_over_set(table2: Sweep) -> None:
    big = replace(table2, fixed={**table2.fixed, "stage2.steps": 9999, "loss.ri_reduction": "mean"})
    small = smoke_variant(big)
    assert (small.name, small.profile, small.seeds) == ("table2-smoke", "smoke", (0,))
    assert small.config().stage2.steps < 100
    assert small.config().loss.ri_reduction == "mean"
    assert small.config().evaluation.n == table2.config().evaluation.n


def test_a_size_of_set_below_smoke_s_is_kept(table2: Sweep) -> None:
    one = {"system.name": "hmr", "stage2.num_hypotheses": 1, "evaluation.n": [1]}
    small = smoke_variant(replace(table2, fixed={**table2.fixed, **one}))
    assert small.config().stage2.num_hypotheses == 1


def val_scores(errors: dict[float, float]) -> pd.DataFrame:
    rows = [
        {"dataset": dataset, "flow_weight": alpha, "n": n, "mpjpe_mm": error + offset}
        for alpha, error in errors.items()
        for dataset, offset in (("wild", 0.0), ("awild", 30.0))
        for n in (1, 5)
        for _ in range(3)
    ]
    return pd.DataFrame(rows)


def test_the_best_weight_on_val_is_chosen_and_ties_go_to_the_smaller() -> None:
    alpha, errors = choose_flow_weight(val_scores({0.0: 71.0, 0.25: 70.0, 0.5: 70.0, 1.0: 75.0}))
    assert alpha == 0.25
    assert errors == {0.0: 86.0, 0.25: 85.0, 0.5: 85.0, 1.0: 90.0}


def test_datasets_count_equally_whatever_their_size_and_n_1_does_not() -> None:
    scores = val_scores({0.0: 71.0, 0.25: 70.0})
    worse = (scores["dataset"] == "awild") & (scores["flow_weight"] == 0.25) & (scores["n"] == 5)
    scores.loc[worse, "mpjpe_mm"] += 3.0
    scores.loc[scores["n"] == 1, "mpjpe_mm"] = 0.0
    many = pd.concat([scores, *[scores[scores["dataset"] == "wild"]] * 9])
    assert choose_flow_weight(many)[0] == 0.0


def test_incomplete_val_scores_are_refused() -> None:
    scores = val_scores({0.0: 1.0, 1.0: 2.0})
    with pytest.raises(UserError, match="lack the column 'n'"):
        choose_flow_weight(scores.drop(columns="n"))
    with pytest.raises(UserError, match="no n > 1"):
        choose_flow_weight(scores[scores["n"] == 1])
    with pytest.raises(UserError, match="misses a dataset or an n"):
        choose_flow_weight(scores.iloc[:-3])


def test_an_error_on_val_that_is_no_number_is_refused_not_left_out_of_a_mean() -> None:
    scores = val_scores({0.0: 1.0, 1.0: 2.0})
    scores.loc[scores.index[-1], "mpjpe_mm"] = float("nan")
    with pytest.raises(UserError, match=r"1 of 12 records have no mpjpe_mm \(.*flow_weight 1.0"):
        choose_flow_weight(scores)
    with pytest.raises(UserError, match="no mpjpe_mm"):
        errors_by(scores, ["flow_weight"], "mpjpe_mm")
