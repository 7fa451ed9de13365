"""The lines of Table 1, and its numbers: a table per dataset, n across, the least of a column
marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from multibodies.report.cells.facts import Facts, Point, points_of
from multibodies.report.cells.titles import ROW
from multibodies.report.page import Section, Table
from multibodies.report.records import METRICS

Record = dict[str, Any]
NONE, BEST = "–", "*"
CAPTION = f"mm, mean over images and seeds; {BEST} the least of a column"
INTERVALS = (
    "95 % intervals over images of the numbers above. They overlap even where a difference is "
    "clear, for all lines hold the same images: the paired differences tell"
)


def lines_of(facts: Facts) -> list[Point]:
    """Return the lines in the order of the rows; a flow weight moves no single hypothesis, so that
    a row of M = 1 has one line."""
    single = {effort.row for effort in facts.efforts if effort.num_hypotheses == 1}
    found: list[Point] = []
    for point in points_of(facts):
        row = point.settings[ROW]
        if row not in single:
            found.append(replace(point, label=_label(facts, point)))
        elif row not in {other.settings[ROW] for other in found}:
            found.append(replace(point, label=row))
    rows = next(axis.values for axis in facts.axes if axis.key == ROW)
    return sorted(found, key=lambda line: rows.index(line.settings[ROW]))


def _label(facts: Facts, point: Point) -> str:
    """Return a line's label; `ours` is the name of a system here, and not of what is chosen."""
    return facts.label(point.settings) + " (chosen on val)" * point.ours


def of_lines(facts: Facts, lines: Sequence[Point], curves: Sequence[Record]) -> list[Record]:
    """Return the rows of `curve_rows` that are of lines, under the lines' labels."""
    names = {point.cells: point.label for point in points_of(facts)}
    labels = {names[line.cells]: line.label for line in lines}
    kept = [{**row, "point": labels[row["point"]]} for row in curves if row["point"] in labels]
    order = [line.label for line in lines]
    datasets = list(dict.fromkeys(row["dataset"] for row in kept))
    return sorted(kept, key=lambda r: (datasets.index(r["dataset"]), order.index(r["point"])))


def table_rows(curves: Sequence[Record]) -> list[Record]:
    """Return a row per dataset, line and n: each metric's mean in mm, interval and mean by seed."""
    found: dict[tuple[Any, ...], Record] = {}
    for row in curves:
        key = {"dataset": row["dataset"], "system": row["point"], "n": row["n"]}
        name = row["metric"]
        numbers = {
            f"{name}_mm": row["mean_mm"],
            f"{name}_low": row["low"],
            f"{name}_high": row["high"],
            f"{name}_by_seed": row["by_seed"],
        }
        found.setdefault(tuple(key.values()), key).update(numbers)
    return list(found.values())


def result_section(rows: Sequence[Record], dataset: str, title: str, protocol: str) -> Section:
    """Return the block of one dataset: a line per system, MPJPE and RE by n, then intervals."""
    mine = [row for row in rows if row["dataset"] == dataset]
    at = {(row["system"], row["n"]): row for row in mine}
    ns = sorted({row["n"] for row in mine})
    columns = [(n, name) for n in ns for name in METRICS]
    best = {
        (n, name): min(_mean(row, name) for row in mine if row["n"] == n) for n, name in columns
    }
    systems = dict.fromkeys(row["system"] for row in mine)
    body = [[_cell(at.get((s, n)), name, best[n, name]) for n, name in columns] for s in systems]
    ends = [[_interval(at.get((s, n)), name) for n, name in columns] for s in systems]
    header = ("system", *(f"{name.upper()}-{n}" for n, name in columns))
    numbers, intervals = (
        tuple((system, *cells) for system, cells in zip(systems, part, strict=True))
        for part in (body, ends)
    )
    first = Table(header, numbers, f"{CAPTION}; {protocol}")
    return Section(title, (first, Table(header, intervals, INTERVALS)))


def _mean(row: Record, name: str) -> float:
    return round(float(row[f"{name}_mm"]), 1)


def _cell(row: Record | None, name: str, best: float) -> str:
    if row is None:
        return NONE
    mark = BEST if _mean(row, name) == best else ""
    return f"{_mean(row, name):.1f}{mark}"


def _interval(row: Record | None, name: str) -> str:
    return NONE if row is None else f"{row[f'{name}_low']:.1f}–{row[f'{name}_high']:.1f}"
