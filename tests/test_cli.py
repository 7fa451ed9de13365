"""The command line: quick help, one-line errors, exit codes, overrides, doctor, progress."""

from __future__ import annotations

import errno
import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from multibodies import cli, doctor
from multibodies.bodies.embedded import BODY_SHA256
from multibodies.commands import common
from multibodies.errors import UserError
from multibodies.progress import Progress, duration

Capture = pytest.CaptureFixture[str]
Raise = Callable[[BaseException], None]

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "ray", "mlflow", "pandas", "pyarrow", "pydantic", "numpy", "matplotlib"}


def one_line(capsys: Capture) -> str:
    """Return stderr, checked to be one `multibodies: error:` line."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.startswith("multibodies: error: ")
    return text


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Raise:
    """Make `multibodies doctor` raise a given error."""

    def install(error: BaseException) -> None:
        def run(_: object) -> int:
            raise error

        monkeypatch.setattr("multibodies.commands.doctor.run", run)

    return install


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([name, "--help"] for name in cli.COMMANDS), ["body", "import", "--help"]],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """What takes seconds to import must not stand between a user and the help."""
    code = (
        "import sys\nfrom multibodies.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "usage: multibodies" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_no_command_prints_help(capsys: Capture) -> None:
    assert cli.main([]) == 0
    assert "fit-prior" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["trian"], "did you mean 'train'"),
        (["prepare", "--out", "d", "--set", "loss.r=0"], "did you mean 'loss.ri'"),
        (["prepare", "--out", "d", "--set", "loss.ri"], "KEY=VALUE"),
        (["prepare", "--out", "d", "--set", "data.image_size=3"], "data.image_size"),
        (["prepare", "--out", "d", "--profile", "embeded"], "did you mean 'embedded'"),
        (["prepare"], "multibodies prepare --help"),
        (["sweep", "sweeps/none.toml"], "sweeps/none.toml"),
        (["train", "--workers", "0", "--data", "d", "--out", "o"], "at least 1, got '0'"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], named: str, capsys: Capture) -> None:
    assert cli.main(arguments) == 2
    assert named in one_line(capsys)


def test_unexpected_error_names_debug(failing: Raise, capsys: Capture) -> None:
    failing(KeyError("pelvis"))
    assert cli.main(["doctor"]) == 1
    line = one_line(capsys)
    assert "KeyError: 'pelvis'" in line
    assert "--debug" in line


@pytest.mark.parametrize("arguments", [["--debug", "doctor"], ["doctor", "--debug"]])
def test_debug_shows_the_traceback(arguments: list[str], failing: Raise, capsys: Capture) -> None:
    failing(KeyError("pelvis"))
    assert cli.main(arguments) == 1
    assert "Traceback" in capsys.readouterr().err


def test_full_disk_is_a_users_error(failing: Raise, capsys: Capture) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device", "runs/part.parquet"))
    assert cli.main(["doctor"]) == 2
    assert "runs/part.parquet: no space left" in one_line(capsys)


class WorkerGroupError(RuntimeError):
    """Stands for Ray Train's error of that name: what its workers raised, by rank."""

    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__("Training failed due to worker errors:\n a remote traceback")
        self.worker_failures = failures


