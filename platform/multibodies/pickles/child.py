"""What the child does: a pickle -> a skeleton of plain data and its arrays. NumPy, no torch."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from multibodies.apart.frames import Refused
from multibodies.pickles.plain import Flattener
from multibodies.pickles.unpickler import Unpickler

DAMAGED = "damaged, or not a pickle of plain data"
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (EOFError, "truncated; download it again"),
    (pickle.UnpicklingError, "truncated or damaged; download it again"),
    (RecursionError, "its data are nested too deep"),
)


def read(path: Path) -> tuple[Any, list[NDArray[Any]]]:
    """Read a file. Raises Refused saying why not, and MemoryError."""
    with path.open("rb") as file:
        return unpickle(file)


def unpickle(file: BinaryIO) -> tuple[Any, list[NDArray[Any]]]:
    """Return a pickle's data as a skeleton with its arrays. Raises as `read`."""
    flat = Flattener()
    try:
        return flat.skeleton(Unpickler(file).load()), flat.arrays
    except (Refused, MemoryError):
        raise
    except Exception as error:  # any bytes may be in the file, and so any error
        reasons = (reason for kind, reason in REASONS if isinstance(error, kind))
        raise Refused(next(reasons, f"{DAMAGED} ({type(error).__name__})")) from None
