"""Workers and nodes lost in the middle of a training under Ray Train: nothing lost, nothing twice.

tests/cluster/test_trainer.py kills a worker of two in a trial, and a training's driver.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multibodies import cli, fitting, runs, states
from multibodies.cluster import groups, lasting
from multibodies.cluster.trainer import fit
from multibodies.errors import UserError
from training_samples import largest_difference, tiny_config

ROUNDING = 2e-5  # as in test_trainer: the same sums in another order
Capture = pytest.CaptureFixture[str]
pytestmark = [
    pytest.mark.usefixtures("soon"),
    pytest.mark.slow,
    pytest.mark.drill,
    pytest.mark.timeout(600),
]


def check_calm(calm: Path, out: Path) -> None:
    """The weights of an undisturbed training, each step in the journal once, no checkpoint left."""
    assert largest_difference(calm, out / fitting.WEIGHTS) < ROUNDING
    lines = [json.loads(line) for line in (out / runs.JOURNAL).read_text().splitlines()]
    theirs = runs.read_journal(calm.parent / runs.JOURNAL)
    assert [line["step"] for line in lines] == [line["step"] for line in theirs] == [2, 4, 6]
    assert [x["total"] for x in lines] == pytest.approx([x["total"] for x in theirs], rel=1e-4)
    assert not (out / groups.STORAGE).exists()


def disturbed(starts: Path, at: int, disturb: Callable[[Path], None]) -> groups.Work:
    """Return a worker's loop in which `disturb(storage)` is called once, for the report of step
    `at`. Each start of the loop adds a line to the file `starts`, the step that it goes on from.
    """

    def work(settings: dict[str, Any]) -> None:
        from multibodies.cluster import trainer as there

        original, task = there.report, settings["task"]
        resumed = len(starts.read_text().splitlines()) if starts.exists() else 0
        with starts.open("a") as file:
            file.write("start\n")

        def report(*args: Any) -> None:
            if args[-1].step == at and resumed == 0:
                disturb(task.out / "ray" / task.stage)
            original(*args)

        there.report = report  # type: ignore[assignment]
        there.work(settings)

    return work


def die_while_writing(storage: Path) -> None:
    """Leave what a kill in the middle of the copy of a checkpoint leaves, and be killed."""
    import shutil

    before, now = storage / "step-00000002", storage / "step-00000004"
    shutil.copytree(before / "model", now / "model")
    weights = now / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("ray_local")
def test_a_worker_killed_for_its_memory_while_it_writes_a_checkpoint(
    rows: Path,
    stage1: Path,
    calm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """Promise: workers that die too often, as by the OOM killer, are one error that names
    batch_size; the half-written checkpoint is no checkpoint, `repair` removes it, and the same
    training given again does the steps since step 2 once more and ends as an undisturbed one."""
    out, starts = tmp_path / "run", tmp_path / "starts"
    monkeypatch.setattr(groups, "MAX_FAILURES", 0)
    monkeypatch.setattr("multibodies.cluster.trainer.work", disturbed(starts, 4, die_while_writing))
    with pytest.raises(UserError, match=r"a worker of 'stage2' died 1 times.*lower batch_size"):
        fit(tiny_config(), "stage2", rows, out, start_from=stage1, progress=False)
    storage = out / groups.STORAGE / "stage2"
    assert not states.is_whole(storage / states.name_of(4))
    assert cli.main(["repair", str(out)]) == 0
    said = capsys.readouterr().out
    assert "removed step-00000004, not whole; goes on from step 2" in said
    assert not (storage / states.name_of(4)).exists()
    fit(tiny_config(), "stage2", rows, out, start_from=stage1, progress=False)
    assert starts.read_text().splitlines() == ["start"] * 2
    check_calm(calm, out)


def fill_disk(storage: Path) -> None:
    """Let the kernel refuse this process what it writes of checkpoints."""
    import errno

    def full(number: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{number}")).name.startswith("weights.safetensors"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = full  # type: ignore[assignment]


@pytest.mark.usefixtures("ray_local")
def test_an_error_that_a_restart_does_not_mend_is_met_once(
    rows: Path, stage1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a worker's full disk (as its NaN) is one error, without the restarts that a lost
    worker gets, and the checkpoint before it is whole."""
    out, starts = tmp_path / "run", tmp_path / "starts"
    monkeypatch.setattr("multibodies.cluster.trainer.work", disturbed(starts, 4, fill_disk))
    with pytest.raises(UserError, match=r"\(No space left on device\); free space"):
        fit(tiny_config(), "stage2", rows, out, start_from=stage1, progress=False)
    assert starts.read_text().splitlines() == ["start"]
    assert not (out / lasting.STOPPED).exists()
    assert states.newest(out / groups.STORAGE / "stage2") is not None


NODES = """
import os, signal, sys, time
from pathlib import Path
from multibodies.cluster import trainer
import ray
from ray.cluster_utils import Cluster
from test_lost_workers import disturbed, lose_node
from training_samples import tiny_config
rows, stage1, out, starts = map(Path, sys.argv[1:5])
where = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
soon = {"health_check_period_ms": 500}
head = {**where, "num_cpus": 0, "_system_config": soon}
cluster = Cluster(initialize_head=True, head_node_args=head)
for _ in range(2):
    cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")
ray.init(address=cluster.address, log_to_driver=False)
assert len([node for node in ray.nodes() if node["Alive"]]) == 3
trainer.work = disturbed(starts, 4, lose_node)
trainer.fit(tiny_config(), "stage2", rows, out, start_from=stage1, progress=False)
print("alive", len([node for node in ray.nodes() if node["Alive"]]))
ray.shutdown()
cluster.shutdown()
"""


def lose_node(storage: Path) -> None:
    """Kill the node of this process, and this process, as a machine that stops does."""
    raylet = os.getppid()
    assert Path(f"/proc/{raylet}/comm").read_text().startswith("raylet")
    os.kill(raylet, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_node(rows: Path, stage1: Path, calm: Path, tmp_path: Path) -> None:
    """Promise: of three nodes (a head without work, two that train) one is killed by -9; the
    training goes on on what is left, by itself, and ends as an undisturbed one."""
    out, starts = tmp_path / "run", tmp_path / "starts"
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": f"{os.environ['PYTHONPATH']}:{here}",
    }
    arguments = [str(path) for path in (rows, stage1, out, starts)]
    for _ in range(3):  # a crowded machine may not start a node within Ray's 30 s
        done = subprocess.run(
            [sys.executable, "-c", NODES, *arguments],
            timeout=400,
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        if "timed out during startup" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr[-3000:]
    assert "alive 2" in done.stdout
    assert starts.read_text().splitlines() == ["start"] * 2
    check_calm(calm, out)
