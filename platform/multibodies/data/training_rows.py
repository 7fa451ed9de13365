"""What a training reads of a dataset: verified shards of images, or of cached features, with their
labels. No Ray.

Shapes: B row, S side of the crop in pixels, F features. A dataset of images has `image` uint8
[B, S, S, 3], one of features `features` [B, F]; both have the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from multibodies.config import fingerprint
from multibodies.data.manifest import Manifest, verify
from multibodies.data.schema import rows_from_table
from multibodies.errors import UserError

LABELS = ("keypoints_2d", "joints_3d", "theta", "beta", "has_3d", "has_smpl")
FEATURES = "features"


@dataclass(frozen=True)
class Source:
    """The verified shards of one split.

    pixels: "image" or "features"; made_by: the identity of the checkpoint that made the features,
    None for images; size: bytes in memory; fingerprint: 16 hex digits of the shards' checksums.
    """

    paths: tuple[Path, ...]
    pixels: str
    rows: int
    size: int
    fingerprint: str
    made_by: str | None = None

    @property
    def columns(self) -> list[str]:
        """What is read of each row."""
        return ["image_id", self.pixels, *LABELS]


def open_source(folder: str | Path, split: str) -> Source:
    """Verify a split and describe it.

    Raises UserError naming a missing or damaged shard, an unknown split, a manifest of another
    schema version, or a split without rows.
    """
    manifest = verify(folder, [split])
    shards = [shard for shard in manifest.shards(split) if shard.rows]
    if not shards:
        raise UserError(f"{folder}: split '{split}' has no rows to train on; prepare more")
    paths = tuple(Path(folder) / shard.path for shard in shards)
    made_by = made_by_checkpoint(manifest)
    pixels = "image" if made_by is None else FEATURES
    rows = sum(shard.rows for shard in shards)
    checksums = fingerprint([shard.sha256 for shard in shards])
    return Source(paths, pixels, rows, rows * row_size(paths[0], pixels), checksums, made_by)


def made_by_checkpoint(manifest: Manifest) -> str | None:
    """Return the identity of the checkpoint that made a dataset's features; None if of images."""
    recipe = manifest.recipe.get(FEATURES)
    return None if recipe is None else str(recipe["checkpoint"])


def row_size(path: Path, pixels: str) -> int:
    """Return the bytes of one row's pixels and labels in memory.

    Raises UserError on a column that is missing.
    """
    schema = pq.read_schema(path)
    for name in ("image_id", pixels, *LABELS):
        if name not in schema.names:
            raise UserError(f"{path}: no column '{name}'; prepare the dataset again")
    return sum(_value_size(schema.field(name).type) for name in (pixels, *LABELS))


def _value_size(kind: pa.DataType) -> int:
    if isinstance(kind, pa.FixedShapeTensorType):
        return int(np.prod(kind.shape)) * int(kind.value_type.bit_width) // 8
    return max(1, int(kind.bit_width) // 8)


def read_rows(source: Source) -> dict[str, Tensor]:
    """Read a whole source into memory, in the order of `batch_of`."""
    tables = [pq.ParquetFile(path).read(columns=source.columns) for path in source.paths]
    return batch_of(rows_from_table(pa.concat_tables(tables)))


def batch_of(rows: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn NumPy columns into tensors sorted by image_id, which itself is left out.

    The order then depends on the rows alone, however a reader delivered them.
    """
    order = np.argsort(rows["image_id"], kind="stable")
    kept = {name: column for name, column in rows.items() if name != "image_id"}
    return {
        name: torch.from_numpy(np.ascontiguousarray(column[order])) for name, column in kept.items()
    }
