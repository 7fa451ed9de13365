"""Parquet shards of a dataset: whole or absent, read back as NumPy arrays. Plain pyarrow, no Ray.

Legend: B row, S crop side. pyarrow reads a small split faster than a cluster starts; large ones go
through Ray Data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from multibodies.data.manifest import Manifest, Shard, check_shard, read_manifest
from multibodies.data.schema import COLUMNS, Array, arrow_schema, check_schema, rows_from_table
from multibodies.errors import UserError, nearest
from multibodies.files import atomic, sha256

ROW_GROUP = 256  # rows that a streaming reader holds at a time: 3 MB of 64 px crops


def shard_name(split: str, index: int) -> str:
    """Return a shard's path within its dataset: ``lab-train/part-00003.parquet``."""
    return f"{split}/part-{index:05d}.parquet"


def write_shard(folder: Path, name: str, table: pa.Table) -> Shard:
    """Write one Parquet file by temporary file, fsync and rename.

    The same table gives the same bytes. Raises UserError when the disk refuses (full, read-only);
    nothing half-written stays.
    """
    path = folder / name
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)
    return Shard(path=name, rows=table.num_rows, sha256=sha256(path))


def shard_paths(folder: str | Path, split: str) -> list[Path]:
    """Return the paths of a split's shards that have rows, in order.

    Raises UserError on an unknown split.
    """
    return [
        Path(folder) / shard.path for shard in read_manifest(folder).shards(split) if shard.rows
    ]


def read_table(folder: str | Path, split: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a split, all columns or some, after checking each shard's SHA-256 and columns.

    Raises UserError naming a damaged or missing shard, an unknown split or an unknown column.
    """
    for name in columns or ():
        if name not in COLUMNS:
            raise UserError(f"unknown column '{name}'{nearest(name, COLUMNS)}")
    folder, manifest = Path(folder), read_manifest(folder)
    wanted = list(COLUMNS if columns is None else columns)
    tables = [_read_shard(folder, shard, wanted, manifest) for shard in manifest.shards(split)]
    if tables:
        return pa.concat_tables(tables)
    return arrow_schema(manifest.image_size, manifest.image_format).empty_table().select(wanted)


def read_first(
    folder: str | Path, split: str, columns: Sequence[str] | None = None
) -> dict[str, Array]:
    """Read the first shard that has rows, of a split that may be large. Raises as `read_table`."""
    folder, manifest = Path(folder), read_manifest(folder)
    shard = next((shard for shard in manifest.shards(split) if shard.rows), None)
    if shard is None:
        raise UserError(f"{folder}: split '{split}' has no rows")
    wanted = list(COLUMNS if columns is None else columns)
    return rows_from_table(_read_shard(folder, shard, wanted, manifest))


def read_split(
    folder: str | Path, split: str, columns: Sequence[str] | None = None
) -> dict[str, Array]:
    """Read a split as writable arrays of B rows, ready for ``torch.from_numpy``.

    Raises as `read_table`.
    """
    return rows_from_table(read_table(folder, split, columns))


def _read_shard(folder: Path, shard: Shard, columns: list[str], manifest: Manifest) -> pa.Table:
    check_shard(folder, shard)
    path = folder / shard.path
    try:
        schema = pq.read_schema(path)
        check_schema(schema, manifest.image_size, str(path), manifest.image_format)
        # ParquetFile, not read_table: the latter looks for partition keys in the path.
        return pq.ParquetFile(path).read(columns=columns).select(columns)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path}: not a readable Parquet file ({error}); prepare the dataset again"
        ) from None
