"""The shared stages of a sweep: dataset, prior, stage 1, cached features. Each is made once and
skipped when done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from multibodies import checkpoints
from multibodies.cluster.features import cache_features
from multibodies.cluster.prepare import prepare
from multibodies.cluster.prior import fit_prior
from multibodies.cluster.sharing import take_shared
from multibodies.cluster.trainer import fit
from multibodies.config import Config
from multibodies.data.manifest import verify
from multibodies.errors import UserError
from multibodies.fitting import check_spec
from multibodies.sweep import Plan, Stage, is_done, mark_done, stage_path
from multibodies.training import regressor_spec

SHIPPED = Path(__file__).parents[1] / "assets" / "stage1"


def run_shared(plan: Plan, run_dir: Path, workers: int, gpus: int, share: Path | None) -> None:
    """Make every shared stage that is not done, or take it from a run below `share`.

    Raises UserError as the stages do.
    """
    data, weights = run_dir / "data", run_dir / "stage1" / "weights"
    configs = {prior.stage.name: prior.config for prior in plan.priors}
    make: dict[str, Callable[[Stage, Path], object]] = {
        "dataset": lambda _, out: link(plan.data, out) if plan.data else prepare(plan.base, out),
        "prior": lambda stage, out: fit_prior(configs[stage.name], data, out, name=stage.name),
        "stage1": lambda _, out: make_stage1(plan.base, data, out, workers, gpus),
        "stage1-shipped": lambda _, out: take_shipped(plan.base, out / "weights"),
        "features": lambda _, out: cache_features(
            plan.base, weights, data, plan.base.splits.train, out
        ),
    }
    for stage in plan.shared:
        if is_done(run_dir, stage):
            continue
        linked = stage.kind == "dataset" and plan.data is not None
        if share is None or linked or not take_shared(stage, run_dir, share):
            once(run_dir, stage, make[stage.kind])


def link(dataset: Path, out: Path) -> None:
    """Make a folder that shows a prepared dataset, or a collection of some; it is only read."""
    out.mkdir(parents=True, exist_ok=True)
    for entry in sorted(dataset.iterdir()):
        place = out / entry.name
        if not place.is_symlink():
            place.symlink_to(entry.resolve())


def verify_shared(plan: Plan, run_dir: Path) -> None:
    """Hash the shards of the stages that are done. Raises UserError naming a damaged one."""
    for stage in plan.shared:
        if stage.name in ("dataset", "features") and is_done(run_dir, stage):
            verify(stage_path(run_dir, stage))


def once(run_dir: Path, stage: Stage, make: Callable[[Stage, Path], object]) -> None:
    """Make a stage, say so, and mark it done with its seconds."""
    started = time.monotonic()
    make(stage, stage_path(run_dir, stage))
    mark_done(run_dir, stage, time.monotonic() - started)


def make_stage1(config: Config, data: Path, out: Path, workers: int, gpus: int) -> None:
    """Train stage 1 on fresh images or on the shards, as it is set."""
    rows = None if config.fresh else data
    fit(config, "stage1", rows, out, workers=workers, gpus=gpus, split=config.splits.train)


def take_shipped(config: Config, out: Path, shipped: Path = SHIPPED) -> None:
    """Copy the package's converged stage 1.

    Raises UserError if it is another network than the configuration's, or damaged.
    """
    found = checkpoints.load_regressor(shipped)
    try:
        check_spec(found.spec, regressor_spec(config.model, 1), shipped)
    except UserError as error:
        raise UserError(f"{error}; use stage1 = 'train' (make table2 STAGE1=train)") from None
    out.mkdir(parents=True, exist_ok=True)
    for name in (checkpoints.META, checkpoints.WEIGHTS):
        shutil.copyfile(shipped / name, out / name)
