"""Checks of single rows: the good ones go on, each bad one into quarantine with its reason.

Legend: B row, S crop side. One bad row never costs another: Ray Data's own tolerance drops whole
blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from multibodies.data.schema import COLUMNS, OCCLUSIONS, Array, Rows, row_count, shape_of

LABELS_AND_NAMES = tuple(COLUMNS)


class Rejection(NamedTuple):
    """A row that was refused: its index within what was asked for, its id and the reason."""

    row: int
    image_id: str
    reason: str


QUARANTINE = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
    ]
)


def validate_rows(
    rows: Rows, image_size: int
) -> tuple[dict[str, Array | Sequence[Any]], list[Rejection]]:
    """Split rows into the good ones and the refused ones with a reason each.

    Refused: wrong shape or dtype, NaN or infinity, no visible joint, a visibility that is not 0 or
    1, a crop box of zero area, an unknown occlusion, an empty id. Raises UserError when the columns
    themselves are wrong.
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


def row_fault(
    rows: Rows, index: int, image_size: int, columns: Iterable[str] = LABELS_AND_NAMES
) -> str | None:
    """Return why row `index` must be refused, judged by some columns, or None."""
    tensors = (name for name in columns if COLUMNS[name].dtype != "str")
    for name in tensors:
        if fault := _tensor_fault(rows[name][index], name, image_size):
            return fault
    faults = (check(rows, index) for check in ROW_CHECKS)
    return next((fault for fault in faults if fault), None)


def _tensor_fault(value: Any, name: str, image_size: int) -> str | None:
    if name == "image" and isinstance(value, bytes):  # a JPEG, which we have just made
        return None
    array, shape, dtype = (
        np.asarray(value),
        shape_of(name, image_size),
        np.dtype(COLUMNS[name].dtype),
    )
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
    if not rows["has_2d"][index]:  # as in SPIN's file of 3DPW, which has bodies and no keypoints
        return None
    return None if visible.any() else "keypoints_2d: no visible joint"


def _box_fault(rows: Rows, index: int) -> str | None:
    x0, y0, x1, y1 = (float(value) for value in rows["crop"][index])
    return None if x1 > x0 and y1 > y0 else f"crop: zero-area box ({x0:g}, {y0:g}, {x1:g}, {y1:g})"


def _name_fault(rows: Rows, index: int) -> str | None:
    if not str(rows["image_id"][index]):
        return "image_id: empty"
    occlusion = str(rows["occlusion"][index])
    return None if occlusion in OCCLUSIONS else f"occlusion: unknown strategy '{occlusion}'"


ROW_CHECKS: tuple[Callable[[Rows, int], str | None], ...] = (
    _visibility_fault,
    _box_fault,
    _name_fault,
)


def quarantine_table(rejections: Iterable[Rejection], split: str) -> pa.Table:
    """Return the refused rows as a table: image_id, split, row (index within the split), reason."""
    refused = [
        {"image_id": r.image_id, "split": split, "row": r.row, "reason": r.reason}
        for r in rejections
    ]
    return pa.Table.from_pylist(refused, schema=QUARANTINE)
