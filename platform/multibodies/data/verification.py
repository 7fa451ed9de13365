"""A whole dataset checked again: hashes, columns, ranges of every row; published counts beside.

Legend: B row, K joint. Memory is bounded by a row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multibodies.data.manifest import Manifest, Shard, check_shard, read_manifest
from multibodies.data.pixels import check_jpeg
from multibodies.data.schema import Array, check_schema, rows_from_table
from multibodies.data.sources.checks import LARGEST, LARGEST_BETA
from multibodies.data.validation import LABELS_AND_NAMES, row_fault
from multibodies.errors import UserError

# Rows of the same selection elsewhere, and who counted them.
PUBLISHED = {
    "3dpw-test": (35515, "SPIN's 3dpw_test.npz"),
    "a3dpw-test": (35515, "SPIN's 3dpw_test.npz"),
    "mpii3d-train": (96507, "SPIN's mpi_inf_3dhp_train.npz"),
    "lsp-train": (1000, "the set's own split"),
    "lsp-test": (1000, "the set's own split"),
}


class SplitReport(NamedTuple):
    """What was found of a split: rows, refused rows, how many know what, the published count."""

    split: str
    rows: int
    quarantined: int
    known: dict[str, int]
    published: tuple[int, str] | None


def verify_dataset(
    folder: str | Path, advance: Callable[[int], None] = lambda rows: None
) -> list[SplitReport]:
    """Check every shard of a finished dataset; `advance` hears of rows as they are done.

    Raises UserError naming the first shard that is missing, damaged or of other columns, and the
    first row whose values are not finite or out of range.
    """
    folder, manifest = Path(folder), read_manifest(folder)
    for table in manifest.quarantine:
        check_shard(folder, table)
    return [_split(folder, manifest, split, advance) for split in manifest.splits]


def _split(
    folder: Path, manifest: Manifest, split: str, advance: Callable[[int], None]
) -> SplitReport:
    known: dict[str, int] = {}
    seen: set[str] = set()
    for shard in manifest.shards(split):
        for rows in _groups(folder, shard, manifest):
            _check_rows(rows, manifest.image_size, f"{folder / shard.path}", seen)
            for name in rows:
                if name.startswith("has_"):
                    known[name] = known.get(name, 0) + int(np.sum(rows[name]))
            advance(len(rows["image_id"]))
    counts = manifest.counts[split]
    return SplitReport(split, counts.rows, counts.quarantined, known, PUBLISHED.get(split))


def _groups(folder: Path, shard: Shard, manifest: Manifest) -> Iterator[dict[str, Array]]:
    """Hash a shard, then give its row groups; JPEGs are checked by their headers."""
    check_shard(folder, shard)
    path = folder / shard.path
    try:
        file = pq.ParquetFile(path)
        check_schema(file.schema_arrow, manifest.image_size, str(path), manifest.image_format)
        for index in range(file.num_row_groups):
            table = file.read_row_group(index)
            if pa.types.is_binary(table.schema.field("image").type):
                for picture in table["image"].to_pylist():
                    check_jpeg(picture, manifest.image_size, str(path))
                table = table.drop_columns(["image"])
            yield rows_from_table(table)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path}: not a readable Parquet file ({error}); prepare the dataset again"
        ) from None


def _check_rows(rows: dict[str, Array], image_size: int, where: str, seen: set[str]) -> None:
    for index, name in enumerate(rows["image_id"].tolist()):
        columns = [column for column in LABELS_AND_NAMES if column in rows]
        fault = row_fault(rows, index, image_size, columns) or _range_fault(rows, index)
        if name in seen:
            fault = "appears twice"
        seen.add(name)
        if fault:
            raise UserError(f"{where}: row '{name}': {fault}; prepare the dataset again")


def _range_fault(rows: dict[str, Array], index: int) -> str | None:
    limits: dict[str, tuple[Any, float]] = {
        "keypoints_2d": (_visible(rows["keypoints_2d"][index]), 1.001),
        "openpose": (_visible(rows["openpose"][index]), 1.001),
        "joints_3d": (rows["joints_3d"][index][:, :3], LARGEST),
        "h36m17": (rows["h36m17"][index], LARGEST),
        "theta": (rows["theta"][index], 4 * np.pi),
        "beta": (rows["beta"][index], LARGEST_BETA),
    }
    for name, (values, bound) in limits.items():
        largest = float(np.abs(values).max()) if np.size(values) else 0.0
        if largest > bound:
            return f"{name}: {largest:.4g}, expected at most {bound:.4g}"
    return None


def _visible(points: Array) -> Array:
    """Return x, y of the joints that count; the others may lie outside the crop."""
    return np.asarray(points[points[:, 2] > 0, :2])
