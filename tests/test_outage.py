"""Tracking that cannot stop training: a server that is away, hangs or comes back, and `replay`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mlflow_checks import journaled, served
from multibodies import cli, runs
from multibodies.tracking import Dataset, Event, Facts, Tracker, replay
from multibodies.tracking import sender as sender_module
from multibodies.tracking_server import Server
from test_tracking import refused_uri

Capture = pytest.CaptureFixture[str]
CELLS = ("a", "b", "c")
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]


def log_sweep(run_dir: Path, uri: str | None, *, ends: bool = True) -> Path:
    """Log a sweep of three cells; return its journal. `ends` False: as a kill leaves it."""
    tracker = Tracker(uri, run_dir / "journal", run_dir.name)
    parent = tracker.run()
    lab = Dataset("lab-train", "1a2b", "/runs/data/lab-train", "train", 24)
    wild = Dataset("wild-val", "3c4d", "/runs/data/wild-val", "val", 8)
    tracker.carry(lambda cell: Facts({"git_commit": "abc"}, {"seed": 0}, (lab, wild)))
    for number, cell in enumerate(CELLS):
        run = tracker.run(cell)
        run.params({"loss": {"ri": number}})
        for step in (1, 2, 3, 2):  # a restarted worker does a step again
            run.metrics({"loss": number + 1 / step}, step)
        if ends:
            run.status("FINISHED")
    if ends:
        parent.status("FINISHED")
    return tracker.journal.path


def check_equal(uri: str, journal: Path) -> None:
    """The server holds the journal, nothing twice, nothing RUNNING."""
    found = served(uri, journal.parent.name)
    assert found == journaled(journal)
    assert "RUNNING" not in {run["status"] for run in found.values()}


class Stuck:
    """A sink whose server never answers, until it is let go."""

    entered, let_go = threading.Event(), threading.Event()

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def send(self, events: Sequence[Event]) -> list[str]:
        self.entered.set()
        self.let_go.wait()
        return []


def test_no_call_that_logs_waits_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what is logged is journaled and the step goes on, though a send never returns."""
    monkeypatch.setattr(sender_module, "Sink", Stuck)
    tracker = Tracker("http://127.0.0.1:1", tmp_path / "journal", "s")
    run = tracker.run("c")
    assert Stuck.entered.wait(30)  # from here on the sender is held
    for step in range(1000):
        run.metrics({"loss": 1.0}, step)
    run.tags({"seed": 0})
    assert not Stuck.let_go.is_set()
    assert len((tmp_path / "journal").read_text().splitlines()) == 1002
    Stuck.let_go.set()
    assert tracker.close()


def _wait_for(tracker: Tracker) -> None:
    """Wait until the server answers, which it did not."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if tracker.online:
            return
        time.sleep(0.05)
    raise AssertionError("the server is not found again")


@pytest.mark.slow
def test_a_server_that_hangs_delays_no_step_and_has_all_when_it_goes_on(
    mlflow_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: with MLflow stopped by SIGSTOP no step waits a second for it; once it goes on, it
    is found again while the run lasts and ends equal to the journal."""
    monkeypatch.setattr(sender_module, "RETRY_EVERY", 0.1)
    journal, slowest = tmp_path / "journal", 0.0
    with Tracker(mlflow_server.uri, journal, tmp_path.name) as tracker, tracker.run():
        run = tracker.run("a")
        tracker.flush()
        assert tracker.online
        os.killpg(mlflow_server.pid, signal.SIGSTOP)
        try:
            for step in range(200):
                before = time.monotonic()
                run.metrics({"loss": 1 / (step + 1)}, step)
                run.tags({"last_step": step})  # sent at once, not with a batch
                slowest = max(slowest, time.monotonic() - before)
            tracker.flush()
            seen_away = not tracker.online
        finally:
            os.killpg(mlflow_server.pid, signal.SIGCONT)
        _wait_for(tracker)
        run.metrics({"loss": 0.0}, 200)
        tracker.flush()
        assert tracker.online
    assert seen_away
    assert slowest < 1.0
    check_equal(mlflow_server.uri, journal)


@pytest.mark.slow
def test_replay_after_a_run_without_a_server(
    tracking_uri: str, tmp_path: Path, capsys: Capture
) -> None:
    """Promise: the server was away all the run long; `replay` makes it equal to the journal, and
    once more changes nothing."""
    journal = log_sweep(tmp_path, refused_uri())
    command = ["replay", str(tmp_path), "--tracking-uri", tracking_uri]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "4 runs; new there: 4 runs, 7 params, 9 metrics, 0 artifacts, 8 inputs" in out
    check_equal(tracking_uri, journal)
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "new there: 0 runs, 0 params, 0 metrics, 0 artifacts, 0 inputs" in out
    check_equal(tracking_uri, journal)


