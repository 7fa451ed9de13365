"""Turn a source into a dataset: Parquet shards and a manifest with their checksums.

The source is data.source: `embedded` (made by code) or `coco` (your own files, named by --coco).
Started again after a kill, it keeps the shards that are whole.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.commands import common

if TYPE_CHECKING:
    from multibodies.data.plan import Plan

HELP = "raw files or the embedded generator -> Parquet shards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--out", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="only these splits")
    parser.add_argument("--limit", type=common.positive, help="at most so many rows per split")
    parser.add_argument("--coco", type=Path, help="COCO keypoint annotations, a file or its folder")
    parser.add_argument("--image-root", type=Path, help="COCO's images, if not beside them")
    parser.add_argument(
        "--min-visible",
        type=int,
        default=12,
        help="COCO people with so many of keypoints 5..16 labelled (default: %(default)s)",
    )
    common.add_config(parser)
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> None:
    """Resolve the plan; print it, or write what is missing of it."""
    from multibodies.cluster.prepare import write_dataset
    from multibodies.data.plan import CocoSource, make_plan

    source = None
    if args.coco is not None:
        source = CocoSource(args.coco, args.image_root, args.min_visible)
    plan = make_plan(common.config_from(args), args.splits, args.limit, source)
    if args.dry_run:
        return _show(plan, args.out)
    manifest = write_dataset(plan, args.out)
    rows = sum(counts.rows for counts in manifest.counts.values())
    refused = sum(counts.quarantined for counts in manifest.counts.values())
    print(f"{args.out}: {rows} rows in {len(manifest.splits)} splits, {refused} refused")


def _show(plan: Plan, out: Path) -> None:
    from multibodies.data.tasks import kept_shard

    print(f"{out}: {plan.rows} rows of {plan.image_size} px, recipe {plan.fingerprint}")
    for split in dict.fromkeys(task.split for task in plan.tasks):
        tasks = [task for task in plan.tasks if task.split == split]
        done = sum(kept_shard(task, out, plan.fingerprint) is not None for task in tasks)
        rows = sum(task.count for task in tasks)
        print(f"  {split:12} {rows:7} rows, {len(tasks):4} shards, {done} done")
