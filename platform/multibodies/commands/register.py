"""Register the model of a finished sweep in MLflow, loadable by mlflow.pyfunc.load_model.

Without --cell it is the winner, the cell of least error on the val splits; a sweep that scored none
has no winner, and a cell must be named. The same weights are registered once, however often and
under whatever aliases. A licensed body does not travel: who loads the model names its own file by
MULTIBODIES_BODY.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from multibodies.commands import common
from multibodies.commands.replay import server_of

HELP = "a run's winner -> MLflow's model registry"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "run_dir", metavar="RUN", type=Path, help="a sweep's folder, such as runs/table2"
    )
    parser.add_argument("--cell", metavar="ID", help="a cell by its name (default: the winner)")
    parser.add_argument("--alias", default="winner", help="(default: %(default)s)")
    parser.add_argument(
        "--tracking-uri", help="(default: $MLFLOW_TRACKING_URI, else the run's own)"
    )


def run(args: argparse.Namespace) -> None:
    """Register, and print how the model is loaded."""
    from multibodies import runs
    from multibodies.registering import register
    from multibodies.tracking.registry import check_alias
    from multibodies.winners import cell_of, read_models

    named = common.tracking_uri(args.tracking_uri)
    common.existing(args.run_dir, "run", "give the folder of a sweep, such as runs/table2")
    check_alias(args.alias)
    cell = cell_of(read_models(args.run_dir), args.cell)  # refused before a server is started
    with runs.alone(args.run_dir), server_of(args.run_dir, named) as uri:
        made = register(args.run_dir, uri, cell, args.alias)
    state = "new" if made.new else "the same weights as before"
    print(f"{made.uri}: version {made.version} ({state}), cell {made.cell}")
    where = f"of {named}" if named else f"while `multibodies ui {args.run_dir}` serves it"
    print(f"load it by mlflow.pyfunc.load_model('{made.uri}'), {where}")
