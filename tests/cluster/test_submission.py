"""`multibodies submit` against a head that asks for a token; the drivers do next to nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ray_head
from multibodies.uploads import gather

pytestmark = [pytest.mark.slow, pytest.mark.drill, pytest.mark.timeout(400)]
ROOT = Path(__file__).resolve().parents[2]
SOURCES = str(ROOT / "platform")
Done = subprocess.CompletedProcess[str]
CLI = (sys.executable, "-m", "multibodies.cli", "submit")
DRIVER = """
import json, sys, time
from pathlib import Path

out = Path(sys.argv[sys.argv.index("--out") + 1])
files = sorted(path.as_posix() for path in Path(".").rglob("*") if path.is_file())
(out / "files.json").write_text(json.dumps([files, sys.argv[1:]]))
print("driver at work", flush=True)
while (out / "hold").exists():
    time.sleep(0.2)
sys.exit(int((out / "code").read_text()))
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Have a head."""
    with ray_head.head() as address:
        yield address


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a checkout whose driver does next to nothing; its sweep is named after the test."""
    name = tmp_path.name.replace("[", "-").replace("]", "")
    files = {
        "platform/package/__init__.py": "",
        "jobs/sweep.py": DRIVER,
        f"sweeps/{name}.toml": f'name = "{name}"\n[evaluation]\nsplits = ["wild-test"]\n',
        "pyproject.toml": "",
        "platform/package/__pycache__/x.pyc": "",
        "runs/old/weights.pt": "",
        "sweeps/.secret": "",
    }
    for file, text in files.items():
        (tmp_path / "project" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / file).write_text(text)
    (tmp_path / "out").mkdir()
    return tmp_path / "project"


def _sweep(project: Path, *options: str) -> tuple[str, ...]:
    file = next((project / "sweeps").glob("*.toml"))
    return (str(file), "--project", str(project), "--out", str(project.parent / "out"), *options)


def _environment(address: str, **changes: str) -> dict[str, str]:
    """Return a user's environment: an address in it, no token, a home without one."""
    base = {k: v for k, v in ray_head.environment().items() if not k.startswith("RAY_AUTH_")}
    lost = {"RAY_ADDRESS": "http://127.0.0.1:1"}  # Ray's client would prefer it to --address
    return {**base, **lost, "HOME": "/nowhere", "RAY_API_SERVER_ADDRESS": address, **changes}


def _token(folder: Path) -> dict[str, str]:
    (folder / "token").write_text(ray_head.TOKEN)
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}


