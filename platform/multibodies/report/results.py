"""The results of a finished sweep: its report on disk, its numbers, figures and fingerprints in
MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies import runs
from multibodies.core import metrics
from multibodies.data.manifest import MANIFEST, read_manifest, write_manifest
from multibodies.data.shards import read_first
from multibodies.report import figures
from multibodies.report.cells.facts import FACTS, write_facts
from multibodies.report.cells.planned import facts_of
from multibodies.report.cells.titles import BASE
from multibodies.report.cells.write import COMPARISON
from multibodies.report.comparison import axes_of, of_training, write_comparison
from multibodies.report.gallery import write_gallery
from multibodies.report.page import Figure, Page
from multibodies.report.prior_samples import write_samples
from multibodies.report.summary import DIAGNOSTICS, FIGURES, PER_IMAGE, STEM, write_report
from multibodies.report.table1 import write as table1
from multibodies.sweep import Cell, Plan, Training
from multibodies.sweep.definition import SIZE_KEY
from multibodies.tracking import RunLog, Tracker

KEYS = ("seed", "lambda_ri", "flow_weight", "num_hypotheses")


def write_results(
    plan: Plan,
    run_dir: Path,
    provenance: Mapping[str, Any],
    stopped: Sequence[Mapping[str, Any]] = (),
) -> Page:
    """Write table2.{json,md,html} with samples of data and prior, galleries and training curves.

    A sweep with rows gets table1.{json,md,html} of Table 1's shape. One over other settings of the
    training than Table 2's gets a row per cell. Either lists the trainings that were `stopped`
    early, which the plan does not have.
    """
    drawn = [
        samples_figure(run_dir),
        *galleries(plan, run_dir, provenance),
        write_samples(run_dir / plan.priors[0].weights, run_dir / FIGURES),
        training_figure(plan, run_dir),
    ]
    facts = facts_of(plan, run_dir)
    write_facts(run_dir, facts)
    samples = plan.base.evaluation.bootstrap_samples
    if plan.sweep.rows:
        return table1.write_table1(run_dir, facts, provenance, drawn, samples, stopped)
    if not plan.is_table2:
        return write_comparison(run_dir, axes_of(plan), provenance, drawn, samples, stopped)
    return write_report(run_dir, provenance, samples=samples, extra=drawn)


def samples_figure(run_dir: Path) -> Figure:
    """Draw the first 16 training images with their keypoints."""
    data = run_dir / "data"
    split = next(name for name in read_manifest(data).splits if name.endswith("-train"))
    rows = read_first(data, split, ("image", "keypoints_2d"))
    path = figures.save(figures.samples(rows), run_dir / FIGURES / "samples.png")
    return Figure(path, f"The first 16 images of {split} with their visible keypoints")


def galleries(plan: Plan, run_dir: Path, provenance: Mapping[str, Any]) -> list[Figure]:
    """Draw hypotheses on every scored split: the last training's, of rows the last of ours, at the
    flow weight chosen on val or, without a choice, its first cell's.
    """
    shown = drawn_training(plan)
    first = next(cell for cell in plan.cells if cell.training == shown.id)
    weight = first.config.evaluation.flow_weight
    alpha = provenance["flow_weight_choice"].get("flow_weight", weight)
    n, body = min(5, max(shown.config.evaluation.n)), plan.base.body.path
    drawn = [
        write_gallery(run_dir, shown.id, split, flow_weight=alpha, n=n, body=body)
        for split in plan.base.evaluation.splits
    ]
    return [figure for figure in drawn if figure is not None]


def drawn_training(plan: Plan) -> Training:
    """Return the training whose hypotheses are drawn."""
    ours = [t for t in plan.trainings if plan.sweep.row_of(t.overrides) == BASE]
    return (ours or plan.trainings)[-1]


def training_figure(plan: Plan, run_dir: Path) -> Figure:
    """Draw eq. 8, eq. 1 and the share of winning hypotheses over the steps of every training."""
    curves = {
        t.id: runs.read_journal(run_dir / t.stage.directory / runs.JOURNAL) for t in plan.trainings
    }
    drawn = figures.training_curves(curves, ("total", "best", "winners"))
    path = figures.save(drawn, run_dir / FIGURES / "training.png")
    return Figure(path, "Training: eq. 8, eq. 1 and the share of hypotheses that won, by step")


def log_results(tracker: Tracker, parent: RunLog, plan: Plan, run_dir: Path) -> None:
    """Log every cell's numbers to its run, which ends it, and the files to the parent."""
    log_cells(tracker, plan, run_dir)
    stem = table1.STEM if plan.sweep.rows else STEM
    tables = (f"{stem}.json", f"{stem}.md", f"{stem}.html", FACTS, COMPARISON)
    for name in (*tables, PER_IMAGE, DIAGNOSTICS):
        parent.artifact(run_dir / name)
    write_manifest(run_dir, read_manifest(run_dir / "data"))  # of a collection, that of all sets
    parent.artifact(run_dir / MANIFEST, "data")
    for path in sorted((run_dir / FIGURES).glob("*.png")):
        parent.artifact(path, FIGURES)


def log_cells(tracker: Tracker, plan: Plan, run_dir: Path) -> None:
    """Log every cell's numbers to its run, which ends it."""
    frame = pd.read_parquet(run_dir / PER_IMAGE)
    details = pd.read_parquet(run_dir / DIAGNOSTICS)
    for cell in plan.cells:
        mine = (of_training(table, cell.scoring) for table in (frame, details))
        with tracker.run(cell.id) as run:
            log_cell(run, cell, *mine)


def params_of(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Return a cell's settings. The n that follow from a swept M are left out: MLflow's parallel
    coordinates begin with the first three params that differ, and those are to be axes."""
    swept = SIZE_KEY in plan.sweep.train
    return cell.config.model_dump(mode="json", exclude={"evaluation": {"n"}} if swept else None)


def log_cell(run: RunLog, cell: Cell, frame: pd.DataFrame, details: pd.DataFrame) -> None:
    """Log a cell's MPJPE-n and RE-n per dataset, and what the hypotheses are like."""
    mine = _of_cell(frame, cell)
    means = mine.groupby(["dataset", "n"], as_index=False)[["mpjpe_mm", "re_mm"]].mean()
    run.scores([{str(k): v for k, v in row.items()} for row in means.to_dict("records")])
    run.metrics(gains(means))
    for dataset, rows in _of_cell(details, cell).groupby("dataset"):
        numbers = rows.select_dtypes("number").drop(columns=[*KEYS, "best_hypothesis"])
        values = {f"set_{name}_{dataset}": float(numbers[name].mean()) for name in numbers.columns}
        winners = rows["best_hypothesis"].nunique() / float(rows["num_hypotheses"].iloc[0])
        values[f"set_dead_share_{dataset}"] = 1 - winners
        run.metrics({name: value for name, value in values.items() if isfinite(value)})


def gains(means: pd.DataFrame) -> dict[str, float]:
    """Return the percent gained in MPJPE from n = 1 to the largest n, per dataset."""
    found = {}
    for dataset, rows in means.groupby("dataset"):
        at = dict(zip(rows["n"].tolist(), rows["mpjpe_mm"].tolist(), strict=True))
        if 1 in at and max(at) > 1:
            last = max(at)
            name = f"gain_percent_n{last:02d}_{dataset}"
            found[name] = metrics.improvement(at[1], at[last])
    return found


def _of_cell(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    config = cell.config
    return frame[
        (frame["seed"] == cell.seed)
        & (frame["lambda_ri"] == config.loss.ri)
        & (frame["flow_weight"] == config.evaluation.flow_weight)
    ]
