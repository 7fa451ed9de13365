"""Sweeps that stop trainings early: they end, leave nothing running, and say what was stopped."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_checks import served
from multibodies import rungs
from multibodies.cluster.sweeps import How, run_sweep
from multibodies.sweep import Plan, Stopping, Sweep, describe_plan, expand
from sweep_samples import shared_done
from training_samples import TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a leaked worker would hang the sweep
RULE = Stopping("mpjpe_n3", ("wild-val",), grace=3, reduction=2, images=4)
GOOD, BAD = "seed0-ri0", "seed0-ri0.1"


def plan_of(name: str) -> Plan:
    """Return a plan of two tiny trainings of two cells each; rungs at step 3 of 6."""
    fixed = {**TINY, "model.trains": "all", "evaluation.splits": ["wild-val"]}
    score = {"evaluation.flow_weight": (0.0, 1.0)}
    sweep = Sweep(name, "smoke", (0,), fixed, {"loss.ri": (0.0, 0.1)}, score)
    return expand(replace(sweep, stopping=RULE))


def prepared(folder: Path, plan: Plan) -> Path:
    """Make the run's folder with its shared stages done, and the first training's good result at
    the rung, so that it goes on and the second does not, whichever comes first."""
    run_dir = shared_done(folder, plan)
    line = {"step": 3, "training": GOOD, "value": 0.0, "goes_on": True}
    (run_dir / rungs.RUNGS).write_text(json.dumps(line) + "\n")
    return run_dir


SINGLE = ("_StatsActor", "_AutoscalingCoordinatorActor")  # Ray Data's, as long as its driver


def alive() -> set[str]:
    """Return the actors that are not dead."""
    from ray._private.state import actors

    found = [(actor["ActorClassName"], name, actor["State"]) for name, actor in actors().items()]
    return {
        f"{kind} {name}" for kind, name, state in found if kind not in SINGLE and state != "DEAD"
    }


def check_nothing_left(ray: Any, before: set[str], seconds: float = 30.0) -> None:
    """Within some seconds every CPU is free again and every actor of the sweep is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        free = ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]
        if free and alive() <= before:
            return
        time.sleep(0.2)
    raise AssertionError(f"left: {alive() - before}, {ray.available_resources()}")


@pytest.mark.drill
@pytest.mark.parametrize("workers", [1, 2], ids=["alone", "workers"])
def test_a_training_that_is_stopped_early(
    workers: int, ray_local: Any, tmp_path: Path, tracking_uri: str
) -> None:
    """Promise: the sweep ends by itself, no actor and no worker is left, the stopped cells' runs
    are FINISHED with their tag and without a score, the report lists them apart, and the same
    command given again trains nothing."""
    plan, before = plan_of(f"early{workers}"), alive()
    run_dir = prepared(tmp_path, plan)
    how = How(workers, tracking_uri=tracking_uri)
    text = run_sweep(plan, run_dir, how)
    check_nothing_left(ray_local, before)
    notes = rungs.stopped(run_dir / "cells" / BAD)
    assert notes is not None and notes["step"] == 3 and notes["value"] > 0
    left = {path.name for path in (run_dir / "cells" / BAD).iterdir() if path.name[0] != "."}
    assert left <= {"recipe.json", "train.jsonl", rungs.STOPPED_EARLY}
    assert not (run_dir / "scores" / BAD).exists()
    check_told(plan, run_dir, text, tracking_uri)
    weights = run_dir / "cells" / GOOD / "weights" / "weights.safetensors"
    journals = [weights, *run_dir.glob("cells/*/train.jsonl"), run_dir / rungs.RUNGS]
    times = [path.stat().st_mtime_ns for path in journals]
    assert run_sweep(plan, run_dir, how) == text
    assert [path.stat().st_mtime_ns for path in journals] == times
    assert "at step 3" in describe_plan(plan, run_dir)


def check_told(plan: Plan, run_dir: Path, text: str, uri: str) -> None:
    """The report, its JSON and MLflow tell which cells were stopped and score only the others."""
    assert "Stopped early" in text
    told = json.loads((run_dir / "table2.json").read_text())
    assert [(row["training"], row["step"], row["of_steps"]) for row in told["stopped_early"]] == [
        (BAD, 3, 6)
    ]
    assert {row["axes"] for row in told["rows"]} == {"loss.ri = 0.0"}
    found = served(uri, plan.name)
    assert set(found) == {"(sweep)", *(cell.id for cell in plan.cells)}
    assert {run["status"] for run in found.values()} == {"FINISHED"}
    for cell in plan.cells:
        run, stopped = found[cell.id], cell.training == BAD
        assert run["tags"].get("stopped_early") == ("true" if stopped else None)
        assert run["tags"].get("stopped_at_step") == ("3" if stopped else None)
        assert any(key.startswith("mpjpe_mm") for key, _ in run["metrics"]) != stopped
        assert run["params"]["loss.ri"] == str(cell.config.loss.ri)
