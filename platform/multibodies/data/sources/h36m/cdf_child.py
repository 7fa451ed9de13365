"""What the child does with a CDF file: one variable by cdflib, which believes a file's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cdflib
import numpy as np
from numpy.typing import NDArray

from multibodies.apart.frames import Refused, split


def read(path: Path, name: str) -> tuple[Any, list[NDArray[Any]]]:
    """Return a variable's numbers [record, ...]. Raises Refused where it is not there, or none."""
    file = cdflib.CDF(path)
    about = file.cdf_info()
    names = [*about.rVariables, *about.zVariables]
    if name not in names:
        raise Refused(f"no variable '{name}' among {sorted(names)}")
    values = file.varget(name)
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise Refused(f"'{name}' holds no floating-point numbers")
    return split(values)
