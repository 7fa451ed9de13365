"""The one row schema of every dataset: names, shapes, units and frames; checks of single rows.

Legend: B row (image), S side of the square crop in pixels, K = 24 joints (J24).
Frames: *camera* is x right, y down, z forward, in metres; *ndc* is the crop from -1 to 1, x right, y down, edges at
-1 and 1. Tensor columns are Arrow's native fixed-shape tensors, so shapes survive in any Arrow reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from multibodies.errors import UserError, nearest

SCHEMA_VERSION = 1
OCCLUSIONS = ("none", "arms_head", "legs", "head")
SIDE = -1  # stands for S in `Column.shape`

Array = npt.NDArray[Any]
Rows = Mapping[str, Array | Sequence[Any]]


class Column(NamedTuple):
    """One column: dtype of an element (a NumPy name, or "str"), shape of a row's value, unit and frame."""

    dtype: str
    shape: tuple[int, ...] = ()
    unit: str = ""
    frame: str = ""


class Rejection(NamedTuple):
    """A row that was refused: its index within what was asked for, its id and the reason."""

    row: int
    image_id: str
    reason: str


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
    "joints_3d": Column("float32", (24, 4), "metres; last is confidence 0/1", "camera, mid-hip centred"),
    "h36m17": Column("float32", (17, 3), "metres", "camera, joint 0 centred"),
    "theta": Column("float32", (24, 3), "radians, axis-angle", "root in camera, others in parent"),
    "beta": Column("float32", (10,), "shape coefficients"),
    "camera": Column("float32", (3,), "scale, x, y of the weak-perspective camera", "crop"),
    "has_3d": Column("bool"),
    "has_smpl": Column("bool"),
    "occlusion": Column("str", unit="|".join(OCCLUSIONS)),
    "crop": Column("float32", (4,), "x0, y0, x1, y1", "source pixels, or ndc of the uncropped frame"),
    "source": Column("str"),
}
QUARANTINE = pa.schema(
    [("image_id", pa.string()), ("split", pa.string()), ("row", pa.int64()), ("reason", pa.string())]
)


def shape_of(name: str, image_size: int) -> tuple[int, ...]:
    """Return the shape of one row's value of column `name` for crops of side `image_size`."""
    return tuple(image_size if side == SIDE else side for side in COLUMNS[name].shape)


def arrow_schema(image_size: int) -> pa.Schema:
    """Return the Arrow schema; each field's metadata gives unit, frame and shape."""
    fields = []
    for name, column in COLUMNS.items():
        shape = shape_of(name, image_size)
        kind = pa.string() if column.dtype == "str" else pa.from_numpy_dtype(np.dtype(column.dtype))
        described = {"unit": column.unit, "frame": column.frame, "shape": "x".join(map(str, shape))}
        kind = pa.fixed_shape_tensor(kind, shape) if shape else kind
        fields.append(pa.field(name, kind, nullable=False, metadata={k: v for k, v in described.items() if v}))
    return pa.schema(fields, metadata={"multibodies.schema_version": str(SCHEMA_VERSION)})


def described_columns(image_size: int) -> dict[str, dict[str, Any]]:
    """Return the columns as plain JSON: dtype, shape, unit, frame."""
    return {
        name: {"dtype": c.dtype, "shape": list(shape_of(name, image_size)), "unit": c.unit, "frame": c.frame}
        for name, c in COLUMNS.items()
    }


def row_count(rows: Rows) -> int:
    """Return how many rows there are. Raises UserError on a missing or unknown column and on unequal lengths."""
    for name in COLUMNS:
        if name not in rows:
            raise UserError(f"rows lack the column '{name}'; schema {SCHEMA_VERSION} needs {', '.join(COLUMNS)}")
    for name in rows:
        if name not in COLUMNS:
            raise UserError(f"rows have an unknown column '{name}'{nearest(name, COLUMNS)}")
    lengths = {name: len(values) for name, values in rows.items()}
    if len(set(lengths.values())) != 1:
        raise UserError(f"columns have different numbers of rows: {lengths}")
    return lengths["image_id"]


def table_from_rows(rows: Rows, image_size: int) -> pa.Table:
    """Turn columns of B rows into an Arrow table of the schema.

    Raises UserError on missing, unknown or unequally long columns and on a value of another shape.
    """
    count = row_count(rows)
    schema = arrow_schema(image_size)
    return pa.table([_arrow_column(rows[f.name], f, count, image_size) for f in schema], schema=schema)


def _arrow_column(values: Array | Sequence[Any], field: pa.Field, count: int, image_size: int) -> pa.Array:
    column, shape = COLUMNS[field.name], shape_of(field.name, image_size)
    if column.dtype == "str":
        return pa.array([str(value) for value in values], pa.string())
    array = np.ascontiguousarray(values, dtype=column.dtype) if count else np.zeros((0, *shape), column.dtype)
    if array.shape != (count, *shape):
        raise UserError(f"{field.name}: shape {array.shape}, expected {(count, *shape)}")
    if not shape:
        return pa.array(array)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), int(np.prod(shape)))
    return pa.ExtensionArray.from_storage(field.type, flat)


