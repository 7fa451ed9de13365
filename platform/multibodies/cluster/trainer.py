"""The regressor's training under Ray Train: training.py's loop with workers, Ray Data, restarts."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint
from ray.train.torch import get_device, prepare_model

from multibodies import fitting, rungs, runs
from multibodies.cluster import batches, groups
from multibodies.cluster.groups import Execution, Run
from multibodies.config import Config
from multibodies.data.training_rows import Source
from multibodies.errors import UserError
from multibodies.fitting import StageName, Task
from multibodies.halving import Halving
from multibodies.mishaps import explained
from multibodies.recorder import OnReport, Recorder, shown
from multibodies.training import Batches, TrainingState, on_device, train

__all__ = ["Execution", "fit"]


def fit(
    config: Config,
    stage: StageName,
    dataset: str | Path | None,
    out: str | Path,
    *,
    start_from: str | Path | None = None,
    workers: int = 1,
    gpus: int = 0,
    name: str | None = None,
    split: str = "lab-train",
    on_report: OnReport | None = None,
    progress: bool = True,
    execution: Execution | None = None,
    halving: Halving | None = None,
) -> Path:
    """Train a stage and return the folder of its weights; a finished run is not trained again.

    `dataset` None: stage 1 on fresh images. `start_from` is a stage-1 checkpoint, which stage 2
    needs. `execution`, where given, replaces `workers` and `gpus`. `on_report(step, metrics)` is
    called in this process, once per journal line. Raises UserError before any training: a damaged
    shard, a checkpoint of another network, features of another stage 1, a folder made with another
    recipe, a batch that the workers cannot share equally. Raises StoppedEarly where `halving`, whom
    the first worker asks, has ended the training.
    """
    start = None if start_from is None else Path(start_from).resolve()
    data = None if dataset is None else Path(dataset).resolve()
    task = Task(config, stage, data, Path(out).resolve(), start, split)
    execution = execution or Execution(workers, gpus)
    with runs.alone(task.out):
        source = fitting.open_rows(task)
        recipe = fitting.recipe_of(task, source)
        runs.claim(task.out, recipe)
        rungs.refuse_stopped(task.out)
        if runs.finished(task.out) is None:
            check_shares(task, source, execution.workers)
            steps = task.settings.steps
            bar = shown(steps, stage, on_report) if progress else nullcontext(on_report)
            with bar as report, runs.follow(task.out / runs.JOURNAL, report):
                checkpoint = run(task, name or stage, source, recipe, execution, halving)
            with checkpoint.as_directory() as folder:
                fitting.conclude(task, Path(folder))
            groups.discard(task.out)
    return task.weights


def check_shares(task: Task, source: Source, workers: int) -> None:
    """Refuse a batch of which workers would get unequal parts: the mean of their gradients would
    not be the batch's. Raises UserError.
    """
    size = min(task.settings.batch_size, source.rows)
    if workers < 1 or size % workers:
        raise UserError(
            f"{task.stage}.batch_size: {workers} workers cannot share {size} rows equally; "
            "change one of them"
        )


def run(
    task: Task,
    name: str,
    source: Source,
    recipe: dict[str, Any],
    execution: Execution,
    halving: Halving | None,
) -> Checkpoint:
    """Run the workers until the last step; return the last checkpoint."""
    in_memory = source.size <= execution.in_memory

    def read() -> dict[str, ray.data.Dataset]:
        if task.dataset is None:
            return {}
        if in_memory:
            return batches.read_parts(source)
        held = groups.scaling(execution, in_memory).resources_per_worker or {}
        return batches.stream_parts(source, task.settings.seed, execution.workers * held["CPU"])

    settings = {
        "task": task,
        "source": source,
        "recipe": recipe,
        "in_memory": in_memory,
        "halving": halving,
        "steps_per_epoch": fitting.steps_per_epoch(task, source),
    }
    this = Run(name, task.out, task.settings.steps)
    return groups.run_group(this, work, settings, read, execution, in_memory=in_memory)


def work(settings: dict[str, Any]) -> None:
    """Train in one worker, from the last registered checkpoint if there is one."""
    task: Task = settings["task"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(settings["threads"])
    device = get_device()
    state = fitting.build_state(task)
    state.model.to(device)
    with groups.resumed_from(settings["fallback"]) as folder:
        if folder is not None:
            fitting.load(folder, state)
    source, stage = settings["source"], task.settings
    make = batches_of(task, source, settings["in_memory"], rank, world)
    forward = prepare_model(fitting.forward_of(task, state.model).to(device))
    objective = fitting.objective_of(task, state.memory).to(device)
    saves = stage.steps, stage.checkpoint_every
    with groups.recording(task.out, state.step, *saves, device) as recorder:
        save = partial(report, settings["recipe"], recorder)
        make = fitting.augmented_for(task, source, on_device(make, device), rank, world)
        epoch = settings["steps_per_epoch"]
        ask = partial(goes_on, settings["halving"], rank, device)
        with explained(task.stage, stage.batch_size, state):
            train(state, forward, objective, make, stage, recorder, save, rank, epoch, ask)


def goes_on(halving: Halving | None, rank: int, device: torch.device, state: TrainingState) -> bool:
    """Ask at a rung whether to go on: the first worker looks, the others wait for its answer."""
    if halving is None or not halving.is_rung(state):
        return True
    return groups.agreed(rank != 0 or halving.goes_on(state), device)


def batches_of(task: Task, source: Source, in_memory: bool, rank: int, world: int) -> Batches:
    """Return a worker's batches: of its dataset, or rendered as it trains."""
    if task.dataset is None:
        from multibodies.data.fresh import fresh_batches  # the renderer is slow to import

        return fresh_batches(task.config, rank, world)
    shards = {part.name: ray.train.get_dataset_shard(part.name) for part in source.parts}
    return batches.for_worker(shards, source, task.settings, in_memory, rank, world)


def report(recipe: dict[str, Any], recorder: Recorder, state: TrainingState) -> None:
    """Report the last window's means with a checkpoint."""
    save = partial(fitting.save, state=state, recipe=recipe)
    groups.report(state.step, recorder.last, save)
