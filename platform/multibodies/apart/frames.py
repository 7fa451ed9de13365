"""Plain data through a pipe: 8 bytes of length, JSON, then the arrays' bytes one after another.

The skeleton of data is JSON: a dict is ``{"d": [[key, value], ...]}``, an array ``{"a": index}``.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

LENGTH = 8  # bytes, little-endian


class Readable(Protocol):
    """A pipe; it may give parts of what is asked for."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Return how many bytes of the buffer are filled now; 0 at the end."""
        ...


class Refused(Exception):
    """Why a file is not read, as the end of a sentence that begins with the file."""


def send(pipe: BinaryIO, message: dict[str, Any], arrays: list[NDArray[Any]]) -> None:
    """Write a message and its arrays, in this machine's byte order."""
    native = [np.asarray(a, a.dtype.newbyteorder("=")) for a in arrays]
    message = {**message, "arrays": [[a.dtype.str, a.shape] for a in native]}
    head = json.dumps(message).encode()
    pipe.write(len(head).to_bytes(LENGTH, "little") + head)
    for array in native:
        pipe.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    pipe.flush()


def receive(pipe: Readable, most: int) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return the message and its arrays, each of at most `most` bytes.

    Raises ValueError on a torn or a larger answer.
    """
    length = int.from_bytes(_fill(pipe, np.empty(LENGTH, np.uint8)), "little")
    if length > most:
        raise ValueError(f"an answer of {length} bytes")
    message, arrays = json.loads(bytes(_fill(pipe, np.empty(length, np.uint8)))), []
    for name, shape in message.pop("arrays"):
        kind = np.dtype(name)
        if kind.hasobject or np.prod(shape, dtype=object) * kind.itemsize > most:
            raise ValueError(f"an answer of {kind} {shape}")
        arrays.append(np.empty(shape, kind))
        _fill(pipe, arrays[-1].reshape(-1).view(np.uint8))
    return message, arrays


def _fill(pipe: Readable, place: NDArray[np.uint8]) -> memoryview:
    """Read as many bytes as the place has."""
    view = place.data
    at = 0
    while at < len(view):
        count = pipe.readinto(view[at:])  # raw pipes give parts
        if not count:
            raise ValueError(f"{at} bytes of {len(view)}")
        at += count
    return view


def split(value: Any) -> tuple[Any, list[NDArray[Any]]]:
    """Take dicts and lists of arrays, texts and numbers apart: a skeleton, and the arrays."""
    arrays: list[NDArray[Any]] = []

    def skeleton(part: Any) -> Any:
        if isinstance(part, dict):
            return {"d": [[key, skeleton(item)] for key, item in part.items()]}
        if isinstance(part, list):
            return [skeleton(item) for item in part]
        if not isinstance(part, np.ndarray):
            return part
        arrays.append(part)
        return {"a": len(arrays) - 1}

    return skeleton(value), arrays


def join(skeleton: Any, arrays: list[NDArray[Any]]) -> Any:
    """Put the arrays back into their places: the inverse of `split`."""
    if isinstance(skeleton, list):
        return [join(item, arrays) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    if "a" in skeleton:
        return arrays[skeleton["a"]]
    return {key: join(item, arrays) for key, item in skeleton["d"]}
