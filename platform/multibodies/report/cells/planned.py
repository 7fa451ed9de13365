"""Facts about cells from a plan and its run: axes, settings, records, seconds, parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multibodies import runs
from multibodies.config import Config
from multibodies.report.cells.efforts import effort_of, sizes_of
from multibodies.report.cells.facts import Axis, CellFacts, Cost, Facts
from multibodies.report.cells.titles import BASE, ROW, title_of, titles
from multibodies.sweep import Cell, Plan, Training
from multibodies.sweep.definition import FLOW_WEIGHT
from multibodies.sweep.sharing import run_of
from multibodies.sweep.state import DONE_FILE

PAPER = Config(profile="")  # the paper's values are the defaults


def facts_of(plan: Plan, run_dir: Path) -> Facts:
    """Return the facts of a finished sweep. Raises UserError on a damaged training."""
    axes = axes_of_plan(plan)
    keys = [axis.key for axis in axes]
    cells = tuple(cell_facts(plan, cell, keys) for cell in plan.cells)
    costs = tuple(cost_of(training, run_dir) for training in plan.trainings)
    search = plan.sweep.search
    rows = plan.trainings if plan.sweep.rows else ()
    efforts = tuple(effort_of(training, title_of(plan, training), run_dir) for training in rows)
    return Facts(axes, cells, costs, search.metric if search else None, efforts)


def axes_of_plan(plan: Plan) -> tuple[Axis, ...]:
    """Return the axis of a sweep's rows, if it has any, and all others."""
    if not plan.sweep.rows:
        return axes_of_settings(plan)
    found = tuple(dict.fromkeys(title_of(plan, training) for training in plan.trainings))
    ours = titles(plan).get(BASE)
    row = Axis(ROW, "", found, ours if ours in found else found[0], named=True)
    return (row, *axes_of_settings(plan))


def axes_of_settings(plan: Plan) -> tuple[Axis, ...]:
    """Return the settings in which cells differ, those of one row, in the order of the sweep file.

    The base is the paper's value where the axis has it, else the first that the file lists; where
    axes vary one at a time, the setting as it is.
    """
    sweep = plan.sweep
    spans = sweep.search.ranges if sweep.search else {}
    keys = dict.fromkeys((*sweep.train, *spans, *sweep.prior, *sweep.score, FLOW_WEIGHT))
    values = {key: _sorted([setting(cell.config, key) for cell in plan.cells]) for key in keys}
    varying = [key for key in keys if len(values[key]) > 1 and _varies(plan, key)]
    leaves = [key.partition(".")[2] for key in varying]
    return tuple(
        Axis(
            key,
            leaf if leaves.count(leaf) == 1 else key,
            values[key],
            base_of(plan, key, values[key]),
            drawn=sweep.search is not None and key in (*sweep.train, *spans),
        )
        for key, leaf in zip(varying, leaves, strict=True)
    )


def _varies(plan: Plan, key: str) -> bool:
    """Tell whether a setting has several values among the cells of one row: what rows themselves
    set is theirs, and no axis."""
    found: dict[str | None, set[Any]] = {}
    for cell in plan.cells:
        row = plan.sweep.row_of(plan.training(cell.training).overrides)
        found.setdefault(row, set()).add(setting(cell.config, key))
    return any(len(values) > 1 for values in found.values())


def base_of(plan: Plan, key: str, values: tuple[Any, ...]) -> Any:
    """Return what the values of an axis are compared with."""
    sweep = plan.sweep
    if sweep.vary == "one" and key in sweep.train:
        return setting(sweep.config(), key)
    if (usual := setting(PAPER, key)) in values:
        return usual
    listed = {**sweep.train, **sweep.prior, **sweep.score}
    return listed[key][0] if key in listed else values[0]


def cell_facts(plan: Plan, cell: Cell, keys: list[str]) -> CellFacts:
    """Return a cell's settings and what its records are known by."""
    config = cell.config
    records: dict[str, Any] = {"flow_weight": config.evaluation.flow_weight}
    if plan.is_table2:
        records |= {"seed": cell.seed, "lambda_ri": config.loss.ri}
    else:
        records["training"] = cell.scoring
    settings = {key: setting(config, key) for key in keys if key != ROW}
    if ROW in keys:
        settings[ROW] = title_of(plan, plan.training(cell.training))
    return CellFacts(cell.id, cell.training, cell.seed, cell.ours, settings, records)


def cost_of(training: Training, run_dir: Path) -> Cost:
    """Return a training's wall-clock seconds, from its claim to its last weights, and its
    network's parameters. Raises UserError where its weights are damaged."""
    folder = run_dir / training.stage.directory
    source = runs.read_record(folder / DONE_FILE).get("from")
    told = all((folder / name).exists() for name in (runs.RECIPE, runs.FINISHED))
    return Cost(
        training.id,
        runs.wall_seconds(folder) if told else None,
        sizes_of(folder / "weights", training.config.model.trains)[0],
        None if source is None else run_of(Path(source), training.stage).name,
    )


def setting(config: Config, key: str) -> Any:
    """Return the value of a dotted setting."""
    section, _, leaf = key.partition(".")
    return getattr(getattr(config, section), leaf)


def _sorted(values: list[Any]) -> tuple[Any, ...]:
    """Return each value once: numbers by size, others as they come."""
    once = list(dict.fromkeys(values))
    numbers = all(isinstance(value, int | float) for value in once)
    return tuple(sorted(once) if numbers else once)
