"""The benchmarks and the command's arguments: no torch here, so that `--help` is quick."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

BENCHMARKS = ("joints", "quantising", "step", "inference", "flow", "waiting", "throughput")
# Threads that wait must not spin: on a shared machine they take the time they measure.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"measure this alone; may be repeated: {', '.join(BENCHMARKS)}",
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="default: %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--threads", type=_positive, default=1, help="CPU threads of torch (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: does it run, not how fast"
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print the table and write it; a missed target is said there, and no error."""
    # before torch or scikit-learn load their threads
    os.environ.update(ENVIRONMENT, OMP_NUM_THREADS=str(args.threads))
    from multibodies.bench import suite

    suite.run(
        args.only,
        args.out,
        device=args.device,
        rounds=args.rounds,
        threads=args.threads,
        quick=args.quick,
    )


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return value
