"""What the child does with a MATLAB 5 file: variables by SciPy, which may crash on damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from multibodies.apart.frames import Refused, split


def read(path: Path, names: list[str]) -> tuple[Any, list[NDArray[Any]]]:
    """Return variables, a cell array as a list by columns. Raises Refused where one is missing, or
    neither real numbers nor cells of them."""
    content = load(path, names)
    for name in names:
        if name not in content:
            found = ", ".join(sorted(entry[0] for entry in whosmat(path))[:10]) or "nothing"
            raise Refused(f"no variable '{name}', found {found}")
    return split({name: _variable(content[name], f"'{name}'") for name in names})


def load(path: Path, names: list[str], **options: Any) -> dict[str, Any]:
    """Return what SciPy reads. Raises Refused on a file of version 7.3."""
    try:
        content: dict[str, Any] = loadmat(path, variable_names=names, **options)
    except NotImplementedError:
        raise Refused("a MATLAB v7.3 file (HDF5), not v5") from None
    return content


def _variable(value: Any, what: str) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        cells = enumerate(value.ravel(order="F"))
        return [_numbers(cell, f"{what}, cell {index}") for index, cell in cells]
    return _numbers(value, what)


def _numbers(value: Any, what: str) -> NDArray[Any]:
    # Functions and objects are ndarrays of other classes, sparse matrices none at all.
    if type(value) is not np.ndarray or value.dtype.kind not in "biuf":
        kind = getattr(value, "dtype", None) or type(value).__name__
        raise Refused(f"{what} holds {kind}, expected real numbers")
    return value
