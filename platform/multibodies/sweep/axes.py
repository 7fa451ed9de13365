"""Checking the axes of a sweep file: which settings may differ where, values as their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from multibodies.config import SYSTEMS, check_key
from multibodies.errors import UserError
from multibodies.sweep.definition import FLOW_WEIGHT, N_KEY, SEED_KEY, SIZE_KEY, Axes, Sweep

TRAIN_SECTIONS = ("loss", "stage2", "system", *SYSTEMS)
# Stage 1 and its features are the same for all values of these; all else every training shares.
TRAIN_MODEL = ("model.head", "model.feedback", "model.rank", "model.trains")
SCORED_AT_ONCE = (N_KEY, "evaluation.splits")


def read_axes(sweep: Sweep, table: str, values: Mapping[str, Any]) -> Axes:
    """Check the axes of a table. Raises UserError naming table and key."""
    return {key: read_axis(sweep, table, key, value) for key, value in values.items()}


def read_sizes(sweep: Sweep, values: Mapping[str, Any]) -> Axes:
    """Check the axis of M, if there is one, before what its values are scored for is known."""
    probe = replace(sweep, fixed={**sweep.fixed, N_KEY: [1]})
    swept = {
        key: value for key, value in values.items() if key == SIZE_KEY and isinstance(value, list)
    }
    return read_axes(probe, "train", swept)


def read_axis(sweep: Sweep, table: str, key: str, values: object) -> tuple[Any, ...]:
    """Check one axis; return its values as the config reads them (0 -> 0.0 for a float)."""
    where = f"[{table}] {key}"
    check_place(sweep, table, key)
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}: expected a list of values, such as [0.0, 1.0], got {values!r}")
    section, _, leaf = key.partition(".")
    read = [getattr(getattr(sweep.config({key: value}), section), leaf) for value in values]
    return tuple(unique(read, where))


def unique(values: list[Any], key: str) -> list[Any]:
    """Return the values. Raises UserError where one is listed twice."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UserError(f"{key}: {value!r} is listed twice")
    return values


def refuse_seed(key: str) -> None:
    """Raise UserError on the seed of stage 2."""
    if key == SEED_KEY:
        raise UserError(f"{key} is set by the sweep's seeds; list them under seeds")


def check_place(sweep: Sweep, table: str, key: str) -> None:
    """Raise UserError unless the setting exists, may differ in this table and is not fixed."""
    check_key(key)
    refuse_seed(key)
    CHECKS[table](key)
    if key in sweep.fixed:
        raise UserError(
            f"[{table}] {key} is also given under [set] or [evaluation]; keep one of the two"
        )


def _check_score(key: str) -> None:
    if not key.startswith("evaluation.") or key in SCORED_AT_ONCE:
        raise UserError(
            f"[score] {key}: only evaluation.* settings act on stored hypotheses "
            "(n and splits go under [evaluation]: all are scored at once)"
        )
    if key != FLOW_WEIGHT:
        raise UserError(
            f"[score] {key}: a sweep's table tells its cells apart by seed, lambda_ri and flow "
            "weight; give it one value under [evaluation], and score the finished run again by "
            f"`multibodies score RUN --set {key}=...`"
        )


def _check_train(key: str, where: str = "[train]") -> None:
    section = key.partition(".")[0]
    if section in TRAIN_SECTIONS or key in TRAIN_MODEL:
        return
    places = {"evaluation": "move it to [score]", "prior": "move it to [prior]"}
    raise UserError(
        f"{where} {key}: only loss.*, stage2.* and {', '.join(TRAIN_MODEL)} differ between a "
        f"sweep's trainings; {places.get(section, 'give it one value under [set]')}"
    )


def check_row_key(where: str, key: str) -> None:
    """Raise UserError unless a row may have the setting: what trainings may differ in, and how
    their hypotheses are scored."""
    check_key(key)
    refuse_seed(key)
    if key == "evaluation.splits" or not key.startswith("evaluation."):
        _check_train(key, where)


def _check_prior(key: str) -> None:
    if not key.startswith("prior."):
        raise UserError(f"[prior] {key}: only prior.* settings refit the prior")


CHECKS = {"train": _check_train, "score": _check_score, "prior": _check_prior}
