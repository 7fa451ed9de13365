"""What stands for the classes that data pickles name: they hold a state, and nothing runs.

NumPy's own unpickling is not used either: an array is made from its bytes once their number is
seen to fit its shape, so a forged shape allocates nothing. One set of stubs serves every NumPy
(`numpy.core`, `numpy._core`), SciPy and chumpy.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibodies.apart.frames import Refused

NUMBERS = re.compile(r"[biufcSU][1-9][0-9]{0,5}")  # kind, size; S and U are fixed-size texts
OBJECT = re.compile(r"O[48]?")
ORDERS = ("<", ">", "=", "|")


class Stub:
    """Keeps the state that a pickle gives it."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Ch(Stub):
    """chumpy's array: `x` in its state is the value."""


class Select(Stub):
    """chumpy's selection: `a.ravel()[idxs].reshape(preferred_shape)`."""


class Csc(Stub):
    """SciPy's sparse matrix by columns: `data`, `indices`, `indptr`, `_shape`."""


class Dtype(Stub):
    """`numpy.dtype(name, align, copy)`; its state's second item is the byte order."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    @property
    def is_object(self) -> bool:
        """Whether the elements are Python objects."""
        return bool(OBJECT.fullmatch(str(self.name)))

    def resolve(self) -> np.dtype[Any]:
        """Return NumPy's dtype of numbers or texts."""
        order = self.state[1] if self.state else "="
        if order not in ORDERS or not NUMBERS.fullmatch(str(self.name)):
            raise Refused(f"holds an array of dtype '{self.name}', not of plain numbers")
        return np.dtype(order + self.name)


class Array(Stub):
    """`numpy.ndarray`, empty until its state comes: (version, shape, dtype, is_fortran, data)."""

    def value(self) -> NDArray[Any] | list[Any]:
        """Return the array, or for an array of objects nested lists of them."""
        if not isinstance(self.state, tuple) or len(self.state) < 4:
            raise Refused("holds an array without values")
        shape, dtype, fortran, data = self.state[-4:]
        order = "F" if fortran else "C"
        if _dtype(dtype).is_object:
            return _nested(list(data), tuple(shape), order)
        return fill(dtype, shape, order, data)


class Buffer(Stub):
    """`numpy._core.numeric._frombuffer(data, dtype, shape, order, axis_order)`: protocol 5."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> None:
        self.parts = data, dtype, shape, order, axes

    def value(self) -> NDArray[Any]:
        """Return the array."""
        data, dtype, shape, order, axes = self.parts
        if order == "K" and axes is not None:
            return fill(dtype, shape, "C", data).transpose(axes)
        return fill(dtype, shape, order, data)


class Scalar(Stub):
    """`numpy.core.multiarray.scalar(dtype, data)`."""

    def __init__(self, dtype: Any, data: Any = b"") -> None:
        self.parts = dtype, data

    def value(self) -> Any:
        """Return Python's number or text."""
        dtype, data = self.parts
        if _dtype(dtype).is_object:
            return data
        value = fill(dtype, (), "C", data).item()
        return value.decode("latin1") if isinstance(value, bytes) else value


def reconstruct(kind: Any, *_: Any) -> Array:
    """Stand for NumPy's `_reconstruct(ndarray, (0,), b'b')`."""
    if kind is not Array:
        raise Refused("holds an array of an unknown class")
    return Array()


def reconstructor(kind: Any, *_: Any) -> Any:
    """Stand for Python 2's `copy_reg._reconstructor(class, object, None)`."""
    if not (isinstance(kind, type) and issubclass(kind, Stub)):
        raise Refused("holds an object of an unknown class")
    return kind.__new__(kind)


def encode(text: Any, encoding: Any = "") -> bytes:
    """Stand for `_codecs.encode`, by which Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"holds bytes in the encoding '{encoding}', expected latin1")
    return bytes(text.encode("latin1"))


def fill(dtype: Any, shape: Any, order: Any, data: Any) -> NDArray[Any]:
    """Make an array of its bytes, which Python 2 wrote as text. Raises Refused if they do not fit
    its shape."""
    kind, sizes = _dtype(dtype).resolve(), tuple(int(size) for size in shape)
    raw = data.encode("latin1") if isinstance(data, str) else data
    wanted = math.prod(sizes) * kind.itemsize
    if min(sizes, default=0) < 0 or len(raw) != wanted:
        raise Refused(f"holds an array of shape {sizes} with {len(raw)} bytes, expected {wanted}")
    array: NDArray[Any] = np.frombuffer(raw, kind).reshape(sizes, order=order)
    return array


def _nested(items: list[Any], shape: tuple[int, ...], order: str) -> list[Any]:
    """Give a flat list of objects the nesting of an array's shape."""
    if math.prod(shape) != len(items) or not items:
        raise Refused(f"holds {len(items)} objects in an array of shape {shape}")
    index = np.arange(len(items)).reshape(shape, order="F" if order == "F" else "C")
    return _pick(items, index.tolist())


def _pick(items: list[Any], index: Any) -> Any:
    return [_pick(items, i) for i in index] if isinstance(index, list) else items[index]


def _dtype(value: Any) -> Dtype:
    if not isinstance(value, Dtype):
        raise Refused("holds an array without a dtype")
    return value
