"""Infer all M hypotheses of a dataset's images once, then score them for every n and flow weight.

Writes OUT/hypotheses/ and OUT/scores/ with per_image.parquet. What is done is not done again:
another flow weight costs no inference.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.commands import common

if TYPE_CHECKING:
    from multibodies.config import Config

HELP = "regressor and prior -> hypotheses and per-image records"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--checkpoint", type=Path, required=True, help="stage 2's weights")
    parser.add_argument("--prior", type=Path, required=True, help="the prior's weights")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="(default: evaluation.splits)")
    parser.add_argument(
        "--flow-weights",
        nargs="+",
        type=float,
        metavar="ALPHA",
        help="(default: evaluation.flow_weight)",
    )
    parser.add_argument("--gpu", action="store_true", help="infer on a GPU")
    common.add_config(parser)
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> None:
    """Print the plan, or infer, score and say where the records are."""
    config = common.config_from(args)
    splits = tuple(args.splits or config.evaluation.splits)
    if args.dry_run:
        return _plan(args, config, splits)
    from multibodies.cluster.evaluate import infer, score

    hypotheses, scores = args.out / "hypotheses", args.out / "scores"
    infer(config, args.data, args.checkpoint, splits, hypotheses, prior=args.prior, gpu=args.gpu)
    weights = args.flow_weights
    score(config, args.data, hypotheses, splits, scores, flow_weights=weights, prior=args.prior)
    print(scores / "per_image.parquet")


def _plan(args: argparse.Namespace, config: Config, splits: tuple[str, ...]) -> None:
    from multibodies.evaluation import infer_tasks

    out = args.out / "hypotheses"
    tasks = infer_tasks(config, args.data, args.checkpoint, splits, out, prior=args.prior)
    done = sum(task.done for task in tasks)
    common.show_settings(config, "evaluation")
    images = sum(task.rows for task in tasks)
    print(f"{out}: {images} images in {len(tasks)} shards, {done} done")
