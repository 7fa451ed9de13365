"""As much of MLflow's API as one run needs, before a store of files that takes its time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

EXPERIMENT = {"experiment_id": "1", "name": "s", "lifecycle_stage": "active"}


def answers() -> dict[str, Any]:
    """Return what calls get by their names; of a new run, since mlflow keeps a run's store."""
    run = uuid4().hex
    info = {
        "run_id": run,
        "run_uuid": run,
        "experiment_id": "1",
        "status": "RUNNING",
        "artifact_uri": f"mlflow-artifacts:/1/{run}/artifacts",
        "lifecycle_stage": "active",
    }
    return {
        "experiments/get-by-name": {"experiment": EXPERIMENT},
        "runs/create": {"run": {"info": info}},
        "runs/get": {"run": {"info": info}},
        "runs/update": {"run_info": info},
    }


@contextmanager
def slow_store(seconds: float) -> Iterator[tuple[str, list[str]]]:
    """Serve on loopback; every upload takes `seconds`. Gives the address and what was stored."""
    stored: list[str] = []
    told = answers()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            call = self.path.partition("?")[0].partition("/mlflow/")[2]
            body = json.dumps(told.get(call, {})).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            time.sleep(seconds)
            stored.append(self.path.rpartition("/")[2])
            self._answer()

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that has given up is what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", stored
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
