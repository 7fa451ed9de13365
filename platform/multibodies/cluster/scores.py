"""Scoring of a sweep's stored hypotheses: alpha chosen on val, then every cell on the test splits,
once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from multibodies.cluster.evaluate import score
from multibodies.evaluation import write_table
from multibodies.progress import track
from multibodies.scoring import Scores
from multibodies.sweep import Plan, Training, choose_flow_weight, mark_done, stage_path


def score_sweep(plan: Plan, run_dir: Path) -> tuple[Plan, dict[str, Any]]:
    """Choose alpha on val, score all cells, write per_image.parquet and diagnostics.parquet of the
    run.

    Returns the plan with the chosen cells and how alpha was chosen. Raises UserError as `score`
    does.
    """
    chosen = choose(plan, run_dir)
    if chosen:
        plan = plan.with_flow_weight(chosen["flow_weight"])
    fits = track(plan.trainings, len(plan.trainings), "score the test splits", unit="training")
    parts = [named(plan, fit, score_training(plan, fit, run_dir)) for fit in fits]
    write_table(run_dir / "per_image.parquet", pa.concat_tables([part.records for part in parts]))
    write_table(
        run_dir / "diagnostics.parquet", pa.concat_tables([part.diagnostics for part in parts])
    )
    return plan, chosen


def named(plan: Plan, training: Training, scores: Scores) -> Scores:
    """Add the training's id to each row where Table 2's columns do not tell trainings apart."""
    if plan.is_table2:
        return scores
    return Scores(
        *(table.append_column("training", [[training.id] * len(table)]) for table in scores)
    )


def choose(plan: Plan, run_dir: Path) -> dict[str, Any]:
    """Score every candidate flow weight on the val splits and return the best, with all errors in
    mm."""
    sweep = plan.sweep
    if not sweep.candidates:
        return {}
    tables = []
    for training in track(
        plan.trainings, len(plan.trainings), "score the val splits", unit="training"
    ):
        out = run_dir / "val" / training.id
        tables.append(_score(training, run_dir, sweep.choose_on, out, sweep.candidates).records)
    val: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    alpha, errors = choose_flow_weight(val)
    return {
        "flow_weight": alpha,
        "chosen_on": list(sweep.choose_on),
        "criterion": "MPJPE-n, mean over images, seeds, trainings, datasets and n > 1",
        "val_mpjpe_mm": {f"{weight:g}": round(error, 3) for weight, error in errors.items()},
    }


def score_training(plan: Plan, training: Training, run_dir: Path) -> Scores:
    """Score all cells of one training together; write each cell's records and mark it done."""
    started = time.monotonic()
    cells = [cell for cell in plan.cells if cell.training == training.id]
    weights = tuple(cell.config.evaluation.flow_weight for cell in cells)
    out = run_dir / "scores" / training.id
    scores = _score(training, run_dir, training.config.evaluation.splits, out, weights)
    share = (time.monotonic() - started) / len(cells)
    for cell, weight in zip(cells, weights, strict=True):
        rows = scores.records.filter(pc.equal(scores.records["flow_weight"], weight))
        write_table(stage_path(run_dir, cell.stage) / "per_image.parquet", rows)
        mark_done(run_dir, cell.stage, share)
    return scores


def _score(
    training: Training,
    run_dir: Path,
    splits: tuple[str, ...],
    out: Path,
    weights: tuple[float, ...],
) -> Scores:
    return score(
        training.config,
        run_dir / "data",
        run_dir / training.inference.directory,
        splits,
        out,
        flow_weights=weights,
        progress=False,
    )
