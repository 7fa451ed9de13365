"""Seconds of each stage on two CPU cores: rates, corrected by what a run has measured itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from multibodies.config import Config
from multibodies.runs import read_record
from multibodies.sweep.plan import Plan, Training
from multibodies.sweep.state import DONE_FILE, stage_path

PIXELS = 64 * 64  # the image size at which the rates were measured
PREPARED = 400.0  # rows written per second
FEATURES = 600.0  # images per second through the frozen trunk
STAGE1 = 300.0  # images per second of stage 1
STAGE2_ROW = 1.6e-3  # seconds of a row of cached features in stage 2, whatever M
STAGE2_HYPOTHESIS = 26e-6  # and of each of its hypotheses
PRIOR_STEP = 0.003  # seconds of a prior step of 256 skeletons, whatever its depth
PRIOR_COUPLING = 0.0028  # and of each of its couplings
SCORED = 100.0  # images per second and cell
START_UP = 15.0  # Ray's own start of a stage or trial, seconds


@dataclass(frozen=True)
class Estimate:
    """Seconds of every stage by its folder, of one more scoring, and where the numbers are from."""

    seconds: dict[str, float]
    scoring: float
    source: str


def estimate(plan: Plan, run_dir: str | Path) -> Estimate:
    """Return the seconds of each stage: by rates, times measured over expected of its kind."""
    guess = guesses(plan)
    expected: dict[str, float] = defaultdict(float)
    measured: dict[str, float] = defaultdict(float)
    for stage in plan.stages():
        path = stage_path(run_dir, stage) / DONE_FILE
        if path.exists():
            expected[stage.kind] += guess[stage.directory]
            measured[stage.kind] += float(read_record(path)["seconds"])
    factor = {kind: measured[kind] / expected[kind] for kind in expected}
    seconds = {s.directory: guess[s.directory] * factor.get(s.kind, 1.0) for s in plan.stages()}
    known = f", {' '.join(factor)} as measured in {run_dir}" if factor else ""
    scoring = seconds[plan.cells[0].stage.directory]
    return Estimate(seconds, scoring, f"rates measured on 2 CPU cores{known}")


def guesses(plan: Plan) -> dict[str, float]:
    """Return the seconds of each stage by the rates."""
    config = plan.base
    data, stage1 = config.data, config.stage1
    size = data.image_size**2 / PIXELS
    val = len(plan.sweep.choose_on) * data.val_rows
    tested = len(config.evaluation.splits) * data.test_rows + val
    rows = data.train_rows + 4 * data.val_rows + 4 * data.test_rows
    shared = {
        "dataset": START_UP + rows * size / PREPARED,
        "stage1": START_UP + stage1.steps * stage1.batch_size * size / STAGE1,
        "stage1-shipped": 1.0,
        "features": START_UP + rows * size / FEATURES,
    }
    found = {stage.directory: shared.get(stage.kind, 0.0) for stage in plan.shared}
    found |= {prior.stage.directory: prior_seconds(prior.config) for prior in plan.priors}
    for fit in plan.trainings:
        found[fit.stage.directory] = START_UP + training_seconds(fit)
        found[fit.inference.directory] = START_UP + tested * size / FEATURES
    return found | {cell.stage.directory: tested / SCORED for cell in plan.cells}


def prior_seconds(config: Config) -> float:
    """Return the seconds of a prior: its steps cost by the number of its couplings."""
    prior = config.prior
    return START_UP + prior.steps * (PRIOR_STEP + PRIOR_COUPLING * prior.couplings)


def training_seconds(training: Training) -> float:
    """Return the seconds of stage 2: a row costs by its pixels, or its features, and by M."""
    config = training.config
    stage, pixels = config.stage2, config.data.image_size**2 / PIXELS
    row = STAGE2_ROW if training.rows == "features" else pixels / STAGE1
    return stage.steps * stage.batch_size * (row + STAGE2_HYPOTHESIS * stage.num_hypotheses)
