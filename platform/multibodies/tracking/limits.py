"""How long MLflow's client may take: by default a dead server blocks it for minutes."""

from __future__ import annotations

import os
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

PROBE_SECONDS = 1.0
ARTIFACT_SECONDS = 120  # an upload may pass through the server to a store elsewhere; MLflow's own
DEFAULTS = {  # MLflow's own, which hold again after a block of limits
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
}
_ONE_AT_A_TIME = threading.RLock()


def probe(uri: str) -> None:
    """Ask a server for its health within PROBE_SECONDS. Raises OSError."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS).close()


@contextmanager
def limits(timeout: int) -> Iterator[None]:
    """Set mlflow's client limits for the calls of the block, without retries; a block of another
    thread waits.

    MLflow reads them from the environment alone. Variables are changed there but never taken away:
    a thread that goes over os.environ meanwhile, as Ray Data does when a dataset starts, would fail
    with KeyError.
    """
    values = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    with _ONE_AT_A_TIME:
        values |= dict.fromkeys(("NO_PROXY", "no_proxy"), _direct(os.environ.get("NO_PROXY", "")))
        after = {key: os.environ.get(key, DEFAULTS.get(key, values[key])) for key in values}
        os.environ.update(values)
        try:
            yield
        finally:
            os.environ.update(after)


def _direct(hosts: str) -> str:
    """Add loopback to hosts that are reached without a proxy."""
    return ",".join(dict.fromkeys([*filter(None, hosts.split(",")), "127.0.0.1", "localhost"]))
