"""A head of our own on loopback, and commands sent to it by `ray job submit`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RAY = (sys.executable, "-m", "ray.scripts.scripts")
TOKEN = "0123456789abcdef0123456789abcdef"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """Return the environment of head and client: whoever reaches a dashboard needs its token."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    inherited = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    here = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return {**inherited, **loopback, **token, **here}


@contextmanager
def head() -> Iterator[str]:
    """Run a head that takes jobs; give its address.

    A crowded machine may not start all of its processes within Ray's 30 s, or give one of its ports
    away: then another is started.
    """
    for _ in range(3):
        with started() as (process, address):
            if is_ready(process, address):
                yield address
                return
    raise RuntimeError("no head of Ray's came up in three tries")


@contextmanager
def started() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a head in a process group of its own, every port chosen free; kill it at the end.

    The agent that runs jobs has a fixed port by default, which the Ray of the other tests may hold.
    """
    ports = {
        name: _free_port() for name in ("port", "dashboard-port", "dashboard-agent-listen-port")
    }
    with tempfile.TemporaryDirectory(prefix="head-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(*RAY, "start", "--head", "--block", "--num-cpus=2", f"--temp-dir={folder}"),
                *("--include-dashboard=true", "--dashboard-host=127.0.0.1"),
                *("--node-ip-address=127.0.0.1", "--disable-usage-stats"),
                *(f"--{name}={port}" for name, port in ports.items()),
            ],
            env=environment(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process, f"http://127.0.0.1:{ports['dashboard-port']}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_ready(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until a head has run a job, at most two minutes; whether it has."""
    deadline, job = time.monotonic() + 120, ""
    while process.poll() is None and time.monotonic() < deadline:
        if not job:  # no agent to run it is an answer, 500, too
            code, said = ask(address, TOKEN, "/api/jobs/", {"entrypoint": "true"})
            job = said["job_id"] if code == HTTPStatus.OK else ""
        elif ask(address, TOKEN, f"/api/jobs/{job}")[1].get("status") == "SUCCEEDED":
            return True
        time.sleep(0.5)
    return False


def ask(
    address: str, token: str | None, path: str, message: dict[str, str] | None = None
) -> tuple[int | None, dict[str, str]]:
    """Get from the dashboard, or post a message to it; return the HTTP status, None where nothing
    answers, and the answer of a success."""
    headers = {"Content-Type": "application/json"}
    headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    try:
        body = None if message is None else json.dumps(message)
        connection.request("GET" if message is None else "POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if answer.status == HTTPStatus.OK else {}
    except OSError:
        return None, {}
    finally:
        connection.close()


def status(address: str, token: str | None = None) -> int | None:
    """Ask the dashboard for its version; return the HTTP status, None where nothing answers."""
    return ask(address, token, "/api/version")[0]


def submit(
    address: str, command: list[str], job_id: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Submit, and return when the job ended."""
    runtime = {
        "env_vars": {
            "PYTHONPATH": "platform:tests:tests/cluster",
            "OMP_NUM_THREADS": "1",
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # two processes less to start
        }
    }
    job = [
        *(*RAY, "job", "submit", "--address", address, "--working-dir", str(ROOT)),
        *(("--submission-id", job_id) if job_id else ()),
        *("--runtime-env-json", json.dumps(runtime), "--", *command),
    ]
    return subprocess.run(
        job, env=environment(), capture_output=True, text=True, check=False, cwd=ROOT
    )
