"""Make a checkpoint of others ours: torchvision's ResNets, SPIN's, the released 3D Multi-bodies'
and its prior's.

KIND says how the file's tensors are named. The file is never unpickled freely, so nothing in it
can run. Of torchvision's the trunk is taken and the head starts anew, for stage 1; the others are
whole networks. What was missing and what was left over is printed, and told by the meta.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from multibodies.commands import common
from multibodies.errors import UserError

if TYPE_CHECKING:
    from multibodies.config import Config
    from multibodies.imports.adopt import Adopted, Source

HELP = "somebody's checkpoint -> weights"
PRIOR = "multibodies-prior"
KINDS = ("torchvision-resnet18", "torchvision-resnet50", "spin", "multibodies", PRIOR)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("file", type=Path, help=".pth, .pt or .safetensors")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    parser.add_argument(
        "--num-hypotheses", type=common.positive, metavar="M", help="refuse a file of another M"
    )
    parser.add_argument(
        "--mean-params", type=Path, metavar="NPZ", help="torchvision: HMR's start, for the head"
    )
    parser.add_argument("--seed", type=int, default=0, help="of an untrained head (default: 0)")
    common.add_config(parser)


def run(args: argparse.Namespace) -> None:
    """Convert, write the folder and print what became of every tensor."""
    from multibodies.checkpoints import WEIGHTS, save_module

    if (args.out / WEIGHTS).exists():
        raise UserError(f"{args.out}: holds a checkpoint already; choose another folder")
    adopted = _prior(args) if args.kind == PRIOR else _regressor(args)
    save_module(args.out, adopted.state, adopted.meta)
    _show(args.file, adopted)
    print(args.out)


def _prior(args: argparse.Namespace) -> Adopted:
    from multibodies.imports.released_prior import adopt_prior

    if args.overrides or args.num_hypotheses or args.mean_params:
        raise UserError(f"{PRIOR}: the file says all; leave out the options but --out")
    return adopt_prior(args.file)


def _regressor(args: argparse.Namespace) -> Adopted:
    from multibodies.imports.adopt import adopt, open_source
    from multibodies.training import regressor_spec

    source = open_source(args.kind, args.file, args.num_hypotheses)
    config = _config_for(source, args)
    spec = regressor_spec(config.model, source.facts.num_hypotheses)
    return adopt(source, spec, args.seed, args.mean_params)


def _config_for(source: Source, args: argparse.Namespace) -> Config:
    """Return the configuration with what the file decides. Raises UserError if --set says
    otherwise.
    """
    from multibodies.config import load_config

    decided = {f"model.{name}": value for name, value in source.settings.items()}
    asked = dict(common.parse_override(text) for text in args.overrides)
    for key in sorted(asked.keys() & decided.keys()):
        if asked[key] != decided[key]:
            raise UserError(f"{args.file}: {key} = {decided[key]}, expected {asked[key]} (--set)")
    return load_config(args.profile, {**decided, **asked})


def _show(path: Path, adopted: Adopted) -> None:
    """Print what the network is, counts and first names."""
    report, spec = adopted.report, adopted.meta["spec"]
    if "num_hypotheses" in spec:
        print(f"{path}: {spec['trunk']}, M = {spec['num_hypotheses']}")
    else:
        print(f"{path}: a flow of {spec['couplings']} couplings")
    for note in adopted.meta["imported"]["notes"]:
        print(f"  {note}")
    print(f"  taken      {_some(report.taken)}")
    print(f"  missing    {_some(report.missing)}")
    for why in sorted(set(report.left_over.values())):
        names = [name for name, reason in report.left_over.items() if reason == why]
        print(f"  left over  {_some(names)} ({why})")
    if "head" in adopted.meta["imported"]:
        print(f"  head       {adopted.meta['imported']['head']}")


def _some(names: Collection[str], shown: int = 3) -> str:
    """Return how many there are, and the first."""
    first = ", ".join(list(names)[:shown])
    return f"{len(names)}: {first}{', ...' if len(names) > shown else ''}" if names else "none"
