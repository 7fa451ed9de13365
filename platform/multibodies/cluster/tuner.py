"""The trainings of a sweep under Ray Tune: each trial trains stage 2 and infers its hypotheses.

A trial that one worker suffices for trains in its own process: a Train run would start three more.
Any other drives a Ray Train run and holds no CPU of its own, since its workers do. Either way a
trial that was killed goes on from its last checkpoint when the sweep is run again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from multibodies import runs
from multibodies.cluster import connect
from multibodies.cluster.concurrency import trials_at_once
from multibodies.cluster.evaluate import infer
from multibodies.cluster.groups import discard
from multibodies.cluster.trainer import Execution, fit
from multibodies.cluster.trials import TrialTask, is_complete, resources_of
from multibodies.environs import environment
from multibodies.errors import UserError
from multibodies.evaluation import infer_tasks
from multibodies.local import fit_local
from multibodies.rungs import StoppedEarly

Trial = Callable[[dict[str, str], dict[str, TrialTask]], None]


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
