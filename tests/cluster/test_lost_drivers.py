"""Sweeps whose driver or one cell is lost: N cells give N finished runs, equal to calm ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ray_head
from mlflow_checks import journaled, served
from multibodies import fitting, runs
from multibodies.cluster.sweeps import How, run_sweep
from multibodies.errors import UserError
from multibodies.sweep import Plan, Sweep, expand
from sweep_samples import shared_done
from training_samples import TINY, largest_difference

pytestmark = [pytest.mark.slow, pytest.mark.drill, pytest.mark.timeout(900)]
STEPS = [2, 4, 6]


def plan_of(name: str, weights: tuple[float, ...] = (0.0, 0.1)) -> Plan:
    """Return a plan of two tiny trainings of two cells each."""
    fixed = {**TINY, "model.trains": "all", "evaluation.splits": ["wild-test"]}
    score = {"evaluation.flow_weight": (0.0, 1.0)}
    return expand(Sweep(name, "smoke", (0,), fixed, {"loss.ri": weights}, score))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, ray_local: Any, tracking_uri: str) -> Path:
    """An undisturbed sweep."""
    plan = plan_of("calm")
    run_dir = shared_done(tmp_path_factory.mktemp("runs"), plan, "wild-test")
    run_sweep(plan, run_dir, How(tracking_uri=tracking_uri))
    return run_dir


def check_calm(calm: Path, run_dir: Path, plan: Plan, uri: str) -> None:
    """One FINISHED run per cell and the parent's, equal to the journal and to the calm sweep's."""
    found = served(uri, plan.name)
    assert set(found) == {"(sweep)", *(cell.id for cell in plan.cells)}
    assert {run["status"] for run in found.values()} == {"FINISHED"}
    held = journaled(run_dir / "journal")
    theirs = served(uri, "calm")
    for cell in plan.cells:
        ours = found[cell.id]["metrics"]
        assert ours == held[cell.id]["metrics"]
        assert ours == pytest.approx(theirs[cell.id]["metrics"], rel=1e-5)
        assert [step for key, step in ours if key == "train_total"] == STEPS
    for training in plan.trainings:
        place = training.stage.directory
        assert largest_difference(*(d / place / fitting.WEIGHTS for d in (calm, run_dir))) == 0
        lines = (run_dir / place / runs.JOURNAL).read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == STEPS


DRIVER = """
import os, signal, sys
from pathlib import Path
from multibodies.cluster import sweeps, tuner
from multibodies.cluster.sweeps import How, run_sweep
from test_lost_drivers import killing_trial, plan_of
run_dir, uri, when = sys.argv[1:4]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if when == "training":
    tuner.trial = killing_trial(os.getpid())
else:
    sweeps.score_sweep = die
run_sweep(plan_of("lost"), run_dir, How(cpus=2, tracking_uri=uri))
"""


def killing_trial(driver: int) -> Any:
    """Return a trial that kills the sweep's driver when it has saved its first checkpoint."""

    def trial(settings: dict[str, str], tasks: dict[str, Any]) -> None:
        import time

        from multibodies import local
        from multibodies.cluster import tuner as there

        save = local._save

        def dying(*arguments: Any) -> None:
            save(*arguments)
            os.kill(driver, signal.SIGKILL)
            time.sleep(120)  # with its driver gone, Ray ends this process too

        local._save = dying  # type: ignore[assignment]
        there.trial(settings, tasks)

    return trial


def stalling_trial(settings: dict[str, str], tasks: dict[str, Any]) -> None:
    """Stand still after the first checkpoint, and say so by a file."""
    import time

    from multibodies import local
    from multibodies.cluster import tuner as there

    save = local._save

    def stalling(*arguments: Any) -> None:
        save(*arguments)
        (Path(tasks[settings["id"]].out).parents[1] / "stalled").touch()
        time.sleep(120)  # its job is stopped before

    local._save = stalling  # type: ignore[assignment]
    there.trial(settings, tasks)


