"""Run a sweep: data, prior, stage 1, trainings, hypotheses, scores, MLflow, table and figures.

What is finished is not done again: the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.commands import common

if TYPE_CHECKING:
    from multibodies.sweep import Plan

HELP = "a grid or search of experiments -> table, figures, MLflow runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", type=Path, help="a sweep file, such as sweeps/table2.toml")
    parser.add_argument("--out", type=Path, help="(default: $MULTIBODIES_RUNS/NAME or runs/NAME)")
    parser.add_argument("--smoke", action="store_true", help="the same grid at the smallest size")
    parser.add_argument("--data", type=Path, help="prepared datasets, for a sweep over files")
    parser.add_argument("--profile", help="another size of the same sweep, such as paper-dry")
    parser.add_argument("--stage1", choices=("shipped", "train"), help="(default: the file's)")
    parser.add_argument("--tracking-uri", help="(default: $MLFLOW_TRACKING_URI, else our own)")
    parser.add_argument("--port", type=common.positive, help="of that server (default: a free one)")
    parser.add_argument(
        "--share",
        type=Path,
        metavar="RUNS",
        help="runs whose finished stages of the same recipe are taken (default: beside --out)",
    )
    common.add_workers(parser)
    parser.add_argument(
        "--at-once",
        type=common.positive,
        metavar="N",
        help="trainings side by side (default: as many as the cluster has room for)",
    )
    common.add_dry_run(parser)


def run(args: argparse.Namespace) -> None:
    """Print the plan, or run what is left of it and print the table."""
    from multibodies.sweep import describe_plan, with_drawn

    plan = _plan_of(args)
    out = common.run_folder(args.out, plan.name)
    share = args.share or out.parent
    if args.dry_run:
        plan = with_drawn(plan, out)
        print(describe_plan(plan, out, common.resources(args, args.at_once), share))
        return
    from multibodies.cluster.sweeps import How, run_sweep

    uri = common.tracking_uri(args.tracking_uri)
    where = {"port": args.port, "tracking_uri": uri, "share": share}
    how = How(args.workers, int(args.gpu), **where, at_once=args.at_once)
    print(run_sweep(plan, out, how))
    print(f"results in {out}; see them in MLflow by `multibodies ui {out}`")


def _plan_of(args: argparse.Namespace) -> Plan:
    """Read and expand the sweep file without Ray: a plan is checked on any machine."""
    from multibodies.sweep import expand, load_sweep, smoke_variant

    sweep = load_sweep(args.file)
    sweep = replace(sweep, stage1=args.stage1) if args.stage1 else sweep
    sweep = replace(sweep, profile=args.profile) if args.profile else sweep
    data = None if args.data is None else args.data.resolve()
    return expand(smoke_variant(sweep) if args.smoke else sweep, data)
