"""Fit the prior: a RealNVP on the skeletons of a dataset's bodies (eq. 4).

The finished weights lie in OUT/weights, a figure of samples in OUT/prior_samples.png. Started again
after a kill, it goes on from the last checkpoint; a folder of another recipe is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from multibodies.commands import common

HELP = "shards -> prior"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--out", type=Path, required=True, help="the prior's folder")
    common.add_workers(parser)
    common.add_config(parser)
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> None:
    """Print the plan, or fit, print gate and calibration, and say where the weights are."""
    config = common.config_from(args)
    if args.dry_run:
        common.show_settings(config, "prior")
        return
    from multibodies.cluster.prior import fit_prior
    from multibodies.report.prior import describe
    from multibodies.report.prior_samples import write_samples

    weights = fit_prior(config, args.data, args.out, workers=args.workers)
    write_samples(weights, args.out)
    print(describe(weights))
    print(weights)
