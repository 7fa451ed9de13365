"""Rungs of successive halving: who goes on, decided once, whatever is killed in between."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multibodies import rungs
from multibodies.sweep import Stopping


def goes_on(path: Path, training: str, value: float, reduction: int = 3) -> bool:
    return bool(rungs.decide(path, training, 10, value, reduction)["goes_on"])


def test_a_training_goes_on_among_the_best_third_of_those_that_came_before_it(
    tmp_path: Path,
) -> None:
    source, path = random.Random(0), tmp_path / "run" / "rungs.jsonl"
    values: list[float] = []
    for index in range(60):
        values.append(source.choice([source.random(), 0.5]))
        place = sorted(values).index(values[-1]) + values[:-1].count(values[-1])
        assert goes_on(path, f"t{index}", values[-1]) == (place < max(1, len(values) // 3))
    assert len(path.read_text().splitlines()) == 60


def test_the_first_always_goes_on_and_another_step_is_another_rung(tmp_path: Path) -> None:
    path = tmp_path / "rungs.jsonl"
    assert goes_on(path, "a", 99.0)
    assert not goes_on(path, "b", 100.0)
    assert rungs.decide(path, "b", 30, 100.0, 3)["goes_on"]


def test_a_decision_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "rungs.jsonl"
    assert rungs.decision(path, "a", 10) is None
    assert goes_on(path, "a", 5.0) and goes_on(path, "b", 1.0)
    assert goes_on(path, "a", 500.0), "killed and come again, with whatever value"
    line = rungs.decision(path, "a", 10)
    assert line is not None and line["value"] == 5.0
    assert len(path.read_text().splitlines()) == 2


def test_a_torn_line_counts_for_nothing_and_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rungs.jsonl"
    assert goes_on(path, "a", 5.0)
    with path.open("a") as file:
        file.write('{"step": 10, "training": "b", "val')
    assert goes_on(path, "b", 1.0)
    assert not goes_on(path, "c", 2.0)
    whole = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert [line["training"] for line in whole] == ["a", "b", "c"]


def test_trainings_that_come_at_once_are_all_counted(tmp_path: Path) -> None:
    path = tmp_path / "rungs.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: goes_on(path, f"t{k}", float(k)), range(64)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(line["value"] for line in lines) == [float(k) for k in range(64)]
    seen: list[float] = []
    for line in lines:
        better = sum(value <= line["value"] for value in seen)
        seen.append(line["value"])
        assert line["goes_on"] == (better < max(1, len(seen) // 3))


def test_rungs_are_powers_of_the_reduction_before_the_last_step() -> None:
    rule = Stopping("mpjpe_n5", ("wild-val",), grace=10, reduction=3)
    assert rule.rungs(270) == (10, 30, 90)
    assert rule.rungs(271) == (10, 30, 90, 270)
    assert rule.rungs(10) == ()


def test_a_stopped_folder_is_refused_with_the_step(tmp_path: Path) -> None:
    rungs.refuse_stopped(tmp_path)
    rungs.stop(tmp_path, step=30, metric="mpjpe_n5", value=1.0)
    with pytest.raises(rungs.StoppedEarly, match=r"stopped early by its sweep at step 30"):
        rungs.refuse_stopped(tmp_path)
