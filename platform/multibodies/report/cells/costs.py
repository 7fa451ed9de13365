"""Cost against accuracy: what each training took, by the MPJPE that it reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from multibodies.report.cells.errors import Errors
from multibodies.report.cells.facts import CellFacts, Facts
from multibodies.report.cells.scatter import Mark, Panel

Record = dict[str, Any]
MEASURES = {"seconds": "training, wall-clock seconds", "parameters": "parameters of the network"}


def cost_rows(found: Sequence[Errors], facts: Facts) -> list[Record]:
    """Return a row per dataset and training: seconds, parameters, taken_from, and the MPJPE of its
    `cell` at its largest n.

    Of a training's cells it is that of most axes at their base, so that no test split chooses it.
    """
    chosen = {cost.training: _plainest(facts, cost.training) for cost in facts.costs}
    rows = []
    for errors in found:
        for cost in facts.costs:
            place, cell = chosen[cost.training]
            n = max(n for n in errors.ns if errors.has([place], n))
            mean = float(errors.values[:, place, errors.ns.index(n), 0].mean())
            about = {"dataset": errors.dataset, "training": cost.training, "cell": cell.id}
            spent = {"seconds": cost.seconds, "parameters": cost.parameters}
            rows.append({**about, **spent, "taken_from": cost.taken_from, "n": n, "mpjpe_mm": mean})
    return rows


def _plainest(facts: Facts, training: str) -> tuple[int, CellFacts]:
    cells = [(i, cell) for i, cell in enumerate(facts.cells) if cell.training == training]
    changed = [sum(cell.settings[a.key] != a.base for a in facts.axes) for _, cell in cells]
    return cells[changed.index(min(changed))]


def cost_panels(rows: Sequence[Record]) -> list[list[Panel]]:
    """Return a row of panels per dataset, a panel per measure; hollow: trained by another run."""
    ns = sorted({row["n"] for row in rows})
    y = f"MPJPE-{ns[-1]} (mm)" if len(ns) == 1 else "MPJPE at the largest n (mm)"
    measures = [name for name in MEASURES if any(row[name] is not None for row in rows)]
    return [
        [
            Panel(dataset, MEASURES[name], y, _marks(rows, dataset, name), log=True)
            for name in measures
        ]
        for dataset in dict.fromkeys(row["dataset"] for row in rows)
    ]


def _marks(rows: Sequence[Record], dataset: str, name: str) -> tuple[Mark, ...]:
    return tuple(
        Mark(row[name], row["mpjpe_mm"], row["training"], hollow=row["taken_from"] is not None)
        for row in rows
        if row["dataset"] == dataset and row[name] is not None
    )
