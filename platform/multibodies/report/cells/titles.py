"""What the rows of a sweep are called in its report."""

from __future__ import annotations

from multibodies.config import SYSTEMS
from multibodies.sweep import Plan
from multibodies.sweep.plan import Training

ROW = "row"  # the key of the axis that a sweep's rows are
BASE = "ours"  # the row that the others are compared with, else the first

NAMED = " ("  # begins a row's own name behind its system's


def titles(plan: Plan) -> dict[str, str]:
    """Return each row's title: its system's, and its own name besides where that is not the
    system's and another row has the system too."""
    rows = plan.sweep.rows
    systems = {name: row.get("system.name", plan.base.system.name) for name, row in rows.items()}
    shared = [*systems.values()]
    return {
        name: SYSTEMS[system].title
        if name == system or shared.count(system) == 1
        else f"{SYSTEMS[system].title}{NAMED}{name})"
        for name, system in systems.items()
    }


def same_system(title: str, other: str) -> bool:
    """Tell whether two rows of these titles are of one system."""
    return title.partition(NAMED)[0] == other.partition(NAMED)[0]


def title_of(plan: Plan, training: Training) -> str:
    """Return the title of a training's row."""
    row = plan.sweep.row_of(training.overrides)
    assert row is not None, "a sweep with rows has no other trainings"
    return titles(plan)[row]
