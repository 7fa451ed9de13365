"""Variables out of a MATLAB 5 file (.mat): numbers, and cells of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.apart.reader import Apart
from multibodies.data.sources.importer import require_file
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

Array = npt.NDArray[Any]
MEMORY = 2 << 30  # MPI-INF-3DHP's longest sequence has 0.2 GB of labels, SciPy takes 0.13 GB
SECONDS = 120.0  # those labels take 1.5
LIBRARIES = ("numpy", "scipy")


def read_variables(path: Path, names: Sequence[str], expected: str) -> dict[str, Array | list[Any]]:
    """Return the variables of those names: an array, or a list of a cell array's by columns.

    SciPy reads in a child: flipped bytes crash it. Raises UserError naming the file where it is
    missing, no MATLAB 5 file, which `expected` is, or damaged, too large, lacks a variable, or has
    one that is neither real numbers nor cells of them.
    """
    require_file(path, expected)
    with Apart("multibodies.data.sources.mat_child", LIBRARIES, MEMORY, SECONDS) as child:
        found: dict[str, Array | list[Any]] = child.read(path, expected, names=list(names))
    return found


def read_matrix(path: Path, name: str, shape: Sequence[int | None], what: str) -> Floats:
    """Return variable `name` as float64; None in `shape` is any length.

    Raises UserError as `read_variables`, and where the variable has another shape.
    """
    value = read_variables(path, [name], what)[name]
    wanted = str(tuple("N" if n is None else n for n in shape)).replace("'", "")
    if isinstance(value, list):
        raise UserError(f"{path}: variable '{name}' is cells, expected numbers {wanted}: {what}")
    fits = value.ndim == len(shape) and all(
        b in (None, a) for a, b in zip(value.shape, shape, strict=True)
    )
    if not fits:
        raise UserError(
            f"{path}: variable '{name}' is {value.shape}, expected numbers {wanted}: {what}"
        )
    return np.asarray(value, np.float64)
