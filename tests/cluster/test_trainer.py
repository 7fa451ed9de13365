"""Training under Ray Train: shares, workers killed, drivers killed, damaged storage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model_samples import save_dataset, save_prior
from multibodies import fitting, runs, states
from multibodies.checkpoints import load_module, load_regressor, read_meta
from multibodies.cluster import groups, snapshots, trials, tuner
from multibodies.cluster.groups import Execution
from multibodies.cluster.trainer import fit
from multibodies.data.training_rows import open_source
from multibodies.errors import UserError
from multibodies.hypotheses import read_hypotheses
from multibodies.local import fit_local
from training_samples import (
    flip_byte,
    golden_config,
    golden_curve,
    largest_difference,
    save_rows,
    tiny_config,
)

ROUNDING = 2e-5  # gradients of a batch in two halves, summed in another order, through Adam


def _save_states(folder: Path, steps: tuple[int, ...], config_changes: dict[str, Any]) -> Path:
    task = fitting.Task(tiny_config(config_changes), "stage1", folder, folder)
    state = fitting.build_state(task)
    for step in steps:
        state.step = step
        fitting.save(folder / states.name_of(step), state, {"stage": "stage1", **RECIPE})
    return folder


RECIPE: dict[str, Any] = {"stage1": {"seed": 0}, "data": "00"}


def _list(folder: Path, steps: tuple[int, ...]) -> None:
    listed = [{"checkpoint_dir_name": states.name_of(step)} for step in steps]
    runs.write_record(folder / snapshots.SNAPSHOT, {"checkpoint_results": listed})


def test_a_whole_list_is_ray_s_to_resume_from(tmp_path: Path) -> None:
    _save_states(tmp_path, (2, 4, 6), {})
    _list(tmp_path, (2, 4))
    assert snapshots.repair(tmp_path) is None
    assert snapshots.registered(tmp_path / snapshots.SNAPSHOT) == {
        states.name_of(2),
        states.name_of(4),
    }


@pytest.mark.parametrize("content", ["", '{"checkpoint_results": [{"checkp', "[]", "{}"])
def test_a_torn_list_is_set_aside_for_the_newest_whole_checkpoint(
    tmp_path: Path, content: str
) -> None:
    _save_states(tmp_path, (2, 4, 6), {})
    (tmp_path / snapshots.SNAPSHOT).write_text(content)
    flip_byte(tmp_path / states.name_of(6) / "model" / "weights.safetensors", 0.8)
    (tmp_path / states.name_of(8)).mkdir()  # the writer was killed at once
    assert snapshots.repair(tmp_path) == tmp_path / states.name_of(4)
    assert not (tmp_path / snapshots.SNAPSHOT).exists()


def test_a_list_that_names_a_damaged_checkpoint_is_set_aside(tmp_path: Path) -> None:
    _save_states(tmp_path, (2, 4), {})
    _list(tmp_path, (2, 4))
    flip_byte(tmp_path / states.name_of(4) / "optimizer" / "weights.safetensors", 0.9)
    assert snapshots.repair(tmp_path) == tmp_path / states.name_of(2)


def test_a_new_run_has_nothing_to_repair(tmp_path: Path) -> None:
    assert snapshots.repair(tmp_path / "absent") is None


@pytest.mark.parametrize("workers", [0, 3, 16])
def test_a_batch_that_workers_cannot_share_is_refused(
    rows: Path, stage1: Path, tmp_path: Path, workers: int
) -> None:
    with pytest.raises(UserError, match=rf"{workers} workers cannot share 8 rows equally"):
        fit(tiny_config(), "stage2", rows, tmp_path, start_from=stage1, workers=workers)


def test_workers_hold_what_they_are_given() -> None:
    scaled = groups.scaling(Execution(workers=2, cpus=3), in_memory=True)
    assert (scaled.num_workers, scaled.resources_per_worker) == (2, {"CPU": 3.0})
    streamed = groups.scaling(Execution(gpus=1), in_memory=False)
    assert (streamed.use_gpu, streamed.resources_per_worker) == (True, {"CPU": 0.5, "GPU": 1})


def test_a_run_that_only_lacks_its_weights_is_concluded_without_ray(
    rows: Path, stage1: Path, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = fitting.Task(tiny_config(), "stage2", rows, tmp_path, stage1)
    state, meta = fitting.build_state(task), read_meta(calm)
    state.model.load_state_dict(load_module(calm)[0])
    state.step = meta["step"]
    place = groups.Run("stage2", tmp_path, 6).storage / states.name_of(6)
    fitting.save(place, state, meta["recipe"])
    monkeypatch.setattr(groups, "TorchTrainer", None)
    weights = fit(tiny_config(), "stage2", rows, tmp_path, start_from=stage1, progress=False)
    assert largest_difference(calm, weights) == 0
    assert not place.exists()


def test_a_damaged_shard_is_refused_by_name(stage1: Path, tmp_path: Path) -> None:
    data = save_rows(tmp_path / "data")
    flip_byte(data / "lab-train" / "part-00001.parquet")
    with pytest.raises(UserError, match=r"part-00001\.parquet: shard is damaged"):
        fit(tiny_config(), "stage2", data, tmp_path / "run", start_from=stage1)
    assert not (tmp_path / "run" / groups.STORAGE).exists()


def _killing(victim: str, marker: Path, step: int) -> Callable[[dict[str, Any]], None]:
    """Return a worker's loop in which the first worker kills itself, or its driver, once, after
    reporting `step`. Before that it marks the journal's first line, which only a run that resumes
    keeps.

    A closure travels to the worker by value; a module's function would be imported there.
    """
    driver = os.getpid()

    def work(settings: dict[str, Any]) -> None:
        import ray.train

        from multibodies.cluster import trainer as there

        original, journal = there.report, settings["task"].out / runs.JOURNAL

        def report(*args: Any) -> None:
            original(*args)
            first = ray.train.get_context().get_world_rank() == 0
            if first and args[-1].step == step and not marker.exists():
                marker.touch()
                journal.write_text(journal.read_text().replace("{", '{"mark": 1, ', 1))
                os.kill(os.getpid() if victim == "worker" else driver, signal.SIGKILL)
                time.sleep(120)  # with its driver gone, Ray ends this process too

        there.report = report  # type: ignore[assignment]
        there.work(settings)

    return work


def _check_resumed(out: Path, steps: list[int]) -> None:
    """Each step stands in the journal once, and the first was not done again."""
    lines = [json.loads(line) for line in (out / runs.JOURNAL).read_text().splitlines()]
    assert [line["step"] for line in lines] == steps
    assert ["mark" in line for line in lines] == [True] + [False] * (len(steps) - 1)


def _killing_trial(marker: Path) -> Callable[..., None]:
    """Return a trial whose first worker kills itself, once, after reporting step 8."""
    killing = _killing("worker", marker, 8)

    def trial(settings: dict[str, str], tasks: dict[str, Any]) -> None:
        from multibodies.cluster import trainer as there
        from multibodies.cluster import tuner as above

        there.work = killing  # type: ignore[assignment]
        above.trial(settings, tasks)

    return trial


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.usefixtures("ray_local", "soon")
def test_a_trial_s_two_workers_of_which_one_is_killed_follow_the_golden_curve(
    rows: Path, stage1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, marker, out = golden_config(), tmp_path / "killed", tmp_path / "run"
    calm = fit_local(config, "stage2", rows, tmp_path / "calm", start_from=stage1, progress=False)
    save_dataset(tmp_path / "images", {"wild-val": [4]})
    save_prior(tmp_path / "prior")
    task = trials.TrialTask(
        "one",
        config,
        rows=str(rows),
        images=str(tmp_path / "images"),
        stage1=str(stage1),
        prior=str(tmp_path / "prior"),
        out=str(out),
        hypotheses=str(tmp_path / "hypotheses"),
        splits=("wild-val",),
        workers=2,
        gpus=0,
    )
    monkeypatch.setattr(tuner, "trial", _killing_trial(marker))
    tuner.run_trials([task], tmp_path / "tune")
    assert marker.exists()
    assert trials.is_complete(task)
    assert len(read_hypotheses(tmp_path / "hypotheses" / "wild-val" / "part-00000.parquet")) == 4
    assert largest_difference(calm, out / fitting.WEIGHTS) < ROUNDING
    steps = [4, 8, 12, 16, 20]
    _check_resumed(out, steps)
    golden = [sum(golden_curve()[end - 4 : end]) / 4 for end in steps]
    ours, theirs = (runs.read_journal(place / runs.JOURNAL) for place in (out, calm.parent))
    assert [line["total"] for line in ours] == pytest.approx(golden, rel=1e-3)
    assert [line["best"] for line in ours] == pytest.approx([x["best"] for x in theirs], rel=1e-4)
    monkeypatch.setattr(groups, "TorchTrainer", None)  # finished: nothing runs again
    fit(config, "stage2", rows, out, start_from=stage1, workers=1)


DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[6:]
from multibodies.cluster import connect, trainer
from test_trainer import _killing
from training_samples import tiny_config
rows, stage1, out, marker, step = sys.argv[1:6]
trainer.work = _killing("driver", Path(marker), int(step))
connect(2)
trainer.fit(tiny_config(), "stage2", rows, out, start_from=stage1, progress=False)
"""


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.usefixtures("ray_local", "soon")
def test_a_killed_driver_goes_on_when_started_again(
    rows: Path, stage1: Path, calm: Path, tmp_path: Path
) -> None:
    marker, out = tmp_path / "killed", tmp_path / "run"
    here = Path(__file__).parent
    paths = [str(here), str(here.parent)]
    arguments = [str(rows), str(stage1), str(out), str(marker), "4", *paths]
    killed = subprocess.run([sys.executable, "-c", DRIVER, *arguments], timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert marker.exists()
    assert not (out / fitting.WEIGHTS).exists()
    weights = fit(tiny_config(), "stage2", rows, out, start_from=stage1, progress=False)
    assert largest_difference(calm, weights) < ROUNDING
    _check_resumed(out, [2, 4, 6])


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.usefixtures("ray_local", "soon")
def test_stage_1_trains_on_streamed_images(rows: Path, tmp_path: Path) -> None:
    execution = Execution(in_memory=0)
    assert open_source(rows, "lab-train").size > execution.in_memory
    weights = fit(tiny_config(), "stage1", rows, tmp_path, progress=False, execution=execution)
    model = load_regressor(weights)
    assert model.spec.num_hypotheses == 1
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert [line["step"] for line in runs.read_journal(tmp_path / runs.JOURNAL)] == [2, 4]
