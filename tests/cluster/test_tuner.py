"""Trials that Tune hands back: failed, unfinished, whole."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.tune

from model_samples import save_dataset, save_prior
from multibodies import runs
from multibodies.cluster.trials import TrialTask, task_of
from multibodies.cluster.tuner import run_trials
from multibodies.config import load_config
from multibodies.errors import UserError
from multibodies.sweep import Prior, Stage, Training
from training_samples import save_stage1, tiny_config


def _task(folder: Path, name: str) -> TrialTask:
    place = str(folder / name)
    return TrialTask(name, load_config("smoke"), "", "", "", "", "", place, (), 1, 0)


@pytest.fixture
def tune(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for Ray: `fit` gives back this list of results."""
    results: list[Any] = []
    context = SimpleNamespace(gcs_address="here")
    monkeypatch.setattr("multibodies.cluster.tuner.connect", lambda: None)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr("multibodies.cluster.tuner.trials_at_once", lambda *_: 2)
    monkeypatch.setattr(
        ray.tune, "Tuner", lambda *_, **__: SimpleNamespace(fit=lambda: list(results))
    )
    return results


def test_an_interrupted_sweep_is_not_taken_for_a_finished_one(
    tmp_path: Path, tune: list[Any]
) -> None:
    tasks = [_task(tmp_path, "a"), _task(tmp_path, "b")]
    runs.finish(Path(tasks[0].hypotheses))
    for given in (1, 2):  # Tune ends on Ctrl-C with the trials it had started, without errors
        tune[:] = [SimpleNamespace(error=None)] * given
        with pytest.raises(KeyboardInterrupt):
            run_trials(tasks, tmp_path / "tune")
    runs.finish(Path(tasks[1].hypotheses))
    run_trials(tasks, tmp_path / "tune")


def test_a_users_error_comes_out_of_the_trial(tmp_path: Path, tune: list[Any]) -> None:
    wrapped = RuntimeError("in the trial")
    wrapped.cause = UserError("mend this")  # type: ignore[attr-defined]
    tune[:] = [SimpleNamespace(error=wrapped)]
    failed = run_trials([_task(tmp_path, "a")], tmp_path / "tune")
    assert [(type(error), str(error)) for error in failed.values()] == [
        (UserError, "training a failed: mend this")
    ]


def test_another_error_names_the_trial(tmp_path: Path, tune: list[Any]) -> None:
    tune[:] = [SimpleNamespace(error=ValueError("loss is nan"))]
    failed = run_trials([_task(tmp_path, "a")], tmp_path / "tune")
    assert [(type(error), str(error)) for error in failed.values()] == [
        (RuntimeError, "training a failed: loss is nan")
    ]


def _trainable(folder: Path, workers: int) -> TrialTask:
    """Return a trial over a tiny dataset, a stage 1 and a prior that are there."""
    save_dataset(folder / "data", {"lab-train": [8, 8], "wild-val": [4]})
    save_stage1(folder / "stage1" / "weights", tiny_config())
    save_prior(folder / "prior" / "weights")
    stage, inference = (Stage("", name, name, {"splits": ["wild-val"]}) for name in "ab")
    training = Training("one", 0, {}, tiny_config({"model.trains": "all"}), stage, inference)
    prior = Prior({}, training.config, Stage("prior", "prior", "prior", {}))
    return task_of(training, prior, folder, workers, 0)


def test_only_one_worker_trains_in_the_trials_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [_trainable(tmp_path, workers).alone for workers in (1, 2)] == [True, False]
    monkeypatch.setattr("multibodies.cluster.trials.IN_MEMORY", 1000)  # on rows it can hold
    assert not _trainable(tmp_path, 1).alone
