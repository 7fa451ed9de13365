"""Stages taken from another run: the same recipe, the same content, finished, undamaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_samples import save_dataset, save_prior
from multibodies import runs
from multibodies.cluster.sharing import take_shared
from multibodies.sweep import Stage, describe_plan, expand, is_done, load_sweep, mark_done
from training_samples import flip_byte

DATA = Stage("dataset", "dataset", "data", {"rows": 1})
PRIOR = Stage("prior", "prior-couplings8", "prior-couplings8", {"couplings": 8})
THEIRS = Stage("prior", "prior", "prior", PRIOR.recipe)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A run with a finished dataset and a finished prior under another name."""
    run = tmp_path / "other"
    save_dataset(run / "data", {"lab-train": [8], "lab-val": [4]})
    save_prior(run / "prior" / "weights")
    for stage in (DATA, THEIRS):
        mark_done(run, stage, 7.0)
    return run


def test_a_finished_stage_is_linked_whatever_its_name(tmp_path: Path, other: Path) -> None:
    mine = tmp_path / "mine"
    assert take_shared(DATA, mine, tmp_path) and take_shared(PRIOR, mine, tmp_path)
    assert is_done(mine, DATA) and is_done(mine, PRIOR)
    name = "weights/weights.safetensors"
    assert (mine / "prior-couplings8" / name).samefile(other / "prior" / name)
    record = runs.read_record(mine / "prior-couplings8" / "done.json")
    assert record["from"] == str(other / "prior") and record["seconds"] == 7.0
    shutil.rmtree(other)
    assert (mine / "prior-couplings8" / name).stat().st_size > 0
    assert not list(mine.glob("*.tmp"))


def test_what_is_not_marked_as_done_or_is_ours_is_not_taken(tmp_path: Path, other: Path) -> None:
    (other / "data" / "done.json").unlink()
    assert not take_shared(DATA, tmp_path / "mine", tmp_path)
    assert not take_shared(THEIRS, other, tmp_path)
    assert not (tmp_path / "mine").exists()


def test_another_recipe_or_other_data_before_it_is_not_taken(tmp_path: Path, other: Path) -> None:
    mine = tmp_path / "mine"
    assert not take_shared(Stage("dataset", "dataset", "data", {"rows": 2}), mine, tmp_path)
    save_dataset(mine / "data", {"lab-train": [9], "lab-val": [4]})
    mark_done(mine, DATA, 1.0)
    assert not take_shared(PRIOR, mine, tmp_path)


def test_a_damaged_stage_is_made_anew(tmp_path: Path, other: Path) -> None:
    mine = tmp_path / "mine"
    assert take_shared(DATA, mine, tmp_path)
    flip_byte(other / "prior" / "weights" / "weights.safetensors")
    assert not take_shared(PRIOR, mine, tmp_path)
    shard = sorted((other / "data").glob("*/part-*.parquet"))[0]
    flip_byte(shard)
    assert not take_shared(DATA, tmp_path / "third", tmp_path / "other" / "..")


def test_a_place_with_files_of_its_own_is_left_alone(tmp_path: Path, other: Path) -> None:
    begun = tmp_path / "mine" / "data" / "begun.txt"
    begun.parent.mkdir(parents=True)
    begun.write_text("half")
    assert not take_shared(DATA, tmp_path / "mine", tmp_path)
    assert begun.read_text() == "half"


def test_the_dry_run_says_what_another_run_has(tmp_path: Path) -> None:
    plan = expand(load_sweep(Path(__file__).parents[2] / "sweeps" / "table2.toml"))
    fit = plan.trainings[0].stage
    for stage in (plan.stage("prior"), fit):
        mark_done(tmp_path / "other", stage, 5.0)
    assert "[same]" not in describe_plan(plan, tmp_path / "mine", share=tmp_path), "other data"
    mark_done(tmp_path / "mine", plan.stage("dataset"), 5.0)
    text = describe_plan(plan, tmp_path / "mine", share=tmp_path)
    assert text.count("[same]") == 2
    assert f"{fit.directory}/  taken from {tmp_path / 'other'}" in text
    assert "[same]" not in describe_plan(plan, tmp_path / "mine")
