"""A sweep of many cells rehearsed: its own scheduling and following, around trainings that sleep.

`python -m multibodies.cluster.rehearsal --cells 1000` prints what was measured as JSON: in a
process of its own, so that the memory is the driver's alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from multibodies import runs
from multibodies.cluster import connect
from multibodies.cluster.trainings import shown
from multibodies.cluster.trials import TrialTask
from multibodies.cluster.tuner import run_trials
from multibodies.sweep import Plan, Sweep, expand
from multibodies.sweep.definition import Range, Search
from multibodies.tracking import Tracker

CPUS = 2
SECONDS = 0.05  # of a training that sleeps


def rehearse(cells: int, seconds: float = SECONDS, cpus: int = CPUS) -> dict[str, Any]:
    """Return seconds in all and beyond the trainings' own for each cell, the driver's peak memory
    in MiB, threads aside, and what is left on disk."""
    connect(cpus)
    plan = plan_of(cells)
    with TemporaryDirectory() as folder:
        run_dir = Path(folder)
        tracker = Tracker(None, run_dir / "journal", plan.name)
        started = time.monotonic()
        with tracker, shown(plan, list(plan.trainings), run_dir, tracker):
            failed = run_trials(
                tasks_of(plan, run_dir), run_dir / "tune", work=partial(nap, seconds)
            )
        total = time.monotonic() - started
        kept = [path for path in (run_dir / "tune").rglob("*") if path.is_file()]
        return {
            "cells": cells,
            "failed": len(failed),
            "total_s": round(total, 1),
            "overhead_s_per_cell": round(total * cpus / cells - seconds, 3),
            "driver_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "tune_files": len(kept),
            "tune_mib": round(sum(path.stat().st_size for path in kept) / 2**20, 1),
        }


def plan_of(cells: int) -> Plan:
    """Return a plan of as many trainings, of a cell each."""
    search = Search(cells, "mpjpe_n5", ranges={"loss.ri": Range(0.001, 1000.0, log=True)})
    return expand(Sweep("rehearsal", "smoke", (0,), stage1="shipped", search=search))


def tasks_of(plan: Plan, run_dir: Path) -> list[TrialTask]:
    """Return a trial for each training, which reads nothing."""
    return [
        TrialTask(
            training.id,
            training.config,
            "",
            "",
            "",
            "",
            out=str(run_dir / training.stage.directory),
            hypotheses=str(run_dir / training.inference.directory),
            splits=(),
            workers=1,
            gpus=0,
            alone=True,
        )
        for training in plan.trainings
    ]


def nap(seconds: float, settings: dict[str, str], tasks: dict[str, TrialTask]) -> None:
    """Sleep instead of training, report once, and come to an end as a training does."""
    from ray import tune

    task = tasks[settings["id"]]
    time.sleep(seconds)
    runs.Journal(Path(task.out) / runs.JOURNAL).write(1, {"total": 1.0})
    tune.report({"step": 1, "total": 1.0})
    runs.finish(Path(task.hypotheses))


def main() -> None:
    """Rehearse and print."""
    parser = argparse.ArgumentParser(description=rehearse.__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    print(json.dumps(rehearse(parser.parse_args().cells)))


if __name__ == "__main__":
    main()
