"""The table [stopping] of a sweep file: which trainings are ended early, judged on val splits only.

A training's own loss decides nothing: of other weights of the loss it is another quantity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from multibodies.errors import UserError, nearest
from multibodies.sweep.definition import SIZE_KEY, Stopping, Sweep
from multibodies.sweep.searching import read_metric, whole

KEYS = ("method", "metric", "grace", "reduction", "images", "splits")
STEPS_KEY = "stage2.steps"


def read_stopping(sweep: Sweep, table: Mapping[str, Any]) -> Sweep:
    """Return the sweep with its rule of stopping, if the table has one.

    Raises UserError on unknown keys, on other than val splits, on several seeds, whose mean would
    miss the stopped ones, and on a grace that no training reaches.
    """
    if not table:
        return sweep
    _check_kind(sweep, table)
    rule = Stopping(
        _metric(sweep, table),
        _splits(sweep, table),
        whole(table, "stopping", "grace", 1),
        whole(table, "stopping", "reduction", 2, 3),
        whole(table, "stopping", "images", 1, 128),
    )
    steps = sweep.config().stage2.steps
    spans = sweep.search.ranges if sweep.search else {}
    if not rule.rungs(steps) and STEPS_KEY not in {*sweep.train, *spans}:
        raise UserError(
            f"[stopping] grace: expected fewer steps than {STEPS_KEY} = {steps}, got {rule.grace}"
        )
    return replace(sweep, stopping=rule)


def _check_kind(sweep: Sweep, table: Mapping[str, Any]) -> None:
    for key in table:
        if key not in KEYS:
            raise UserError(f"unknown [stopping] key '{key}'{nearest(key, KEYS)}")
    if table.get("method") != "asha":
        raise UserError(f"[stopping] method: expected 'asha', got {table.get('method')!r}")
    if len(sweep.seeds) > 1:
        raise UserError(
            "[stopping] goes with one seed; list one under seeds, and train the best settings "
            "again with more"
        )


def _metric(sweep: Sweep, table: Mapping[str, Any]) -> str:
    """Return the metric, which every swept M must have."""
    metric = read_metric(sweep, "stopping", table.get("metric"))
    n = int(re.findall(r"\d+", metric)[0])
    for size in sweep.train.get(SIZE_KEY, ()):
        if size < n:
            raise UserError(
                f"[stopping] metric: {metric} cannot be had of {SIZE_KEY} = {size}; take n <= M"
            )
    return metric


def _splits(sweep: Sweep, table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the splits that are looked at: by default the val splits that the file names."""
    named = dict.fromkeys((*sweep.choose_on, *sweep.config().evaluation.splits))
    usual = [split for split in named if split.endswith("-val")]
    asked = sweep.config({"evaluation.splits": table.get("splits", usual)}).evaluation.splits
    if not asked or any(not split.endswith("-val") for split in asked):
        raise UserError(
            "[stopping] splits: a training is judged on val splits only, such as "
            f'["wild-val"], got {list(asked)}'
        )
    return asked
