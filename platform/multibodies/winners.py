"""Which cell of a finished sweep won, by the errors on val splits alone; never by test numbers.

models.json of a run tells of each cell what it takes to hand its model on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies.errors import UserError, nearest
from multibodies.runs import read_record, write_record
from multibodies.sweep import Cell, Plan, errors_by, stage_path

MODELS_FILE = "models.json"
RECORDS = "per_image.parquet"
NO_VAL = (
    "no cell was scored on val: a winner is not chosen by test numbers; list val splits under "
    "[ours] choose_on, or name a cell yourself: multibodies register RUN --cell ID"
)


@dataclass(frozen=True)
class Choice:
    """The winner's cell, None where none can be named; why; every candidate's error in mm."""

    cell: str | None
    reason: str
    errors: dict[str, float]


def choose_winner(plan: Plan, run_dir: Path) -> Choice:
    """Return the cell of least error on val, ties by name.

    The error is the search's metric, else MPJPE-n averaged over the n > 1 that all cells have (n =
    1 where there is no other); over images, then over datasets and n with equal weight.
    """
    found = {cell.id: val_records(plan, cell, run_dir) for cell in plan.cells}
    records = {cell: frame for cell, frame in found.items() if frame is not None and len(frame)}
    shared = set.intersection(*(set(frame["n"]) for frame in records.values())) if records else ()
    search = plan.sweep.search
    metric = search.metric if search else "mpjpe_n"
    value, _, asked = metric.rpartition("_n")
    ns = [int(asked)] if asked else sorted(n for n in shared if n > 1) or sorted(shared)
    if not records or not set(ns) <= set(shared) or not ns:
        return Choice(None, NO_VAL, {})
    frame = pd.concat(frame[frame["n"].isin(ns)].assign(cell=c) for c, frame in records.items())
    errors = {str(c): float(e) for c, e in errors_by(frame, ["cell"], f"{value}_mm").items()}
    best = min(errors, key=lambda cell: (errors[cell], cell))
    splits = ", ".join(_val_splits(plan))
    text = f"least {value.upper()}-n on {splits}, mean over n = {', '.join(map(str, ns))}"
    return Choice(best, f"{text}: {errors[best]:.2f} mm of {len(errors)} cells", errors)


def val_records(plan: Plan, cell: Cell, run_dir: Path) -> pd.DataFrame | None:
    """Return a cell's records on val splits; None where it has none."""
    splits = _val_splits(plan)
    if plan.sweep.choose_on and splits:
        path = run_dir / "val" / cell.scoring / RECORDS
    elif splits:
        path = stage_path(run_dir, cell.stage) / RECORDS
    else:
        return None
    if not path.exists():
        return None
    frame = pd.read_parquet(path)
    return frame[frame["flow_weight"] == cell.config.evaluation.flow_weight]


def _val_splits(plan: Plan) -> tuple[str, ...]:
    """Return the splits that cells are compared on: what the sweep chose on, else what it scored,
    if that is val splits only."""
    if plan.sweep.choose_on:
        return plan.sweep.choose_on
    splits = plan.base.evaluation.splits
    return tuple(splits) if all(split.endswith("-val") for split in splits) else ()


def write_models(plan: Plan, run_dir: Path, choice: Choice) -> None:
    """Write models.json: the choice, and of each cell its network, prior, body and evaluation."""
    priors = {scoring.id: scoring.prior.weights for scoring in plan.scorings}
    cells = {
        cell.id: {
            "network": f"{plan.training(cell.training).stage.directory}/weights",
            "prior": priors[cell.scoring],
            "body": cell.config.body.path,
            "image_size": cell.config.data.image_size,
            "evaluation": cell.config.evaluation.model_dump(mode="json"),
            "val_error_mm": choice.errors.get(cell.id),
        }
        for cell in plan.cells
    }
    told = {"sweep": plan.name, "winner": choice.cell, "reason": choice.reason, "cells": cells}
    write_record(run_dir / MODELS_FILE, told)


def read_models(run_dir: Path) -> dict[str, Any]:
    """Read models.json. Raises UserError where the sweep has not come to its end."""
    path = run_dir / MODELS_FILE
    if not path.exists():
        raise UserError(
            f"{path}: no such file; give the sweep's command (again): it writes it at its end"
        )
    return read_record(path)


def cell_of(told: dict[str, Any], asked: str | None) -> str:
    """Return the cell that is asked for, else the winner. Raises UserError where there is none."""
    cells = told["cells"]
    if asked is None and told["winner"] is None:
        raise UserError(f"{told['sweep']}: {told['reason']}")
    name = str(asked or told["winner"])
    if name not in cells:
        raise UserError(
            f"{told['sweep']}: no cell '{name}'{nearest(name, cells)}; it has {', '.join(cells)}"
        )
    return name
