"""The trainings of a sweep: those that are left, side by side; an adaptive search's in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies import rungs, runs
from multibodies.cluster import connect
from multibodies.cluster.carried import facts_of
from multibodies.cluster.concurrency import trials_at_once
from multibodies.cluster.how import How
from multibodies.cluster.scores import score_cells
from multibodies.cluster.sharing import take_training
from multibodies.cluster.trials import task_of
from multibodies.cluster.tuner import run_trials
from multibodies.halving import Halving
from multibodies.progress import Progress
from multibodies.sweep import (
    Outcome,
    Plan,
    Training,
    best_of,
    draw_more,
    is_done,
    mark_done,
    with_drawn,
)
from multibodies.tracking import Tracker


def train_all(
    plan: Plan, run_dir: Path, how: How, tracker: Tracker, tags: Mapping[str, str]
) -> tuple[Plan, dict[str, Exception]]:
    """Run all trainings that are left; return the plan with what was drawn, and why some failed.

    Every run carries `tags`, its cell's settings and datasets, however it ends. An adaptive search
    trains a batch as wide as the machine, scores it on val, draws the next. Where a training fails
    nothing more is drawn.
    """
    plan, known = with_drawn(plan, run_dir), dict[str, Outcome]()
    while True:
        tracker.carry(facts_of(plan, run_dir, tags))
        failed = run_trainings(plan, run_dir, how, tracker)
        if failed or not plan.undrawn:
            return plan, failed
        told = outcomes(plan, run_dir, known)
        connect()
        width = trials_at_once(how.at_once, how.workers, how.gpus, plan.undrawn)
        plan = draw_more(plan, run_dir, told, width)


def outcomes(
    plan: Plan, run_dir: Path, known: dict[str, Outcome]
) -> list[tuple[dict[str, Any], Outcome]]:
    """Return each point of a search with its metric on val; `known` keeps what is scored once."""
    points = {point_of(t): dict(t.overrides) for t in plan.trainings}
    for name in points:
        if name not in known:
            mine = [t for t in plan.trainings if point_of(t) == name]
            known[name] = outcome(plan, mine, run_dir)
    return [(point, known[name]) for name, point in points.items()]


def point_of(training: Training) -> str:
    """Return what the trainings of a point have in common: their id without the seed."""
    return training.id.partition("-")[2]


def outcome(plan: Plan, trainings: list[Training], run_dir: Path) -> Outcome:
    """Return what became of a point: at the best of its priors and flow weights, by the metric of
    the search on the sweep's splits, which are val splits."""
    assert plan.sweep.search is not None
    for training in trainings:
        notes = rungs.stopped(run_dir / training.stage.directory)
        if notes is not None:
            return Outcome(float(notes["value"]), int(notes["step"]))
    ids = {training.id for training in trainings}
    scorings = [s for s in plan.scorings if s.training.id in ids]
    frames = [
        score_cells(plan, s, run_dir).records.to_pandas().assign(point=s.prior.stage.name)
        for s in scorings
    ]
    errors = best_of(pd.concat(frames), plan.sweep.search.metric)[1]
    return Outcome(min(errors.values()))


def stopped_in(plan: Plan, run_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the trainings that were stopped early, and what their folders tell of it."""
    found = {t.id: rungs.stopped(run_dir / t.stage.directory) for t in plan.trainings}
    return {name: notes for name, notes in found.items() if notes is not None}


def run_trainings(plan: Plan, run_dir: Path, how: How, tracker: Tracker) -> dict[str, Exception]:
    """Run the trainings and inferences that are not done, here or in another run, nor stopped
    early, side by side; return why some failed.
    """
    if how.share is not None:
        for training in plan.trainings:
            take_training(plan, training, run_dir, how.share)
    over = stopped_in(plan, run_dir)
    todo = [
        t
        for t in plan.trainings
        if t.id not in over and not (is_done(run_dir, t.stage) and is_done(run_dir, t.inference))
    ]
    if not todo:
        return {}
    started = time.monotonic()
    with shown(plan, todo, run_dir, tracker):
        first = plan.priors[0]
        tasks = [
            task_of(t, first, run_dir, how.workers, how.gpus, halving_of(plan, t, run_dir))
            for t in todo
        ]
        failed = run_trials(tasks, run_dir / "tune", how.at_once)
    over = stopped_in(plan, run_dir)
    through = [training for training in todo if training.id not in {*failed, *over}]
    fits = [training for training in through if not is_done(run_dir, training.stage)]
    share = (time.monotonic() - started) / max(1, len(fits))
    for training in fits:
        mark_done(run_dir, training.stage, share)
    for training in through:
        mark_done(run_dir, training.inference, 0.0)
    return failed


def halving_of(plan: Plan, training: Training, run_dir: Path) -> Halving | None:
    """Return whom a training asks whether to go on, where the sweep stops any early."""
    rule = plan.sweep.stopping
    if rule is None:
        return None
    cells = [cell for cell in plan.cells if cell.training == training.id]
    weights = dict.fromkeys(cell.config.evaluation.flow_weight for cell in cells)
    return Halving(
        rule,
        training.id,
        training.config,
        path=str(run_dir / rungs.RUNGS),
        out=str(run_dir / training.stage.directory),
        images=str(run_dir / "data"),
        prior=str(run_dir / plan.priors[0].weights),
        flow_weights=tuple(weights),
    )


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
