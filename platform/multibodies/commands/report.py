"""Write a run's table, figures and page again from its stored results; nothing is scored anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from multibodies.commands import common

HELP = "stored results -> table and figures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="a sweep's folder")


def run(args: argparse.Namespace) -> None:
    """Write the report and print its tables; where the numbers came from is kept."""
    from multibodies.report.rewriting import rewrite_report
    from multibodies.report.summary import show
    from multibodies.runs import read_record
    from multibodies.sweep.state import PLAN_FILE

    path = common.existing(args.run_dir / PLAN_FILE, "run", "run `multibodies sweep` first")
    config = read_record(path)["config"]
    samples = config["evaluation"]["bootstrap_samples"]
    print(show(rewrite_report(args.run_dir, config["profile"], samples)))
