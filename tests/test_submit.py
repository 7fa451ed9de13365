"""The `submit` command as far as it goes without a cluster: plan, lines, addresses, log, codes."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from multibodies import cli
from multibodies.cluster.dashboard import checked_address, probe
from multibodies.cluster.submission import _Log, exit_code
from multibodies.errors import UserError
from multibodies.submissions import attempts, name_of, next_id
from multibodies.sweep import expand, load_sweep

ROOT = Path(__file__).resolve().parents[1]
TABLE2, PAPER = (str(ROOT / "sweeps" / f"{name}.toml") for name in ("table2", "table2_paper"))
HEAD = ("--address", "http://127.0.0.1:8265/")
Capture = pytest.CaptureFixture[str]


def _dry_run(capsys: Capture, *arguments: str) -> tuple[str, list[str]]:
    """Return what a dry run prints, and the words of Ray's command, its last line."""
    assert cli.main(["submit", *arguments, *HEAD, "--dry-run"]) == 0
    text = capsys.readouterr().out
    return text, shlex.split(text.splitlines()[-1])


def test_dry_run_tells_plan_upload_and_line(capsys: Capture) -> None:
    options = ("--out", "/runs/a b", "--tracking-uri", "http://mlflow:5000", "--smoke", "--gpu")
    text, words = _dry_run(capsys, TABLE2, *options, "--workers", "2")
    assert "table2-smoke in /runs/a b" in text
    assert "estimated time left" in text
    assert words[:3] == ["ray", "job", "submit"]
    assert words[words.index("--address") + 1] == "http://127.0.0.1:8265"
    assert words[words.index("--working-dir") + 1] == str(ROOT)
    runtime = json.loads(words[words.index("--runtime-env-json") + 1])
    variables = runtime["env_vars"]
    assert set(variables) == {"PYTHONPATH", "MULTIBODIES_UPLOADED_COMMIT"}
    assert variables["PYTHONPATH"] == "platform"
    assert re.fullmatch(r"unknown|[0-9a-f]{40}(\+changes)?", variables.popitem()[1])
    entry = words[words.index("--") + 1 :]
    assert entry[:3] == ["python", "jobs/sweep.py", "sweeps/table2.toml"]
    args = cli.build_parser().parse_args(["sweep", *entry[2:]])
    assert (str(args.out), args.tracking_uri) == ("/runs/a b", "http://mlflow:5000")
    assert (args.smoke, args.gpu, args.workers) == (True, True, 2)
    assert (args.data, args.stage1) == (None, None)


def test_data_may_lie_where_only_the_cluster_sees_them(capsys: Capture) -> None:
    text, words = _dry_run(capsys, PAPER, "--data", "/only/there", "--profile", "paper-dry")
    assert "profile paper-dry" in text
    assert "$MULTIBODIES_RUNS/table2_paper of the cluster" in text
    assert words[-4:] == ["--data", "/only/there", "--profile", "paper-dry"]


