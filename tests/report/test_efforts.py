"""What stands behind a row of Table 1, read from the folders that a training leaves."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors

from multibodies import checkpoints, runs
from multibodies.core.regressor import Regressor
from multibodies.report.cells.efforts import effort_of, inferred
from multibodies.sidecars import seal, sidecar_path
from multibodies.sweep import Training, expand, load_sweep
from multibodies.training import regressor_spec

SWEEP = """
name = "two"
stage1 = "shipped"
[set]
"model.width" = 8
"model.hidden" = 16
[rows.ours]
"stage2.num_hypotheses" = 25
"""
BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "mean", "std", "init_state")


@pytest.fixture
def training(tmp_path: Path) -> Training:
    (tmp_path / "two.toml").write_text(SWEEP)
    (found,) = expand(load_sweep(tmp_path / "two.toml")).trainings
    folder = tmp_path / found.stage.directory
    spec = regressor_spec(found.config.model, 25)
    state = Regressor(spec).state_dict()
    checkpoints.save_module(folder / "weights", state, {"spec": spec.to_json()})
    model, stage2 = (getattr(found.config, k).model_dump(mode="json") for k in ("model", "stage2"))
    recipe = {"start_from": "aa", "data": "bb", "body": "c" * 64, "model": model, "stage2": stage2}
    runs.write_record(folder / runs.RECIPE, recipe)
    runs.finish(folder)
    for name, second in ((runs.RECIPE, 1000), (runs.FINISHED, 1030)):
        os.utime(folder / name, (second, second))
    for split, rows, seconds in (("lab-test", 30, 0.5), ("wild-test", 10, 1.5)):
        part = tmp_path / found.inference.directory / split / "part-00000.parquet"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"rows")
        seal(part, "r", rows=rows, seconds=seconds)
    return found


def test_parameters_are_counted_in_the_file(training: Training, tmp_path: Path) -> None:
    found = effort_of(training, "Ours", tmp_path)
    path = tmp_path / training.stage.directory / "weights" / checkpoints.WEIGHTS
    sizes: dict[str, int] = {}
    with safetensors.safe_open(path, "pt") as file:
        for name in file.keys():
            if name.rpartition(".")[2] not in BUFFERS:
                sizes[name] = file.get_tensor(name).numel()
    assert found.parameters == sum(sizes.values())
    head = sum(size for name, size in sizes.items() if name.startswith("head."))
    assert 0 < found.trained == head < found.parameters


def test_seconds_rates_and_settings(training: Training, tmp_path: Path) -> None:
    found = effort_of(training, "Ours", tmp_path)
    stage2 = training.config.stage2
    assert (found.row, found.num_hypotheses, found.seconds) == ("Ours", 25, 30)
    assert found.images == stage2.steps * stage2.batch_size
    assert found.inferred == 40 / 2
    told = found.settings
    assert (told["stage 1"], told["data"], told["body"]) == ("aa", "bb", "c" * 16)
    assert (told["trunk"], told["width"], told["trains"]) == ("resnet18", 8, "head")
    assert (told["steps"], told["learning_rate"]) == (stage2.steps, stage2.learning_rate)


def test_a_run_that_does_not_tell_leaves_blanks(training: Training, tmp_path: Path) -> None:
    """Hypotheses of an earlier version have no seconds; a taken training may lack its recipe."""
    hypotheses = tmp_path / training.inference.directory
    for part in hypotheses.glob("*/part-*.parquet"):
        sidecar_path(part).unlink()
        seal(part, "r", rows=30)
    assert inferred(hypotheses) is None
    (tmp_path / training.stage.directory / runs.FINISHED).unlink()
    found = effort_of(replace(training, id="other"), "Ours", tmp_path)
    assert (found.training, found.seconds, found.settings) == ("other", None, {})
