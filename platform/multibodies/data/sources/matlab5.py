"""MATLAB v5 files: found whole before scipy reads them, for it believes what a file says of itself.

Every element must lie within the file; every compressed one must inflate to a bounded size and
have the right checksum.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from multibodies.errors import UserError

HEADER = 128
MATRIX, COMPRESSED = 14, 15  # types of elements


def require_whole(path: Path, max_bytes: int, expected: str) -> None:
    """Walk the elements of a MATLAB v5 file, which is `expected`.

    Raises UserError where it is of another kind, cut short or damaged, or where a variable is
    larger than `max_bytes`.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        order = _byte_order(file.read(HEADER), path, expected)
        while file.tell() < end:
            start = file.tell()
            tag = file.read(8)
            kind, size = struct.unpack(f"{order}II", tag) if len(tag) == 8 else (MATRIX, end)
            if file.tell() + size > end:
                raise UserError(f"{path}: cut short at byte {end}; get the file again")
            if kind not in (MATRIX, COMPRESSED) or (kind == MATRIX and size > max_bytes):
                raise UserError(f"{path}: damaged at byte {start}; get the file again")
            if kind == COMPRESSED:
                _require_inflatable(file, size, max_bytes, path)
            file.seek(start + 8 + size)


def _byte_order(header: bytes, path: Path, expected: str) -> str:
    """Return struct's letter for a v5 header's byte order. Raises UserError on another kind."""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if header.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise UserError(
            f"{path}: MATLAB v7.3 (HDF5); expected {expected}, MATLAB v5, as distributed"
        )
    if order is None or header[124:126] not in (b"\x00\x01", b"\x01\x00"):
        raise UserError(f"{path}: not a MATLAB v5 file; expected {expected}")
    return order


def _require_inflatable(file: BinaryIO, size: int, max_bytes: int, path: Path) -> None:
    engine, inflated = zlib.decompressobj(), 0
    try:
        while size and not engine.eof and inflated <= max_bytes:
            chunk = file.read(min(size, 2**20))
            size -= len(chunk)
            while chunk and inflated <= max_bytes:
                inflated += len(engine.decompress(chunk, 2**22))
                chunk = engine.unconsumed_tail
    except zlib.error as error:
        raise UserError(f"{path}: damaged ({error}); get the file again") from None
    if inflated > max_bytes:
        raise UserError(f"{path}: a variable is over {max_bytes >> 20} MiB; expected less")
    engine.flush()  # a stream's last bytes may be held back by the bound on what is given out
    if not engine.eof:
        raise UserError(f"{path}: a compressed variable is cut short; get the file again")
