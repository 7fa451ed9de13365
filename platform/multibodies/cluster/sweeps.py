"""A sweep from nothing to a table: shared stages, trainings under Tune, scoring, tracking, report.

Everything that is done is kept: the same command goes on where it was stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from multibodies import runs
from multibodies.cluster import connect
from multibodies.cluster.carried import facts_of, first_facts
from multibodies.cluster.how import How
from multibodies.cluster.scores import score_sweep
from multibodies.cluster.stages import run_shared, verify_shared
from multibodies.cluster.trainings import stopped_in, train_all
from multibodies.data.manifest import read_manifest
from multibodies.environs import submission_id
from multibodies.protocols import dataset_of, protocol_of
from multibodies.registering import register_winner
from multibodies.report import summary
from multibodies.report.early import log_stopped, stopped_rows
from multibodies.report.provenance import command_line, git_commit, machine, versions
from multibodies.report.results import log_cells, log_results, write_results
from multibodies.sweep import Plan, check_recipe, is_done, with_drawn, write_timings
from multibodies.sweep.state import JOURNAL
from multibodies.tracking import Tracker
from multibodies.tracking_server import tracking_server

__all__ = ["How", "run_sweep"]

LOCK_SECONDS = 120.0  # that a shared volume may hold the lock of a driver whose machine is lost
DATA = {"embedded": "embedded synthetic images; not comparable with the paper's"}


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
        tags = tags_of(plan, run_dir)
        whole, failed = train_all(plan, run_dir, how, tracker, tags)
        stopped = stopped_in(whole, run_dir)
        log_stopped(tracker, whole, stopped)
        if failed:
            finish_others(whole.without({*failed, *stopped}), run_dir, tracker)
            raise next(iter(failed.values()))
        plan, chosen = score_sweep(whole.without(stopped), run_dir)
        tracker.carry(facts_of(plan, run_dir, tags))  # the cell at the chosen flow weight is new
        provenance = provenance_of(plan, run_dir, chosen, tags)
        timings = write_timings(run_dir, plan)
        provenance["seconds"] = {**timings, "this command": round(time.time() - started, 1)}
        page = write_results(plan, run_dir, provenance, stopped_rows(whole, stopped))
        log_results(tracker, parent, plan, run_dir)
        register_winner(tracker, parent, plan, run_dir)
    return summary.show(page)


@contextmanager
def backends(plan: Plan, run_dir: Path, how: How) -> Iterator[str]:
    """Have an MLflow server, of our own unless one is named, and Ray if anything is left to do.

    Both take seconds to come up, so they do it side by side. Gives the server's address.
    """
    plan = with_drawn(plan, run_dir)
    left = plan.without(stopped_in(plan, run_dir))
    idle = not plan.undrawn and all(is_done(run_dir, stage) for stage in left.stages())
    ray = None if idle else partial(connect, how.cpus)
    if how.tracking_uri is not None:
        if ray:
            ray()
        yield how.tracking_uri
        return
    with tracking_server(run_dir, how.port, meanwhile=ray) as server:
        yield server.uri


def finish_others(plan: Plan, run_dir: Path, tracker: Tracker) -> None:
    """Score and log the cells of the trainings that did not fail; the report waits for all, and so
    does the choice of a flow weight."""
    if plan.cells:
        plan = replace(plan, sweep=replace(plan.sweep, candidates=()))
        score_sweep(plan, run_dir)
        log_cells(tracker, plan, run_dir)


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


def provenance_of(
    plan: Plan, run_dir: Path, chosen: dict[str, Any], tags: dict[str, str]
) -> dict[str, Any]:
    """Return all that stands behind the numbers, for the report's JSON."""
    stage1 = _told(run_dir / "stage1" / "weights")
    priors = {prior.stage.name: _told(run_dir / prior.weights) for prior in plan.priors}
    return {
        "profile": plan.sweep.profile,
        "command": command_line(),
        **tags,
        "recipe": plan.recipe(),
        **({"notes": dict(plan.sweep.notes)} if plan.sweep.notes else {}),
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
