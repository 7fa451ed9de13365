"""What stands behind a row of Table 1: its network's size, what it was trained on, how fast it is.

From the run's folders alone: the recipe and the weights that the training left, and the sidecars of
its hypotheses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multibodies import checkpoints, runs
from multibodies.report.cells.facts import Effort
from multibodies.sidecars import read_sidecar
from multibodies.sweep import Training

MODEL = ("trunk", "width", "pooling", "trains")
SHORT = 16  # digits of a checksum, as many as our fingerprints have
STAGE = ("steps", "batch_size", "learning_rate", "weight_decay", "warmup_steps", "cosine")


def effort_of(training: Training, row: str, run_dir: Path) -> Effort:
    """Return what a finished training is and took. Raises UserError on damaged weights, recipe or
    sidecars."""
    folder, stage = run_dir / training.stage.directory, training.config.stage2
    total, trained = sizes_of(folder / "weights", training.config.model.trains)
    told = all((folder / name).exists() for name in (runs.RECIPE, runs.FINISHED))
    return Effort(
        training.id,
        row,
        stage.num_hypotheses,
        total,
        trained,
        stage.steps * stage.batch_size,
        runs.wall_seconds(folder) if told else None,
        inferred(run_dir / training.inference.directory),
        settings_of(runs.read_record(folder / runs.RECIPE)) if told else {},
    )


def sizes_of(weights: Path, trains: str) -> tuple[int, int]:
    """Return how many parameters a checkpoint's network has, and how many of them stage 2 trains.

    Raises UserError as `load_regressor`.
    """
    model = checkpoints.load_regressor(weights)
    parts = model.parameters(), model.trained(trains)
    total, trained = (sum(p.numel() for p in part) for part in parts)
    return total, trained


def inferred(hypotheses: Path) -> float | None:
    """Return the images per second of inference, None where its sidecars do not tell seconds."""
    told = [read_sidecar(part) for part in sorted(hypotheses.glob("*/part-*.parquet"))]
    timed = [(part["rows"], part["seconds"]) for part in told if part.get("seconds")]
    if not timed:
        return None
    images, seconds = (sum(column) for column in zip(*timed, strict=True))
    return float(images / seconds)


def settings_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training's own recipe says of what all rows are to have in common."""
    return {
        "stage 1": recipe["start_from"],
        "data": recipe["data"],
        "body": recipe["body"][:SHORT],
        **{name: recipe["model"].get(name) for name in MODEL},
        **{name: recipe["stage2"].get(name) for name in STAGE},
    }
