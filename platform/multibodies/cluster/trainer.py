"""Training under Ray Train: training.py's loop with workers, Ray Data, checkpoints and restarts.

A run's folder holds recipe.json, train.jsonl, ray/NAME/ (Ray's storage), weights/ and, at the end,
finished.json. A killed worker restarts from the last registered checkpoint; a killed driver goes on
when called again.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device, prepare_model

from multibodies import fitting, runs, states
from multibodies.cluster import batches, connect, snapshots
from multibodies.config import Config
from multibodies.data.training_rows import Source, open_source
from multibodies.errors import UserError
from multibodies.fitting import StageName, Task
from multibodies.recorder import OnReport, Recorder, shown
from multibodies.training import Forward, TrainingState, train

MAX_FAILURES = 3
STORAGE = "ray"


@dataclass(frozen=True)
class Execution:
    """How a task runs; none of it bears on the result beyond rounding.

    cpus: CPUs and torch threads of each worker; gpus: of each worker; in_memory: bytes up to which
    every worker holds the whole dataset; callbacks: Ray Train's, such as Tune's.
    """

    workers: int = 1
    gpus: int = 0
    cpus: int = 1
    in_memory: int = batches.IN_MEMORY
    callbacks: tuple[Any, ...] = ()


def fit(
    config: Config,
    stage: StageName,
    dataset: str | Path,
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
) -> Path:
    """Train a stage and return the folder of its weights; a finished run is not trained again.

    `start_from` is a stage-1 checkpoint, which stage 2 needs. `execution`, where given, replaces
    `workers` and `gpus`. `on_report(step, metrics)` is called in this process, once per journal
    line. Raises UserError before any training: a damaged shard, a checkpoint of another network,
    features of another stage 1, a folder made with another recipe, a batch that the workers cannot
    share equally.
    """
    start = None if start_from is None else Path(start_from).resolve()
    task = Task(config, stage, Path(dataset).resolve(), Path(out).resolve(), start, split)
    execution = execution or Execution(workers, gpus)
    with runs.alone(task.out):
        source = open_source(task.dataset, task.split)
        recipe = fitting.recipe_of(task, source)
        runs.claim(task.out, recipe)
        if runs.finished(task.out) is None:
            check_shares(task, source, execution.workers)
            steps = task.settings.steps
            bar = shown(steps, stage, on_report) if progress else nullcontext(on_report)
            with bar as report, runs.follow(task.out / runs.JOURNAL, report):
                checkpoint = run(task, name or stage, source, recipe, execution)
            with checkpoint.as_directory() as folder:
                fitting.conclude(task, Path(folder))
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
    task: Task, name: str, source: Source, recipe: dict[str, Any], execution: Execution
) -> Checkpoint:
    """Run the worker group until the last step; return the last checkpoint."""
    connect()
    in_memory = source.size <= execution.in_memory
    storage = task.out / STORAGE
    settings = {
        "task": task,
        "recipe": recipe,
        "in_memory": in_memory,
        "threads": execution.cpus,
        "fallback": snapshots.repair(storage / name),
    }
    trainer = TorchTrainer(
        work,
        train_loop_config=settings,
        scaling_config=scaling(execution, in_memory),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            callbacks=list(execution.callbacks),
        ),
        datasets={"train": batches.read_source(source, in_memory)},
        dataset_config=batches.data_config(in_memory),
    )
    checkpoint = trainer.fit().checkpoint
    assert checkpoint is not None, "the last step always reports a checkpoint"
    return checkpoint


def scaling(execution: Execution, in_memory: bool) -> ScalingConfig:
    """Return what the workers hold; beside streamed reads, half a CPU less."""
    resources: dict[str, float] = {"CPU": execution.cpus - (0.0 if in_memory else 0.5)}
    if execution.gpus:
        resources["GPU"] = execution.gpus
    return ScalingConfig(
        num_workers=execution.workers,
        use_gpu=execution.gpus > 0,
        resources_per_worker=resources,
    )


def work(settings: dict[str, Any]) -> None:
    """Train in one worker, from the last registered checkpoint if there is one."""
    task: Task = settings["task"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(settings["threads"])
    device = get_device()
    state = fitting.build_state(task)
    state.model.to(device)
    resume(state, settings["fallback"])
    journal = runs.Journal(task.out / runs.JOURNAL, state.step) if rank == 0 else None
    recorder = Recorder(task.settings, journal, partial(mean_over_workers, world, device))
    shard = ray.train.get_dataset_shard("train")
    train(
        state,
        prepare_model(Forward(state.model), parallel_strategy_kwargs={"static_graph": True}),
        fitting.objective_of(task).to(device),
        batches.for_worker(shard, task.settings, settings["in_memory"], rank, world, device),
        task.settings,
        recorder,
        partial(report, settings["recipe"], recorder, rank),
        rank,
    )


def resume(state: TrainingState, fallback: Path | None) -> None:
    """Put the last registered checkpoint, or else the fallback, into a freshly built state."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            states.load_state(Path(folder), state)
    elif fallback is not None:
        states.load_state(fallback, state)


def report(recipe: dict[str, Any], recorder: Recorder, rank: int, state: TrainingState) -> None:
    """Report the last window's means; the first worker adds the checkpoint.

    Its name is its step, so that a step done again overwrites what a killed worker left.
    """
    name, metrics = states.name_of(state.step), {"step": state.step, **recorder.last}
    if rank:
        ray.train.report(metrics, checkpoint_dir_name=name)
        return
    with TemporaryDirectory() as folder:
        states.save_state(Path(folder), state, recipe)
        checkpoint = Checkpoint.from_directory(folder)
        ray.train.report(metrics, checkpoint, checkpoint_dir_name=name)


def mean_over_workers(
    world: int, device: torch.device, metrics: dict[str, float]
) -> dict[str, float]:
    """Average each metric over the workers, which all call this with the same names."""
    if world == 1:
        return metrics
    means = torch.tensor(list(metrics.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(means)
    return dict(zip(metrics, (means / world).tolist(), strict=True))
