"""`--local`: a training on one device without Ray; loop, recipe and result are the cluster's."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from multibodies import fitting, rungs, runs, states
from multibodies.config import Config
from multibodies.data.training_rows import Source, read_paths
from multibodies.fitting import StageName, Task
from multibodies.mishaps import explained
from multibodies.mixing import held_batches
from multibodies.recorder import OnReport, Recorder, shown
from multibodies.training import Batches, GoesOn, TrainingState, always, on_device, train

RESUME = "checkpoints"
KEPT = 2


def fit_local(
    config: Config,
    stage: StageName,
    dataset: str | Path | None,
    out: str | Path,
    *,
    start_from: str | Path | None = None,
    split: str = "lab-train",
    device: str = "cpu",
    on_report: OnReport | None = None,
    progress: bool = True,
    goes_on: GoesOn = always,
) -> Path:
    """Train a stage in this process and return the folder of its weights; goes on where it stopped.

    The dataset is held in memory; None: fresh images. Raises UserError as `cluster.trainer.fit`
    does, StoppedEarly among them.
    """
    start = None if start_from is None else Path(start_from)
    data = None if dataset is None else Path(dataset)
    task = Task(config, stage, data, Path(out), start, split)
    with runs.alone(task.out):
        source = fitting.open_rows(task)
        recipe = fitting.recipe_of(task, source)
        runs.claim(task.out, recipe)
        rungs.refuse_stopped(task.out)
        if runs.finished(task.out) is None:
            steps = task.settings.steps
            bar = shown(steps, stage, on_report) if progress else nullcontext(on_report)
            with bar as report:
                last = _run(task, source, recipe, torch.device(device), report, goes_on)
            fitting.conclude(task, last)
            shutil.rmtree(task.out / RESUME, ignore_errors=True)  # of no more use
    return task.weights


def _run(
    task: Task,
    source: Source,
    recipe: dict[str, Any],
    device: torch.device,
    on_report: OnReport | None,
    goes_on: GoesOn,
) -> Path:
    """Train from the newest whole checkpoint, if any; return the last one's folder."""
    folder, stage = task.out / RESUME, task.settings
    state = fitting.build_state(task)
    state.model.to(device)
    newest = states.newest(folder)
    if newest is not None:
        fitting.load(newest, state)
    journal = runs.Journal(task.out / runs.JOURNAL, state.step)
    with explained(task.stage, stage.batch_size, state):
        train(
            state,
            fitting.forward_of(task, state.model).to(device),
            fitting.objective_of(task, state.memory).to(device),
            fitting.augmented_for(task, source, _batches(task, source, device)),
            stage,
            Recorder(stage.steps, stage.checkpoint_every, journal, on_report=on_report),
            partial(_save, folder, recipe),
            steps_per_epoch=fitting.steps_per_epoch(task, source),
            goes_on=goes_on,
        )
    rungs.refuse_stopped(task.out)
    last = states.newest(folder)
    assert last is not None, "the last step always saves a checkpoint"
    return last


def _batches(task: Task, source: Source, device: torch.device) -> Batches:
    if task.dataset is None:
        from multibodies.data.fresh import fresh_batches

        return on_device(fresh_batches(task.config), device)
    held = [read_paths(source, part.paths) for part in source.parts]
    rows = [{name: column.to(device) for name, column in part.items()} for part in held]
    shares = [part.share for part in source.parts]
    return held_batches(rows, shares, task.settings.batch_size, task.settings.seed)


def _save(folder: Path, recipe: dict[str, Any], state: TrainingState) -> None:
    """Write a checkpoint beside its place, put it there whole, drop all but the newest."""
    place = folder / states.name_of(state.step)
    temporary = folder / f"{place.name}{states.UNFINISHED}"
    for left in states.unfinished_in(folder):  # by a kill in the middle of writing
        shutil.rmtree(left)
    fitting.save(temporary, state, recipe)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(temporary, place)
    for old in states.states_in(folder)[:-KEPT]:
        shutil.rmtree(old)
