"""What every MLflow run of a sweep carries: its settings, seed, commit, Ray job and datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import ray

from multibodies.config import fingerprint
from multibodies.data.manifest import Manifest, read_manifest
from multibodies.data.mix import MIX_TRAIN
from multibodies.environs import submission_id
from multibodies.report.results import params_of
from multibodies.sweep import Plan
from multibodies.tracking import Dataset, Facts


def first_facts(plan: Plan, commit: str) -> Facts:
    """Return what the parent run carries before there are data: a sweep may fail at those."""
    return Facts({"git_commit": commit, **job_tags()}, _settings(plan))


def facts_of(plan: Plan, run_dir: Path, tags: Mapping[str, object]) -> Callable[[str], Facts]:
    """Return the facts of each run by its cell; "" is the sweep's parent run.

    A cell that the plan does not know yet, such as the flow weight chosen on val, gets what all
    have in common.
    """
    common = {**tags, **job_tags()}
    datasets = tuple(datasets_of(plan, run_dir / "data"))
    facts = {"": Facts(common, _settings(plan), datasets)}
    for cell in plan.cells:
        mine = {**common, "seed": cell.seed, "ours": cell.ours}
        facts[cell.id] = Facts(mine, params_of(plan, cell), datasets)
    return lambda cell: facts.get(cell, Facts(common, {}, datasets))


def _settings(plan: Plan) -> dict[str, Any]:
    return {"seeds": list(plan.sweep.seeds), **plan.base.model_dump(mode="json")}


def job_tags() -> dict[str, str]:
    """Return Ray's ids of this driver: of its job, and of the submission that started it."""
    found = {}
    if ray.is_initialized():
        found["ray_job_id"] = str(ray.get_runtime_context().get_job_id())
    submission = submission_id()
    if submission is not None:
        found["ray_submission_id"] = submission
    return found


def datasets_of(plan: Plan, data: Path) -> Iterable[Dataset]:
    """Give every split that the sweep learns from, chooses on or is scored on, once."""
    manifest, splits = read_manifest(data), plan.base.splits
    train = [splits.train]
    if splits.train == MIX_TRAIN:
        train = [name for name in manifest.splits if name.endswith("-train")]
    for name in train:
        yield dataset_of(manifest, data, name, "train")
    others = (splits.val, *plan.sweep.choose_on, *plan.base.evaluation.splits)
    for name in dict.fromkeys(other for other in others if other not in train):
        chosen_on = name in plan.sweep.choose_on or name.endswith("-val")
        yield dataset_of(manifest, data, name, "val" if chosen_on else "test")


def dataset_of(
    manifest: Manifest, data: Path, split: str, context: Literal["train", "val", "test"]
) -> Dataset:
    """Return a split as a run's input; its digest is that of its shards' SHA-256."""
    shards = manifest.shards(split)
    digest = fingerprint([shard.sha256 for shard in shards])
    source = (data / shards[0].path).parent if shards else data
    return Dataset(split, digest, str(source), context, sum(shard.rows for shard in shards))
