"""Zip files and .npy headers that claim what they like, and a bound on memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

MIB = 2**20
SAVERS = {"stored": np.savez, "deflated": np.savez_compressed}


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fail if more than `size` bytes were held at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def save(path: Path, kind: str, **arrays: Any) -> Path:
    """Save arrays as NumPy does, stored or deflated."""
    SAVERS[kind](path, allow_pickle=True, **arrays)
    return path


def header(shape: Any, descr: Any = "<f8", fortran: bool = False) -> bytes:
    """Return a header of version 1.0 that claims anything."""
    stream = io.BytesIO()
    stream.write(np.lib.format.magic(1, 0))
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode() + b"\n"
    return stream.getvalue() + struct.pack("<H", len(text)) + text


def zipped(path: Path, content: bytes, **options: Any) -> Path:
    """Write an .npz of one array `part` with these bytes."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("part.npy", content)
    return path


def claim_size(path: Path, size: int) -> Path:
    """Make a zip's directory and local header say that its one entry is `size` bytes long."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 22, size)
    struct.pack_into("<I", data, data.rindex(b"PK\1\2") + 24, size)
    path.write_bytes(data)
    return path
