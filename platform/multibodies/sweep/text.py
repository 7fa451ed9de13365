"""The resolved plan as text, for `--dry-run`: cells, what is shared, what is done, time left."""

from __future__ import annotations

from pathlib import Path

from multibodies.progress import duration
from multibodies.sweep.estimate import seconds_by_kind
from multibodies.sweep.plan import Plan, Stage
from multibodies.sweep.state import is_done


def describe_plan(plan: Plan, run_dir: str | Path) -> str:
    """Return the plan as lines of text. Raises UserError where the folder holds another recipe."""
    seconds, source = seconds_by_kind(plan, run_dir)
    done = {stage.directory for stage in plan.stages() if is_done(run_dir, stage)}
    left = [stage for stage in plan.stages() if stage.directory not in done]
    total = sum(seconds[stage.kind] for stage in left) + _ours_seconds(plan, seconds)

    def line(stage: Stage, label: str) -> str:
        if stage.directory in done:
            return f"  [done] {label:10} {stage.directory}/"
        return f"  [    ] {label:10} {stage.directory}/  {duration(seconds[stage.kind])}"

    fits = [stage for training in plan.trainings for stage in (training.stage, training.inference)]
    return "\n".join(
        [
            *_heading(plan, run_dir),
            "shared by every cell",
            *(line(stage, stage.name) for stage in plan.shared),
            f"trainings: {len(plan.trainings)}, each followed by one inference",
            *(line(stage, stage.kind) for stage in fits),
            f"cells: {len(plan.cells)}, scored on the stored hypotheses",
            *(line(cell.stage, "ours" if cell.ours else "cell") for cell in plan.cells),
            *_ours_lines(plan),
            f"estimated time left: {duration(total)}, one stage after another (from {source})",
        ]
    )


def _heading(plan: Plan, run_dir: str | Path) -> list[str]:
    sweep, evaluation = plan.sweep, plan.base.evaluation
    axes = {**sweep.train, **sweep.score}
    size = plan.base.stage2.num_hypotheses
    return [
        f"{plan.name} in {run_dir}",
        f"  profile {sweep.profile}, seeds {_words(sweep.seeds)}, stage 1: {sweep.stage1}",
        *(f"  {key} = {_words(values)}" for key, values in axes.items()),
        f"  n = {_words(evaluation.n)} of M = {size}, on {_words(evaluation.splits)}",
    ]


def _words(values: tuple[object, ...]) -> str:
    return " ".join(str(value) for value in values)


def _undecided(plan: Plan) -> bool:
    return bool(plan.sweep.candidates) and not any(cell.ours for cell in plan.cells)


def _ours_seconds(plan: Plan, seconds: dict[str, float]) -> float:
    if not _undecided(plan):
        return 0.0
    return (len(plan.sweep.candidates) + 1) * len(plan.trainings) * seconds["scoring"]


def _ours_lines(plan: Plan) -> list[str]:
    if not _undecided(plan):
        return []
    sweep = plan.sweep
    return [
        f"ours, not in the paper: flow weight chosen on {_words(sweep.choose_on)}"
        f" among {_words(sweep.candidates)}; up to {len(plan.trainings)} more cells"
    ]
