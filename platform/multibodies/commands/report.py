"""Write a run's table, figures and page again from its stored results; nothing is scored anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from multibodies.commands import common

HELP = "stored results -> table and figures"
REDRAWN = ("mpjpe_n.png", "effects.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("run_dir", metavar="RUN", type=Path, help="a sweep's folder")


def run(args: argparse.Namespace) -> None:
    """Write the report and print its tables; where the numbers came from is kept."""
    from multibodies.report.page import Figure
    from multibodies.report.summary import FIGURES, STEM, show, write_report
    from multibodies.runs import read_record
    from multibodies.sweep.state import PLAN_FILE

    run_dir: Path = args.run_dir
    common.existing(run_dir / PLAN_FILE, "run", "run `multibodies sweep` first")
    config = read_record(run_dir / PLAN_FILE)["config"]
    old = run_dir / f"{STEM}.json"
    provenance = read_record(old)["provenance"] if old.exists() else {"profile": config["profile"]}
    kept = [p for p in sorted((run_dir / FIGURES).glob("*.png")) if p.name not in REDRAWN]
    extra = [Figure(path, path.stem.replace("_", " ")) for path in kept]
    samples = config["evaluation"]["bootstrap_samples"]
    print(show(write_report(run_dir, provenance, samples=samples, extra=extra)))
