"""The tables of a comparison, from its rows. Millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multibodies.report.cells.diversity import MEASURES
from multibodies.report.cells.facts import Axis, shown
from multibodies.report.page import Table

Record = dict[str, Any]
LINES = 40  # of a table on the page; comparison.json has all
NONE = "–"


def curves_table(rows: Sequence[Record]) -> Table:
    """Return MPJPE-n with intervals, a line per dataset and point."""
    mine = [row for row in rows if row["metric"] == "mpjpe"]
    return by_n(mine, ("dataset", "point"), "mean_mm", "mean over images and seeds")


def effects_table(axis: Axis, rows: Sequence[Record]) -> Table:
    """Return the differences of an axis, a line per dataset, value and metric."""
    mine = [
        {**row, "value": f"{shown(row['value'])} - {shown(row['base'])}"}
        for row in rows
        if row["axis"] == axis.key
    ]
    names = ("dataset", "value", "metric")
    table = by_n(mine, names, "difference_mm", "difference", "+.2f")
    seeds = any(len(row["by_seed"]) > 1 for row in mine)
    more = "; in brackets after it each seed's alone" if seeds else ""
    return Table(table.header, table.rows, table.caption + more, table.labels)


def diversity_table(rows: Sequence[Record]) -> Table:
    """Return accuracy and diversities, a line per dataset and point."""
    body = [
        (
            *(row["dataset"], row["point"], str(row["n"]), f"{row['mpjpe_mm']:.1f}"),
            *(f"{row[name]:.1f}" if name in row else NONE for name in MEASURES),
        )
        for row in rows
    ]
    header = ("dataset", "cells", "n", "MPJPE-n", *MEASURES.values())
    return _limited(header, body, "mm; diversity: mean distance to the mean hypothesis", 2)


def costs_table(rows: Sequence[Record]) -> Table:
    """Return what each training took, a line per training, MPJPE by dataset."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    at = {(row["dataset"], row["training"]): row for row in rows}
    body = [
        (
            *(training, _whole(row["seconds"]), _whole(row["parameters"])),
            *(row["taken_from"] or "this run", row["cell"], str(row["n"])),
            *(f"{at[dataset, training]['mpjpe_mm']:.1f}" for dataset in datasets),
        )
        for training in dict.fromkeys(row["training"] for row in rows)
        for row in [at[datasets[0], training]]
    ]
    mpjpe = (f"MPJPE-n, {dataset}" for dataset in datasets)
    header = ("training", "seconds", "parameters", "trained by", "cell", "n", *mpjpe)
    return _limited(header, body, "MPJPE in mm", 1)


def draws_table(rows: Sequence[Record], metric: str) -> Table:
    """Return the drawn points, the best first."""
    keys = list(rows[0]["settings"])
    body = [
        (
            *("chosen" if row["chosen"] else "",),
            *(shown(row["settings"][key]) for key in keys),
            f"{row['error_mm']:.1f}",
        )
        for row in rows
    ]
    return _limited(("", *keys, metric), body, "mm on val splits", 1)


def by_n(
    rows: Sequence[Record], names: tuple[str, ...], key: str, what: str, digits: str = ".1f"
) -> Table:
    """Return a number with its interval by n, a line per value of the `names`."""
    ns = sorted({row["n"] for row in rows})
    lines: dict[tuple[str, ...], dict[int, str]] = {}
    for row in rows:
        line = lines.setdefault(tuple(str(row[name]) for name in names), {})
        line[row["n"]] = _interval(row, key, digits)
    body = [(*name, *(line.get(n, NONE) for n in ns)) for name, line in lines.items()]
    header = (*names, *(f"n = {n}" for n in ns))
    return _limited(header, body, f"mm, {what} [95 % interval over images]", len(names))


def _interval(row: Record, key: str, digits: str) -> str:
    mean, low, high = (format(row[name], digits) for name in (key, "low", "high"))
    text = f"{mean} [{low}, {high}]"
    if key != "difference_mm" or len(row["by_seed"]) == 1:
        return text
    return f"{text} ({' '.join(format(value, digits) for value in row['by_seed'])})"


def _limited(
    header: tuple[str, ...], body: Sequence[tuple[str, ...]], caption: str, labels: int
) -> Table:
    left = len(body) - LINES
    more = f"; {left} more lines in comparison.json" if left > 0 else ""
    return Table(header, tuple(body[:LINES]), caption + more, labels)


def _whole(value: int | None) -> str:
    return NONE if value is None else str(value)
