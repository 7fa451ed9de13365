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
    """Run a head in a process group of its own, every port chosen free; give its address.

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
            yield f"http://127.0.0.1:{ports['dashboard-port']}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def status(address: str, token: str | None = None) -> int | None:
    """Ask the dashboard for its version; return the HTTP status, None where nothing answers."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/api/version", headers=headers)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def submit(address: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Submit, again while the head or its agent is still starting; return when the job ended."""
    runtime = {
        "env_vars": {
            "PYTHONPATH": "platform",
            "OMP_NUM_THREADS": "1",
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # two processes less to start
        }
    }
    job = [
        *(*RAY, "job", "submit", "--address", address, "--working-dir", str(ROOT)),
        *("--runtime-env-json", json.dumps(runtime), "--", *command),
    ]
    for _ in range(60):
        done = subprocess.run(
            job, env=environment(), capture_output=True, text=True, check=False, cwd=ROOT
        )
        said = done.stderr + done.stdout
        if "No available agent" not in said and "Failed to connect" not in said:
            break
        time.sleep(5)
    return done
