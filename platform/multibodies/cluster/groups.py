"""A group of Train workers: started, restarted where one dies, gone on with where the driver died.

What both trainings share, the regressor's and the prior's. A run's folder holds recipe.json,
train.jsonl and ray/NAME/ (Ray's storage, checkpoints); at the end weights/ and finished.json.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray.data
import ray.train
import torch
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    DataConfig,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
)
from ray.train.torch import TorchTrainer

from multibodies import local, rungs, runs, states
from multibodies.cluster import connect, lasting, snapshots
from multibodies.errors import UserError
from multibodies.recorder import Recorder

MAX_FAILURES = 3
DEATHS = (RayActorError, OutOfMemoryError)
STORAGE = "ray"  # Ray's storage, below a run's folder
IN_MEMORY = 4 << 30
PATIENCE = 60.0  # seconds in which the workers of a killed driver are gone

Work = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Execution:
    """How a training runs; none of it bears on the result beyond rounding.

    cpus: CPUs and torch threads of each worker; gpus: of each worker; in_memory: bytes up to which
    every worker holds the whole dataset; callbacks: Ray Train's, such as Tune's.
    """

    workers: int = 1
    gpus: int = 0
    cpus: int = 1
    in_memory: int = IN_MEMORY
    callbacks: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run: the name that carries its identity, its folder, its last step."""

    name: str
    folder: Path
    steps: int

    @property
    def storage(self) -> Path:
        """Ray's storage of the run."""
        return self.folder / STORAGE / self.name

    def last(self) -> Path | None:
        """Return the checkpoint of the last step if it is there and whole."""
        path = self.storage / states.name_of(self.steps)
        return path if states.is_whole(path) else None


def run_group(
    run: Run,
    work: Work,
    settings: Mapping[str, Any],
    read: Callable[[], Mapping[str, ray.data.Dataset]],
    execution: Execution,
    *,
    in_memory: bool = True,
) -> Checkpoint:
    """Run `work(settings)` in each worker until the last step's checkpoint is reported; return it.

    `read` gives the datasets. Goes on from what an earlier run left, and does nothing where it had
    come to the end. Raises UserError as the workers do, and where they died too often, StoppedEarly
    where the run does not come to its last step.
    """
    last = run.last()
    if last is not None:
        return Checkpoint(str(last))
    connect()
    fallback = snapshots.repair(run.storage)
    trainer = TorchTrainer(
        lasting.stopping(work, run.folder),
        train_loop_config={**settings, "threads": execution.cpus, "fallback": fallback},
        scaling_config=scaling(execution, in_memory),
        run_config=RunConfig(
            name=run.name,
            storage_path=str(run.folder / STORAGE),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            callbacks=list(execution.callbacks),
        ),
        datasets=dict(read()),
        dataset_config=DataConfig(datasets_to_split=[] if in_memory else "all"),
    )
    with lasting.told(run.folder), deaths_explained(run):
        checkpoint = trainer.fit().checkpoint
    rungs.refuse_stopped(run.folder)
    assert checkpoint is not None, "the last step always reports a checkpoint"
    return checkpoint


@contextmanager
def deaths_explained(run: Run) -> Iterator[None]:
    """Raise UserError where the workers of the block did not fail but died, and too often."""
    try:
        yield
    except WorkerGroupError as error:
        # how Ray Train noticed is wrapped around the death itself
        failures = [getattr(f, "health_check_failure", f) for f in error.worker_failures.values()]
        if not failures or not all(isinstance(failure, DEATHS) for failure in failures):
            raise
        raise UserError(
            f"{run.folder}: a worker of '{run.name}' died {MAX_FAILURES + 1} times; where it was "
            "killed for its memory, lower batch_size or give it a larger machine; the same command "
            "goes on from the last checkpoint"
        ) from error


def discard(folder: Path) -> None:
    """Remove the checkpoints of a run that has ended: several times its weights, of no more use."""
    for name in (STORAGE, local.RESUME):
        shutil.rmtree(folder / name, ignore_errors=True)


def scaling(execution: Execution, in_memory: bool) -> ScalingConfig:
    """Return what the workers hold; streamed reads get half a CPU of each."""
    resources: dict[str, float] = {"CPU": execution.cpus - (0.0 if in_memory else 0.5)}
    if execution.gpus:
        resources["GPU"] = execution.gpus
    return ScalingConfig(
        num_workers=execution.workers,
        use_gpu=execution.gpus > 0,
        resources_per_worker=resources,
    )


@contextmanager
def recording(
    folder: Path, step: int, steps: int, checkpoint_every: int, device: torch.device
) -> Iterator[Recorder]:
    """Give a worker its recorder; the first worker's writes the journal, from the resumed step on.

    That one first waits for the first worker of a driver that was killed a moment ago.
    """
    average = partial(mean_over_workers, device=device)
    if ray.train.get_context().get_world_rank() != 0:
        yield Recorder(steps, checkpoint_every, None, average)
        return
    with runs.alone(folder, runs.WORKER, PATIENCE):
        journal = runs.Journal(folder / runs.JOURNAL, step)
        yield Recorder(steps, checkpoint_every, journal, average)


@contextmanager
def resumed_from(fallback: Path | None) -> Iterator[Path | None]:
    """Give a worker the folder of the last registered checkpoint, else the fallback."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        yield fallback
        return
    with checkpoint.as_directory() as folder:
        yield Path(folder)


def report(step: int, metrics: Mapping[str, float], save: Callable[[Path], None]) -> None:
    """Report metrics, and from the first worker a checkpoint that `save` writes into a folder.

    It is named by its step, so that a step done again overwrites what a killed worker left.
    """
    name, plain = states.name_of(step), {"step": step, **metrics}
    if ray.train.get_context().get_world_rank() != 0:
        ray.train.report(plain, checkpoint_dir_name=name)
        return
    with TemporaryDirectory() as folder:
        save(Path(folder))
        ray.train.report(plain, Checkpoint.from_directory(folder), checkpoint_dir_name=name)


def agreed(go_on: bool, device: torch.device) -> bool:
    """Let all workers go on or stop together, which all call this: where one stops, all do."""
    if ray.train.get_context().get_world_size() == 1:
        return go_on
    vote = torch.tensor(float(go_on), device=device)
    torch.distributed.all_reduce(vote, op=torch.distributed.ReduceOp.MIN)
    return bool(vote)


def mean_over_workers(metrics: dict[str, float], device: torch.device) -> dict[str, float]:
    """Average each metric over the workers, which all call this with the same names."""
    world = ray.train.get_context().get_world_size()
    if world == 1:
        return metrics
    means = torch.tensor(list(metrics.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(means)
    return dict(zip(metrics, (means / world).tolist(), strict=True))
