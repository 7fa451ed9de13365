"""The resolved plan as text, for `--dry-run`: cells, what is shared, what is done, time left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from multibodies.progress import duration
from multibodies.rungs import stopped
from multibodies.sweep.estimate import Estimate, estimate
from multibodies.sweep.plan import Plan, Stage
from multibodies.sweep.sharing import find_same, run_of
from multibodies.sweep.state import is_done, stage_path


def describe_plan(
    plan: Plan, run_dir: str | Path, resources: str = "", share: Path | None = None
) -> str:
    """Return the plan as lines of text; `share` holds runs whose finished stages are taken over.

    Raises UserError where the folder holds another recipe.
    """
    times = estimate(plan, run_dir)
    done = {stage.directory for stage in plan.stages() if is_done(run_dir, stage)}
    same = {} if share is None else elsewhere(plan, Path(run_dir), share, done)
    ended = stopped_stages(plan, run_dir)
    over = done | set(same) | set(ended)
    left = [s.directory for s in plan.stages() if s.directory not in over]
    total = sum(times.seconds[name] for name in left) + _ours_seconds(plan, times)
    total += plan.undrawn * _point_seconds(plan, times)

    def line(stage: Stage, label: str) -> str:
        if stage.directory in ended:
            return f"  [stop] {label:10} {stage.directory}/  at step {ended[stage.directory]}"
        if stage.directory in done:
            return f"  [done] {label:10} {stage.directory}/"
        if stage.directory in same:
            return f"  [same] {label:10} {stage.directory}/  taken from {same[stage.directory]}"
        return f"  [    ] {label:10} {stage.directory}/  {duration(times.seconds[stage.directory])}"

    fits = [stage for training in plan.trainings for stage in (training.stage, training.inference)]
    return "\n".join(
        [
            *_heading(plan, run_dir),
            *([f"  resources: {resources}"] if resources else []),
            "shared by every cell",
            *(line(stage, stage.kind.removesuffix("-shipped")) for stage in plan.shared),
            f"trainings: {len(plan.trainings)}, each followed by one inference",
            *(line(stage, stage.kind) for stage in fits),
            *_undrawn_lines(plan),
            f"cells: {len(plan.cells)}, scored on the stored hypotheses",
            *(line(cell.stage, "ours" if cell.ours else "cell") for cell in plan.cells),
            *_ours_lines(plan),
            f"estimated time left: {duration(total)}, one stage after another ({times.source})",
        ]
    )


def stopped_stages(plan: Plan, run_dir: str | Path) -> dict[str, int]:
    """Return the folders of the stages that will not come, since their training was stopped early,
    and the step at which it was."""
    steps = {
        t.id: int(notes["step"])
        for t in plan.trainings
        if (notes := stopped(stage_path(run_dir, t.stage))) is not None
    }
    ended = {s.directory: steps[t.id] for t in plan.trainings if t.id in steps
             for s in (t.stage, t.inference)}  # fmt: skip
    return ended | {c.stage.directory: steps[c.training] for c in plan.cells if c.training in steps}


def elsewhere(plan: Plan, run_dir: Path, share: Path, done: set[str]) -> dict[str, Path]:
    """Return which stages that are left another run has finished, and which run.

    Nothing is taken that was made from other data than ours.
    """
    dataset, *later = plan.shared
    fits = [stage for t in plan.trainings for stage in (t.stage, t.inference)]
    found: dict[str, Path] = {}
    for stage in (dataset, *later, *fits):
        if stage.directory not in done and stage.kind != "stage1-shipped":
            first = next(find_same(stage, share, run_dir), None)
            found |= {} if first is None else {stage.directory: run_of(first, stage)}
        if dataset.directory not in done and dataset.directory not in found and plan.data is None:
            return {}
    return found


def _heading(plan: Plan, run_dir: str | Path) -> list[str]:
    sweep, evaluation = plan.sweep, plan.base.evaluation
    axes = {**sweep.train, **sweep.prior, **sweep.score}
    sizes = sorted({t.config.stage2.num_hypotheses for t in plan.trainings})
    one = ", each axis alone around the settings as they are" if sweep.vary == "one" else ""
    return [
        f"{plan.name} in {run_dir}",
        f"  profile {sweep.profile}, seeds {_words(sweep.seeds)}, stage 1: {sweep.stage1}{one}",
        *(f"  {key} = {_words(values)}" for key, values in axes.items()),
        *(f"  {name}: {_settings(row)}" for name, row in sweep.rows.items()),
        *_search_lines(plan),
        *_stopping_lines(plan),
        f"  n = {_words(evaluation.n)} of M = {_words(tuple(sizes))}, "
        f"on {_words(evaluation.splits)}",
    ]


def _search_lines(plan: Plan) -> list[str]:
    search = plan.sweep.search
    if search is None:
        return []
    spans = [
        f"  {key} from {span.low:g} to {span.high:g}{', log' if span.log else ''}"
        for key, span in search.ranges.items()
    ]
    adaptive = f", after {search.startup} by Optuna's TPE" if search.startup else ""
    drawn = f"  {search.samples} random draws{adaptive}, seed {search.seed}, best {search.metric}"
    return [*spans, drawn]


def _stopping_lines(plan: Plan) -> list[str]:
    rule = plan.sweep.stopping
    if rule is None:
        return []
    steps = _words(rule.rungs(max(t.config.stage2.steps for t in plan.trainings)))
    return [
        f"  stopped early at steps {steps} unless among the best 1/{rule.reduction} there by "
        f"{rule.metric} on {rule.images} rows of {_words(rule.splits)} (ASHA)"
    ]


def _undrawn_lines(plan: Plan) -> list[str]:
    if not plan.undrawn:
        return []
    count = plan.undrawn * len(plan.sweep.seeds)
    return [f"  {count} more, not yet drawn: their settings follow from the scores of those above"]


def _point_seconds(plan: Plan, times: Estimate) -> float:
    """Return the mean seconds of a point: its trainings, inferences and scorings."""
    stages = [s.directory for t in plan.trainings for s in (t.stage, t.inference)]
    stages += [cell.stage.directory for cell in plan.cells]
    points = len(plan.trainings) / len(plan.sweep.seeds)
    return sum(times.seconds[name] for name in stages) / points


def _settings(row: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in row.items()) or "as set"


def _words(values: tuple[object, ...]) -> str:
    return " ".join(str(value) for value in values)


def _undecided(plan: Plan) -> bool:
    return bool(plan.sweep.candidates) and not any(cell.ours for cell in plan.cells)


def _ours_seconds(plan: Plan, times: Estimate) -> float:
    if not _undecided(plan):
        return 0.0
    return (len(plan.sweep.candidates) + 1) * len(plan.scorings) * times.scoring


def _ours_lines(plan: Plan) -> list[str]:
    if not _undecided(plan):
        return []
    sweep = plan.sweep
    return [
        f"ours, not in the paper: flow weight chosen on {_words(sweep.choose_on)}"
        f" among {_words(sweep.candidates)}; up to {len(plan.scorings)} more cells"
    ]
