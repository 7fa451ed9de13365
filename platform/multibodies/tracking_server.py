"""`mlflow server` on loopback over a run folder: sqlite and local artifacts, one worker.

Only exact hosts and origins are allowed, job execution and pickles are off. The server is ended by
its process id, also when the body raises; one left over by a killed command is ended at the next
start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from multibodies.errors import UserError
from multibodies.files import write_bytes

HOST = "127.0.0.1"
DATABASE, ARTIFACTS, LOG_FILE, PID_FILE = "mlflow.db", "mlartifacts", "mlflow.log", "mlflow.pid"
MADE_BY = "mlflow.version"  # the MLflow that last served the database: only another one migrates it
ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
START_SECONDS = 600.0  # a bound for a hang: a crowded machine took more than 180
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, where its files are, the process that holds it."""

    uri: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Process id, also the id of the process group of its helpers."""
        return self.process.pid


@contextmanager
def tracking_server(
    folder: str | Path, port: int | None = None, meanwhile: Callable[[], None] | None = None
) -> Iterator[Server]:
    """Run a server over `folder` for the time of the block; it comes up while `meanwhile` runs.

    Raises UserError on a busy port, or if the server does not come up (its log is named).
    """
    server = start_server(folder, port, meanwhile)
    try:
        yield server
    finally:
        stop_server(server)


def start_server(
    folder: str | Path, port: int | None = None, meanwhile: Callable[[], None] | None = None
) -> Server:
    """Start a server and wait until its API answers. Raises UserError as `tracking_server`."""
    folder = Path(folder).resolve()
    _end_leftover(folder)
    port = _free_port() if port is None else _checked(port)
    store = f"sqlite:///{folder / DATABASE}"
    if (folder / DATABASE).exists() and not _is_current(folder):
        _upgrade(store, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            _command(store, folder, port),
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
    server = Server(f"http://{HOST}:{port}", folder, process)
    try:
        record = {"pid": process.pid, "started": _started(process.pid), "uri": server.uri}
        write_bytes(folder / PID_FILE, json.dumps(record).encode())
        if meanwhile is not None:
            meanwhile()
        _wait(server)
        write_bytes(folder / MADE_BY, version("mlflow").encode())
    except BaseException:
        stop_server(server)
        raise
    return server


def stop_server(server: Server) -> None:
    """End the server and its helpers: SIGTERM, then SIGKILL after STOP_SECONDS."""
    _signal_group(server.pid, signal.SIGTERM)
    try:
        server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    _signal_group(server.pid, signal.SIGKILL)
    server.process.wait()
    (server.folder / PID_FILE).unlink(missing_ok=True)


def _command(store: str, folder: Path, port: int) -> list[str]:
    names = (HOST, "localhost")
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)),
        *("--backend-store-uri", store, "--artifacts-destination", str(folder / ARTIFACTS)),
        *("--serve-artifacts", "--workers", "1"),
        *("--allowed-hosts", ",".join(f"{name}:{port}" for name in names)),
        *("--cors-allowed-origins", ",".join(f"http://{name}:{port}" for name in names)),
    ]


def _is_current(folder: Path) -> bool:
    """Whether the installed MLflow has served the database before, which brings its schema up."""
    try:
        return (folder / MADE_BY).read_text() == version("mlflow")
    except OSError:
        return False


def _upgrade(store: str, folder: Path) -> None:
    """Bring an older database to this MLflow's schema; a no-op on a current one."""
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", store]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"{folder / DATABASE}: `mlflow db upgrade` failed ({reason}); "
            "move the file away and replay the journal"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _checked(port: int) -> int:
    """Return the port if it can be bound. Raises UserError if it is busy or no port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port} on {HOST} cannot be used ({getattr(error, 'strerror', error)}); "
                "end the program that holds it or choose another port"
            ) from None
    return port


def _wait(server: Server) -> None:
    """Wait until the API answers a real request, so that the first client is not the slow one."""
    deadline = time.monotonic() + START_SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"{server.uri}/api/2.0/mlflow/experiments/search?max_results=1"
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            direct.open(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    log = server.folder / LOG_FILE
    tail = (log.read_text(errors="replace").strip().splitlines() or ["empty log"])[-1]
    raise UserError(f"the MLflow server on {server.uri} did not start ({tail}); see {log}")


def _end_leftover(folder: Path) -> None:
    """End a server that a killed command left on this folder, if that process still is it."""
    path = folder / PID_FILE
    try:
        record = json.loads(path.read_text())
        pid, started = int(record["pid"]), str(record["started"])
    except (OSError, ValueError, KeyError, TypeError):
        path.unlink(missing_ok=True)
        return
    if started and _started(pid) == started:
        _signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _started(pid) == started and time.monotonic() < deadline:
            time.sleep(0.1)
        _signal_group(pid, signal.SIGKILL)
    path.unlink(missing_ok=True)


def _started(pid: int) -> str:
    """Return a process's start time in clock ticks, "" if it is gone; a reused pid differs."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] == "Z" else after_name[19]


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
