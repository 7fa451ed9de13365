"""A training that is stopped in the middle: by its own numbers, memory, the disk, a kill; `repair`.

All on one device; tests/cluster/test_interrupted.py has the same of workers and nodes.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from multibodies import cli, fitting, local, runs, states
from multibodies.cluster import snapshots
from multibodies.errors import UserError
from multibodies.mishaps import explained, is_out_of_memory
from multibodies.training import Forward, train_step
from training_samples import flip_byte, go, largest_difference, tiny_config

Capture = pytest.CaptureFixture[str]
STEPS = [2, 4, 6]


def check_calm(calm: Path, out: Path) -> None:
    """Nothing is lost and nothing is there twice: the weights and the lines of a calm training."""
    assert largest_difference(calm, out / fitting.WEIGHTS) == 0
    lines = [json.loads(line) for line in (out / runs.JOURNAL).read_text().splitlines()]
    assert lines == runs.read_journal(calm.parent / runs.JOURNAL)
    assert [line["step"] for line in lines] == STEPS


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_with_one_error(
    rows: Path, stage1: Path, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: NaN at step 5 is one error that names step and term; the checkpoint of step 4 is
    the last, and with the cause mended the training ends as an undisturbed one."""
    real = local._batches

    def poisoned(*arguments: object) -> object:
        make = real(*arguments)  # type: ignore[arg-type]

        def batches(start: int) -> object:
            for step, batch in enumerate(make(start), start):
                if step == 4:
                    batch["theta"][0] = float("nan")
                yield batch

        return batches

    monkeypatch.setattr(local, "_batches", poisoned)
    with pytest.raises(UserError, match=r"stage2: step 5: loss is nan; not finite: theta, vert"):
        go(rows, stage1, tmp_path)
    newest = states.newest(tmp_path / local.RESUME)
    assert newest is not None
    assert states.step_of(newest) == 4
    monkeypatch.undo()
    go(rows, stage1, tmp_path)
    check_calm(calm, tmp_path)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(rows: Path, stage1: Path) -> None:
    """Promise: a finite loss with a gradient that is not stops before a checkpoint can keep it."""
    task = fitting.Task(tiny_config(), "stage2", rows, rows, stage1)
    state = fitting.build_state(task)
    source = fitting.open_rows(task)
    batch = next(local._batches(task, source, torch.device("cpu"))(0))
    trained = state.optimizer.param_groups[0]["params"]
    before = [parameter.clone() for parameter in trained]
    trained[0].register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(FloatingPointError, match="the gradient's norm is nan"):
        train_step(
            Forward(state.model), fitting.objective_of(task), state.optimizer, batch, rate=0.1
        )
    assert all(torch.equal(a, b) for a, b in zip(before, trained, strict=True))


class Done:
    step = 7


def test_memory_that_is_used_up_says_what_to_lower() -> None:
    """Promise: a real refusal of PyTorch's allocator is one error that names batch_size."""
    with pytest.raises(UserError, match=r"stage2: step 8: out of memory .*lower stage2.batch_size"):
        with explained("stage2", 64, Done()):
            torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(RuntimeError, match="shapes differ"), explained("stage2", 64, Done()):
        raise RuntimeError("shapes differ")


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_costs_nothing(
    rows: Path, stage1: Path, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: no space for the checkpoint of step 4 leaves that of step 2 whole; with space the
    training ends as an undisturbed one."""
    real = os.fsync

    def full(number: int) -> None:
        if "step-00000004" in os.readlink(f"/proc/self/fd/{number}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"step-00000004.*\(No space left on device\); free space"):
        go(rows, stage1, tmp_path)
    assert states.newest(tmp_path / local.RESUME) == tmp_path / local.RESUME / states.name_of(2)
    monkeypatch.undo()
    go(rows, stage1, tmp_path)
    check_calm(calm, tmp_path)


DIES = """
import os, sys
from pathlib import Path
from multibodies import states
from training_samples import go
real = states.save_module
def dying(folder, *rest):
    real(folder, *rest)
    if "step-00000004" in str(folder):  # the network is written, its optimiser is not
        os.kill(os.getpid(), 9)
states.save_module = dying
go(*map(Path, sys.argv[1:]))
"""


@pytest.mark.drill
@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_written_costs_its_steps_alone(
    rows: Path, stage1: Path, calm: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Promise: half a checkpoint is not taken for one, `repair` removes it and says where the
    training goes on, and the end is that of an undisturbed one."""
    arguments = [sys.executable, "-c", DIES, str(rows), str(stage1), str(tmp_path)]
    killed = subprocess.run(arguments, timeout=200, check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = tmp_path / local.RESUME
    assert states.unfinished_in(kept) == [kept / "step-00000004.tmp"]
    assert states.newest(kept) == kept / states.name_of(2)
    assert cli.main(["repair", str(tmp_path)]) == 0
    said = f"{kept}: removed step-00000004.tmp, not whole; goes on from step 2"
    assert capsys.readouterr().out.strip() == said
    assert states.unfinished_in(kept) == []
    go(rows, stage1, tmp_path)
    check_calm(calm, tmp_path)


RECIPE = {"stage": "stage2", "stage2": {"seed": 0}, "data": "0"}


def _storage(run_dir: Path, stage1: Path, rows: Path, name: str) -> Path:
    """Write checkpoints of steps 2 and 4 as Ray Train does for a cell of a sweep."""
    task = fitting.Task(tiny_config(), "stage2", rows, run_dir, stage1)
    state = fitting.build_state(task)
    storage = run_dir / "cells" / name / "ray" / name
    for step in (2, 4):
        state.step = step
        fitting.save(storage / states.name_of(step), state, RECIPE)
    listed = [{"checkpoint_dir_name": states.name_of(step)} for step in (2, 4)]
    runs.write_record(storage / snapshots.SNAPSHOT, {"checkpoint_results": listed})
    return storage


def test_repair_mends_each_training_of_a_sweep(
    rows: Path, stage1: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Promise: whole lists stay, a torn one is set aside, a damaged checkpoint goes, and once more
    there is nothing to do."""
    whole, torn, damaged = (_storage(tmp_path, stage1, rows, name) for name in "abc")
    before = (whole / snapshots.SNAPSHOT).read_bytes()
    (torn / snapshots.SNAPSHOT).write_text('{"checkpoint_results": [{"chec')
    (torn / states.name_of(6)).mkdir()
    flip_byte(damaged / states.name_of(4) / "model" / "weights.safetensors", 0.8)
    assert cli.main(["repair", str(tmp_path)]) == 0
    set_aside = f"the torn list is {snapshots.SNAPSHOT}.damaged"
    assert capsys.readouterr().out.splitlines() == [
        f"{whole}: whole; goes on from step 4",
        f"{torn}: {set_aside}; removed step-00000006, not whole; goes on from step 4",
        f"{damaged}: {set_aside}; removed step-00000004, not whole; goes on from step 2",
    ]
    assert (whole / snapshots.SNAPSHOT).read_bytes() == before
    assert cli.main(["repair", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count(": whole; goes on") == 3
    with runs.alone(torn.parents[1], runs.WORKER):  # a worker of a killed driver lives on
        assert cli.main(["repair", str(tmp_path)]) == 2
    assert "another process works here" in capsys.readouterr().err


def test_repair_of_a_folder_without_trainings(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["repair", str(tmp_path)]) == 0
    assert "nothing to mend" in capsys.readouterr().out
    assert cli.main(["repair", str(tmp_path / "absent")]) == 2
