"""The header of an .npy array, read and checked before anything is believed of it."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from multibodies.errors import UserError

MAX_HEADER_BYTES = 12 * 1024  # NumPy's own limit for a header of strangers is 10,000
MAX_ARRAY_BYTES = 2 * 2**30  # eight times the largest array of the field's files (H36M's `S`)
READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Header(NamedTuple):
    """What an array says of itself; `start` is the byte where its values begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int


def read_header(beginning: bytes, size: int, label: str) -> Header:
    """Parse the header at the beginning of an array's `size` bytes; `label` names it in errors.

    Raises UserError on what is no .npy, on Python objects, records or values in Fortran's order,
    and on a shape that disagrees with the bytes there are (a forged header allocates nothing).
    """
    shape, fortran, dtype, start = _parse(beginning[:MAX_HEADER_BYTES], label)
    _check_dtype(dtype, label)
    if fortran and len(shape) > 1:
        raise UserError(
            f"{label}: stored column by column (Fortran's order), so that no row can be read alone;"
            " save np.ascontiguousarray(...) of it"
        )
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start + claimed != size:
        raise UserError(
            f"{label}: its header claims shape {shape} of {dtype}, {claimed} bytes, but the file "
            f"holds {size - start}; damaged or forged: get the file again"
        )
    if claimed > MAX_ARRAY_BYTES:
        raise UserError(f"{label}: {claimed} bytes, expected at most {MAX_ARRAY_BYTES}")
    return Header(shape, dtype, start)


def _parse(beginning: bytes, label: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    stream = io.BytesIO(beginning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, on headers that Python 2 wrote
            version = np.lib.format.read_magic(stream)
            shape, fortran, dtype = READERS[version](stream)
    except Exception as error:  # any bytes may be there, and so any error of the header's parser
        raise UserError(
            f"{label}: not an .npy array ({_line(error)}); damaged: get the file again"
        ) from None
    return tuple(int(n) for n in shape), fortran, dtype, stream.tell()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]


def _check_dtype(dtype: np.dtype[Any], label: str) -> None:
    if dtype.hasobject:
        raise UserError(
            f"{label}: holds Python objects, which only unpickling would read, and that runs code; "
            "it is needed here: on a machine you trust, save it with a plain dtype"
        )
    if dtype.names is not None or dtype.subdtype is not None or not dtype.itemsize:
        raise UserError(f"{label}: holds {dtype}, expected plain numbers or text")
