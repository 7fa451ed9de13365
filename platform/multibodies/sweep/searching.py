"""The table [search] of a sweep file: draws instead of a grid, ranked on val splits only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from multibodies.errors import UserError, nearest
from multibodies.sweep.axes import check_place
from multibodies.sweep.definition import Range, Search, Sweep

METHODS = ("grid", "random", "optuna")
KEYS = ("method", "samples", "metric", "seed", "startup")
MOST_STARTUP = 10
RANGE_KEYS = ("low", "high", "log")


def is_range(value: object) -> bool:
    """Tell a range `{low, high, log}` from a table of further settings."""
    return isinstance(value, dict) and bool(value) and set(value) <= set(RANGE_KEYS)


def read_search(sweep: Sweep, table: Mapping[str, Any], spans: Mapping[str, Any]) -> Sweep:
    """Return the sweep with its search; `spans` are the ranges under [train].

    Raises UserError on unknown or missing keys, on a range without a search, and where a search
    would look at other than val splits.
    """
    for key in table:
        if key not in KEYS:
            raise UserError(f"unknown [search] key '{key}'{nearest(key, KEYS)}")
    method = table.get("method", "grid")
    if method not in METHODS:
        raise UserError(f"[search] method: unknown value {method!r}; expected one of {METHODS}")
    if "startup" in table and method != "optuna":
        raise UserError("[search] startup: goes with method = 'optuna'; leave it out")
    if method == "grid":
        if spans:
            key = next(iter(spans))
            raise UserError(f"[train] {key}: a range needs [search] method = 'random'; list values")
        return sweep
    if sweep.vary != "all":
        raise UserError("vary = 'one' goes with a grid; leave it or [search] out")
    _check_splits(sweep)
    read = {key: _range(sweep, key, span) for key, span in spans.items()}
    samples = whole(table, "search", "samples", 1)
    search = Search(
        samples,
        read_metric(sweep, "search", table.get("metric")),
        whole(table, "search", "seed", 0, 0),
        read,
        method,
        _startup(table, samples) if method == "optuna" else 0,
    )
    return replace(sweep, search=search)


def _startup(table: Mapping[str, Any], samples: int) -> int:
    """Return how many draws come before any is looked at: a third, unless the file says."""
    usual = min(MOST_STARTUP, max(1, samples // 3))
    return min(samples, whole(table, "search", "startup", 1, usual))


def _check_splits(sweep: Sweep) -> None:
    splits = sweep.config().evaluation.splits
    wrong = [split for split in splits if not split.endswith("-val")]
    if wrong:
        raise UserError(
            f"[search]: choose on val splits only, [evaluation] splits has {', '.join(wrong)}"
        )


def whole(
    table: Mapping[str, Any], name: str, key: str, least: int, default: int | None = None
) -> int:
    """Return a whole number of the table [name]. Raises UserError naming the key."""
    value = table.get(key, default)
    if type(value) is not int or value < least:
        raise UserError(f"[{name}] {key}: expected a whole number >= {least}, got {value!r}")
    return value


def read_metric(sweep: Sweep, name: str, metric: object) -> str:
    """Return the metric of the table [name]. Raises UserError where no cell is scored for its n."""
    found = re.fullmatch(r"(?:mpjpe|re)_n(\d+)", metric) if isinstance(metric, str) else None
    known = sweep.config().evaluation.n
    if not found or int(found[1]) not in known:
        raise UserError(
            f"[{name}] metric: expected mpjpe_nN or re_nN with N of evaluation.n {list(known)}, "
            f"got {metric!r}"
        )
    return str(metric)


def _range(sweep: Sweep, key: str, span: Mapping[str, Any]) -> Range:
    """Check a range through the config at both of its ends."""
    where = f"[train] {key}"
    check_place(sweep, "train", key)
    low, high, log = (span.get(name, False) for name in RANGE_KEYS)
    numbers = all(type(end) in (int, float) for end in (low, high)) and type(log) is bool
    if not numbers or low >= high or (log and low <= 0):
        raise UserError(
            f"{where}: expected {{low = 0.01, high = 1.0, log = true}} with low < high, and "
            f"low > 0 where log is true, got {dict(span)}"
        )
    section, _, leaf = key.partition(".")
    ends = [getattr(getattr(sweep.config({key: end}), section), leaf) for end in (low, high)]
    if any(type(end) not in (int, float) for end in ends):
        raise UserError(f"{where}: a range needs a setting that is a number; list its values")
    return Range(float(low), float(high), log, whole=type(ends[0]) is int)
