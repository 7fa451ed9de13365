"""What a manifest says: the shards of a dataset's splits, their SHA-256, counts, the recipe."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from pydantic import Field, field_validator, model_validator

from multibodies.config import Section
from multibodies.errors import UserError, nearest


class Shard(Section):
    """One Parquet file of a dataset: path relative to its folder, rows, SHA-256 of its bytes."""

    path: str
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"'{path}' leads out of the dataset's folder")
        return path


class Counts(Section):
    """What became of the rows of a split: written, per way of hiding joints, quarantined."""

    rows: int = Field(ge=0)
    strategies: dict[str, int]
    quarantined: int = Field(default=0, ge=0)


class Manifest(Section):
    """A whole dataset.

    `skipped` counts source records that were never asked for, per split, such as COCO's crowds.
    """

    schema_version: int
    source: str
    seed: int
    image_size: int
    image_format: str = "raw"
    fingerprint: str
    recipe: dict[str, Any]
    columns: dict[str, Any]
    splits: dict[str, tuple[Shard, ...]]
    counts: dict[str, Counts]
    quarantine: tuple[Shard, ...] = ()
    skipped: dict[str, dict[str, int]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        paths = [shard.path for shards in self.splits.values() for shard in shards]
        if len(set(paths)) != len(paths):
            raise ValueError("a shard is listed twice, and Ray Data drops repeated paths silently")
        for split, shards in self.splits.items():
            if split not in self.counts or self.counts[split].rows != sum(s.rows for s in shards):
                raise ValueError(f"the counts of split '{split}' disagree with its shards")
        return self

    @property
    def rows(self) -> int:
        """Rows of all splits together."""
        return sum(counts.rows for counts in self.counts.values())

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return a split's shards in order. Raises UserError on a split the dataset lacks."""
        if split not in self.splits:
            raise UserError(
                f"the dataset has no split '{split}'{nearest(split, self.splits)}; prepare it first"
            )
        return self.splits[split]
