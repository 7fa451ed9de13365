"""Stored hypotheses: one Parquet row per image with all M bodies as native fixed-shape tensors.

Shapes: B image, M hypothesis, K joint (24 of j24, 14 of H36M). Metres; [-1, 1] across the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from multibodies.errors import UserError
from multibodies.files import atomic

F32 = npt.NDArray[np.float32]
VERSION = "1"
FLAT = 1e-6  # sine of the angle below which float32 columns have lost their plane
SHAPES: dict[str, tuple[int, ...]] = {
    "rotation_6d": (24, 6),
    "beta": (10,),
    "camera": (3,),
    "joints_j24": (24, 3),
    "joints_h36m14": (14, 3),
    "keypoints_2d_pred": (24, 2),
    "log_density": (),
}
UNITS = {
    "rotation_6d": "first two columns of 24 rotations, interleaved as SPIN's; root in the camera",
    "beta": "standard deviations",
    "camera": "weak perspective s, tx, ty",
    "joints_j24": "metres, camera frame (x right, y down, z forward), mid-hip at 0",
    "joints_h36m14": "metres, camera frame, H36M's pelvis at 0",
    "keypoints_2d_pred": "x, y, [-1, 1] across the crop",
    "log_density": "the prior's log p of the skeleton with identity root, nats",
}


@dataclass(frozen=True)
class StoredHypotheses:
    """M hypotheses of each of B images; every array [B, M, ...] with the trailing shape of SHAPES,
    float32.
    """

    image_id: tuple[str, ...]
    rotation_6d: F32
    beta: F32
    camera: F32
    joints_j24: F32
    joints_h36m14: F32
    keypoints_2d_pred: F32
    log_density: F32

    @property
    def num_hypotheses(self) -> int:
        """M."""
        return int(self.log_density.shape[1])

    def __len__(self) -> int:
        return len(self.image_id)

    def arrays(self) -> dict[str, F32]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in SHAPES}

    def rows(self, index: Sequence[int]) -> StoredHypotheses:
        """Return some images, in the given order."""
        picked: dict[str, Any] = {name: array[list(index)] for name, array in self.arrays().items()}
        return StoredHypotheses(tuple(self.image_id[i] for i in index), **picked)

    def with_log_density(self, log_density: F32) -> StoredHypotheses:
        """Return the same bodies under another prior's log-density [B, M]."""
        return replace(self, log_density=log_density)


def check_hypotheses(stored: StoredHypotheses, where: str | Path) -> StoredHypotheses:
    """Return `stored` if shapes agree, ids are unique, all numbers are finite and all rotations
    are some; else UserError naming `where`.
    """
    expected = (len(stored), stored.log_density.shape[-1])
    for name, array in stored.arrays().items():
        if array.shape != (*expected, *SHAPES[name]):
            raise UserError(
                f"{where}: '{name}' has shape {array.shape}, expected {(*expected, *SHAPES[name])}"
            )
        bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        if bad.any():
            image_id = stored.image_id[int(bad.argmax())]
            raise UserError(
                f"{where}: '{name}' of image '{image_id}' is not finite; "
                "infer again from a sound checkpoint"
            )
    flat = _no_rotation(stored.rotation_6d)
    if flat.any():
        image_id = stored.image_id[int(flat.argmax())]
        raise UserError(
            f"{where}: 'rotation_6d' of image '{image_id}' is no rotation: two columns of a joint "
            "are parallel or zero; infer again from a sound checkpoint"
        )
    twice = first_twin(stored.image_id)
    if twice is not None:
        raise UserError(f"{where}: image '{twice}' appears twice; infer again")
    return stored


def _no_rotation(rotation_6d: F32) -> npt.NDArray[np.bool_]:
    """Say of each image [B] whether some pair of columns [B, M, 24, 6] spans no plane."""
    first, second = rotation_6d[..., 0::2], rotation_6d[..., 1::2]
    area = np.linalg.norm(np.cross(first, second), axis=-1)
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    flat: npt.NDArray[np.bool_] = (area <= FLAT * lengths).any(axis=(1, 2))
    return flat


def first_twin(names: Sequence[str]) -> str | None:
    """Return the first name that appeared before, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def hypotheses_schema(num_hypotheses: int) -> pa.Schema:
    """Return the Arrow schema for M hypotheses; each field's metadata tells its unit."""
    columns = [pa.field("image_id", pa.string(), nullable=False)]
    for name, shape in SHAPES.items():
        kind = pa.fixed_shape_tensor(pa.float32(), (num_hypotheses, *shape))
        columns.append(pa.field(name, kind, nullable=False, metadata={"unit": UNITS[name]}))
    return pa.schema(columns, {"multibodies.hypotheses": VERSION})


def write_hypotheses(path: str | Path, stored: StoredHypotheses) -> None:
    """Write one Parquet file atomically.

    Raises UserError on bad numbers (`check_hypotheses`) or a full disk.
    """
    check_hypotheses(stored, path)
    columns: list[pa.Array] = [pa.array(stored.image_id, pa.string())]
    for array in stored.arrays().values():
        contiguous = np.ascontiguousarray(array, dtype=np.float32)
        columns.append(pa.FixedShapeTensorArray.from_numpy_ndarray(contiguous))
    schema = hypotheses_schema(stored.num_hypotheses)
    with atomic(path) as temporary:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), temporary, compression="zstd")


def read_hypotheses(path: str | Path) -> StoredHypotheses:
    """Read and check one file.

    Raises UserError naming what is missing, of another version, damaged or not finite.
    """
    try:
        # ParquetFile, not read_table: the latter looks for partition keys in the path.
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; infer first") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: not a readable Parquet file ({_first_line(error)}); infer again"
        ) from None
    version = (table.schema.metadata or {}).get(b"multibodies.hypotheses", b"none").decode()
    if version != VERSION:
        raise UserError(
            f"{path}: hypotheses of schema version {version}, expected {VERSION}; infer again"
        )
    missing = [f.name for f in fields(StoredHypotheses) if f.name not in table.column_names]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; infer again")
    ids = tuple(table["image_id"].to_pylist())
    arrays: dict[str, Any] = {name: _tensor(table, name, path) for name in SHAPES}
    return check_hypotheses(StoredHypotheses(ids, **arrays), path)


def _tensor(table: pa.Table, name: str, path: str | Path) -> F32:
    column = table[name].combine_chunks()
    if not isinstance(column, pa.FixedShapeTensorArray):
        raise UserError(
            f"{path}: column '{name}' is {column.type}, expected a fixed-shape tensor; infer again"
        )
    return np.array(column.to_numpy_ndarray(), dtype=np.float32)  # writable, for torch.from_numpy


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
