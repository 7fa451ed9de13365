"""A run's folder: its recipe, its lock, its journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from multibodies import runs
from multibodies.errors import UserError

RECIPE = {"stage": "stage2", "loss": {"ri": 1.0, "best": 25.0}, "data": "00ff"}


def test_a_folder_belongs_to_one_recipe(tmp_path: Path) -> None:
    runs.claim(tmp_path, RECIPE)
    runs.claim(tmp_path, {"data": "00ff", "stage": "stage2", "loss": {"best": 25.0, "ri": 1.0}})
    with pytest.raises(UserError, match=r"loss\.ri was 1\.0, now 0\.0; give this run another name"):
        runs.claim(tmp_path, {**RECIPE, "loss": {"ri": 0.0, "best": 25.0}})
    assert runs.read_record(tmp_path / runs.RECIPE) == RECIPE


def test_a_recipe_is_compared_as_json(tmp_path: Path) -> None:
    runs.claim(tmp_path, {"n": (1, 5)})
    runs.claim(tmp_path, {"n": [1, 5]})


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {}, ['a was 1, now "absent"']),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, ["a.b.c was 1, now 2"]),
        ({"a": 1, "b": 2}, {"a": 3, "b": 4}, ["a was 1, now 3", "b was 2, now 4"]),
        ({"a": {"b": 1}}, {"a": 7}, ['a was {"b": 1}, now 7']),
    ],
)
def test_differences_name_leaves(
    before: dict[str, Any], now: dict[str, Any], expected: list[str]
) -> None:
    assert runs.differences(before, now) == expected


def test_many_differences_are_counted(tmp_path: Path) -> None:
    runs.claim(tmp_path, {f"k{i}": i for i in range(9)})
    with pytest.raises(UserError, match="k3 was 3, now 4; and 5 more"):
        runs.claim(tmp_path, {f"k{i}": i + 1 for i in range(9)})


def test_finished_only_after_finish(tmp_path: Path) -> None:
    assert runs.finished(tmp_path) is None
    runs.finish(tmp_path, step=7)
    assert runs.finished(tmp_path) == {"step": 7}


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / runs.RECIPE).write_text(content)
    with pytest.raises(UserError, match=r"recipe\.json: damaged"):
        runs.claim(tmp_path, RECIPE)


def test_two_processes_cannot_work_in_one_folder_and_a_kill_frees_it(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib\nfrom multibodies import runs\n"
        "with runs.alone(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n    time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process works here"), runs.alone(tmp_path):
            pass
        threading.Timer(0.5, os.kill, (holder.pid, signal.SIGKILL)).start()
        with runs.alone(tmp_path, patience=30.0):  # waits for the other to die
            pass
        holder.wait()
    with runs.alone(tmp_path), runs.alone(tmp_path, "worker"):  # roles do not collide
        pass


def test_journal_forgets_what_came_after_the_resumed_step(tmp_path: Path) -> None:
    path = tmp_path / runs.JOURNAL
    first = runs.Journal(path)
    for step in (1, 2, 3):
        first.write(step, {"total": 10.0 * step})
    with path.open("a") as file:
        file.write('{"step": 4, "tot')  # killed inside a line
    second = runs.Journal(path, 2)
    second.write(3, {"total": 33.0})
    expected = [(1, 10.0), (2, 20.0), (3, 33.0)]
    assert [(line["step"], line["total"]) for line in runs.read_journal(path)] == expected
    assert [json.loads(text)["step"] for text in path.read_text().splitlines()] == [1, 2, 3]


def test_read_journal_keeps_the_last_line_of_a_step(tmp_path: Path) -> None:
    path = tmp_path / runs.JOURNAL
    path.write_text('{"step": 2, "a": 1}\n{"step": 1, "a": 0}\nnonsense\n{"step": 2, "a": 5}\n[]\n')
    assert runs.read_journal(path) == [{"step": 1, "a": 0}, {"step": 2, "a": 5}]


def test_follow_calls_each_step_once_across_a_rewrite(tmp_path: Path) -> None:
    path = tmp_path / runs.JOURNAL
    seen: list[tuple[int, dict[str, Any]]] = []

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 10
        while len(seen) < count and time.monotonic() < deadline:
            time.sleep(0.01)

    with runs.follow(path, lambda step, metrics: seen.append((step, metrics)), interval=0.01):
        journal = runs.Journal(path)
        for step in (1, 2, 3):
            journal.write(step, {"a": step})
        wait_for(3)
        journal = runs.Journal(path, 2)  # a restart: step 3 is done again
        time.sleep(0.05)
        for step in (3, 4):
            journal.write(step, {"a": step})
    assert seen == [(step, {"a": step}) for step in (1, 2, 3, 4)]


def test_follow_raises_what_the_callback_raised(tmp_path: Path) -> None:
    def refuse(step: int, metrics: dict[str, Any]) -> None:
        raise KeyError(step)

    journal = runs.Journal(tmp_path / runs.JOURNAL)
    with pytest.raises(KeyError), runs.follow(journal.path, refuse, interval=0.01):
        journal.write(1, {})


def test_follow_without_a_callback_does_nothing(tmp_path: Path) -> None:
    with runs.follow(tmp_path / "absent", None):
        assert not (tmp_path / "absent").exists()
