"""Whether the systems had the same: data, trunk, start, steps; and what each cost beside its
errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from multibodies.report.cells.facts import Effort, Facts, Point, shown
from multibodies.report.cells.titles import ROW
from multibodies.report.page import Section, Table

Record = dict[str, Any]
NONE = "–"
MAIN = ("stage 1", "data", "trunk", "steps", "batch_size", "learning_rate")
UNSTATED = "Tuning budget: the sweep file does not tell ([notes] tuning)."
COSTS = (
    "means over seeds. parameters: all of a checkpoint's network and what it trains, parts that "
    "only training needs included; training: wall-clock seconds from a training's claim to its "
    "last weights, pauses after a kill and whatever ran beside it included, data, stage 1 and "
    "cached features not; images/s: steps x batch over those seconds, and images to stored "
    "hypotheses (network, joints of all M, log-density), without loading, reading and writing; "
    "MPJPE in mm at the largest n that a line has"
)


def cost_rows(facts: Facts, lines: Sequence[Point], rows: Sequence[Record]) -> list[Record]:
    """Return a row per sweep row: its size, seconds and rates as means over seeds, and the MPJPE
    of its first line at its largest n by dataset; rows: `table_rows`."""
    first = {line.settings[ROW]: line.label for line in reversed(lines)}
    found = []
    for name, efforts in _by_row(facts).items():
        mine = [row for row in rows if row["system"] == first[name]]
        n = max(row["n"] for row in mine)
        head = efforts[0]
        found.append(
            {
                "system": name,
                "num_hypotheses": head.num_hypotheses,
                "parameters": head.parameters,
                "trained_parameters": head.trained,
                "training_seconds": _mean([e.seconds for e in efforts]),
                "training_images_per_second": _mean([_rate(e) for e in efforts]),
                "inference_images_per_second": _mean([e.inferred for e in efforts]),
                "n": n,
                "mpjpe_mm": {row["dataset"]: row["mpjpe_mm"] for row in mine if row["n"] == n},
                "settings": dict(head.settings),
            }
        )
    return found


def fairness_section(facts: Facts, costs: Sequence[Record], notes: Mapping[str, str]) -> Section:
    """Return what was the same for all and what was not, the tuning, settings and costs."""
    tuning = f"Tuning budget: {notes['tuning']}" if "tuning" in notes else UNSTATED
    return Section("Fairness", (*sameness(facts), tuning, cost_table(costs), settings_table(costs)))


def sameness(facts: Facts) -> tuple[str, ...]:
    """Say which settings all trainings have in common, and each system's of the others."""
    efforts = [effort for effort in facts.efforts if effort.settings]
    keys = dict.fromkeys(key for effort in efforts for key in effort.settings)
    values = {key: {shown(effort.settings.get(key)) for effort in efforts} for key in keys}
    same = ", ".join(f"{_words(key)} {values[key].pop()}" for key in keys if len(values[key]) == 1)
    told = (f"The same for all {len(_by_row(facts))}: {same}.",)
    other = [key for key in keys if len(values[key]) > 1]
    differing = "; ".join(f"{_words(key)} ({_each(facts, key)})" for key in other)
    return (*told, f"Not the same: {differing}.") if other else told


def cost_table(costs: Sequence[Record]) -> Table:
    """Return parameters, seconds and rates of each system beside its errors."""
    datasets = list(costs[0]["mpjpe_mm"])
    header = ("system", "M", "parameters", "trained", "training s", "training images/s")
    errors = ("n", *(f"MPJPE-n, {name}" for name in datasets))
    body = tuple(
        (
            row["system"],
            str(row["num_hypotheses"]),
            f"{row['parameters']:,}",
            f"{row['trained_parameters']:,}",
            _whole(row["training_seconds"]),
            _whole(row["training_images_per_second"]),
            _whole(row["inference_images_per_second"]),
            str(row["n"]),
            *(f"{row['mpjpe_mm'][name]:.1f}" for name in datasets),
        )
        for row in costs
    )
    return Table((*header, "inference images/s", *errors), body, COSTS)


def settings_table(costs: Sequence[Record]) -> Table:
    """Return the main settings of each system, as its own recipe has them, and all that differ."""
    keys = [
        key
        for key in dict.fromkeys(k for row in costs for k in row["settings"])
        if key in MAIN or len({shown(row["settings"].get(key, NONE)) for row in costs}) > 1
    ]
    body = tuple(
        (row["system"], *(shown(row["settings"].get(key, NONE)) for key in keys)) for row in costs
    )
    caption = "from each training's recipe; stage 1, data, body: fingerprints of their content"
    return Table(("system", *map(_words, keys)), body, caption)


def _by_row(facts: Facts) -> dict[str, list[Effort]]:
    found: dict[str, list[Effort]] = {}
    for effort in facts.efforts:
        found.setdefault(effort.row, []).append(effort)
    return found


def _each(facts: Facts, key: str) -> str:
    """Return a setting's value by row."""
    told = {name: efforts[0].settings.get(key, NONE) for name, efforts in _by_row(facts).items()}
    return ", ".join(f"{name} {shown(value)}" for name, value in told.items())


def _words(key: str) -> str:
    return key.replace("_", " ")


def _rate(effort: Effort) -> float | None:
    return effort.images / effort.seconds if effort.seconds else None


def _mean(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return fmean(told) if told else None


def _whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"
