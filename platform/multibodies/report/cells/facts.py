"""What a sweep's cells are: the settings in which they differ, their records, what they cost.

Made from the plan when a sweep ends and kept in cells.json: with the records all that a comparison
needs, so that it can be written again without the plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multibodies.errors import UserError
from multibodies.files import write_bytes
from multibodies.runs import read_record

FACTS = "cells.json"


@dataclass(frozen=True)
class Axis:
    """A setting that has several values; `base` is what they are compared with.

    drawn: a search drew its values, so that no two cells differ in it alone. named: its values are
    the titles of a sweep's rows, whose label they need no word of.
    """

    key: str
    label: str
    values: tuple[Any, ...]
    base: Any
    drawn: bool = False
    named: bool = False


@dataclass(frozen=True)
class CellFacts:
    """A cell: the value of each axis, and the columns of its records by their values."""

    id: str
    training: str
    seed: int
    ours: bool
    settings: Mapping[str, Any]
    records: Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """What a training cost; None where a run does not tell. `taken_from`: the run that trained."""

    training: str
    seconds: int | None
    parameters: int | None
    taken_from: str | None


@dataclass(frozen=True)
class Effort:
    """What a row's training is and took; None where its run does not tell.

    seconds: wall clock, from its claim to its last weights. parameters, trained: of its network, as
    its checkpoint has them. inferred: images per second. settings: what all are to have in common.
    """

    training: str
    row: str
    num_hypotheses: int
    parameters: int
    trained: int
    images: int
    seconds: float | None
    inferred: float | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """All cells of a sweep. `metric` ranks the points of a search on val; `efforts` are of the
    trainings of a sweep with rows."""

    axes: tuple[Axis, ...]
    cells: tuple[CellFacts, ...]
    costs: tuple[Cost, ...]
    metric: str | None = None
    efforts: tuple[Effort, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, sorted."""
        return tuple(sorted({cell.seed for cell in self.cells}))

    def label(self, settings: Mapping[str, Any], leave: Sequence[str] = ()) -> str:
        """Return settings in words, such as `ri 0.1, flow_weight 1`; `leave` out some axes."""
        told = [a for a in self.axes if a.key not in leave]
        words = (f"{a.label} {shown(settings[a.key])}".strip() for a in told)
        return ", ".join(words) or "all settings"

    def is_base(self, settings: Mapping[str, Any]) -> bool:
        """Tell whether every axis is at its base."""
        return all(settings[axis.key] == axis.base for axis in self.axes)


@dataclass(frozen=True)
class Point:
    """The cells of equal settings, one a seed, by their places among all cells."""

    label: str
    settings: Mapping[str, Any]
    ours: bool
    cells: tuple[int, ...]


def shown(value: object) -> str:
    """Return a value in words."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def points_of(facts: Facts) -> list[Point]:
    """Return the points in the order of the cells."""
    found: dict[str, list[int]] = {}
    for place, cell in enumerate(facts.cells):
        found.setdefault(facts.label(cell.settings), []).append(place)
    first = {label: facts.cells[places[0]] for label, places in found.items()}
    return [
        Point(label + " (ours)" * cell.ours, cell.settings, cell.ours, tuple(found[label]))
        for label, cell in first.items()
    ]


def write_facts(run_dir: Path, facts: Facts) -> None:
    """Write cells.json. Raises UserError when the disk refuses it."""
    text = json.dumps(asdict(facts), indent=1, allow_nan=False)
    write_bytes(run_dir / FACTS, text.encode() + b"\n")


def read_facts(run_dir: Path) -> Facts | None:
    """Read cells.json, None where there is none: the sweep did not come to its end.

    Raises UserError on a damaged one.
    """
    path = run_dir / FACTS
    if not path.exists():
        return None
    tree = read_record(path)
    try:
        return Facts(
            tuple(Axis(**{**axis, "values": tuple(axis["values"])}) for axis in tree["axes"]),
            tuple(CellFacts(**cell) for cell in tree["cells"]),
            tuple(Cost(**cost) for cost in tree["costs"]),
            tree["metric"],
            tuple(Effort(**effort) for effort in tree.get("efforts", ())),
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: damaged ({error}); give the sweep's command again: it trains nothing anew"
        ) from None
