"""Draw n bodies for a person in a photograph, over it and from the side, and write them as JSON.

The network comes from a finished sweep (--run) or from folders of weights (--checkpoint, --prior).
It was trained on synthetic images only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multibodies.commands import common
from multibodies.errors import UserError

if TYPE_CHECKING:
    from multibodies.persons import Box

HELP = "a photograph -> n bodies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("image", type=Path, help="JPEG or PNG")
    parser.add_argument("--box", type=box, metavar="X,Y,W,H", help="the person, in pixels")
    parser.add_argument("--n", type=common.positive, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/predict"), help="the folder of results"
    )
    parser.add_argument("--run", dest="run_dir", type=Path, default=Path("runs/table2"))
    parser.add_argument(
        "--checkpoint", type=Path, help="weights (default: the run's last training)"
    )
    parser.add_argument("--prior", type=Path, help="the prior's weights (default: the run's)")
    parser.add_argument(
        "--image-size", type=common.positive, help="side the network was trained at"
    )
    parser.add_argument(
        "--flow-weight", type=float, default=1.0, help="alpha of eq. 2 (default: 1)"
    )
    parser.add_argument(
        "--quantizer",
        choices=("kmeans", "random"),
        help="how n of the M are taken (default: as the run was scored)",
    )


def box(text: str) -> Box:
    """Parse ``x,y,w,h``, for argparse."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        message = f"expected four numbers x,y,width,height, got '{text}'"
        raise argparse.ArgumentTypeError(message) from None
    return x, y, width, height


def run(args: argparse.Namespace) -> None:
    """Predict and say where picture and numbers are."""
    from multibodies.predict import predict

    plan = _plan_of(args.run_dir)
    checkpoint = args.checkpoint or _last_training(args.run_dir)
    prior = args.prior or args.run_dir / "prior" / "weights"
    size = args.image_size or plan.get("data", {}).get("image_size")
    picture, numbers = predict(
        args.image,
        args.box,
        args.n,
        checkpoint,
        prior,
        args.out,
        flow_weight=args.flow_weight,
        quantizer=args.quantizer or plan.get("evaluation", {}).get("quantizer", "kmeans"),
        body=plan.get("body", {}).get("path"),
        image_size=size,
    )
    print(f"{picture}\n{numbers}\nby {checkpoint}, trained on synthetic images only")


def _plan_of(run_dir: Path) -> dict[str, Any]:
    """Return the settings a sweep ran with; none where there is no such run."""
    from multibodies.runs import read_record
    from multibodies.sweep.state import PLAN_FILE

    path = run_dir / PLAN_FILE
    config: dict[str, Any] = read_record(path)["config"] if path.exists() else {}
    return config


def _last_training(run_dir: Path) -> Path:
    found = sorted(run_dir.glob("cells/*/weights"))
    if not found:
        raise UserError(
            f"{run_dir}: no trained network; run `make table2`, or name weights by --checkpoint"
        )
    return found[-1]
