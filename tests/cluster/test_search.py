"""An adaptive search from its first points to its last, killed in between, on the sweep's own road.

Its trials run here one by one: test_stopping shows them under Tune.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_checks import served
from multibodies.cluster import trainings, tuner
from multibodies.cluster.sweeps import How, run_sweep
from multibodies.errors import UserError
from multibodies.sweep import Plan, Sweep, check_recipe, draw_more, expand
from multibodies.sweep.adaptive import DRAWN
from multibodies.sweep.definition import Range, Search
from sweep_samples import shared_done
from training_samples import TINY

pytestmark = [pytest.mark.slow, pytest.mark.drill, pytest.mark.timeout(600)]
SEARCH = Search(4, "mpjpe_n3", 0, {"loss.ri": Range(0.01, 1.0, log=True)}, "optuna", 1)


def plan_of(name: str) -> Plan:
    """Return a plan of four tiny trainings, of which one is drawn; two cells each."""
    fixed = {**TINY, "model.trains": "all", "evaluation.splits": ["wild-val"]}
    score = {"evaluation.flow_weight": (0.0, 1.0)}
    return expand(Sweep(name, "smoke", (0,), fixed, score=score, search=SEARCH))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run trials one by one; the list has their ids."""
    ids: list[str] = []

    def one_by_one(tasks: list[Any], storage: Path, at_once: int | None) -> dict[str, Exception]:
        for task in tasks:
            ids.append(task.id)
            tuner.trial({"id": task.id}, {task.id: task})
        return {}

    monkeypatch.setattr(trainings, "run_trials", one_by_one)
    monkeypatch.setattr("ray.tune.report", lambda metrics: None)
    return ids


def points_in(run_dir: Path) -> list[list[dict[str, float]]]:
    batches: list[list[dict[str, float]]] = json.loads((run_dir / DRAWN).read_text())["batches"]
    return batches


def die(*_: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("ray_local")
def test_a_search_killed_twice_has_the_points_of_an_undisturbed_one(
    tmp_path: Path, tracking_uri: str, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: N samples are N trainings and N cells a flow weight, each trained once, whether the
    search was killed after it drew a batch or after it trained one."""
    how, plan = How(at_once=1, tracking_uri=tracking_uri), plan_of("killed-search")
    calm = shared_done(tmp_path, plan_of("calm-search"))
    assert "Best on val: loss.ri = " in run_sweep(plan_of("calm-search"), calm, how)
    undisturbed, trained[:] = list(trained), []
    assert len(undisturbed) == len(set(undisturbed)) == SEARCH.samples
    run_dir = shared_done(tmp_path, plan)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainings, "draw_more", lambda *a: draw_more(*a) and die())
        run_sweep(plan, run_dir, how)
    assert trained == undisturbed[:1] and len(points_in(run_dir)) == 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainings, "outcomes", die)
        run_sweep(plan, run_dir, how)
    assert trained == undisturbed[:2]
    run_sweep(plan, run_dir, how)
    assert trained == undisturbed
    assert points_in(run_dir) == points_in(calm) and len(points_in(calm)) == 3
    found = served(tracking_uri, plan.name)
    assert len(found) == 1 + 2 * SEARCH.samples
    assert {run["status"] for run in found.values()} == {"FINISHED"}
    run_sweep(plan, run_dir, how)
    assert trained == undisturbed, "nothing is trained anew"


def test_another_search_is_refused_under_the_name(tmp_path: Path) -> None:
    plan = plan_of("a")
    check_recipe(tmp_path, plan)
    other = expand(replace(plan.sweep, search=replace(SEARCH, startup=2)))
    with pytest.raises(UserError, match=r"search\.startup was 1, now 2"):
        check_recipe(tmp_path, other)
