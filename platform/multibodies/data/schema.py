"""The one row schema of every dataset: names, shapes, units and frames.

Legend: B row (image), S side of the square crop in pixels, K = 24 joints (J24). Frames: *camera* is
x right, y down, z forward, in metres; *ndc* is the crop from -1 to 1, x right, y down, edges at -1
and 1. Tensor columns are Arrow's native fixed-shape tensors, so shapes survive in any Arrow reader.
Pictures are such tensors, or JPEG; a JPEG may show more than the crop, which is then its central
S x S pixels: room for a training that turns and scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from multibodies.data.pixels import central, decode_jpegs
from multibodies.errors import UserError, nearest

SCHEMA_VERSION = 2
RAW, JPEG = "raw", "jpeg"
SIDE_OF_CROP = "side_of_crop"  # in the metadata of a column of JPEGs
OCCLUSIONS = ("none", "arms_head", "legs", "head")
SIDE = -1  # stands for S in `Column.shape`

Array = npt.NDArray[Any]
Rows = Mapping[str, Array | Sequence[Any]]


class Column(NamedTuple):
    """One column: NumPy name of an element's dtype (or "str"), shape of a value, unit, frame."""

    dtype: str
    shape: tuple[int, ...] = ()
    unit: str = ""
    frame: str = ""


COLUMNS: dict[str, Column] = {
    "image_id": Column("str"),
    "dataset": Column("str"),
    "split": Column("str"),
    "subject": Column("str"),
    "sequence": Column("str"),
    "frame": Column("int32"),
    "gender": Column("str"),
    "image": Column("uint8", (SIDE, SIDE, 3), "RGB 0..255", "crop"),
    "keypoints_2d": Column("float32", (24, 3), "x, y, visible 0/1", "ndc"),
    "openpose": Column("float32", (25, 3), "x, y, confidence 0..1", "ndc"),
    "joints_3d": Column(
        "float32", (24, 4), "metres; last is confidence 0/1", "camera, mid-hip centred"
    ),
    "h36m17": Column("float32", (17, 3), "metres", "camera, joint 0 centred"),
    "theta": Column("float32", (24, 3), "radians, axis-angle", "root in camera, others in parent"),
    "beta": Column("float32", (10,), "shape coefficients"),
    "camera": Column("float32", (3,), "scale, x, y of the weak-perspective camera", "crop"),
    "has_2d": Column("bool", unit="keypoints_2d are known"),
    "has_3d": Column("bool", unit="joints_3d are known"),
    "has_h36m17": Column("bool", unit="h36m17 are known"),
    "has_smpl": Column("bool", unit="theta and beta are known"),
    "occlusion": Column("str", unit="|".join(OCCLUSIONS)),
    "crop": Column(
        "float32", (4,), "x0, y0, x1, y1", "source pixels, or ndc of the uncropped frame"
    ),
    "source": Column("str"),
}


def shape_of(name: str, image_size: int) -> tuple[int, ...]:
    """Return the shape of one row's value of column `name` for crops of side `image_size`."""
    return tuple(image_size if side == SIDE else side for side in COLUMNS[name].shape)


def arrow_schema(image_size: int, image_format: str = RAW) -> pa.Schema:
    """Return the Arrow schema; each field's metadata gives unit, frame and shape."""
    fields = []
    for name, described in described_columns(image_size, image_format).items():
        texts = {**described, "shape": "x".join(map(str, described["shape"]))}
        texts |= {SIDE_OF_CROP: str(image_size)} if texts.pop("dtype") == JPEG else {}
        kind = _arrow_type(described["dtype"], tuple(described["shape"]))
        fields.append(
            pa.field(name, kind, nullable=False, metadata={k: v for k, v in texts.items() if v})
        )
    return pa.schema(fields, metadata={"multibodies.schema_version": str(SCHEMA_VERSION)})


def _arrow_type(dtype: str, shape: tuple[int, ...]) -> pa.DataType:
    if dtype in ("str", JPEG):
        return pa.string() if dtype == "str" else pa.binary()
    kind = pa.from_numpy_dtype(np.dtype(dtype))
    return pa.fixed_shape_tensor(kind, shape) if shape else kind