DIES = """
import os, sys
from multibodies import cli
from multibodies.tracking.sink import Sink
real = Sink._send_run
def dying(self, known, events):
    if events[0].cell == "b":
        real(self, known, [event for event in events if event.kind == "metrics"][:2])
        os.kill(os.getpid(), 9)
    return real(self, known, events)
Sink._send_run = dying
cli.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_replay_that_is_killed_is_given_again(tracking_uri: str, tmp_path: Path) -> None:
    """Promise: a replay killed by -9 in the middle of a run leaves nothing that another replay
    would double; runs left open by a killed sweep end as KILLED."""
    journal = log_sweep(tmp_path, None, ends=False)
    command = ["replay", str(tmp_path), "--tracking-uri", tracking_uri]
    killed = subprocess.run([sys.executable, "-c", DIES, *command], timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(served(tracking_uri, tmp_path.name)["b"]["metrics"]) == 2
    assert cli.main(command) == 0
    check_equal(tracking_uri, journal)
    assert {run["status"] for run in served(tracking_uri, tmp_path.name).values()} == {"KILLED"}


@pytest.mark.slow
def test_replay_starts_the_runs_own_server(
    mlflow_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: without an address the server of the run's own folder is started, and ended."""
    served_folders = []

    @contextmanager
    def own(folder: Path) -> Iterator[Server]:
        served_folders.append(folder)
        yield mlflow_server  # that of all tests, since another takes ten seconds to start
        served_folders.append(Path("ended"))

    monkeypatch.setattr("multibodies.tracking_server.tracking_server", own)
    journal = log_sweep(tmp_path, None)
    assert cli.main(["replay", str(tmp_path)]) == 0
    assert served_folders == [tmp_path, Path("ended")]
    check_equal(mlflow_server.uri, journal)


@pytest.mark.slow
def test_a_run_made_twice_by_a_hanging_server_becomes_one(
    tracking_uri: str, tmp_path: Path
) -> None:
    """Promise: a run that the server made after its client had given up, and made again, is one
    after a replay, below the one parent."""
    from mlflow import MlflowClient

    journal = log_sweep(tmp_path, None)
    client = MlflowClient(tracking_uri=tracking_uri)
    experiment = client.create_experiment(tmp_path.name)
    for cell in ("(sweep)", "(sweep)", "b", "b"):
        tags = {"multibodies.sweep": tmp_path.name, "multibodies.cell": cell}
        client.create_run(experiment, tags={**tags, "mlflow.parentRunId": "another"})
    assert replay(journal, tracking_uri).problems == []
    check_equal(tracking_uri, journal)
    found = client.search_runs([experiment])
    parent = next(r.info.run_id for r in found if r.data.tags["multibodies.cell"] == "(sweep)")
    children = [r for r in found if r.info.run_id != parent]
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent}


def test_a_server_that_is_away_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    log_sweep(tmp_path, None)
    assert cli.main(["replay", str(tmp_path), "--tracking-uri", refused_uri()]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "MLflow does not answer" in error
    assert "give the same command again" in error


@pytest.mark.parametrize("command", ["replay", "repair"])
def test_a_run_that_is_alive_is_left_alone(tmp_path: Path, command: str, capsys: Capture) -> None:
    journal = log_sweep(tmp_path, None, ends=False)
    before = journal.read_bytes()
    with runs.alone(tmp_path):
        assert cli.main([command, str(tmp_path)]) == 2
    assert "another process works here" in capsys.readouterr().err
    assert journal.read_bytes() == before


def test_a_folder_without_a_journal_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["replay", str(tmp_path)]) == 2
    assert f"{tmp_path}/journal: no such journal" in capsys.readouterr().err


def test_runs_that_are_open_end_as_the_block_does(tmp_path: Path) -> None:
    """Promise: none stays RUNNING, whether the work ended, failed or was stopped."""
    ends = {None: "FINISHED", ValueError: "FAILED", KeyboardInterrupt: "KILLED"}
    for kind, status in ends.items():
        journal = tmp_path / status
        with suppress(ValueError, KeyboardInterrupt):
            with Tracker(None, journal, "s") as tracker, tracker.run():
                tracker.run("a")
                tracker.run("b").status("FINISHED")
                if kind is not None:
                    raise kind
        found = {cell: run["status"] for cell, run in journaled(journal).items()}
        assert found == {"(sweep)": status, "a": status, "b": "FINISHED"}
