"""What `prepare` will write, resolved without Ray and before writing: for dry runs, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from multibodies.bodies.naming import find_body
from multibodies.config import AMBIGUOUS, SPLITS, BodyConfig, Config, DataConfig, fingerprint
from multibodies.data.pixels import PictureFormat
from multibodies.data.schema import SCHEMA_VERSION
from multibodies.data.sources import registry
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.tasks import (
    RowMaker,
    ShardTask,
    embedded_maker,
    plan_pieces,
    plan_split,
    source_maker,
    split_rows,
)
from multibodies.errors import UserError, nearest
from multibodies.files import sha256


@dataclass(frozen=True)
class Plan:
    """What a dataset will hold: its recipe, its shards in order, who makes their rows.

    labels: what decides the labels of each split made of files; skipped: per such split, how many
    records were left out by which rule.
    """

    recipe: Mapping[str, Any]
    tasks: tuple[ShardTask, ...]
    make: RowMaker
    pictures: PictureFormat
    labels: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the recipe."""
        return fingerprint(dict(self.recipe))

    def recipe_of(self, task: ShardTask) -> str:
        """Return the fingerprint of a shard: the recipe's, and that of its split's labels."""
        labels = self.labels.get(task.split)
        return self.fingerprint if labels is None else fingerprint(dict(self.recipe), labels)

    @property
    def rows(self) -> int:
        """Rows of all shards, good and bad."""
        return sum(task.count for task in self.tasks)


def make_plan(
    config: Config,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    source: SourceOptions | None = None,
) -> Plan:
    """Resolve splits, rows per split (at most `limit`), shards and recipe.

    `source` says where the files are, for any other `data.source` than "embedded". Raises UserError
    on an unknown split, a limit below 1, and a source that does not fit the settings or cannot be
    read.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; expected at least 1 row per split")
    recipe = {
        "schema_version": SCHEMA_VERSION,
        "data": config.data.model_dump(mode="json"),
        "limit": limit,
    }
    if config.data.source != "embedded":
        return _files_plan(config, recipe, splits, source)
    if source is not None:
        raise UserError(
            f"{source.root} is given but data.source is 'embedded'; name its set, such as "
            "--source coco"
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
    return Plan(recipe, tuple(tasks), embedded_maker(data, config.body.path), _pictures(data))


def _files_plan(
    config: Config,
    recipe: dict[str, Any],
    splits: Sequence[str] | None,
    source: SourceOptions | None,
) -> Plan:
    data = config.data
    if source is None:
        raise UserError(f"data.source is '{data.source}' but no files are given; name them: --root")
    bodies = _bodies(config.body) if data.source in registry.POSED else {}
    source = replace(source, bodies=bodies)
    importer = registry.open_importer(data.source, source)
    chosen = _chosen(data.source, source, list(importer.splits), splits)
    listings = {split: importer.listing(registry.base_split(split)) for split in chosen}
    tasks: list[ShardTask] = []
    for split, listing in listings.items():
        made = plan_pieces(split, listing.units, data.rows_per_shard, recipe["limit"])
        if not made:
            left_out = dict(listing.skipped) or "nobody"
            raise UserError(
                f"{source.root}: nobody for '{split}', left out: {left_out}; name other --splits"
            )
        tasks += made
    recipe = {**recipe, "bodies": {name: sha256(path) for name, path in bodies.items()}}
    return Plan(
        recipe,
        tuple(tasks),
        source_maker(data.source, source, data),
        _pictures(data),
        {split: dict(listing.identity) for split, listing in listings.items()},
        {split: dict(listing.skipped) for split, listing in listings.items()},
    )


def _chosen(
    name: str, source: SourceOptions, own: list[str], splits: Sequence[str] | None
) -> list[str]:
    """Return the splits to make: those asked for, or the set's own and its occluded versions."""
    if splits is None and source.root.endswith(".npz"):
        raise UserError(f"{source.root}: which split is it? Name it: --splits {own[0]}")
    chosen = [*own, *registry.AMBIGUOUS.get(name, ())] if splits is None else list(splits)
    for split in chosen:
        if registry.base_split(split) not in own:
            known = [*own, *registry.AMBIGUOUS.get(name, ())]
            raise UserError(f"unknown split '{split}'{nearest(split, known)}")
    return list(dict.fromkeys(chosen))


def _bodies(body: BodyConfig) -> dict[str, str]:
    """Return the files of the bodies that are named, by gender."""
    given = {"neutral": body.path, "male": body.male, "female": body.female}
    found = {gender: find_body(named) for gender, named in given.items() if named is not None}
    return {gender: str(path.resolve()) for gender, path in found.items()}


def _pictures(data: DataConfig) -> PictureFormat:
    return PictureFormat(data.image_size, data.image_format, data.jpeg_quality)