JOB = """
import sys
from multibodies.cluster import tuner
from multibodies.cluster.sweeps import How, run_sweep
from test_lost_drivers import plan_of, stalling_trial
run_dir, uri, when = sys.argv[1:4]
if when == "first":
    tuner.trial = stalling_trial
run_sweep(plan_of("stopped"), run_dir, How(tracking_uri=uri))
"""


def lose_driver(run_dir: Path, uri: str, when: str) -> None:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}:{here}"}
    command = [sys.executable, "-c", DRIVER, str(run_dir), uri, when]
    done = subprocess.run(
        command, env=environment, timeout=300, check=False, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]


def test_a_sweep_whose_driver_is_killed_twice(
    calm: Path, tmp_path: Path, tracking_uri: str
) -> None:
    """Promise: killed by -9 while Tune trains, again after the trainings, and given a third time,
    a sweep ends as an undisturbed one: no run twice, none RUNNING, no step done again."""
    plan = plan_of("lost")
    run_dir = shared_done(tmp_path, plan, "wild-test")
    lose_driver(run_dir, tracking_uri, "training")
    assert len(list(run_dir.glob("cells/*/checkpoints/step-*2"))) >= 1
    assert not list(run_dir.glob("cells/*/finished.json"))
    lose_driver(run_dir, tracking_uri, "scoring")
    weights = sorted(run_dir.glob("cells/*/weights/weights.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    assert len(before) == 2
    assert {run["status"] for run in journaled(run_dir / "journal").values()} == {"RUNNING"}
    run_sweep(plan, run_dir, How(tracking_uri=tracking_uri))
    assert [path.stat().st_mtime_ns for path in weights] == before
    check_calm(calm, run_dir, plan, tracking_uri)


def test_a_job_that_is_stopped_and_submitted_again(
    calm: Path, tmp_path: Path, tracking_uri: str
) -> None:
    """Promise: a submitted sweep whose job is stopped while it trains, submitted again, ends as an
    undisturbed one."""
    plan = plan_of("stopped")
    run_dir = shared_done(tmp_path, plan, "wild-test")
    command = ["python", "-c", JOB, str(run_dir), tracking_uri]
    with ray_head.head() as address, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ray_head.submit, address, [*command, "first"], "first")
        deadline = time.monotonic() + 240
        while not (run_dir / "stalled").exists() and not first.done():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        ray_head.ask(address, ray_head.TOKEN, "/api/jobs/first/stop", {})
        first.result()  # the command's code says nothing of a stop
        assert ray_head.ask(address, ray_head.TOKEN, "/api/jobs/first")[1]["status"] == "STOPPED"
        assert not list(run_dir.glob("cells/*/finished.json"))
        again = ray_head.submit(address, [*command, "again"])
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    check_calm(calm, run_dir, plan, tracking_uri)


def test_a_cell_whose_loss_is_not_finite(calm: Path, tmp_path: Path, tracking_uri: str) -> None:
    """Promise: the sweep ends with one error that names training, step and term; that training's
    cells end FAILED, the others FINISHED with an undisturbed sweep's numbers."""
    plan = plan_of("sick", (0.0, 1e39))
    run_dir = shared_done(tmp_path, plan, "wild-test")
    told = r"training seed0-ri1e\+39 failed: stage2: step 1: loss is inf; not finite: ri;"
    with pytest.raises(UserError, match=told):
        run_sweep(plan, run_dir, How(tracking_uri=tracking_uri))
    found, theirs = (served(tracking_uri, name) for name in ("sick", "calm"))
    status = {name: run["status"] for name, run in found.items()}
    assert status == {
        "(sweep)": "FAILED",
        **{c.id: "FAILED" if "1e+39" in c.id else "FINISHED" for c in plan.cells},
    }
    for cell in plan.cells[:2]:
        ours = found[cell.id]["metrics"]
        assert ours == pytest.approx(theirs[cell.id]["metrics"], rel=1e-5)
