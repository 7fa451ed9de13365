"""Write look-alikes of SMPL and of every dataset: small trees in the real layouts, made by code.

They hold no file of any dataset. `make paper-dry-run` takes them through all that the paper's
experiment needs; use them, too, to see how a set must lie on the disk.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

HELP = "small trees in the layouts of the real sets, to try the platform with"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--out", type=Path, required=True, help="the folder of all sets")


def run(args: argparse.Namespace) -> None:
    """Write the trees, all or none, and say where they are; what is there already stays."""
    from multibodies.bodies.loading import load_body
    from multibodies.lookalikes.everything import write_everything

    if not args.out.exists():
        beside = args.out.with_name(f"{args.out.name}.tmp")
        shutil.rmtree(beside, ignore_errors=True)
        write_everything(beside, load_body())
        beside.rename(args.out)
    for folder in sorted(args.out.iterdir()):
        print(folder)
