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
    parser.add_argument(
        "--data", type=Path, help="a prepared dataset (default: fresh images, stage 1 only)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the training's folder")
    parser.add_argument("--stage", choices=("1", "2"), default="1", help="(default: %(default)s)")
    parser.add_argument(
        "--from", dest="start_from", type=Path, metavar="WEIGHTS", help="stage 1's weights"
    )
    parser.add_argument(
        "--split", help="(default: splits.train; of a collection mix-train, all sets by mix.*)"
    )
    parser.add_argument(
        "--ship",
        type=Path,
        metavar="FOLDER",
        help="write stage 1's weights there too, at half size",
    )
    parser.add_argument("--local", action="store_true", help="one device, this process, no Ray")
    common.add_workers(parser)
    common.add_config(parser)
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> None:
    """Print the plan, or train and say where the weights are."""
    config = common.config_from(args)
    args.split = args.split or config.splits.train
    stage: StageName = "stage1" if args.stage == "1" else "stage2"
    if args.ship and stage != "stage1":
        raise UserError("--ship writes a stage 1; leave it out, or train --stage 1")
    if args.dry_run:
        print(_plan(args, config, stage))
        return
    weights = _train(args, config, stage)
    print(weights)
    if args.ship:
        from multibodies.report.provenance import command_line
        from multibodies.stage1 import ship

        error = ship(weights, args.ship, config, command_line())
        print(f"{args.ship}: {error:.1f} mm on lab-val")


def _plan(args: argparse.Namespace, config: Config, stage: StageName) -> str:
    from multibodies import runs
    from multibodies.fitting import Task, open_rows

    task = Task(config, stage, args.data, args.out, args.start_from, args.split)
    rows = open_rows(task).rows
    steps, batch = task.settings.steps, task.settings.batch_size
    common.show_settings(config, "model", "loss", stage)
    state = "finished" if runs.finished(task.out) else f"{steps} steps of {batch} rows"
    source = f"{rows} rows of {task.split}" if task.dataset else "fresh images"
    return f"{task.out}: {state}, from {source}"


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
