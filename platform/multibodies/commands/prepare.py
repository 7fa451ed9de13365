"""Turn a source into a dataset: Parquet shards and a manifest with their checksums.

The source is `embedded` (made by code) or your own copy of a set: its folder, or one of its label
files, such as SPIN's npz. Started again after a kill, it keeps the shards that are whole.

  multibodies prepare --out data/embedded
  multibodies prepare --profile paper --source 3dpw --root /sets/3DPW --out data/3dpw \\
      --set body.male=smpl-male --set body.female=smpl-female
  multibodies prepare --profile paper --source coco --root coco_2014_train.npz \\
      --splits coco-train --images /sets/coco --out data/coco
  multibodies prepare verify data/3dpw data/coco
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.commands import common
from multibodies.errors import UserError

if TYPE_CHECKING:
    from multibodies.data.plan import Plan
    from multibodies.data.sources.importer import SourceOptions
    from multibodies.data.verification import SplitReport

HELP = "raw files or the embedded generator -> Parquet shards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "verify", nargs="*", metavar="verify DATASET", help="check finished datasets instead"
    )
    parser.add_argument("--out", type=Path, help="the dataset's folder")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="only these splits")
    parser.add_argument("--limit", type=common.positive, help="at most so many rows per split")
    parser.add_argument("--source", help="embedded, h36m, mpii3d, 3dpw, coco, lsp, lspet or mpii")
    parser.add_argument("--root", type=Path, help="the set's folder, or its label file")
    parser.add_argument("--images", type=Path, help="the set's pictures, if not where it has them")
    parser.add_argument("--fits", type=Path, help="SPIN's static fits (npy) for the label file")
    parser.add_argument(
        "--step", type=common.positive, help="every how many-th video frame (default: the set's)"
    )
    parser.add_argument(
        "--max-refused", type=_share, default=0.05, help="stop at more (default: %(default)s)"
    )
    parser.add_argument(
        "--min-visible",
        type=int,
        default=12,
        help="COCO people with so many of keypoints 5..16 labelled (default: %(default)s)",
    )
    common.add_config(parser)
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> None:
    """Verify; or resolve the plan and print it, or write what is missing of it."""
    if args.verify:
        return _verify(args.verify)
    if args.out is None:
        raise UserError("--out: name the dataset's folder; see `multibodies prepare --help`")
    from multibodies.cluster.prepare import write_dataset
    from multibodies.data.plan import make_plan

    source = _source(args)
    if args.source is not None:
        args.overrides.append(f"data.source={args.source}")
    plan = make_plan(common.config_from(args), args.splits, args.limit, source)
    if args.dry_run:
        return _show(plan, args.out)
    manifest = write_dataset(plan, args.out, max_quarantined=args.max_refused)
    refused = sum(counts.quarantined for counts in manifest.counts.values())
    print(f"{args.out}: {manifest.rows} rows in {len(manifest.splits)} splits, {refused} refused")


def _source(args: argparse.Namespace) -> SourceOptions | None:
    from multibodies.data.sources.importer import SourceOptions

    if args.root is None:
        return None
    return SourceOptions(
        root=str(args.root.resolve()),
        images=None if args.images is None else str(args.images.resolve()),
        fits=None if args.fits is None else str(args.fits.resolve()),
        min_visible=args.min_visible,
        step=args.step,
    )


def _share(text: str) -> float:
    value = float(text) if text.replace(".", "", 1).isdecimal() else -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got '{text}'")
    return value


def _verify(words: list[str]) -> None:
    from multibodies.data.manifest import read_manifest
    from multibodies.data.verification import verify_dataset
    from multibodies.progress import Progress

    if words[0] != "verify" or len(words) < 2:
        raise UserError(f"'{' '.join(words)}': expected verify DATASET..., or --out")
    for folder in words[1:]:
        with Progress(read_manifest(folder).rows, f"verify {folder}", unit="rows") as bar:
            reports = verify_dataset(folder, bar.advance)
        for report in reports:
            print(_line(report))


def _line(report: SplitReport) -> str:
    known = ", ".join(f"{n.removeprefix('has_')} {count}" for n, count in report.known.items())
    beside = "" if report.published is None else "; published {}, {}".format(*report.published)
    rows = f"{report.rows:7} rows, {report.quarantined} refused"
    return f"  {report.split:14} {rows} ({known}){beside}"


def _show(plan: Plan, out: Path) -> None:
    from multibodies.data.tasks import kept_shard

    print(f"{out}: {plan.rows} rows of {plan.pictures.size} px, recipe {plan.fingerprint}")
    for split in dict.fromkeys(task.split for task in plan.tasks):
        tasks = [task for task in plan.tasks if task.split == split]
        done = sum(kept_shard(task, out, plan.recipe_of(task)) is not None for task in tasks)
        rows = sum(task.count for task in tasks)
        left_out = ", ".join(f"{rule} {n}" for rule, n in plan.skipped.get(split, {}).items() if n)
        print(
            f"  {split:12} {rows:7} rows, {len(tasks):4} shards, {done} done"
            + (f"; left out: {left_out}" if left_out else "")
        )
