"""What a run folder holds: its recipe (plan.json), finished stages (done.json), their seconds."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multibodies.errors import UserError
from multibodies.files import write_bytes
from multibodies.sweep.plan import Plan, Stage

PLAN_FILE = "plan.json"
DONE_FILE = "done.json"
TIMINGS_FILE = "timings.json"


def stage_path(run_dir: str | Path, stage: Stage) -> Path:
    """Return the folder of a stage."""
    return Path(run_dir) / stage.directory


def check_recipe(run_dir: str | Path, plan: Plan) -> None:
    """Claim the run folder for this plan, or check that it is already claimed for the same recipe.

    Raises UserError with every difference printed, so that a name never mixes two experiments.
    """
    path = Path(run_dir) / PLAN_FILE
    recipe = _flat(json.loads(json.dumps(plan.recipe())))
    if not path.exists():
        write_json(path, plan.recipe())
        return
    found = _flat(read_json(path))
    lines = [
        f"  {key}: {found.get(key, '(not set)')} before, {recipe.get(key, '(not set)')} now"
        for key in sorted(found.keys() | recipe.keys())
        if found.get(key, ...) != recipe.get(key, ...)
    ]
    if lines:
        raise UserError(
            f"the run '{plan.name}' in {run_dir} was made with another recipe; "
            "give the sweep another name or remove the folder:\n" + ";\n".join(lines)
        )


def is_done(run_dir: str | Path, stage: Stage) -> bool:
    """Tell whether a stage finished. Raises UserError if its folder was made by another recipe."""
    path = stage_path(run_dir, stage) / DONE_FILE
    if not path.exists():
        return False
    found = read_json(path).get("fingerprint")
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
    write_json(stage_path(run_dir, stage) / DONE_FILE, record)


def write_timings(run_dir: str | Path, plan: Plan) -> dict[str, float]:
    """Gather each kind of stage's mean seconds into timings.json, for the next estimate."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for stage in plan.stages():
        path = stage_path(run_dir, stage) / DONE_FILE
        if path.exists():
            seconds[stage.kind].append(float(read_json(path)["seconds"]))
    means = {kind: round(sum(values) / len(values), 3) for kind, values in seconds.items()}
    write_json(Path(run_dir) / TIMINGS_FILE, means)
    return means


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises UserError naming a damaged file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); remove the run's folder") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: damaged (expected a JSON object); remove the run's folder")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically. Raises UserError when the disk refuses it."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        deeper = isinstance(value, dict) and value
        flat.update(_flat(value, f"{name}.") if deeper else {name: value})
    return flat
