"""Seconds of each kind of stage on two CPU cores: rough rates, or a run's own timings.json."""

from __future__ import annotations

from pathlib import Path

from multibodies.config import Config
from multibodies.runs import read_record
from multibodies.sweep.plan import Plan
from multibodies.sweep.state import TIMINGS_FILE

PIXELS = 64 * 64  # the image size at which the rates were measured
PREPARED = 400.0  # rows written per second
FEATURES = 600.0  # images per second through the frozen trunk
STAGE1 = 300.0  # images per second of stage 1
STAGE2_CACHED = 360.0  # feature rows per second of stage 2 at M = 50
PRIOR_STEPS = 40.0  # prior steps of 256 skeletons per second
SCORED = 100.0  # images per second and cell
START_UP = 15.0  # Ray's own start of a stage or trial, seconds


def seconds_by_kind(plan: Plan, run_dir: str | Path) -> tuple[dict[str, float], str]:
    """Return the seconds of one stage of each kind, and where they come from."""
    path = Path(run_dir) / TIMINGS_FILE
    cached = all(training.rows == "features" for training in plan.trainings)
    guess = _from_rates(plan.base, len(plan.sweep.choose_on), cached)
    if not path.exists():
        return guess, "rates measured on 2 CPU cores"
    measured = {kind: float(value) for kind, value in read_record(path).items()}
    return {**guess, **measured}, str(path)


def _from_rates(config: Config, val_splits: int, cached: bool) -> dict[str, float]:
    data, stage1, stage2 = config.data, config.stage1, config.stage2
    size = data.image_size**2 / PIXELS
    tested = len(config.evaluation.splits) * data.test_rows + val_splits * data.val_rows
    rows = data.train_rows + 4 * data.val_rows + 4 * data.test_rows
    rate2 = STAGE2_CACHED if cached else STAGE1 / size
    return {
        "dataset": START_UP + rows * size / PREPARED,
        "prior": START_UP + config.prior.steps / PRIOR_STEPS,
        "stage1": START_UP + stage1.steps * stage1.batch_size * size / STAGE1,
        "stage1-shipped": 1.0,
        "features": START_UP + rows * size / FEATURES,
        "training": START_UP + stage2.steps * stage2.batch_size / rate2,
        "inference": START_UP + tested * size / FEATURES,
        "scoring": tested / SCORED,
    }
