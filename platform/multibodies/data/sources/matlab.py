"""A matrix out of a MATLAB 5 file (.mat): its shape is checked before its numbers are read."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from multibodies.data.sources.importer import require_file
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

COMPRESSED = 15  # miCOMPRESSED in the tag of a variable
HEADER = 128
LARGEST = 2**28  # bytes; the largest matrix of labels (LSPet's) has 3.4 MB
NUMBERS = ("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32")
# What SciPy raises on files that are damaged, cut short or no .mat at all.
DAMAGED = (
    ValueError, TypeError, KeyError, IndexError, OSError, EOFError, AttributeError, OverflowError,
    MemoryError, NotImplementedError, MatReadError, struct.error, zlib.error,
)  # fmt: skip


def read_matrix(path: Path, name: str, shape: Sequence[int | None], what: str) -> Floats:
    """Return variable `name` as float64; None in `shape` is any length.

    Raises UserError naming the file and the variable, and saying `what` was expected.
    """
    require_file(path, what)
    _check_inflated(path, what)
    found = {entry[0]: entry[1:] for entry in _scipy("whosmat", path, what)}
    if name not in found:
        names = ", ".join(sorted(found)) or "none"
        raise UserError(f"{path}: no variable '{name}', found {names}; expected {what}")
    actual, kind = found[name]
    fits = len(actual) == len(shape) and all(
        b in (None, a) for a, b in zip(actual, shape, strict=True)
    )
    if not fits or kind not in NUMBERS:
        wanted = str(tuple("N" if n is None else n for n in shape)).replace("'", "")
        raise UserError(
            f"{path}: variable '{name}' is {kind} {actual}, expected numbers {wanted}: {what}"
        )
    return np.asarray(_scipy("loadmat", path, what, variable_names=[name])[name], np.float64)


def _scipy(function: str, path: Path, what: str, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(scipy.io, function)(path, **options)
    except DAMAGED as error:
        raise UserError(
            f"{path}: damaged, or no MATLAB 5 file ({error}); expected {what}"
        ) from None


def _check_inflated(path: Path, what: str) -> None:
    """Raise UserError when a small file's variables would inflate to over LARGEST bytes."""
    left = LARGEST
    with path.open("rb") as file:
        order = ">" if file.read(HEADER)[-2:] == b"MI" else "<"
        while left >= 0 and len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            end = file.tell() + size
            left -= _inflated(file, size, left) if kind == COMPRESSED else size
            file.seek(end)
    if left < 0:
        raise UserError(f"{path}: holds over {LARGEST >> 20} MiB; expected {what}")


def _inflated(file: BinaryIO, size: int, limit: int) -> int:
    """Return how many bytes the next `size` bytes inflate to, or a little over `limit`."""
    stream, total = zlib.decompressobj(), 0
    data = file.read(min(size, LARGEST))
    try:
        while data and total <= limit and not stream.eof:
            total += len(stream.decompress(data, 1 << 20))
            data = stream.unconsumed_tail
    except zlib.error:
        return total  # SciPy says what is wrong with it
    return total