def described_columns(image_size: int, image_format: str = RAW) -> dict[str, dict[str, Any]]:
    """Return the columns as plain JSON: dtype, shape, unit, frame."""
    columns = {
        name: {
            "dtype": c.dtype,
            "shape": list(shape_of(name, image_size)),
            "unit": c.unit,
            "frame": c.frame,
        }
        for name, c in COLUMNS.items()
    }
    if image_format == JPEG:
        side = f"{image_size} x {image_size} pixels"
        columns["image"] |= {"dtype": JPEG, "shape": [], "frame": f"crop: the central {side}"}
    return columns


def row_count(rows: Rows) -> int:
    """Return how many rows there are.

    Raises UserError on a missing or unknown column and on unequal lengths.
    """
    for name in COLUMNS:
        if name not in rows:
            raise UserError(
                f"rows lack the column '{name}'; schema {SCHEMA_VERSION} needs {', '.join(COLUMNS)}"
            )
    for name in rows:
        if name not in COLUMNS:
            raise UserError(f"rows have an unknown column '{name}'{nearest(name, COLUMNS)}")
    lengths = {name: len(values) for name, values in rows.items()}
    if len(set(lengths.values())) != 1:
        raise UserError(f"columns have different numbers of rows: {lengths}")
    return lengths["image_id"]


def table_from_rows(rows: Rows, image_size: int, image_format: str = RAW) -> pa.Table:
    """Turn columns of B rows into an Arrow table of the schema; JPEGs are given as bytes.

    Raises UserError on missing, unknown or unequally long columns and on a value of another shape.
    """
    count = row_count(rows)
    schema = arrow_schema(image_size, image_format)
    return pa.table(
        [_arrow_column(rows[f.name], f, count, image_size) for f in schema], schema=schema
    )


def _arrow_column(
    values: Array | Sequence[Any], field: pa.Field, count: int, image_size: int
) -> pa.Array:
    column, shape = COLUMNS[field.name], shape_of(field.name, image_size)
    if column.dtype == "str":
        return pa.array([str(value) for value in values], pa.string())
    if pa.types.is_binary(field.type):
        return pa.array([bytes(value) for value in values], pa.binary())
    array = (
        np.ascontiguousarray(values, dtype=column.dtype)
        if count
        else np.zeros((0, *shape), column.dtype)
    )
    if array.shape != (count, *shape):
        raise UserError(f"{field.name}: shape {array.shape}, expected {(count, *shape)}")
    if not shape:
        return pa.array(array)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), int(np.prod(shape)))
    return pa.ExtensionArray.from_storage(field.type, flat)


def rows_from_table(table: pa.Table, *, whole: bool = False) -> dict[str, Array]:
    """Turn an Arrow table, with all columns or some, into writable arrays of B rows.

    JPEGs are decoded, and cut to the crop unless `whole`. Raises UserError on a damaged one.
    """
    return {
        name: _pictures(table, name, whole)
        if pa.types.is_binary(table.schema.field(name).type)
        else _numpy_column(table.column(name))
        for name in table.column_names
    }


def _pictures(table: pa.Table, name: str, whole: bool) -> Array:
    pictures = decode_jpegs(table.column(name).to_pylist())
    if whole or not len(pictures):
        return pictures
    return central(pictures, int(table.schema.field(name).metadata[SIDE_OF_CROP.encode()]))


def _numpy_column(column: pa.ChunkedArray) -> Array:
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    if isinstance(column.type, pa.FixedShapeTensorType):
        shape, kind = tuple(column.type.shape), column.type.value_type.to_pandas_dtype()
        parts = [chunk.to_numpy_ndarray() for chunk in column.chunks if len(chunk)]
        return np.concatenate(parts) if parts else np.zeros((0, *shape), kind)
    return np.array(column.to_numpy())


def check_schema(schema: pa.Schema, image_size: int, where: str, image_format: str = RAW) -> None:
    """Raise UserError unless `schema` has exactly our columns and types; `where` names the file."""
    wanted = {field.name: field.type for field in arrow_schema(image_size, image_format)}
    found = {field.name: field.type for field in schema}
    for name, kind in wanted.items():
        if found.get(name) != kind:
            has = found.get(name, "missing")
            raise UserError(
                f"{where}: column '{name}' is {has}, expected {kind}; prepare the dataset again"
            )
