"""How long MLflow's client may take: by default a dead server blocks it for minutes."""

from __future__ import annotations

import os
import urllib.request
from contextlib import AbstractContextManager

from multibodies.environs import environment

PROBE_SECONDS = 1.0
ARTIFACT_SECONDS = 120  # an upload may pass through the server to a store elsewhere; MLflow's own


def probe(uri: str) -> None:
    """Ask a server for its health within PROBE_SECONDS. Raises OSError."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    direct.open(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS).close()


def limits(timeout: int) -> AbstractContextManager[None]:
    """Set mlflow's client limits for one call, without retries."""
    hosts = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost")))
    return environment(
        MLFLOW_HTTP_REQUEST_TIMEOUT=str(timeout),
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
        NO_PROXY=hosts,
        no_proxy=hosts,
    )
