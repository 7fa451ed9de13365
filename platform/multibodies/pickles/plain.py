"""From unpickled stubs to plain data: dict, list, str, int, float, bool, None and arrays.

The skeleton is JSON: a dict is ``{"d": [[key, value], ...]}``, an array ``{"a": index}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibodies.apart.frames import Refused
from multibodies.pickles import stubs

MAX_DEPTH = 32
MAX_ITEMS = 1_000_000  # a small pickle may repeat one list without end
MAX_TEXT = 64 << 20  # characters


class Flattener:
    """Takes plain data apart into a skeleton and its arrays, within bounds."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self._known: dict[int, int] = {}  # id of a stub -> its array
        self._items = 0
        self._text = 0

    def skeleton(self, value: Any, depth: int = 0) -> Any:
        """Return the skeleton of a value. Raises Refused for other things than data, and for too
        many."""
        self._items += 1
        if depth > MAX_DEPTH:
            raise Refused(f"its data are nested more than {MAX_DEPTH} deep")
        if self._items > MAX_ITEMS:
            raise Refused(f"its data are more than {MAX_ITEMS} items")
        for kinds, write in WRITERS:
            if isinstance(value, kinds):
                return write(self, value, depth + 1)
        raise Refused(f"holds a {type(value).__name__}, expected plain data")

    def atom(self, value: Any, _: int) -> Any:
        """A number, a bool or None."""
        if isinstance(value, int) and value.bit_length() > 64:
            raise Refused(f"holds a whole number of {value.bit_length()} bits")
        return value

    def text(self, value: Any, _: int) -> str:
        """A text, or Python 2's: bytes in latin1."""
        text = value if isinstance(value, str) else bytes(value).decode("latin1")
        self._text += len(text)
        if self._text > MAX_TEXT:
            raise Refused(f"its texts are longer than {MAX_TEXT} characters")
        return text

    def items(self, value: Any, depth: int) -> list[Any]:
        """A list, a tuple or a set."""
        return [self.skeleton(item, depth) for item in value]

    def mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        """A dict."""
        pairs = []
        for key, item in value.items():
            if not isinstance(key, str | bytes | int | float | None):
                raise Refused(f"holds a dict with a {type(key).__name__} for a key")
            pairs.append([self.skeleton(key, depth), self.skeleton(item, depth)])
        return {"d": pairs}

    def array(self, value: Any, depth: int) -> Any:
        """An array, whatever it was kept in; one that occurs twice is kept once."""
        if id(value) in self._known:
            return {"a": self._known[id(value)]}
        made = VALUES[type(value)](value)
        if not isinstance(made, np.ndarray):
            return self.skeleton(made, depth)
        self._known[id(value)] = len(self.arrays)
        self.arrays.append(made)
        return {"a": len(self.arrays) - 1}


def chumpy(value: stubs.Stub) -> Any:
    """Ch -> its `x`."""
    return _state(value, "chumpy.ch.Ch", "x")["x"]


def select(value: stubs.Stub) -> NDArray[Any]:
    """Select -> a.ravel()[idxs].reshape(preferred_shape); `a` alone has another shape."""
    state = _state(value, "chumpy.reordering.Select", "a", "idxs", "preferred_shape")
    chosen = as_array(state["a"]).ravel()[as_array(state["idxs"])]
    return np.asarray(chosen.reshape(tuple(as_array(state["preferred_shape"]).tolist())))


def dense(value: stubs.Stub) -> NDArray[Any]:
    """csc_matrix -> the full matrix; entries given twice add up."""
    state = _state(value, "csc_matrix", "data", "indices", "indptr", "_shape")
    data, rows, starts = (as_array(state[name]) for name in ("data", "indices", "indptr"))
    height, width = (int(size) for size in as_array(state["_shape"]))
    if len(data) != len(rows) or len(starts) != width + 1 or starts[0] or starts[-1] != len(data):
        raise Refused(f"holds a sparse matrix ({height}, {width}) whose parts do not fit")
    if len(rows) and (rows.min() < 0 or rows.max() >= height):
        raise Refused(f"holds a sparse matrix of {height} rows that names others")
    full = np.zeros((height, width), data.dtype)
    np.add.at(full, (rows, np.repeat(np.arange(width), np.diff(starts))), data)
    return full


def as_array(value: Any, depth: int = 0) -> NDArray[Any]:
    """Return the array of a stub, of an array or of a list of numbers."""
    if depth > MAX_DEPTH:
        raise Refused(f"its data are nested more than {MAX_DEPTH} deep")
    if type(value) in VALUES:
        return as_array(VALUES[type(value)](value), depth + 1)
    if isinstance(value, list | tuple) and not all(isinstance(v, int | float) for v in value):
        value = [as_array(item, depth + 1).item() for item in value]
    made = np.asarray(value)
    if made.dtype.kind not in "biuf":
        raise Refused("holds something else where numbers are expected")
    return made


def _state(value: stubs.Stub, name: str, *keys: str) -> dict[str, Any]:
    """Return a stub's state with text keys. Raises Refused if one is missing."""
    found = value.state if isinstance(value.state, dict) else {}
    state = {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in found.items()}
    for key in keys:
        if key not in state:
            raise Refused(f"holds a {name} without '{key}'")
    return state


VALUES: dict[type, Callable[[Any], Any]] = {
    stubs.Array: stubs.Array.value,
    stubs.Buffer: stubs.Buffer.value,
    stubs.Scalar: stubs.Scalar.value,
    stubs.Ch: chumpy,
    stubs.Select: select,
    stubs.Csc: dense,
}
WRITERS: tuple[tuple[Any, Callable[[Flattener, Any, int], Any]], ...] = (
    ((int, float, type(None)), Flattener.atom),
    ((str, bytes, bytearray), Flattener.text),
    ((list, tuple, set, frozenset), Flattener.items),
    (dict, Flattener.mapping),
    ((np.ndarray, *VALUES), Flattener.array),
)
