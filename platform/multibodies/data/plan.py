"""What `prepare` will write, resolved without Ray and before writing: for dry runs, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multibodies.config import AMBIGUOUS, SPLITS, Config, DataConfig, fingerprint
from multibodies.data.coco_file import MIN_VISIBLE, find_annotations, select_people
from multibodies.data.schema import SCHEMA_VERSION
from multibodies.data.tasks import (
    RowMaker,
    ShardTask,
    coco_maker,
    embedded_maker,
    plan_split,
    split_rows,
)
from multibodies.errors import UserError, nearest
from multibodies.files import sha256

COCO_SPLIT = "coco-train"


@dataclass(frozen=True)
class CocoSource:
    """A COCO annotation file or its folder, the images' folder (None: beside it), whom to keep."""

    annotations: str | Path
    image_root: str | Path | None = None
    min_visible: int = MIN_VISIBLE


@dataclass(frozen=True)
class Plan:
    """What a dataset will hold: its recipe, its shards in order, who makes their rows."""

    recipe: Mapping[str, Any]
    tasks: tuple[ShardTask, ...]
    make: RowMaker
    image_size: int
    skipped: Mapping[str, int]

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the recipe."""
        return fingerprint(dict(self.recipe))

    @property
    def rows(self) -> int:
        """Rows of all shards, good and bad."""
        return sum(task.count for task in self.tasks)


def make_plan(
    config: Config,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    coco: CocoSource | None = None,
) -> Plan:
    """Resolve splits, rows per split (at most `limit`), shards and recipe.

    Raises UserError on an unknown split, a limit below 1, and a source that does not fit the
    settings or cannot be read.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; expected at least 1 row per split")
    data = config.data
    recipe = {
        "schema_version": SCHEMA_VERSION,
        "data": data.model_dump(mode="json"),
        "limit": limit,
    }
    if data.source == "coco":
        return _coco_plan(data, recipe, splits, coco)
    if coco is not None:
        raise UserError(
            f"a COCO file is given but data.source is '{data.source}'; set data.source=coco"
        )
    return _embedded_plan(config, recipe, splits)


def _embedded_plan(config: Config, recipe: dict[str, Any], splits: Sequence[str] | None) -> Plan:
    from multibodies.bodies.loading import load_body
    from multibodies.data.embedded import GENERATOR

    data, known = config.data, SPLITS + AMBIGUOUS
    tasks: list[ShardTask] = []
    for split in dict.fromkeys(known if splits is None else splits):
        if split not in known:
            raise UserError(f"unknown split '{split}'{nearest(split, known)}")
        rows = min(split_rows(split, data), recipe["limit"] or split_rows(split, data))
        tasks += plan_split(split, rows, data.rows_per_shard)
    body = load_body(config.body.path).sha256
    recipe = {**recipe, "generator": GENERATOR, "body_sha256": body}
    make = embedded_maker(data, config.body.path)
    return Plan(recipe, tuple(tasks), make, data.image_size, {})


def _coco_plan(
    data: DataConfig,
    recipe: dict[str, Any],
    splits: Sequence[str] | None,
    coco: CocoSource | None,
) -> Plan:
    if coco is None:
        raise UserError(
            "data.source is 'coco' but no annotation file is given; name it or its folder"
        )
    if splits is not None and len(splits) != 1:
        raise UserError(f"splits {list(splits)}: COCO becomes one split, such as '{COCO_SPLIT}'")
    split = splits[0] if splits else COCO_SPLIT
    _check_split_name(split)
    path = find_annotations(coco.annotations)
    people, skipped = select_people(path, coco.min_visible)
    if not people:
        raise UserError(
            f"{path}: no person has {coco.min_visible} of keypoints 5..16 labelled; "
            "lower min_visible"
        )
    people = people[: recipe["limit"]]
    chosen = {"annotations_sha256": sha256(path), "min_visible": coco.min_visible}
    root = Path(coco.image_root) if coco.image_root is not None else path.parent
    tasks = plan_split(split, len(people), data.rows_per_shard, people)
    make = coco_maker(root.resolve(), data.image_size)
    return Plan({**recipe, "coco": chosen}, tuple(tasks), make, data.image_size, skipped)


def _check_split_name(split: str) -> None:
    """A split's name becomes a folder. Raises UserError on anything but small words and dashes."""
    if not split.replace("-", "").isalnum() or not split.islower() or split == "quarantine":
        raise UserError(f"split '{split}': expected a name such as '{COCO_SPLIT}'")
