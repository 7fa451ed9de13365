"""Check this machine: versions, cores, memory, disk, the body, free ports.

Exit code 1 if something must be mended.
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "check this machine and this installation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where runs will be written")


def run(args: argparse.Namespace) -> int:
    """Print one line per check."""
    from multibodies.doctor import diagnose

    failed = 0
    for finding in diagnose(args.out):
        print(f"{finding.level:4}  {finding.name:12}  {finding.detail}", flush=True)
        failed += finding.level == "fail"
    print(f"{failed} to mend" if failed else "ready")
    return 1 if failed else 0