class TaskError(RuntimeError):
    """Stands for Ray's RayTaskError: what a task raised is in `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("ray::task() a remote traceback")
        self.cause = cause


def test_users_error_inside_rays_errors(failing: Raise, capsys: Capture) -> None:
    failing(WorkerGroupError({0: TaskError(UserError("shard part-00003.parquet is damaged"))}))
    assert cli.main(["doctor"]) == 2
    assert one_line(capsys) == "multibodies: error: shard part-00003.parquet is damaged\n"


def test_a_handled_error_is_not_the_cause(failing: Raise, capsys: Capture) -> None:
    error = KeyError("pelvis")
    error.__context__ = UserError("handled long ago")
    failing(error)
    assert cli.main(["doctor"]) == 1
    assert "handled" not in one_line(capsys)


def test_interrupt(failing: Raise, capsys: Capture) -> None:
    failing(KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("loss.ri=0", 0),
        ("loss.ri=1e-3", 0.001),
        ("loss.supervise_first=true", True),
        ("evaluation.n=[1, 5]", [1, 5]),
        ("evaluation.selection=official", "official"),
        ("body.path=null", None),
        ("body.path=a=b.npz", "a=b.npz"),
    ],
)
def test_override_values(text: str, value: object) -> None:
    key, found = common.parse_override(text)
    assert key == text.partition("=")[0]
    assert found == value
    assert type(found) is type(value)


def test_doctor_command_reports_every_check(capsys: Capture, tmp_path: Path) -> None:
    code = cli.main(["doctor", "--out", str(tmp_path / "not" / "there")])
    lines = capsys.readouterr().out.splitlines()
    names = [line[6:20].strip() for line in lines[:-1]]
    assert names[:5] == ["python", "torch", "gpu", "ray", "mlflow"]
    assert {"cores", "memory", "disk", "source root", "body", "port 5000"} < set(names)
    assert code == (1 if any(line.startswith("fail") for line in lines) else 0)


@pytest.mark.parametrize(
    ("finding", "level", "named"),
    [
        (doctor.python_version((3, 10, 9)), "fail", "3.11"),
        (doctor.python_version((3, 11, 0)), "ok", "3.11.0"),
        (doctor.package("no-such-package", "1."), "fail", "make install"),
        (doctor.package("pytest", "0."), "warn", "make install"),
        (doctor.cores(1), "warn", "two"),
        (doctor.memory(1 << 30), "warn", "1.0 GiB"),
        (doctor.memory(8 << 30), "ok", "8.0 GiB"),
        (doctor.disk(1 << 30, Path("runs")), "warn", "10 GiB"),
        (doctor.body_asset(Path("none.npz"), "0"), "fail", "missing"),
        (doctor.body_asset(doctor.BODY, "0" * 64), "fail", "expected 000000000000"),
        (doctor.body_asset(doctor.BODY, BODY_SHA256), "ok", "sha256"),
    ],
)
def test_doctor_finding(finding: doctor.Finding, level: str, named: str) -> None:
    assert finding.level == level
    assert named in finding.detail


def test_doctor_sees_a_shadowed_platform_module(tmp_path: Path) -> None:
    root = tmp_path / "platform"
    root.mkdir()
    stdlib = "/usr/lib/python3/platform.py"
    assert doctor.source_root(root, stdlib).level == "ok"
    assert doctor.source_root(root, str(root / "__init__.py")).level == "fail"
    (root / "__init__.py").touch()
    assert doctor.source_root(root, stdlib).level == "fail"


def test_doctor_sees_a_busy_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        assert doctor.port(number, "the MLflow UI").level == "warn"
    assert doctor.port(number, "the MLflow UI").level == "ok"


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [("max", "5", None), ("100", "30", 70), ("100", "130", 0), ("", "5", None)],
)
def test_container_memory(limit: str, used: str, free: int | None, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text(used)
    assert doctor._container_memory(tmp_path) == free


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_prints_plain_lines_now_and_then() -> None:
    log, clock = io.StringIO(), Clock()
    with Progress(100, "train", unit="step", interval=10, stream=log, clock=clock) as progress:
        for step in range(1, 101):
            clock.now = step / 2.0
            progress.advance(note=f"loss {step}")
    lines = log.getvalue().splitlines()
    assert lines[0] == "train: 20/100 step, 20 %, 40 s left, loss 20"
    assert len(lines) == 6
    assert lines[-1] == "train: 100 step in 50 s"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_draws_a_bar_on_a_terminal() -> None:
    screen = Terminal()
    with Progress(4, "train", stream=screen) as progress:
        progress.advance(4, "loss 2")
    assert "100%" in screen.getvalue()
    assert "loss 2" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
