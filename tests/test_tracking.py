"""The journal, the tracker without a server, and both against a real MLflow server."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from multibodies.errors import UserError
from multibodies.tracking import Event, Journal, Tracker, flat, read_journal, replay
from multibodies.tracking import sender as sender_module
from multibodies.tracking.sink import Sink
from multibodies.tracking_server import (
    MADE_BY,
    PID_FILE,
    Server,
    _command,
    _end_leftover,
    _started,
    start_server,
    tracking_server,
)

pytestmark = pytest.mark.timeout(600)  # two servers start here, slowly on a crowded machine


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "sweep.jsonl"


def test_journal_lines_come_back_in_order(journal: Path) -> None:
    events = [Event("s", f"c{i}", "metrics", {"step": i, "values": {"x": 0.1}}) for i in range(3)]
    for event in events:
        Journal(journal).append(event)
    assert read_journal(journal) == (events, 0)
    assert read_journal(journal.parent) == (events, 0)


def test_half_a_line_of_a_killed_writer_spoils_no_other(journal: Path) -> None:
    first, second = (Event("s", c, "tags", {"a": "b"}) for c in "xy")
    Journal(journal).append(first)
    with journal.open("ab") as file:
        file.write(b'{"sweep": "s", "cell": "torn", "ki')
    Journal(journal).append(second)
    assert read_journal(journal) == ([first, second], 1)


def test_artifacts_survive_a_moved_run(journal: Path, tmp_path: Path) -> None:
    before = tmp_path / "journal" / "table2.html"
    Journal(journal).append(Event("s", "", "artifact", {"path": str(before), "folder": ""}))
    moved = journal.parent.rename(tmp_path / "moved")
    (event,), _ = read_journal(moved)
    assert event.data["path"] == str(moved / "table2.html")


def test_no_journal_is_a_user_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(UserError, match="no journal there"):
            read_journal(path)


def test_an_unwritable_journal_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"s\.jsonl: cannot be written"):
        Tracker(None, tmp_path / "file" / "s.jsonl", "s").run()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_before_the_journal(
    journal: Path, bad: float
) -> None:
    run = Tracker(None, journal, "s").run("c")
    with pytest.raises(UserError, match=r"metric 'loss' of run 'c' is (nan|-?inf) at step 3"):
        run.metrics({"fine": 1.0, "loss": bad}, step=3)
    assert [event.kind for event in read_journal(journal)[0]] == ["status"]


def test_a_missing_artifact_is_a_user_error(journal: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file to log"):
        Tracker(None, journal, "s").run().artifact(tmp_path / "none.png")


def test_settings_are_flat_text() -> None:
    nested = {"loss": {"ri": 1.0}, "evaluation": {"n": (1, 5)}, "profile": "smoke"}
    assert flat(nested) == {"loss.ri": "1.0", "evaluation.n": "1 5", "profile": "smoke"}


def test_scores_are_curves_over_n_and_columns(journal: Path) -> None:
    row = {"dataset": "wild", "n": 5, "mpjpe_mm": 82.2, "re_mm": 57.1}
    Tracker(None, journal, "s").run("c").scores([row])
    curve, columns = (event.data for event in read_journal(journal)[0] if event.kind == "metrics")
    assert curve == {"step": 5, "values": {"over_n_mpjpe_mm_wild": 82.2, "over_n_re_mm_wild": 57.1}}
    assert columns == {"step": 0, "values": {"mpjpe_mm_n05_wild": 82.2, "re_mm_n05_wild": 57.1}}


def test_a_failing_run_ends_as_failed_and_the_error_goes_on(journal: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), Tracker(None, journal, "s").run("c"):
        raise RuntimeError("boom")
    assert read_journal(journal)[0][-1].data == {"status": "FAILED"}


def refused_uri() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent_uri() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["refused", "silent"])
def test_a_dead_server_is_tried_once_and_everything_is_journaled(
    kind: str, journal: Path, silent_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    real = Sink

    def counted(uri: str, **limits: int) -> Any:
        tries.append(uri)
        return real(uri, **limits)

    monkeypatch.setattr(sender_module, "Sink", counted)
    tracker = Tracker(refused_uri() if kind == "refused" else silent_uri, journal, "s")
    with tracker.run("c") as run:
        for step in range(500):
            run.metrics({"loss": 1.0 / (step + 1)}, step)
    tracker.flush()
    assert len(tries) == 1
    assert not tracker.online
    assert len(read_journal(journal)[0]) == 502
    assert tracker.close() is False


def test_concurrent_writers_keep_whole_lines(journal: Path) -> None:
    def write(name: str) -> None:
        for step in range(100):
            values = {"step": step, "values": {"x": 1.0}}
            Journal(journal).append(Event("s", name, "metrics", values))

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events, torn = read_journal(journal)
    assert (len(events), torn) == (400, 0)
    for name in "abcd":
        assert [e.data["step"] for e in events if e.cell == name] == list(range(100))


def test_a_busy_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} on 127.0.0.1 cannot be used"):
            start_server(tmp_path, port)
    with pytest.raises(UserError, match="port 99999"):
        start_server(tmp_path, 99999)
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_server_is_ended_but_a_reused_pid_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        record = {"pid": process.pid, "started": "1", "uri": ""}
        (tmp_path / PID_FILE).write_text(json.dumps(record))
        _end_leftover(tmp_path)
        assert process.poll() is None
        record["started"] = _started(process.pid)
        (tmp_path / PID_FILE).write_text(json.dumps(record))
        _end_leftover(tmp_path)
        assert process.wait(30) == -signal.SIGTERM
        assert not (tmp_path / PID_FILE).exists()
    finally:
        process.kill()
        process.wait()


def test_a_server_that_cannot_start_says_why_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [sys.executable, "-c", "raise SystemExit('no luck today')"]
    monkeypatch.setattr("multibodies.tracking_server._command", lambda *_: broken)
    with pytest.raises(UserError, match=r"did not start \(no luck today\); see .*mlflow\.log"):
        start_server(tmp_path)
    assert not (tmp_path / PID_FILE).exists()


ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_the_server_ends_when_the_body_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(_store: str, _folder: Path, port: int) -> list[str]:
        return [sys.executable, "-c", ANSWERS, str(port)]

    def die_within() -> None:
        with tracking_server(tmp_path) as running:
            assert json.loads((tmp_path / PID_FILE).read_text())["pid"] == running.pid
            raise RuntimeError(str(running.pid))

    monkeypatch.setattr("multibodies.tracking_server._command", small)
    with pytest.raises(RuntimeError, match=r"^\d+$") as caught:
        die_within()
    assert _started(int(str(caught.value))) == ""
    assert not (tmp_path / PID_FILE).exists()


def test_only_another_mlflow_migrates_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(_store: str, _folder: Path, port: int) -> list[str]:
        return [sys.executable, "-c", ANSWERS, str(port)]

    migrated, meanwhile = [], []
    monkeypatch.setattr("multibodies.tracking_server._command", small)
    monkeypatch.setattr("multibodies.tracking_server._upgrade", lambda *_: migrated.append(1))
    (tmp_path / "mlflow.db").touch()
    for made_by in (None, None, "1.0.0"):
        if made_by is not None:
            (tmp_path / MADE_BY).write_text(made_by)
        with tracking_server(tmp_path, meanwhile=lambda: meanwhile.append(1)):
            assert (tmp_path / MADE_BY).read_text() == version("mlflow")
    assert len(migrated) == 2  # of unknown age, then of an older one
    assert len(meanwhile) == 3


def test_the_command_names_exact_hosts_and_one_worker(tmp_path: Path) -> None:
    command = _command("sqlite:///x.db", tmp_path, 5055)
    options = dict(itertools.pairwise(command))
    assert options["--host"] == "127.0.0.1"
    assert options["--workers"] == "1"
    assert options["--allowed-hosts"] == "127.0.0.1:5055,localhost:5055"
    origins = "http://127.0.0.1:5055,http://localhost:5055"
    assert options["--cors-allowed-origins"] == origins


# From here on: one real server for all tests of this file, on the database of a killed one.


@dataclass(frozen=True)
class Outage:
    """What a tracker saw of a server that was killed, and the server started on its files."""

    first_pid: int
    journal: Path
    was_online: bool
    second: Server


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    folder = tmp_path_factory.mktemp("mlflow")
    journal = folder / "journal.jsonl"
    with warnings.catch_warnings(action="ignore"):
        first = start_server(folder)
        tracker = log_a_cell(first.uri, journal, "killed")
        online = tracker.online
        os.killpg(first.pid, signal.SIGKILL)
        first.process.wait()
        tracker.run("late").metrics({"x": 1.0})
        tracker.flush()
        assert not tracker.online
    with tracking_server(folder) as second:
        yield Outage(first.pid, journal, online, second)


@pytest.fixture
def server(outage: Outage) -> Server:
    return outage.second


def client_of(server: Server) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri)


def runs_of(server: Server, sweep: str) -> dict[str, Any]:
    client = client_of(server)
    experiment = client.get_experiment_by_name(sweep)
    runs = client.search_runs([experiment.experiment_id])
    found = {run.data.tags["multibodies.cell"]: run for run in runs}
    assert len(found) == len(runs), "a run was made twice"
    return found


def history(server: Server, run: Any, key: str) -> list[tuple[int, float]]:
    points = client_of(server).get_metric_history(run.info.run_id, key)
    return [(point.step, point.value) for point in points]


def log_a_cell(uri: str | None, journal: Path, sweep: str, *, offset: float = 0.0) -> Tracker:
    tracker = Tracker(uri, journal, sweep)
    with tracker.run() as parent:
        parent.tags({"git_commit": "abc", "data_fingerprint": "f00"})
        with tracker.run("seed0-ri1") as child:
            child.params({"loss": {"ri": 1.0}, "evaluation": {"n": [1, 5]}})
            child.tags({"seed": 0})
            for step in range(5):
                child.metrics({"loss": 10.0 - step + offset}, step)
            rows = [
                {"dataset": "wild", "n": n, "mpjpe_mm": 90.0 - n, "re_mm": 60.0 - n} for n in (1, 5)
            ]
            child.scores(rows)
    tracker.flush()
    return tracker


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_runs_are_nested_and_logging_again_changes_nothing(server: Server, journal: Path) -> None:
    assert log_a_cell(server.uri, journal, "nested").close()
    again = log_a_cell(server.uri, journal, "nested", offset=3.0)
    assert again.close()
    assert again.problems == []
    assert replay(journal, server.uri).problems == []
    runs = runs_of(server, "nested")
    parent, child = runs["(sweep)"], runs["seed0-ri1"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert child.data.params == {"loss.ri": "1.0", "evaluation.n": "1 5"}
    assert parent.data.tags["git_commit"] == "abc"
    assert history(server, child, "loss") == [(step, 10.0 - step) for step in range(5)]
    assert history(server, child, "over_n_mpjpe_mm_wild") == [(1, 89.0), (5, 85.0)]
    assert child.data.metrics["re_mm_n05_wild"] == 55.0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_changed_param_is_told_and_does_not_stop_the_work(server: Server, journal: Path) -> None:
    with Tracker(server.uri, journal, "params") as tracker:
        tracker.run("c").params({"a": 1})
    with Tracker(server.uri, journal, "params") as tracker:
        tracker.run("c").params({"a": 2, "b": 3})
        tracker.flush()
        assert tracker.online
    assert tracker.problems == ["params/c: param a is 1, not changed to 2"]
    assert runs_of(server, "params")["c"].data.params == {"a": "1", "b": "3"}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_replay_brings_a_server_up_to_date_after_an_outage(
    server: Server, journal: Path, tmp_path: Path
) -> None:
    page = tmp_path / "table2.html"
    page.write_text("<p>x</p>")
    offline = log_a_cell(refused_uri(), journal, "outage")
    offline.run().artifact(page, "report")
    assert offline.close() is False
    for _ in range(2):
        assert replay(journal, server.uri).problems == []
    runs = runs_of(server, "outage")
    assert history(server, runs["seed0-ri1"], "loss") == [(s, 10.0 - s) for s in range(5)]
    client = client_of(server)
    files = client.list_artifacts(runs["(sweep)"].info.run_id, "report")
    assert [file.path for file in files] == ["report/table2.html"]
    page.unlink()
    gone = [f"outage/: artifact {page} is not there any more"]
    assert replay(journal, server.uri).problems == gone


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_what_a_killed_process_had_not_sent_goes_with_its_successor(
    server: Server, journal: Path
) -> None:
    Tracker(None, journal, "resumed").run("c").metrics({"loss": 2.0}, step=1)
    with Tracker(server.uri, journal, "resumed") as tracker, tracker.run("c") as run:
        run.metrics({"loss": 9.0}, step=1)
        run.metrics({"loss": 1.0}, step=2)
    found = runs_of(server, "resumed")["c"]
    assert history(server, found, "loss") == [(1, 2.0), (2, 1.0)]
    assert found.info.status == "FINISHED"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_threads_may_share_a_tracker(server: Server, journal: Path) -> None:
    tracker = Tracker(server.uri, journal, "threads")
    tracker.run()

    def work(cell: str) -> None:
        with tracker.run(cell) as run:
            for step in range(50):
                run.metrics({"loss": float(step)}, step)

    threads = [threading.Thread(target=work, args=(cell,)) for cell in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.close()
    runs = runs_of(server, "threads")
    assert set(runs) == {"(sweep)", "a", "b", "c"}
    for cell in "abc":
        assert history(server, runs[cell], "loss") == [(s, float(s)) for s in range(50)]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_thousands_of_points_go_in_batches(server: Server, journal: Path) -> None:
    with Tracker(server.uri, journal, "many") as tracker, tracker.run("c") as run:
        run.params({f"p{i}": i for i in range(150)})
        for step in range(2500):
            run.metrics({"loss": float(step)}, step)
    found = runs_of(server, "many")["c"]
    assert len(found.data.params) == 150
    assert history(server, found, "loss") == [(step, float(step)) for step in range(2500)]


@pytest.mark.slow
@pytest.mark.parametrize("host", ["evil.com", "10.evil.com", "192.168.0.1", "127.0.0.1:1"])
def test_only_the_exact_host_is_served(server: Server, host: str) -> None:
    url = f"{server.uri}/api/2.0/mlflow/experiments/search?max_results=1"
    assert urllib.request.urlopen(url).status == 200
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}))
    caught.value.close()
    assert caught.value.code == 403


@pytest.mark.slow
def test_another_origin_may_not_post(server: Server) -> None:
    url = f"{server.uri}/api/2.0/mlflow/experiments/create"
    headers = {"Origin": "http://evil.com", "Content-Type": "application/json"}
    request = urllib.request.Request(url, b'{"name": "evil"}', headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    caught.value.close()
    assert caught.value.code == 403


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_server_on_a_killed_ones_database_is_brought_up_to_date(outage: Outage) -> None:
    assert outage.was_online
    assert set(runs_of(outage.second, "killed")) == {"(sweep)", "seed0-ri1"}
    assert replay(outage.journal, outage.second.uri).problems == []
    runs = runs_of(outage.second, "killed")
    assert set(runs) == {"(sweep)", "seed0-ri1", "late"}
    points = history(outage.second, runs["seed0-ri1"], "loss")
    assert points == [(step, 10.0 - step) for step in range(5)]
    assert runs["late"].data.metrics == {"x": 1.0}
