"""What every run carries, and files that go to a slow store."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mlflow_checks import journaled
from multibodies.tracking import Dataset, Facts, Tracker, read_journal
from multibodies.tracking.sink import Sink
from slow_store import slow_store

TRAIN = Dataset("lab-train", "1a2b", "/data/lab-train", "train", 24)


def facts(cell: str) -> Facts:
    """Facts of a sweep whose cells are numbered."""
    return Facts({"git_commit": "abc"}, {"number": int(cell or 0)}, (TRAIN,))


def test_runs_that_are_open_and_those_to_come_carry_their_facts_once(tmp_path: Path) -> None:
    """Promise: also one that fails; and none twice, however often it is taken up."""
    with Tracker(None, tmp_path / "journal", "s") as tracker:
        tracker.run()
        tracker.run("1")
        tracker.carry(facts)
        with pytest.raises(RuntimeError), tracker.run("2"):
            raise RuntimeError
        tracker.run("2")
    found = journaled(tmp_path / "journal")
    assert set(found) == {"(sweep)", "1", "2"}
    for cell, run in found.items():
        assert run["tags"] == {"git_commit": "abc"}
        assert run["params"] == {"number": cell if cell.isdigit() else "0"}
        assert run["inputs"] == {("lab-train", "1a2b"): "train"}
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert sum(line["kind"] == "input" for line in lines) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_upload_may_be_slow_and_delays_nobody_who_logs(tmp_path: Path) -> None:
    """Promise: a store that takes longer than a call may, takes a file; meanwhile steps go on."""
    figure = tmp_path / "figure.png"
    figure.write_bytes(b"x" * 1000)
    slowest = 0.0
    with slow_store(2.5) as (uri, stored):  # a call of the API may take 2 s
        with Tracker(uri, tmp_path / "journal", "s") as tracker, tracker.run() as run:
            run.artifact(figure)
            for step in range(50):
                before = time.monotonic()
                run.metrics({"loss": 1.0}, step)
                slowest = max(slowest, time.monotonic() - before)
                time.sleep(0.02)
            uploading = not stored
            tracker.flush()
            assert tracker.online
    assert stored == ["figure.png"]
    assert uploading
    assert slowest < 1.0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_upload_has_an_end_too(tmp_path: Path) -> None:
    with slow_store(2.5) as (uri, _):
        (tmp_path / "figure.png").touch()
        Tracker(None, tmp_path / "journal", "s").run().artifact(tmp_path / "figure.png")
        with pytest.raises(Exception, match="timed out"):
            Sink(uri, artifact_timeout=1).send(read_journal(tmp_path / "journal")[0])
