"""`score`: stored hypotheses scored in this process, without the network, a GPU or Ray.

A sweep's folder brings its data, the hypotheses of all its trainings and its prior; other
hypotheses need the dataset named. What is scored is not scored again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from multibodies.config import Config, load_config
from multibodies.errors import UserError
from multibodies.evaluation import KINDS, ScoreTask, collect_scores, score_tasks, write_table
from multibodies.progress import Progress
from multibodies.runs import RECIPE, read_record
from multibodies.sidecars import read_sidecar
from multibodies.sweep.definition import N_KEY
from multibodies.sweep.state import PLAN_FILE

EVALUATION = "evaluation."
KEPT = ("evaluation.n", "evaluation.restarts", "evaluation.quantizer")  # under another profile
PARTS = "parts"


@dataclass(frozen=True)
class Source:
    """The hypotheses of one training, and the settings that name it in records."""

    name: str
    hypotheses: Path
    settings: Mapping[str, Any]

    @property
    def parts(self) -> list[Path]:
        """The files, one per shard."""
        return list(self.hypotheses.glob("*/part-*.parquet"))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have been inferred, by name."""
        return tuple(sorted({path.parent.name for path in self.parts}))

    @property
    def num_hypotheses(self) -> int:
        """M, from the first part."""
        return int(read_sidecar(min(self.parts))["hypotheses"])


@dataclass(frozen=True)
class Stored:
    """What a folder holds: trainings' hypotheses, their dataset, prior, profile and settings."""

    sources: tuple[Source, ...]
    data: Path | None = None
    prior: Path | None = None
    profile: str | None = None
    settings: Mapping[str, Any] | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that all trainings have. Raises UserError if there is none."""
        common = set.intersection(*(set(source.splits) for source in self.sources))
        if not common:
            raise UserError("no split was inferred for all trainings; name one with --splits")
        return tuple(sorted(common))


def find_stored(folder: Path) -> Stored:
    """Look at a sweep's folder, `evaluate`'s, or one of hypotheses. Raises UserError if none."""
    if (folder / PLAN_FILE).exists():
        return _of_sweep(folder)
    inner = folder / "hypotheses"
    source = Source("", inner if inner.is_dir() else folder, {})
    if not source.splits:
        raise UserError(
            f"{folder}: no hypotheses (SPLIT/part-*.parquet); give the folder of a sweep, of "
            "`multibodies evaluate`, or of hypotheses"
        )
    return Stored((source,))


def configs_of(
    stored: Stored, profile: str | None, overrides: Mapping[str, Any]
) -> list[tuple[Source, Config]]:
    """Return each training's settings: the run's and its row's, under what is asked for.

    Another profile's evaluation wins over the run's but for KEPT. Where trainings differ in M, each
    is scored for the n that it has. Raises UserError.
    """
    base = profile or stored.profile or "embedded"
    largest, found = max(source.num_hypotheses for source in stored.sources), []
    told = stored.settings or {}
    for source in stored.sources:
        both = {**told, **source.settings}
        if profile is not None:
            both = {k: v for k, v in both.items() if k in KEPT or not k.startswith(EVALUATION)}
        mine = {**both, **overrides}
        n = mine.get(N_KEY, ())
        if n and max(n) <= largest:
            mine[N_KEY] = [one for one in n if one <= source.num_hypotheses]
        found.append((source, load_config(base, {**_size(source), **mine})))
    return found


def tasks_of(
    configs: Sequence[tuple[Source, Config]],
    data: Path,
    splits: Sequence[str],
    out: Path,
    flow_weights: Sequence[float] | None,
    prior: Path | None,
) -> list[ScoreTask]:
    """Return one task per training and shard. Raises UserError as `score_tasks`."""
    return [
        task
        for source, config in configs
        for task in score_tasks(
            config,
            data,
            source.hypotheses,
            splits,
            out / PARTS / source.name,
            flow_weights=flow_weights,
            prior=prior,
        )
    ]


def score_here(tasks: Sequence[ScoreTask], out: Path) -> pa.Table:
    """Run what is not done, write per_image.parquet and diagnostics.parquet, return the records.

    Both have two columns more than a sweep's: `split`, so that val and test may stand in one file,
    and `training`.
    """
    todo = [task for task in tasks if not task.done]
    with Progress(sum(task.rows for task in todo), "score", unit="rows") as bar:
        for task in todo:
            task.run()
            bar.advance(task.rows)
    parts = [(collect_scores([task]), _names(task, out)) for task in tasks]
    records, details = (
        pa.concat_tables(
            [_labelled(getattr(scores, kind), names) for scores, names in parts],
            promote_options="default",  # each M has columns of its own for the n that it has
        )
        for kind in KINDS
    )
    write_table(out / "per_image.parquet", records)
    write_table(out / "diagnostics.parquet", details)
    return records


def _of_sweep(folder: Path) -> Stored:
    recipe = read_record(folder / PLAN_FILE)
    paths = sorted(path for path in (folder / "hypotheses").glob("*") if path.is_dir())
    rows = recipe.get("rows", {})
    sources = tuple(Source(path.name, path, _cell(folder, path.name, rows)) for path in paths)
    if not sources or not all(source.splits for source in sources):
        raise UserError(f"{folder}: no hypotheses yet; run `multibodies sweep` to its end first")
    config, weights = recipe["config"], folder / "prior" / "weights"
    evaluation = {k: v for k, v in config["evaluation"].items() if k != "splits"}
    settings = {f"{EVALUATION}{key}": value for key, value in evaluation.items()}
    settings["body.path"] = config["body"]["path"]
    prior = weights if weights.is_dir() else None
    return Stored(sources, folder / "data", prior, config["profile"], settings)


def _cell(folder: Path, name: str, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what names a sweep's training in records, from its recipe, and its row's settings."""
    recipe = read_record(folder / "cells" / name / RECIPE)
    row = rows.get(name.partition("-")[2], {})
    named = {"stage2.seed": recipe["stage2"]["seed"], "loss.ri": recipe["loss"]["ri"]}
    return named | {key: value for key, value in row.items() if key.startswith(EVALUATION)}


def _size(source: Source) -> dict[str, Any]:
    return {"stage2.num_hypotheses": source.num_hypotheses}


def _names(task: ScoreTask, out: Path) -> dict[str, str]:
    """Return the split and the training of a task, which its place among the parts tells."""
    *training, split, _ = Path(task.out).relative_to((out / PARTS).resolve()).parts
    return {"split": split, "training": "/".join(training)}


def _labelled(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    for name, value in names.items():
        table = table.append_column(name, pa.array([value] * table.num_rows))
    return table
