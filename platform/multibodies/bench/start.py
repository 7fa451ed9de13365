"""From the command line to the benchmarks: torch is loaded here, under its environment."""

from __future__ import annotations

import argparse
import os

# Threads that wait must not spin: on a shared machine they take the time they measure.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


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
