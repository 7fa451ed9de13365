"""Arguments that several subcommands share, and how they become a `Config`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from multibodies.environs import is_submitted
from multibodies.errors import UserError

if TYPE_CHECKING:
    from multibodies.config import Config

TRACKING = "MLFLOW_TRACKING_URI"  # MLflow's own variable


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --profile and --set."""
    parser.add_argument(
        "--profile", default="embedded", help="embedded, smoke or paper (default: %(default)s)"
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change one setting, such as loss.ri=0; may be repeated",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, do nothing"
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers and --gpu: how to run, never part of a result's identity."""
    parser.add_argument(
        "--workers", type=positive, default=1, help="training workers (default: %(default)s)"
    )
    parser.add_argument("--gpu", action="store_true", help="one GPU per worker")


def resources(args: argparse.Namespace, asked: int | None = None) -> str:
    """Return in words what --workers and --gpu ask for, and how many trainings fit here, unless
    so many are `asked` for."""
    cpus, workers = os.cpu_count() or 1, f"{args.workers} worker{'s' * (args.workers > 1)}"
    if args.gpu:
        told = f", {asked} at once" if asked else ""
        return f"{workers} of a CPU and a GPU each a training, {cpus} CPUs here{told}"
    at_once = asked or max(1, cpus // args.workers)
    return f"{workers} of a CPU each a training, {cpus} CPUs here: {at_once} at once"


def positive(text: str) -> int:
    """Parse a whole number >= 1, for argparse."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return value


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``loss.ri=0`` into its key and value; a value is JSON, or else a plain word.

    Raises UserError on a missing ``=`` and on an unknown key, naming the nearest right one.
    """
    from multibodies.config import check_key

    key, sign, value = text.partition("=")
    if not sign:
        raise UserError(f"--set '{text}': expected KEY=VALUE, such as loss.ri=0")
    check_key(key)
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def config_from(args: argparse.Namespace) -> Config:
    """Build the config that --profile and --set ask for. Raises UserError."""
    from multibodies.config import load_config

    return load_config(args.profile, dict(parse_override(text) for text in args.overrides))


def run_folder(out: Path | None, name: str) -> Path:
    """Return `out`, or else `name` in $MULTIBODIES_RUNS or runs/.

    Raises UserError in a submitted job that has neither: its own folder goes when the job does.
    """
    if out is not None:
        return out
    runs = os.environ.get("MULTIBODIES_RUNS")
    if not runs and is_submitted():
        raise UserError(
            "a submitted job's own folder goes when the job does; give --out on storage that every "
            "node sees, or set MULTIBODIES_RUNS on the cluster"
        )
    return Path(runs or "runs", name)


def tracking_uri(given: str | None) -> str | None:
    """Return the MLflow server that is named, or else $MLFLOW_TRACKING_URI; None: one of our own.

    Raises UserError unless it is a server's address.
    """
    uri = given or os.environ.get(TRACKING) or None
    if uri is None:
        return None
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        name = "--tracking-uri" if given else f"${TRACKING}"
        raise UserError(f"{name} '{uri}': expected a server, such as http://mlflow:5000")
    return uri


def existing(path: Path, what: str, remedy: str) -> Path:
    """Return `path`, or raise UserError saying what is missing and what makes it."""
    if not path.exists():
        raise UserError(f"{path}: no such {what}; {remedy}")
    return path


def show_settings(config: Config, *sections: str) -> None:
    """Print the resolved settings of some sections, one `key = value` per line."""
    tree = config.model_dump(mode="json")
    for section in sections:
        for leaf, value in tree[section].items():
            print(f"  {section}.{leaf} = {json.dumps(value)}")
