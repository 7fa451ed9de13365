"""Facts about cells from a plan and its run: axes, settings, records, seconds, parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multibodies import checkpoints, runs
from multibodies.config import Config
from multibodies.core.memory import parameters
from multibodies.core.regressor import RegressorSpec
from multibodies.report.cells.facts import Axis, CellFacts, Cost, Facts
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
    return Facts(axes, cells, costs, search.metric if search else None)


def axes_of_plan(plan: Plan) -> tuple[Axis, ...]:
    """Return the settings in which cells differ, in the order of the sweep file.

    The base is the paper's value where the axis has it, else the first that the file lists; where
    axes vary one at a time, the setting as it is.
    """
    sweep = plan.sweep
    spans = sweep.search.ranges if sweep.search else {}
    keys = dict.fromkeys((*sweep.train, *spans, *sweep.prior, *sweep.score, FLOW_WEIGHT))
    values = {key: _sorted([setting(cell.config, key) for cell in plan.cells]) for key in keys}
    varying = [key for key in keys if len(values[key]) > 1]
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
    settings = {key: setting(config, key) for key in keys}
    return CellFacts(cell.id, cell.training, cell.seed, cell.ours, settings, records)


def cost_of(training: Training, run_dir: Path) -> Cost:
    """Return a training's wall-clock seconds, from its claim to its last weights, and its
    network's parameters. Raises UserError where its weights are damaged."""
    folder = run_dir / training.stage.directory
    spec = RegressorSpec(**checkpoints.read_meta(folder / "weights")["spec"])
    source = runs.read_record(folder / DONE_FILE).get("from")
    told = all((folder / name).exists() for name in (runs.RECIPE, runs.FINISHED))
    return Cost(
        training.id,
        runs.wall_seconds(folder) if told else None,
        parameters(spec),
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
