"""Ours against each other line, and each variant of ours against each other system: paired
differences over the same images, and what they say.

    difference(image) = mean over seeds of error(ours) - error(other)

Below 0 ours is better. Shapes: B image, S seed, N output count, D metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multibodies.report.cells.contrasts import Pairs, paired_rows
from multibodies.report.cells.errors import Errors
from multibodies.report.cells.facts import Facts, Point
from multibodies.report.cells.tables import by_n
from multibodies.report.cells.titles import ROW, same_system
from multibodies.report.page import Figure, Section

Record = dict[str, Any]
SEVERAL = 5  # the n from which the paper's claim is about sets of hypotheses
BETTER, WORSE, OPEN = "better", "worse", "not told apart"
DEFINED = (
    "Both hold the same images, seeds averaged first; better or worse: the 95 % interval of the "
    "paired difference over images leaves out 0. It tells how well the images determine the "
    "difference of these trainings, not what another seed would give."
)


def difference_rows(
    found: Sequence[Errors], facts: Facts, lines: Sequence[Point], samples: int
) -> list[Record]:
    """Return a row per dataset, pair of lines, n that both have, and metric, as `paired_rows`."""
    named = [
        ({"of": mine.label, "against": other.label}, _by_seed(facts, mine, other))
        for mine, other in pairs_of(facts, lines)
    ]
    return [
        {"dataset": errors.dataset, **row}
        for errors in found
        for row in paired_rows(errors, named, samples)
    ]


def pairs_of(facts: Facts, lines: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Return whom to compare: the base with all others, then each variant of it, a row of the same
    system, with the rows of other systems; at the same flow weight where both have it."""
    axis = next(axis for axis in facts.axes if axis.key == ROW)
    variants = [row for row in axis.values if row != axis.base and same_system(row, axis.base)]
    found = []
    for row in (axis.base, *variants):
        own = [line for line in lines if line.settings[ROW] == row]
        left_out = {axis.base, *variants} if row in variants else {row}
        for other in (line for line in lines if line.settings[ROW] not in left_out):
            mine = next((line for line in own if _rest(line) == _rest(other)), own[0])
            found.append((mine, other))
    return found


def sentences(rows: Sequence[Record]) -> list[str]:
    """Say for each metric and other line on which datasets ours is better, at the n >= 5 that both
    have, else at the n that they have."""
    found = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        for of, against in dict.fromkeys((row["of"], row["against"]) for row in rows):
            names = (metric, of, against)
            mine = [r for r in rows if (r["metric"], r["of"], r["against"]) == names]
            mine = [r for r in mine if r["n"] >= SEVERAL] or mine
            ns = ", ".join(str(n) for n in sorted({row["n"] for row in mine}))
            found.append(f"{metric.upper()}, {of} against {against}, n = {ns}: {_told(mine)}.")
    return found


def row_of(label: str) -> str:
    """Return the row's title of a line's label, which may name a flow weight behind it."""
    return label.partition(",")[0]


def verdict(row: Record) -> str:
    """Return what a difference says."""
    if row["high"] < 0:
        return BETTER
    return WORSE if row["low"] > 0 else OPEN


def difference_section(rows: Sequence[Record], forest: Figure) -> Section:
    """Return the sentences, the figure, and a table of differences per dataset."""
    tables = [
        by_n(
            [{**r, "metric": r["metric"].upper()} for r in rows if r["dataset"] == dataset],
            ("dataset", "of", "against", "metric"),
            "difference_mm",
            "difference; below 0 the first is better",
            "+.2f",
        )
        for dataset in dict.fromkeys(row["dataset"] for row in rows)
    ]
    return Section(
        f"{row_of(rows[0]['of'])} against the others", (DEFINED, *sentences(rows), forest, *tables)
    )


def _told(rows: Sequence[Record]) -> str:
    verdicts = {verdict(row) for row in rows}
    if verdicts == {OPEN}:
        return f"{OPEN} on any set, at any n"
    if len(verdicts) == 1:
        return f"{verdicts.pop()} on every set, at every n"
    datasets = dict.fromkeys(row["dataset"] for row in rows)
    return "; ".join(_of_dataset(d, [r for r in rows if r["dataset"] == d]) for d in datasets)


def _of_dataset(dataset: str, rows: Sequence[Record]) -> str:
    at: dict[str, list[str]] = {}
    for row in rows:
        at.setdefault(verdict(row), []).append(str(row["n"]))
    if len(at) == 1:
        return f"{dataset} {next(iter(at))}"
    return f"{dataset} " + ", ".join(f"{word} at n = {', '.join(ns)}" for word, ns in at.items())


def _rest(line: Point) -> dict[str, Any]:
    return {key: value for key, value in line.settings.items() if key != ROW}


def _by_seed(facts: Facts, mine: Point, other: Point) -> list[Pairs]:
    """Return each seed's pair; a seed that the other lacks has none."""
    at = {facts.cells[place].seed: place for place in other.cells}
    pairs = [(place, at.get(facts.cells[place].seed)) for place in mine.cells]
    return [[] if there is None else [(place, there)] for place, there in pairs]