def _submit(address: str, folder: Path, *arguments: str) -> Done:
    environment = _environment(address, **_token(folder))
    return subprocess.run(
        [*CLI, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def _id(done: Done) -> str:
    line = next(line for line in done.stdout.splitlines() if line.startswith("submitted as "))
    return line.removeprefix("submitted as ")


def test_statuses_of_the_head(address: str) -> None:
    tokens = (None, "wrong", ray_head.TOKEN)
    assert [ray_head.status(address, token) for token in tokens] == [401, 403, 200]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "wants a token (401): export RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"}, "refuses this token (403)"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/no/file"}, "/no/file"),
    ],
)
def test_token_is_asked_for(address: str, changes: dict[str, str], said: str) -> None:
    done = subprocess.run(
        [*CLI, "--attach", "any"],
        env=_environment(address, **changes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_drivers_code_comes_back_and_a_further_attempt_is_another_job(
    address: str, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "code").write_text("3")
    first = _submit(address, tmp_path, *_sweep(project, "--smoke"))
    assert first.returncode == 3, first.stderr
    assert "driver at work\n" in first.stdout
    assert "failed, exit code 3" in first.stdout
    assert ray_head.TOKEN not in first.stdout + first.stderr
    files, words = json.loads((tmp_path / "out" / "files.json").read_text())
    sweep = next((project / "sweeps").glob("*.toml"))
    assert files == sorted(gather(project, sweep).files)
    assert words == [f"sweeps/{sweep.name}", "--out", str(tmp_path / "out"), "--smoke"]
    (tmp_path / "out" / "code").write_text("0")
    second = _submit(address, tmp_path, *_sweep(project, "--smoke"))
    assert second.returncode == 0, second.stderr
    assert _id(second) == f"{_id(first)}-2"


def test_running_sweep_is_refused_attached_detached_stopped(
    address: str, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "hold").touch()
    job = _id(_submit(address, tmp_path, *_sweep(project, "--no-follow")))
    again = _submit(address, tmp_path, *_sweep(project))
    assert again.returncode == 2
    assert f"runs already as {job}" in again.stderr
    assert f"--attach {job}" in again.stderr
    _detach(address, tmp_path, job, *_sweep(project, "--if-running", "attach"))
    stopped = _submit(address, tmp_path, "--stop", job)
    assert (stopped.returncode, stopped.stdout) == (0, f"{job}: stopped\n")
    ended = _submit(address, tmp_path, "--attach", job)
    assert ended.returncode == 143
    assert "driver at work" in ended.stdout


def _detach(address: str, folder: Path, job: str, *arguments: str) -> None:
    """Follow the job, and interrupt when its log comes."""
    process = subprocess.Popen(
        [*CLI, *arguments],
        env=_environment(address, **_token(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = [line for line in iter(process.stdout.readline, "driver at work\n") if line]
    assert f"runs already as {job}\n" in seen
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"detached; {job} goes on" in said
    assert f"--stop {job}" in said


def test_unknown_job(address: str, tmp_path: Path) -> None:
    done = _submit(address, tmp_path, "--attach", "nobody")
    assert done.returncode == 2
    assert "no such job" in done.stderr


def test_rays_own_command_takes_the_line_and_the_same_files(
    address: str, project: Path, tmp_path: Path
) -> None:
    told = _submit(address, tmp_path, *_sweep(project, "--dry-run"))
    line = shlex.split(told.stdout.splitlines()[-1])
    (tmp_path / "out" / "code").write_text("3")
    environment = {k: v for k, v in _environment(address).items() if k != "RAY_ADDRESS"}
    done = subprocess.run(
        [*ray_head.RAY, *line[1:]],
        env={**environment, **_token(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, "Ray's command returns 1 whatever the driver did"
    assert "driver at work" in done.stdout
    files, words = json.loads((tmp_path / "out" / "files.json").read_text())
    sweep = next((project / "sweeps").glob("*.toml"))
    assert files == sorted(gather(project, sweep).files)
    assert words == [f"sweeps/{sweep.name}", "--out", str(tmp_path / "out")]


def test_the_real_driver_refuses_in_one_line_with_code_2(address: str, tmp_path: Path) -> None:
    out, data = str(tmp_path / "out"), str(tmp_path / "no-data")
    sweep = str(ROOT / "sweeps" / "table2_paper.toml")
    done = _submit(address, tmp_path, sweep, "--out", out, "--data", data)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"multibodies: error: {data}" in done.stdout
    assert not os.path.exists(out)


@pytest.mark.drill
@pytest.mark.parametrize(("how", "status"), [("stop", "STOPPED"), ("", "FAILED")])
def test_a_refused_sweep_is_stopped_where_failures_are_retried(
    address: str, tmp_path: Path, how: str, status: str
) -> None:
    """Promise: under KubeRay, which retries all that FAILED, exit code 2 ends as STOPPED."""
    job = f"refused-{how or 'fails'}"
    done = subprocess.run(
        [
            *(*ray_head.RAY, "job", "submit", "--address", address, "--submission-id", job),
            *("--working-dir", str(tmp_path), "--runtime-env-json"),
            json.dumps({"env_vars": {"PYTHONPATH": SOURCES, "MULTIBODIES_REFUSED": how}}),
            *("--", "python", str(ROOT / "jobs/sweep.py"), "none.toml", "--out", str(tmp_path)),
        ],
        env=ray_head.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (status == "FAILED")  # Ray's command takes a stop for no failure
    assert "none.toml" in done.stdout
    asked = [*ray_head.RAY, "job", "status", "--address", address, job]
    told = subprocess.run(
        asked, env=ray_head.environment(), capture_output=True, text=True, check=False
    )
    text = told.stdout + told.stderr
    assert ("was stopped" in text, "failed" in text) == (status == "STOPPED", status == "FAILED")
