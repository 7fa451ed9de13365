"""Plain data through a pipe: 8 bytes of length, JSON, then the arrays' bytes one after another."""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

LENGTH = 8  # bytes, little-endian


def send(pipe: BinaryIO, message: dict[str, Any], arrays: list[NDArray[Any]]) -> None:
    """Write a message and its arrays, in this machine's byte order."""
    native = [np.asarray(a, a.dtype.newbyteorder("=")) for a in arrays]
    message = {**message, "arrays": [[a.dtype.str, a.shape] for a in native]}
    head = json.dumps(message).encode()
    pipe.write(len(head).to_bytes(LENGTH, "little") + head)
    for array in native:
        pipe.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    pipe.flush()


def receive(frame: bytes) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return the message and its arrays, writable. Raises ValueError on a torn frame."""
    start = LENGTH + int.from_bytes(frame[:LENGTH], "little")
    message, arrays = json.loads(frame[LENGTH:start]), []
    for name, shape in message.pop("arrays"):
        kind, count = np.dtype(name), math.prod(shape)
        array = np.frombuffer(frame, kind, count, start) if count else np.empty(0, kind)
        arrays.append(array.reshape(shape).copy())
        start += count * kind.itemsize
    return message, arrays


def join(skeleton: Any, arrays: list[NDArray[Any]]) -> Any:
    """Put the arrays back into their places: the inverse of `plain.Flattener`."""
    if isinstance(skeleton, list):
        return [join(item, arrays) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    if "a" in skeleton:
        return arrays[skeleton["a"]]
    return {key: join(item, arrays) for key, item in skeleton["d"]}
