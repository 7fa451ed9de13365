"""The benchmarks and the command's arguments: no torch here, so that `--help` is quick."""

from __future__ import annotations

import argparse
from pathlib import Path

BENCHMARKS = (
    *("joints", "quantising", "step", "inference", "flow", "waiting", "throughput"),
    *("pictures", "scheduling"),
)


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


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return value
