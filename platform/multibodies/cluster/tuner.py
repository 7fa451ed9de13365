"""The trainings of a sweep under Ray Tune: each trial trains stage 2 and infers its hypotheses.

A trial that one worker suffices for trains in its own process: a Train run would start three more.
Any other drives a Ray Train run and holds no CPU of its own, since its workers do. Either way a
trial that was killed goes on from its last checkpoint when the sweep is run again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from multibodies import rungs, runs
from multibodies.cluster import connect
from multibodies.cluster.concurrency import trials_at_once
from multibodies.cluster.evaluate import infer
from multibodies.cluster.groups import IN_MEMORY, discard
from multibodies.cluster.trainer import Execution, fit
from multibodies.config import Config
from multibodies.data.training_rows import open_source
from multibodies.environs import environment
from multibodies.errors import UserError
from multibodies.evaluation import infer_tasks
from multibodies.halving import Halving
from multibodies.local import fit_local
from multibodies.rungs import StoppedEarly
from multibodies.sweep import Prior, Training
from multibodies.training import GoesOn, always


@dataclass(frozen=True)
class TrialTask:
    """One trial: a training's id and settings, what it starts from, where it writes.

    alone: whether its own process trains, being the only worker, on rows that it can hold; halving:
    whom it asks whether to go on.
    """

    id: str
    config: Config
    rows: str
    images: str
    stage1: str
    prior: str
    out: str
    hypotheses: str
    splits: tuple[str, ...]
    workers: int
    gpus: int
    alone: bool = False
    halving: Halving | None = None

    @property
    def goes_on(self) -> GoesOn:
        """What a training in the trial's own process asks."""
        return always if self.halving is None else self.halving.goes_on


Trial = Callable[[dict[str, str], dict[str, TrialTask]], None]


def task_of(
    training: Training,
    prior: Prior,
    run_dir: Path,
    workers: int,
    gpus: int,
    halving: Halving | None = None,
) -> TrialTask:
    """Return the trial of a training, which infers under a prior."""
    rows = run_dir / training.rows
    return TrialTask(
        training.id,
        training.config,
        rows=str(rows),
        images=str(run_dir / "data"),
        stage1=str(run_dir / "stage1" / "weights"),
        prior=str(run_dir / prior.weights),
        out=str(run_dir / training.stage.directory),
        hypotheses=str(run_dir / training.inference.directory),
        splits=tuple(training.inference.recipe["splits"]),
        workers=workers,
        gpus=gpus,
        alone=workers == 1 and open_source(rows, training.config.splits.train).size <= IN_MEMORY,
        halving=halving,
    )


def trial(settings: dict[str, str], tasks: dict[str, TrialTask]) -> None:
    """Train stage 2 and infer its hypotheses; both skip what is done.

    A training that is stopped early returns by itself: Tune kills nothing, and nothing is left.
    """
    task = tasks[settings["id"]]
    try:
        (work_alone if task.alone else lead_workers)(task)
    except StoppedEarly:
        discard(Path(task.out))
        return
    runs.finish(Path(task.hypotheses))


def work_alone(task: TrialTask) -> None:
    """Train and infer in this process."""

    def on_report(step: int, metrics: dict[str, float]) -> None:
        tune.report({"step": step, **metrics})

    weights = fit_local(
        task.config,
        "stage2",
        task.rows,
        task.out,
        start_from=task.stage1,
        split=task.config.splits.train,
        device="cuda" if task.gpus else "cpu",
        on_report=on_report,
        progress=False,
        goes_on=task.goes_on,
    )
    where = task.images, weights, task.splits, task.hypotheses
    for part in infer_tasks(task.config, *where, prior=task.prior, gpu=task.gpus > 0):
        if not part.done:
            part.run()


def lead_workers(task: TrialTask) -> None:
    """Train with a group of workers, then infer on all of the cluster."""
    execution = Execution(task.workers, task.gpus, callbacks=(TuneReportCallback(),))
    weights = fit(
        task.config,
        "stage2",
        task.rows,
        task.out,
        start_from=task.stage1,
        split=task.config.splits.train,
        name=task.id,
        progress=False,
        execution=execution,
        halving=task.halving,
    )
    infer(
        task.config,
        task.images,
        weights,
        task.splits,
        task.hypotheses,
        prior=task.prior,
        gpu=task.gpus > 0,
        progress=False,
    )


def is_complete(task: TrialTask) -> bool:
    """Whether a trial came to its end, also in an earlier run: in full, or stopped early."""
    ended = runs.finished(Path(task.hypotheses)), rungs.stopped(Path(task.out))
    return any(notes is not None for notes in ended)


def resources_of(task: TrialTask) -> dict[str, float]:
    """Return what a trial holds; Tune wants some resource even of one that holds none."""
    if task.alone:
        return {"CPU": 1, "GPU": task.gpus}
    return {"memory": 1 << 20}


def run_trials(
    tasks: Sequence[TrialTask],
    storage: Path,
    at_once: int | None = None,
    work: Trial | None = None,
) -> dict[str, Exception]:
    """Run trials side by side: `at_once`, or else as many as the cluster's CPUs (or GPUs) allow.

    `work` is what each does, None: train and infer.

    One that fails does not stop the others. Returns why, by id: UserError where a user can mend it,
    else RuntimeError. KeyboardInterrupt, which Tune takes for an end without errors, goes on.
    """
    connect()
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    address = ray.get_runtime_context().gcs_address
    first = tasks[0]
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(work or trial, tasks={task.id: task for task in tasks}),
            resources_of(first),
        ),
        param_space={"id": tune.grid_search([task.id for task in tasks])},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=trials_at_once(at_once, first.workers, first.gpus, len(tasks)),
            trial_name_creator=lambda t: t.config["id"],
            trial_dirname_creator=lambda t: t.config["id"],
            metric="total",
            mode="min",
            reuse_actors=True,  # a process that has imported torch trains the next one too
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    with environment(RAY_ADDRESS=address):  # a trial's own Train run must join this cluster
        results = tuner.fit()
    failed = _failures(tasks, results)
    if not all(task.id in failed or is_complete(task) for task in tasks):
        raise KeyboardInterrupt
    return failed


def _failures(tasks: Sequence[TrialTask], results: tune.ResultGrid) -> dict[str, Exception]:
    failed: dict[str, Exception] = {}
    for task, result in zip(tasks, results, strict=False):
        if result.error is not None:
            cause: BaseException = getattr(result.error, "cause", None) or result.error
            kind = UserError if isinstance(cause, UserError) else RuntimeError
            failed[task.id] = kind(f"training {task.id} failed: {cause}")
            failed[task.id].__cause__ = result.error
    return failed
