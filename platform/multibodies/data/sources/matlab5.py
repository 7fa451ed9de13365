"""MATLAB v5 files: named variables that are numbers or cells of numbers, and nothing else.

scipy's reader takes a file at its word: flipped bytes crash the process. Here every size is held
against the bytes that are there, and only the variables asked for are inflated or read.
The format is MathWorks' "MAT-File Format", level 5: elements of (type, bytes, data), a matrix
being an element of flags, dimensions, name and data, a cell array one of matrices.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.errors import UserError

Array = npt.NDArray[Any]
HEADER = 128
PEEK = 65536  # bytes enough for a variable's name
MATRIX, COMPRESSED = 14, 15
NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
CELL, FIRST_NUMERIC, LAST_NUMERIC, COMPLEX = 1, 6, 15, 0x800


class _Head(NamedTuple):
    kind: int
    dimensions: tuple[int, ...]
    name: str
    data: int  # where it begins


def read_variables(
    path: Path, names: Collection[str], max_bytes: int, expected: str
) -> dict[str, Array | list[Array]]:
    """Return the variables of those names: an array, or a cell array's cells by columns.

    Raises UserError where the file is not MATLAB v5, which `expected` is, is cut short or damaged,
    lacks a variable, or where one is over `max_bytes` or neither numbers nor cells of numbers.
    """
    found: dict[str, Array | list[Array]] = {}
    others: list[str] = []
    with path.open("rb") as file:
        order = _byte_order(file.read(HEADER), path, expected)
        try:
            for name, content in _elements(file, order, names, max_bytes):
                if content is None:
                    others.append(name)
                else:
                    found[name] = _matrix(content, order, name)
        except (ValueError, struct.error, zlib.error, MemoryError) as error:
            raise UserError(f"{path}: {error}; get the file again, as distributed") from None
    for name in names:
        if name not in found:
            there = ", ".join(sorted([*found, *others])[:10]) or "nothing"
            raise UserError(f"{path}: no variable '{name}'; expected {expected}, found {there}")
    return found


def _byte_order(header: bytes, path: Path, expected: str) -> str:
    """Return struct's letter for a header's byte order. Raises UserError on other files."""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if header.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise UserError(f"{path}: MATLAB v7.3 (HDF5); expected {expected}, MATLAB v5")
    if order is None or header[124:126] not in (b"\x00\x01", b"\x01\x00"):
        raise UserError(f"{path}: not a MATLAB v5 file; expected {expected}")
    return order


def _elements(
    file: BinaryIO, order: str, names: Collection[str], max_bytes: int
) -> Iterator[tuple[str, memoryview | None]]:
    """Walk a file's matrices: each one's name, and its content where that is asked for."""
    end = file.seek(0, 2)
    file.seek(HEADER)
    while (start := file.tell()) < end:
        kind, size = struct.unpack(f"{order}II", file.read(8).ljust(8))
        if start + 8 + size > end:
            raise ValueError(f"cut short at byte {end}")
        if kind not in (MATRIX, COMPRESSED):
            raise ValueError(f"damaged at byte {start}: no variable there")
        name = _head(memoryview(_peek(file, kind, size)), order).name
        content = None
        if name in names:
            file.seek(start + 8)
            content = _content(file, kind, size, max_bytes, name)
        yield name, content
        file.seek(start + 8 + size)


def _peek(file: BinaryIO, kind: int, size: int) -> bytes:
    first = file.read(min(size, PEEK))
    return zlib.decompressobj().decompress(first, PEEK)[8:] if kind == COMPRESSED else first


def _content(file: BinaryIO, kind: int, size: int, max_bytes: int, name: str) -> memoryview:
    """Read a matrix's content, inflated to a bounded size with its checksum."""
    content = file.read(min(size, max_bytes + 1))
    if kind == COMPRESSED:
        engine = zlib.decompressobj()
        content = engine.decompress(content, max_bytes + 1)
        content += engine.flush() if len(content) <= max_bytes else b""
    if len(content) > max_bytes:
        raise ValueError(f"'{name}' is over {max_bytes >> 20} MiB")
    if kind == COMPRESSED and not engine.eof:
        raise ValueError(f"'{name}' is cut short")
    return memoryview(content)[8 if kind == COMPRESSED else 0 :]


def _element(data: memoryview, at: int, order: str) -> tuple[int, memoryview, int]:
    """Return an element's type and data, and where the next one begins."""
    kind, size = struct.unpack_from(f"{order}II", data, at)
    begin, following = at + 8, at + 8 + size + -size % 8
    if kind >> 16:  # up to four bytes of data share the tag
        kind, size, begin, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if size > 4:
            raise ValueError("damaged: a small element of more than 4 bytes")
    return kind, data[begin : begin + size], following


def _head(data: memoryview, order: str) -> _Head:
    _, flags, at = _element(data, 0, order)
    _, dimensions, at = _element(data, at, order)
    _, name, at = _element(data, at, order)
    (word,) = struct.unpack_from(f"{order}I", flags)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"damaged: a variable of dimensions {shape}")
    kind = word & 0xFF if not word & COMPLEX else 0
    return _Head(kind, shape, bytes(name).decode("latin-1"), at)


def _matrix(data: memoryview, order: str, what: str) -> Array | list[Array]:
    head = _head(data, order)
    if head.kind != CELL:
        return _numbers(data, head, order, what)
    cells, at = [], head.data
    for number in range(prod(head.dimensions)):
        kind, cell, at = _element(data, at, order)
        inner = f"'{what}', cell {number}"
        if kind != MATRIX:
            raise ValueError(f"{inner}: damaged: no array there")
        cells.append(_numbers(cell, _head(cell, order), order, inner))
    return cells


def _numbers(data: memoryview, head: _Head, order: str, what: str) -> Array:
    """Return a matrix's real numbers, a view of the data in the type that they are stored in."""
    if not FIRST_NUMERIC <= head.kind <= LAST_NUMERIC:
        raise ValueError(f"{what}: expected real numbers, found MATLAB class {head.kind}")
    kind, values, _ = _element(data, head.data, order)
    dtype = np.dtype(order + NUMBERS.get(kind, "V1"))
    if dtype.kind == "V" or len(values) != prod(head.dimensions) * dtype.itemsize:
        raise ValueError(f"{what}: damaged: {len(values)} bytes of type {kind}")
    return np.frombuffer(values, dtype).reshape(head.dimensions, order="F")
