"""Train the regressor: stage 1 (one hypothesis), then stage 2 (best of M, from stage 1).

The finished weights lie in OUT/weights. Started again after a kill, it goes on from the last
checkpoint; a folder of another recipe is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.commands import common
from multibodies.errors import UserError

if TYPE_CHECKING:
    from multibodies.config import Config
    from multibodies.fitting import StageName

HELP = "shards -> regressor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="a prepared dataset")
    source.add_argument(
        "--fresh", action="store_true", help="stage 1 on fresh embedded images, one device, no Ray"
    )
    parser.add_argument("--out", type=Path, required=True, help="the training's folder")
    parser.add_argument("--stage", choices=("1", "2"), default="1", help="(default: %(default)s)")
    parser.add_argument(
        "--from", dest="start_from", type=Path, metavar="WEIGHTS", help="stage 1's weights"
    )
    parser.add_argument("--split", default="lab-train", help="(default: %(default)s)")
    parser.add_argument(
        "--threads", type=common.positive, default=1, help="of --fresh (default: %(default)s)"
    )
    parser.add_argument("--local", action="store_true", help="one device, this process, no Ray")
    common.add_workers(parser)
    common.add_config(parser)
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> None:
    """Print the plan, or train and say where the weights are."""
    config = common.config_from(args)
    if args.fresh:
        _fresh(args, config)
        return
    stage: StageName = "stage1" if args.stage == "1" else "stage2"
    weights = _plan(args, config, stage) if args.dry_run else _train(args, config, stage)
    print(weights)


def _fresh(args: argparse.Namespace, config: Config) -> None:
    stage = config.stage1
    if args.stage != "1":
        raise UserError("--fresh makes a stage 1; give stage 2 a dataset by --data")
    if args.dry_run:
        common.show_settings(config, "data", "model", "loss", "stage1")
        print(f"{args.out}: {stage.steps} steps of {stage.batch_size} fresh images")
        return
    from multibodies.stage1 import train_stage1

    meta = train_stage1(config, args.out, "make stage1", threads=args.threads)
    print(f"{args.out / 'weights'}: {meta['lab_val_mpjpe_mm']} mm on lab-val")


def _plan(args: argparse.Namespace, config: Config, stage: StageName) -> str:
    from multibodies import runs
    from multibodies.data.training_rows import open_source
    from multibodies.fitting import Task

    task = Task(config, stage, args.data, args.out, args.start_from, args.split)
    rows = open_source(task.dataset, task.split).rows
    steps, batch = task.settings.steps, task.settings.batch_size
    common.show_settings(config, "model", "loss", stage)
    state = "finished" if runs.finished(task.out) else f"{steps} steps of {batch} rows"
    return f"{task.out}: {state}, from {rows} rows of {task.split}"


def _train(args: argparse.Namespace, config: Config, stage: StageName) -> Path:
    if args.local:
        from multibodies.local import fit_local

        return fit_local(
            config,
            stage,
            args.data,
            args.out,
            start_from=args.start_from,
            split=args.split,
            device="cuda" if args.gpu else "cpu",
        )
    from multibodies.cluster.trainer import fit

    return fit(
        config,
        stage,
        args.data,
        args.out,
        start_from=args.start_from,
        workers=args.workers,
        gpus=int(args.gpu),
        split=args.split,
    )