def test_a_sweep_from_elsewhere_is_copied_first(tmp_path: Path, capsys: Capture) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(Path(TABLE2).read_text())
    _, words = _dry_run(capsys, str(mine))
    target = "sweeps/submitted/mine.toml"
    assert words[:7] == ["install", "-D", "-m", "644", str(mine), str(ROOT / target), "&&"]
    assert words[-1] == target


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give one of: a sweep file, --attach ID, --stop ID"),
        ((TABLE2, "--attach", "a"), "give one of"),
        ((TABLE2, "--out", "runs/x"), "--out runs/x: expected an absolute path"),
        ((PAPER, "--data", "data"), "--data data: expected an absolute path"),
        ((PAPER,), "name the folder that holds them: --data"),
        (("no/such.toml",), "no/such.toml: cannot be read"),
        ((TABLE2, "--tracking-uri", "sqlite:///x.db"), "expected a server"),
        ((TABLE2, "--tracking-uri", "http://me:secret@mlflow"), "--tracking-uri: holds a password"),
    ],
)
def test_bad_arguments(arguments: tuple[str, ...], said: str, capsys: Capture) -> None:
    assert cli.main(["submit", *arguments, *HEAD]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "secret" not in error


@pytest.mark.parametrize(
    "text",
    [None, "", "127.0.0.1:8265", "ray://head:10001", "http://", "http://h:x", "http://me:pw@h:1"],
)
def test_bad_addresses(text: str | None) -> None:
    with pytest.raises(UserError, match="address") as refused:
        checked_address(text)
    assert "pw" not in str(refused.value)


@contextmanager
def _answering(status: int, body: bytes) -> Iterator[str]:
    """Serve one answer to every question; refuse to be sent a token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>MLflow</html>"), (404, b""), (302, b""), (401, b"Basic auth"), (200, b"[1]")],
)
def test_another_service_is_told_from_ray(status: int, body: bytes) -> None:
    with (
        _answering(status, body) as address,
        pytest.raises(UserError, match=rf"HTTP {status}\), but not Ray"),
    ):
        probe(address)


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b'{"ray_version": "2.60.0"}'), (401, b"Unauthorized: Missing authentication token")],
)
def test_ray_is_known(status: int, body: bytes) -> None:
    with _answering(status, body) as address:
        probe(address)


def test_nothing_answers() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError, match=r"no answer .* is the cluster up"):
            probe(address)


def test_identity_is_the_recipe() -> None:
    plan = expand(load_sweep(TABLE2))
    assert name_of(plan, None) == name_of(expand(load_sweep(TABLE2)), None)
    other = expand(load_sweep(ROOT / "sweeps" / "head.toml"))
    assert name_of(other, None).rpartition("-")[2] != name_of(plan, None).rpartition("-")[2]
    assert name_of(plan, Path("/a")) != name_of(plan, Path("/b"))
    assert name_of(plan, None).startswith("table2-")


def test_attempts_are_counted() -> None:
    ids = ["grid-0f", "grid-0f-2", "grid-0f-10", "grid-0f1", "grid-0f-x", "other"]
    assert attempts("grid-0f", ids) == {"grid-0f": 1, "grid-0f-2": 2, "grid-0f-10": 10}
    assert next_id("grid-0f", ids) == "grid-0f-11"
    assert next_id("new", ids) == "new"
    assert next_id("other", ids) == "other-2"


@pytest.mark.parametrize(
    ("status", "driver", "code"),
    [
        *(("SUCCEEDED", 0, 0), ("FAILED", 3, 3), ("FAILED", -9, 137)),
        *(("FAILED", None, 1), ("STOPPED", None, 143)),
    ],
)
def test_exit_codes(status: str, driver: int | None, code: int) -> None:
    assert exit_code(SimpleNamespace(status=status, driver_exit_code=driver)) == code


class Torn:
    """A client whose log breaks off at the given lengths, and starts anew each time."""

    def __init__(self, text: str, lengths: list[int]) -> None:
        self.text, self.lengths = text, lengths

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        """Yield pieces of seven letters."""
        assert job == "id"
        end = self.lengths.pop(0)
        for start in range(0, end, 7):
            yield self.text[start : min(start + 7, end)]
        if self.lengths:
            raise RuntimeError("WebSocket connection closed unexpectedly")


def test_every_letter_of_a_torn_log_is_printed_once(capsys: Capture) -> None:
    text = "".join(f"line {number}\n" for number in range(20))
    log = _Log(Torn(text, [10, 3, 45, len(text)]), "id")
    for _ in range(3):
        with pytest.raises(RuntimeError, match="closed"):
            asyncio.run(log.tail())
    asyncio.run(log.tail())
    assert capsys.readouterr().out == text


def test_a_submitted_job_needs_a_lasting_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.delenv("MULTIBODIES_RUNS", raising=False)
    assert cli.main(["sweep", TABLE2, "--dry-run"]) == 2
    assert "give --out" in capsys.readouterr().err
    monkeypatch.setenv("MULTIBODIES_RUNS", str(tmp_path))
    assert cli.main(["sweep", TABLE2, "--dry-run"]) == 0
    assert f"table2 in {tmp_path}/table2" in capsys.readouterr().out
