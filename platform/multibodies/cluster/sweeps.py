"""A sweep from nothing to a table: shared stages, trainings under Tune, scoring, tracking, report.

Everything that is done is kept: the same command goes on where it was stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from multibodies import runs
from multibodies.cluster import connect
from multibodies.cluster.carried import facts_of, first_facts, submission_id
from multibodies.cluster.scores import score_sweep
from multibodies.cluster.sharing import take_training
from multibodies.cluster.stages import run_shared, verify_shared
from multibodies.cluster.tuner import run_trials, task_of
from multibodies.data.manifest import read_manifest
from multibodies.progress import Progress
from multibodies.protocols import dataset_of, protocol_of
from multibodies.registering import register_winner
from multibodies.report import summary
from multibodies.report.provenance import command_line, git_commit, machine, versions
from multibodies.report.results import log_cells, log_results, write_results
from multibodies.sweep import (
    Plan,
    Training,
    check_recipe,
    is_done,
    mark_done,
    write_timings,
)
from multibodies.sweep.state import JOURNAL
from multibodies.tracking import Tracker
from multibodies.tracking_server import tracking_server

LOCK_SECONDS = 120.0  # that a shared volume may hold the lock of a driver whose machine is lost
DATA = {"embedded": "embedded synthetic images; not comparable with the paper's"}


@dataclass(frozen=True)
class How:
    """How a sweep runs; none of it bears on its numbers.

    port None: a free one for MLflow; share: the folder of runs whose finished stages are taken.
    """

    workers: int = 1
    gpus: int = 0
    cpus: int | None = None
    port: int | None = None
    tracking_uri: str | None = None
    share: Path | None = None


def run_sweep(plan: Plan, run_dir: str | Path, how: How | None = None) -> str:
    """Run a plan into its folder and return the table as text.

    Raises UserError on a folder of another recipe or one that another process works in, a damaged
    shard, and as the stages do; what a training raises, after all others came to their end.
    """
    run_dir, how = Path(run_dir).resolve(), how or How()
    started = time.time()
    with ExitStack() as stack:
        stack.enter_context(runs.alone(run_dir, patience=LOCK_SECONDS if submission_id() else 0))
        check_recipe(run_dir, plan)
        verify_shared(plan, run_dir)
        uri = stack.enter_context(backends(plan, run_dir, how))
        tracker = stack.enter_context(Tracker(uri, run_dir / JOURNAL, plan.name))
        parent = stack.enter_context(tracker.run())
        parent.carry(first_facts(plan, git_commit(Path(__file__).parent)))
        run_shared(plan, run_dir, how.workers, how.gpus, how.share)
        tracker.carry(facts_of(plan, run_dir, tags_of(plan, run_dir)))
        failed = run_trainings(plan, run_dir, how, tracker)
        if failed:
            finish_others(plan.without(failed), run_dir, tracker)
            raise next(iter(failed.values()))
        plan, chosen = score_sweep(plan, run_dir)
        provenance = provenance_of(plan, run_dir, chosen)
        timings = write_timings(run_dir, plan)
        provenance["seconds"] = {**timings, "this command": round(time.time() - started, 1)}
        page = write_results(plan, run_dir, provenance)
        log_results(tracker, parent, plan, run_dir, tags_of(plan, run_dir))
        register_winner(tracker, parent, plan, run_dir)
    return summary.show(page)


@contextmanager
def backends(plan: Plan, run_dir: Path, how: How) -> Iterator[str]:
    """Have an MLflow server, of our own unless one is named, and Ray if anything is left to do.

    Both take seconds to come up, so they do it side by side. Gives the server's address.
    """
    idle = all(is_done(run_dir, stage) for stage in plan.stages())
    ray = None if idle else partial(connect, how.cpus)
    if how.tracking_uri is not None:
        if ray:
            ray()
        yield how.tracking_uri
        return
    with tracking_server(run_dir, how.port, meanwhile=ray) as server:
        yield server.uri


def run_trainings(plan: Plan, run_dir: Path, how: How, tracker: Tracker) -> dict[str, Exception]:
    """Run the trainings and inferences that are not done, here or in another run, side by side;
    return why some failed.
    """
    if how.share is not None:
        for training in plan.trainings:
            take_training(plan, training, run_dir, how.share)
    todo = [
        t
        for t in plan.trainings
        if not (is_done(run_dir, t.stage) and is_done(run_dir, t.inference))
    ]
    if not todo:
        return {}
    started = time.monotonic()
    with shown(plan, todo, run_dir, tracker):
        first = plan.priors[0]
        tasks = [task_of(training, first, run_dir, how.workers, how.gpus) for training in todo]
        failed = run_trials(tasks, run_dir / "tune")
    through = [training for training in todo if training.id not in failed]
    fits = [training for training in through if not is_done(run_dir, training.stage)]
    share = (time.monotonic() - started) / max(1, len(fits))
    for training in fits:
        mark_done(run_dir, training.stage, share)
    for training in through:
        mark_done(run_dir, training.inference, 0.0)
    return failed


def finish_others(plan: Plan, run_dir: Path, tracker: Tracker) -> None:
    """Score and log the cells of the trainings that did not fail; the report waits for all."""
    if plan.cells:
        score_sweep(plan, run_dir)
        log_cells(tracker, plan, run_dir, tags_of(plan, run_dir))


@contextmanager
def shown(plan: Plan, todo: list[Training], run_dir: Path, tracker: Tracker) -> Iterator[None]:
    """Follow the trainings' journals: one bar over all their steps, curves in the cells' MLflow
    runs."""
    steps = sum(training.config.stage2.steps for training in todo)
    lock = threading.Lock()
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(steps, f"{len(todo)} trainings", unit="step"))
        for training in todo:
            line = _on_line(training, plan, tracker, bar, lock)
            journal = run_dir / training.stage.directory / runs.JOURNAL
            stack.enter_context(runs.follow(journal, line))
        yield


def _on_line(
    training: Training, plan: Plan, tracker: Tracker, bar: Progress, lock: threading.Lock
) -> Callable[[int, dict[str, Any]], None]:
    logs = [tracker.run(cell.id) for cell in plan.cells if cell.training == training.id]
    seen = 0

    def on_line(step: int, metrics: dict[str, Any]) -> None:
        nonlocal seen
        with lock:
            bar.advance(step - seen, f"{training.id} loss {metrics['total']:.2f}")
            seen = step
            for log in logs:
                log.metrics({f"train_{name}": value for name, value in metrics.items()}, step)

    return on_line


def tags_of(plan: Plan, run_dir: Path) -> dict[str, str]:
    """Return what identifies a run: commit, data, profile, whether the data are embedded."""
    manifest = read_manifest(run_dir / "data")
    return {
        "git_commit": git_commit(Path(__file__).parent),
        "data_fingerprint": manifest.fingerprint,
        "profile": plan.sweep.profile,
        "stage1": plan.sweep.stage1,
        "protocol": "; ".join(protocol_labels(plan)),
        "data": DATA.get(manifest.source, ", ".join(manifest.splits)),
    }


def protocol_labels(plan: Plan) -> list[str]:
    """Return each scored dataset with what its numbers mean."""
    evaluation = plan.base.evaluation
    names = dict.fromkeys(dataset_of(split) for split in evaluation.splits)
    return [f"{name} {protocol_of(evaluation, name).label}" for name in names]


def provenance_of(plan: Plan, run_dir: Path, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return all that stands behind the numbers, for table2.json."""
    stage1 = _told(run_dir / "stage1" / "weights")
    priors = {prior.stage.name: _told(run_dir / prior.weights) for prior in plan.priors}
    return {
        "profile": plan.sweep.profile,
        "command": command_line(),
        **tags_of(plan, run_dir),
        "recipe": plan.recipe(),
        "flow_weight_choice": chosen,
        "stage1_meta": {k: v for k, v in stage1.items() if k != "recipe"},
        "prior_meta": priors[plan.priors[0].stage.name],
        **({"priors": priors} if plan.sweep.prior else {}),
        "versions": versions(),
        "machine": machine(),
    }


def _told(weights: Path) -> dict[str, Any]:
    """Return a checkpoint's meta but for its network."""
    return {k: v for k, v in runs.read_record(weights / "meta.json").items() if k != "spec"}
