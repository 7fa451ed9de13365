"""The sweep as a submitted job: `ray job submit` against a head of our own on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import sys, ray
ray.init(address="local", num_cpus=2, include_dashboard=True, dashboard_host="127.0.0.1",
         dashboard_port=int(sys.argv[1]), _node_ip_address="127.0.0.1", log_to_driver=False)
print("ready", flush=True)
sys.stdin.read()
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    """Return the environment of head and client: whoever reaches a dashboard needs its token."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    inherited = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    here = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return {**inherited, **loopback, **token, **here}


@pytest.fixture
def dashboard() -> Iterator[str]:
    """Start a head with a dashboard in a process of its own, and end it by its process group."""
    port = _free_port()
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(port)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert head.stdout is not None
    try:
        assert any("ready" in line for line in head.stdout)
        yield f"http://127.0.0.1:{port}"
    finally:
        if head.stdin is not None:
            head.stdin.close()
        try:
            head.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
        head.stdout.close()


def _submitted(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Submit, again while the head's job agent is still starting."""
    for _ in range(12):
        done = subprocess.run(
            command, env=_environment(), capture_output=True, text=True, check=False, cwd=ROOT
        )
        if "No available agent" not in done.stderr + done.stdout:
            break
        time.sleep(5)
    return done


def test_a_sweep_runs_as_a_submitted_job(dashboard: str, tmp_path: Path) -> None:
    out = tmp_path / "smoke"
    runtime = {"env_vars": {"PYTHONPATH": "platform", "OMP_NUM_THREADS": "1"}}
    submit = [
        *(sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", dashboard),
        *("--working-dir", str(ROOT), "--runtime-env-json", json.dumps(runtime), "--"),
        *("python", "jobs/sweep.py", "sweeps/smoke.toml", "--out", str(out)),
    ]
    done = _submitted(submit)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "succeeded" in done.stdout
    result = json.loads((out / "table2.json").read_text())
    assert {row["dataset"] for row in result["rows"]} == {"wild", "awild"}