def rows_from_table(table: pa.Table) -> dict[str, Array]:
    """Turn an Arrow table (all columns of the schema, or some) into writable NumPy arrays of B rows."""
    return {name: _numpy_column(table.column(name)) for name in table.column_names}


def _numpy_column(column: pa.ChunkedArray) -> Array:
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), dtype=np.str_)
    if isinstance(column.type, pa.FixedShapeTensorType):
        shape, kind = tuple(column.type.shape), column.type.value_type.to_pandas_dtype()
        parts = [chunk.to_numpy_ndarray() for chunk in column.chunks if len(chunk)]
        return np.concatenate(parts) if parts else np.zeros((0, *shape), kind)
    return np.array(column.to_numpy())


def check_schema(schema: pa.Schema, image_size: int, where: str) -> None:
    """Raise UserError unless `schema` has exactly our columns and types; `where` names the file."""
    wanted = {field.name: field.type for field in arrow_schema(image_size)}
    found = {field.name: field.type for field in schema}
    for name, kind in wanted.items():
        if found.get(name) != kind:
            has = found.get(name, "missing")
            raise UserError(f"{where}: column '{name}' is {has}, expected {kind}; prepare the dataset again")


def validate_rows(rows: Rows, image_size: int) -> tuple[dict[str, Array | Sequence[Any]], list[Rejection]]:
    """Split rows into the good ones and the refused ones with a reason each; one bad row never costs another.

    Refused: wrong shape or dtype, NaN or infinity, no visible joint, a visibility that is not 0 or 1, a crop box of
    zero area, an unknown occlusion, an empty id. Raises UserError when the columns themselves are wrong.
    """
    reasons = [row_fault(rows, index, image_size) for index in range(row_count(rows))]
    keep = [index for index, reason in enumerate(reasons) if reason is None]
    bad = [
        Rejection(index, str(rows["image_id"][index]), reason)
        for index, reason in enumerate(reasons)
        if reason is not None
    ]
    return take_rows(rows, keep), bad


def take_rows(rows: Rows, keep: Sequence[int]) -> dict[str, Array | Sequence[Any]]:
    """Return the rows of the given indices."""
    return {
        name: values[list(keep)] if isinstance(values, np.ndarray) else [values[i] for i in keep]
        for name, values in rows.items()
    }


def row_fault(rows: Rows, index: int, image_size: int) -> str | None:
    """Return why row `index` must be refused, or None."""
    for name, column in COLUMNS.items():
        if column.dtype != "str" and (fault := _tensor_fault(rows[name][index], name, image_size)):
            return fault
    faults = (check(rows, index) for check in ROW_CHECKS)
    return next((fault for fault in faults if fault), None)


def _tensor_fault(value: Any, name: str, image_size: int) -> str | None:
    array, shape, dtype = np.asarray(value), shape_of(name, image_size), np.dtype(COLUMNS[name].dtype)
    if array.shape != shape:
        return f"{name}: shape {array.shape}, expected {shape}"
    if array.dtype.kind != dtype.kind:
        return f"{name}: dtype {array.dtype}, expected {dtype}"
    if dtype.kind == "f" and not np.isfinite(array).all():
        return f"{name}: NaN or infinite value"
    return None


def _visibility_fault(rows: Rows, index: int) -> str | None:
    visible = np.asarray(rows["keypoints_2d"][index])[:, 2]
    if not np.isin(visible, (0, 1)).all():
        return "keypoints_2d: visibility must be 0 or 1"
    return None if visible.any() else "keypoints_2d: no visible joint"


def _box_fault(rows: Rows, index: int) -> str | None:
    x0, y0, x1, y1 = (float(value) for value in rows["crop"][index])
    return None if x1 > x0 and y1 > y0 else f"crop: zero-area box ({x0:g}, {y0:g}, {x1:g}, {y1:g})"


def _name_fault(rows: Rows, index: int) -> str | None:
    if not str(rows["image_id"][index]):
        return "image_id: empty"
    occlusion = str(rows["occlusion"][index])
    return None if occlusion in OCCLUSIONS else f"occlusion: unknown strategy '{occlusion}'"


ROW_CHECKS: tuple[Callable[[Rows, int], str | None], ...] = (_visibility_fault, _box_fault, _name_fault)


def quarantine_table(rejections: Iterable[Rejection], split: str) -> pa.Table:
    """Return the refused rows as a table: image_id, split, row (index within the split), reason."""
    refused = [{"image_id": r.image_id, "split": split, "row": r.row, "reason": r.reason} for r in rejections]
    return pa.Table.from_pylist(refused, schema=QUARANTINE)
