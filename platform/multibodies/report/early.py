"""Trainings that were stopped early: listed by step in the report, FINISHED and tagged in MLflow.

A run of theirs is FINISHED, since the sweep ended it as it was told to and nothing is left to do;
the tag `stopped_early` and the lack of any score say that it was not trained in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multibodies.report.page import Section, Table
from multibodies.sweep import Plan
from multibodies.tracking import Tracker

Record = dict[str, Any]


def stopped_rows(plan: Plan, stopped: Mapping[str, Mapping[str, Any]]) -> list[Record]:
    """Return a row per stopped training: id, settings, step, steps in full, metric and its value in
    mm at that step."""
    found = [training for training in plan.trainings if training.id in stopped]
    return [
        {
            "training": t.id,
            "settings": ", ".join(f"{key} = {value}" for key, value in t.overrides.items()),
            "of_steps": t.config.stage2.steps,
            **stopped[t.id],
        }
        for t in found
    ]


def stopped_sections(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Return the section that lists them, if there are any."""
    if not rows:
        return []
    header = ("settings", "stopped at step", "of", rows[0]["metric"])
    body = tuple(
        (row["settings"], str(row["step"]), str(row["of_steps"]), f"{row['value']:.1f}")
        for row in sorted(rows, key=lambda row: (-row["step"], row["value"]))
    )
    caption = (
        "not trained in full and in no other table or figure; mm on the first rows of the val "
        "splits, at that step and the best flow weight"
    )
    return [Section("Stopped early", (Table(header, body, caption),))]


def log_stopped(tracker: Tracker, plan: Plan, stopped: Mapping[str, Mapping[str, Any]]) -> None:
    """End the runs of the cells of stopped trainings, with how they ended."""
    for cell in plan.cells:
        if cell.training not in stopped:
            continue
        notes = stopped[cell.training]
        with tracker.run(cell.id) as run:
            run.metrics({f"rung_{notes['metric']}": float(notes["value"])}, int(notes["step"]))
            run.tags({"stopped_early": "true", "stopped_at_step": notes["step"]})
