"""MPII as the stacked hourglass networks had it, `train.h5`, which SPIN reads.

Legend: N person, K = 16 joints in MPII's order. MATLAB's pixels, as they are in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from multibodies.errors import UserError

WHAT = "MPII's train.h5: center (N, 2), imgname (N), part (N, 16, 2), scale (N)"
SHAPES = {"center": (2,), "part": (16, 2), "scale": ()}
LARGEST = 10**6  # persons; the released file has 22,246
LONGEST = 256  # letters of a picture's name


def read_h5(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return names [N], parts [N, 16, 2] (0, 0 where absent), centres [N, 2], scales [N].

    Shapes are checked before anything is read. Raises UserError naming the dataset.
    """
    try:
        with h5py.File(path, "r") as file:
            tables = {name: _dataset(file, name, path) for name in ("imgname", *SHAPES)}
            count = len(tables["imgname"])
            for name, shape in SHAPES.items():
                _check(tables[name], (count, *shape), f"{path}: '{name}'")
            values = {name: np.asarray(tables[name], np.float64) for name in SHAPES}
            names = _names(tables["imgname"], f"{path}: 'imgname'")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: damaged, or no HDF5 file ({error}); expected {WHAT}") from None
    return {
        "names": names,
        "parts": values["part"],
        "centres": values["center"],
        "scales": values["scale"],
    }


def _dataset(file: Any, name: str, path: Path) -> Any:
    if not isinstance(file.get(name), h5py.Dataset) or not file[name].ndim:
        raise UserError(f"{path}: no dataset '{name}'; expected {WHAT}")
    return file[name]


def _check(table: Any, shape: tuple[int, ...], where: str) -> None:
    if table.shape != shape or table.dtype.kind not in "iuf" or shape[0] > LARGEST:
        raise UserError(f"{where} is {table.dtype} {table.shape}, expected numbers {shape}: {WHAT}")


def _names(table: Any, where: str) -> npt.NDArray[np.str_]:
    """Return names that are bytes, text or (hourglass) rows of character codes [N, L]."""
    if table.ndim == 2 and table.dtype.kind in "iuf" and table.shape[1] <= LONGEST:
        rows = [bytes(int(c) for c in row if c > 0) for row in table[()]]
    elif table.ndim == 1 and (table.dtype.kind == "S" or h5py.check_string_dtype(table.dtype)):
        rows = list(table[()])
    else:
        raise UserError(f"{where} is {table.dtype} {table.shape}, expected names: {WHAT}")
    return np.array([row.decode() if isinstance(row, bytes) else str(row) for row in rows], np.str_)
