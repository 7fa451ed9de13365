"""Mend what a kill in the middle of a checkpoint left: torn lists of checkpoints, halves of them.

A training does what it needs of this by itself when it is given again; `repair` does it at once and
tells from which step each training will go on. Refused while a run is alive in the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from multibodies.commands import common

HELP = "mend the checkpoints of a killed run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "run_dir", metavar="RUN", type=Path, help="a sweep's or a training's folder"
    )


def run(args: argparse.Namespace) -> None:
    """Mend and print one line per training that is under way."""
    from multibodies.cluster.repairs import mend

    common.existing(args.run_dir, "folder", "give a sweep's or a training's folder")
    mended = mend(args.run_dir)
    for line in map(str, mended):
        print(line)
    if not mended:
        print(f"{args.run_dir}: no training is under way; nothing to mend")
