"""Score stored hypotheses anew: other n, flow weights, representatives, another prior.

No network, no GPU, no Ray. Writes OUT/per_image.parquet, diagnostics.parquet, score.json and
score.md, and prints errors by n and flow weight with 95 % intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multibodies.commands import common

if TYPE_CHECKING:
    from multibodies.config import Config
    from multibodies.rescoring import Stored

HELP = "stored hypotheses -> errors by n and flow weight"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "folder", metavar="RUN", type=Path, help="a sweep's folder, evaluate's, or hypotheses"
    )
    parser.add_argument("--data", type=Path, help="their dataset (default: the sweep's)")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="(default: all inferred ones)")
    parser.add_argument("--n", type=whole_numbers, help="such as 1,2,5 (default: evaluation.n)")
    parser.add_argument(
        "--flow-weights",
        type=weights,
        metavar="ALPHAS",
        help="such as 0,0.25,1 (default: evaluation.flow_weight)",
    )
    parser.add_argument("--prior", type=Path, help="another prior's weights, fitted later perhaps")
    common.add_config(parser)
    parser.set_defaults(profile=None)


def whole_numbers(text: str) -> list[int]:
    """Parse `1,2,5`, for argparse."""
    return [common.positive(part) for part in text.split(",")]


def weights(text: str) -> list[float]:
    """Parse `0,0.25,1`, for argparse."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [-1.0]
    if not all(0 <= alpha < float("inf") for alpha in found):
        raise argparse.ArgumentTypeError(f"expected numbers >= 0 such as 0,0.25,1, got '{text}'")
    return found


def run(args: argparse.Namespace) -> None:
    """Score what is not scored yet and print the table."""
    from multibodies import rescoring
    from multibodies.report.markdown import terminal
    from multibodies.report.score_table import score_rows, write_scores

    stored = rescoring.find_stored(args.folder)
    overrides = dict(common.parse_override(text) for text in args.overrides)
    if args.n:
        overrides["evaluation.n"] = args.n
    configs = rescoring.configs_of(stored, args.profile, overrides)
    splits, config = tuple(args.splits or stored.splits), configs[0][1]
    data, prior = data_of(args, stored), args.prior or stored.prior
    tasks = rescoring.tasks_of(configs, data, splits, args.out, args.flow_weights, prior)
    frame = rescoring.score_here(tasks, args.out).to_pandas()
    rows = score_rows(frame, config.evaluation.bootstrap_samples)
    labels = {split: protocol_label(config, split) for split in splits}
    page = write_scores(args.out, rows, labels, provenance(config, data, prior, frame))
    print(terminal(page))
    print(args.out / "per_image.parquet")


def data_of(args: argparse.Namespace, stored: Stored) -> Path:
    """Return the dataset of the hypotheses. Raises UserError where neither names one."""
    from multibodies.errors import UserError

    found: Path | None = args.data or stored.data
    if found is None:
        raise UserError(f"{args.folder} is not a sweep's folder: name its dataset with --data")
    return found


def protocol_label(config: Config, split: str) -> str:
    """Return what a split's numbers mean."""
    from multibodies.protocols import dataset_of, protocol_of

    return protocol_of(config.evaluation, dataset_of(split)).label


def provenance(config: Config, data: Path, prior: Path | None, frame: Any) -> dict[str, Any]:
    """Return what stands behind the numbers, for score.json."""
    from multibodies.checkpoints import identity
    from multibodies.data.manifest import read_manifest
    from multibodies.report.provenance import command_line, git_commit, versions

    return {
        "command": command_line(),
        "git_commit": git_commit(Path(__file__).parent),
        "data": str(data),
        "data_fingerprint": read_manifest(data).fingerprint,
        "prior": None if prior is None else identity(prior),
        "seeds": sorted(int(seed) for seed in frame["seed"].unique()),
        "evaluation": config.evaluation.model_dump(mode="json"),
        "versions": versions(),
    }
