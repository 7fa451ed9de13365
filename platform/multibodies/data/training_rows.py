"""What a training reads of a dataset: verified shards of images, or of cached features, with their
labels. No Ray.

Shapes: B row, S side of the crop in pixels, L side of the stored picture, F features. A dataset of
images has `image` uint8 [B, S, S, 3], or [B, L, L, 3] for a training that augments, one of features
`features` [B, F]; both have the labels. Where a row has no keypoints, none of them is visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from multibodies.config import MixConfig, fingerprint
from multibodies.data.manifest import Manifest, read_manifest, verify
from multibodies.data.mix import MIX_TRAIN, TRAIN, shares_of
from multibodies.data.pixels import central, decode_jpeg, decode_jpegs
from multibodies.data.row_keys import KEY, keys_of
from multibodies.data.schema import rows_from_table
from multibodies.errors import UserError

LABELS = ("keypoints_2d", "joints_3d", "theta", "beta", "has_3d", "has_smpl")
FEATURES = "features"


@dataclass(frozen=True)
class Part:
    """The verified shards of one split, and the share of a batch's rows, of 1, that it gives."""

    name: str
    paths: tuple[Path, ...]
    rows: int
    share: float = 1.0


@dataclass(frozen=True)
class Source:
    """The verified shards that a training reads: of one split, or of several that it mixes.

    pixels: "image" or "features"; size: bytes in memory; fingerprint: 16 hex digits of the shards'
    checksums; made_by: the identity of the checkpoint that made the features, None for images;
    image_size: side of the crops; whole: whether pictures keep what is stored around the crop;
    keyed: whether batches have a column `key`, int64, that names each row.
    """

    parts: tuple[Part, ...]
    pixels: str
    size: int
    fingerprint: str
    made_by: str | None = None
    image_size: int = 0
    whole: bool = False
    keyed: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The shards of all parts."""
        return tuple(path for part in self.parts for path in part.paths)

    @property
    def rows(self) -> int:
        """Rows of all parts together."""
        return sum(part.rows for part in self.parts)

    @property
    def columns(self) -> list[str]:
        """What is read of each row."""
        return ["image_id", self.pixels, *LABELS]


def open_source(
    folder: str | Path, split: str, mix: MixConfig | None = None, *, whole: bool = False
) -> Source:
    """Verify a split and describe it; `mix-train` is all training splits, with the mix's shares.

    Raises UserError naming a missing or damaged shard, an unknown split, a manifest of another
    schema version, a split without rows, or sets whose pictures are stored at several sizes.
    """
    if split != MIX_TRAIN:
        return open_splits(folder, {split: 1.0}, whole=whole)
    manifest = read_manifest(folder)
    rows = {name: counts.rows for name, counts in manifest.counts.items() if name.endswith(TRAIN)}
    if not rows:
        raise UserError(f"{folder}: no training split to mix; prepare one, such as 'h36m-train'")
    return open_splits(folder, shares_of(rows, mix or MixConfig()), whole=whole)


def open_splits(folder: str | Path, shares: Mapping[str, float], *, whole: bool = False) -> Source:
    """Verify several splits and describe them, each with its share. Raises as `open_source`."""
    manifest = verify(folder, shares)
    made_by = made_by_checkpoint(manifest)
    pixels = "image" if made_by is None else FEATURES
    parts, checksums, sizes = [], [], {}
    for split, share in shares.items():
        shards = [shard for shard in manifest.shards(split) if shard.rows]
        if not shards:
            raise UserError(f"{folder}: split '{split}' has no rows to train on; prepare more")
        paths = tuple(Path(folder) / shard.path for shard in shards)
        parts.append(Part(split, paths, sum(shard.rows for shard in shards), share))
        checksums.append([shard.sha256 for shard in shards])
        sizes[split] = row_size(paths[0], pixels, None if whole else manifest.image_size)
    if len(set(sizes.values())) > 1:
        raise UserError(
            f"{folder}: a row's bytes differ, {sizes}: pictures stored at several sizes cannot be "
            "augmented in one batch; prepare all with the same data.context"
        )
    size = sum(part.rows * sizes[part.name] for part in parts)
    identity = fingerprint(checksums[0] if len(checksums) == 1 else checksums)
    return Source(tuple(parts), pixels, size, identity, made_by, manifest.image_size, whole)


def made_by_checkpoint(manifest: Manifest) -> str | None:
    """Return the identity of the checkpoint that made a dataset's features; None if of images."""
    recipe = manifest.recipe.get(FEATURES)
    return None if recipe is None else str(recipe["checkpoint"])


def row_size(path: Path, pixels: str, side: int | None = None) -> int:
    """Return the bytes of one row's pixels and labels in memory, a JPEG decoded to `side` pixels,
    or, with None, to all that it shows.

    Raises UserError on a column that is missing.
    """
    schema = pq.read_schema(path)
    for name in ("image_id", pixels, *LABELS):
        if name not in schema.names:
            raise UserError(f"{path}: no column '{name}'; prepare the dataset again")
    kinds = [schema.field(name).type for name in (pixels, *LABELS)]
    if not pa.types.is_binary(kinds[0]):
        return sum(map(_value_size, kinds))
    return 3 * (side or _stored_side(path)) ** 2 + sum(map(_value_size, kinds[1:]))


def _stored_side(path: Path) -> int:
    first = next(pq.ParquetFile(path).iter_batches(batch_size=1, columns=["image"]))
    return len(decode_jpeg(first.column(0)[0].as_py()))


def _value_size(kind: pa.DataType) -> int:
    if isinstance(kind, pa.FixedShapeTensorType):
        return int(np.prod(kind.shape)) * int(kind.value_type.bit_width) // 8
    return max(1, int(kind.bit_width) // 8)


def read_rows(source: Source) -> dict[str, Tensor]:
    """Read a whole source into memory, in the order of `batch_of`."""
    return read_paths(source, source.paths)


def read_paths(source: Source, paths: Iterable[Path]) -> dict[str, Tensor]:
    """Read some of a source's shards into memory, in the order of `batch_of`, JPEGs decoded."""
    tables = [pq.ParquetFile(path).read(columns=source.columns) for path in paths]
    rows = rows_from_table(pa.concat_tables(tables), whole=source.whole)
    return batch_of(rows, keyed=source.keyed)


def decoded(rows: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return NumPy columns with JPEGs as pictures; what is no JPEG stays as it is.

    Raises UserError on a damaged JPEG.
    """
    images = rows.get("image")
    if images is None or images.dtype != object:
        return dict(rows)
    pictures = decode_jpegs(list(images))
    return {**rows, "image": pictures if source.whole else central(pictures, source.image_size)}


def batch_of(rows: Mapping[str, Any], *, keyed: bool = False) -> dict[str, Tensor]:
    """Turn NumPy columns into tensors sorted by image_id, which itself is left out, or, `keyed`,
    becomes the column `key`.

    The order then depends on the rows alone, however a reader delivered them.
    """
    order = np.argsort(rows["image_id"], kind="stable")
    kept = {name: column for name, column in rows.items() if name != "image_id"}
    kept |= {KEY: keys_of(rows["image_id"])} if keyed else {}
    return {
        name: torch.from_numpy(np.ascontiguousarray(column[order])) for name, column in kept.items()
    }
