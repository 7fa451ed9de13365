"""What a run folder holds: its recipe (plan.json), finished stages (done.json), their seconds."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

from multibodies.errors import UserError
from multibodies.runs import differences, read_record, write_record
from multibodies.sweep.plan import Plan, Stage

PLAN_FILE = "plan.json"
DONE_FILE = "done.json"
JOURNAL = "journal"  # what the tracker logged
TIMINGS_FILE = "timings.json"


def stage_path(run_dir: str | Path, stage: Stage) -> Path:
    """Return the folder of a stage."""
    return Path(run_dir) / stage.directory


def check_recipe(run_dir: str | Path, plan: Plan) -> None:
    """Claim the run folder for this plan, or check that it is already claimed for the same recipe.

    Raises UserError with every difference printed, so that a name never mixes two experiments.
    """
    path = Path(run_dir) / PLAN_FILE
    recipe = json.loads(json.dumps(plan.recipe()))
    if not path.exists():
        write_record(path, recipe)
        return
    changed = differences(read_record(path), recipe)
    if changed:
        raise UserError(
            f"the run '{plan.name}' in {run_dir} was made with another recipe; "
            "give the sweep another name or remove the folder:\n  " + ";\n  ".join(changed)
        )


def is_done(run_dir: str | Path, stage: Stage) -> bool:
    """Tell whether a stage finished. Raises UserError if its folder was made by another recipe."""
    path = stage_path(run_dir, stage) / DONE_FILE
    if not path.exists():
        return False
    found = read_record(path).get("fingerprint")
    if found != stage.fingerprint:
        raise UserError(
            f"{path}: made by another recipe (fingerprint {found}, expected {stage.fingerprint}); "
            "remove the folder to make it again"
        )
    return True


def mark_done(run_dir: str | Path, stage: Stage, seconds: float) -> None:
    """Record that a stage's output is complete and how many seconds it took. Call it last."""
    record = {
        "name": stage.name,
        "kind": stage.kind,
        "fingerprint": stage.fingerprint,
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    write_record(stage_path(run_dir, stage) / DONE_FILE, record)


def write_timings(run_dir: str | Path, plan: Plan) -> dict[str, float]:
    """Gather each kind of stage's mean seconds into timings.json, for the next estimate."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for stage in plan.stages():
        path = stage_path(run_dir, stage) / DONE_FILE
        if path.exists():
            seconds[stage.kind].append(float(read_record(path)["seconds"]))
    means = {kind: round(sum(values) / len(values), 3) for kind, values in seconds.items()}
    write_record(Path(run_dir) / TIMINGS_FILE, means)
    return means
