"""Show a run's MLflow store in the browser, on loopback only, until interrupted."""

from __future__ import annotations

import argparse
from pathlib import Path

from multibodies.commands import common

HELP = "the MLflow UI on a finished run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "run_dir", metavar="RUN", type=Path, help="a sweep's folder, such as runs/table2"
    )
    parser.add_argument("--port", type=common.positive, default=5000, help="(default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Serve until interrupted."""
    from multibodies.tracking_server import DATABASE, tracking_server

    common.existing(args.run_dir / DATABASE, "MLflow store", "run `multibodies sweep` first")
    with tracking_server(args.run_dir, args.port) as server:
        print(f"MLflow on {server.uri}; end it with Ctrl-C", flush=True)
        try:
            server.process.wait()
        except KeyboardInterrupt:
            print()
