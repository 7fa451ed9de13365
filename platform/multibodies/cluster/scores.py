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
from multibodies.sweep import (
    Plan,
    Scoring,
    choose_flow_weight,
    mark_done,
    stage_path,
    with_flow_weight,
)


def score_sweep(plan: Plan, run_dir: Path) -> tuple[Plan, dict[str, Any]]:
    """Choose alpha on val, score all cells, write per_image.parquet and diagnostics.parquet of the
    run.

    Returns the plan with the chosen cells and how alpha was chosen. Raises UserError as `score`
    does.
    """
    chosen = choose(plan, run_dir)
    if chosen:
        plan = with_flow_weight(plan, chosen["flow_weight"])
    scorings = track(plan.scorings, len(plan.scorings), "score the splits", unit="scoring")
    parts = [named(plan, s, score_cells(plan, s, run_dir)) for s in scorings]
    for kind, name in (("records", "per_image"), ("diagnostics", "diagnostics")):
        # A swept M has columns of its own for the n that it has.
        tables = [getattr(part, kind) for part in parts]
        union = pa.concat_tables(tables, promote_options="default")
        write_table(run_dir / f"{name}.parquet", union)
    return plan, chosen


def named(plan: Plan, scoring: Scoring, scores: Scores) -> Scores:
    """Add the scoring's id to each row where Table 2's columns do not tell scorings apart.

    The column is called `training`: a training's own id, unless a sweep has several priors.
    """
    if plan.is_table2:
        return scores
    return Scores(
        *(table.append_column("training", [[scoring.id] * len(table)]) for table in scores)
    )


def choose(plan: Plan, run_dir: Path) -> dict[str, Any]:
    """Score every candidate flow weight on the val splits and return the best, with all errors in
    mm."""
    sweep = plan.sweep
    if not sweep.candidates:
        return {}
    tables = []
    scorings = track(plan.scorings, len(plan.scorings), "score the val splits", unit="scoring")
    for scoring in scorings:
        out = run_dir / "val" / scoring.id
        where = sweep.choose_on, out, sweep.candidates
        tables.append(_score(plan, scoring, run_dir, *where).records)
    val: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    alpha, errors = choose_flow_weight(val)
    return {
        "flow_weight": alpha,
        "chosen_on": list(sweep.choose_on),
        "criterion": "MPJPE-n, mean over images, seeds, trainings, datasets and n > 1",
        "val_mpjpe_mm": {f"{weight:g}": round(error, 3) for weight, error in errors.items()},
    }


def score_cells(plan: Plan, scoring: Scoring, run_dir: Path) -> Scores:
    """Score all cells of one scoring together; write each cell's records and mark it done."""
    started = time.monotonic()
    cells = [cell for cell in plan.cells if cell.scoring == scoring.id]
    weights = tuple(cell.config.evaluation.flow_weight for cell in cells)
    splits = scoring.training.config.evaluation.splits
    scores = _score(plan, scoring, run_dir, splits, run_dir / "scores" / scoring.id, weights)
    share = (time.monotonic() - started) / len(cells)
    for cell, weight in zip(cells, weights, strict=True):
        rows = scores.records.filter(pc.equal(scores.records["flow_weight"], weight))
        write_table(stage_path(run_dir, cell.stage) / "per_image.parquet", rows)
        mark_done(run_dir, cell.stage, share)
    return scores


def _score(
    plan: Plan,
    scoring: Scoring,
    run_dir: Path,
    splits: tuple[str, ...],
    out: Path,
    weights: tuple[float, ...],
) -> Scores:
    """Score; under a prior of its own where the sweep has several: the hypotheses hold the
    first's log-density."""
    training = scoring.training
    return score(
        training.config,
        run_dir / "data",
        run_dir / training.inference.directory,
        splits,
        out,
        flow_weights=weights,
        prior=run_dir / scoring.prior.weights if plan.sweep.prior else None,
        progress=False,
    )
