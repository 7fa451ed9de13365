"""`annot.mat` of MPI-INF-3DHP's training sequences, MATLAB v5, read after it is found whole.

scipy's reader believes what a file says of itself; so the file is walked first: every element
within the file, every compressed one inflating to a bounded size with the right checksum.
Legend: N frame of a video, C = 14 camera.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

WIDTHS = {"annot2": 56, "annot3": 84}  # 28 joints, x y and x y z in one row
NUMBERS = ("frames", "cameras")
MAX_BYTES = 256 * 2**20  # of a variable; the longest sequence's annot3 has 121 MB
MAX_CELLS = 64
HEADER = 128
MATRIX, COMPRESSED = 14, 15  # types of elements


class Annotations(NamedTuple):
    """Cells by camera number: annot2 [N, 56] px, annot3 [N, 84] mm; frames [N], counted from 0."""

    annot2: Mapping[int, npt.NDArray[Any]]
    annot3: Mapping[int, npt.NDArray[Any]]
    frames: npt.NDArray[np.int64]


def read_annotations(path: Path) -> Annotations:
    """Read annot2, annot3, frames and cameras of a training sequence.

    Raises UserError naming the file and the field that is missing, damaged or of another shape.
    """
    _require_whole(path)
    content = _load(path)
    frames, cameras = (_whole_numbers(content[name], name, path) for name in NUMBERS)
    if len(set(cameras.tolist())) != len(cameras):
        raise UserError(f"{path}: 'cameras' names a camera twice: {cameras.tolist()}")
    if (np.diff(frames) <= 0).any() or (frames < 0).any():
        raise UserError(f"{path}: 'frames' does not rise from 0; expected the video's frame numbers")
    cells = {}
    for name, width in WIDTHS.items():
        values = np.ravel(content[name])
        if len(values) != len(cameras):
            counts = f"{len(values)} cells, 'cameras' {len(cameras)} numbers"
            raise UserError(f"{path}: '{name}' has {counts}; expected one cell a camera")
        cells[name] = {
            int(camera): _cell(cell, (len(frames), width), f"{name}, camera {camera}", path)
            for camera, cell in zip(cameras, values, strict=True)
        }
    return Annotations(cells["annot2"], cells["annot3"], frames)


def _load(path: Path) -> dict[str, Any]:
    """Load the needed variables through scipy, which raises nearly anything on a damaged file."""
    from scipy.io import loadmat, whosmat

    try:
        kinds = {name: (shape, kind) for name, shape, kind in whosmat(path)}
        _require_fields(kinds, path)
        return dict(loadmat(path, variable_names=[*WIDTHS, *NUMBERS]))
    except UserError:
        raise
    except Exception as error:  # not only MatReadError: also TypeError, KeyError, zlib.error, ...
        raise UserError(
            f"{path}: damaged MATLAB file ({type(error).__name__}: {error}); get it again"
        ) from None


def _require_fields(kinds: Mapping[str, tuple[tuple[int, ...], str]], path: Path) -> None:
    for name in (*WIDTHS, *NUMBERS):
        if name not in kinds:
            found = ", ".join(sorted(kinds)[:10]) or "nothing"
            raise UserError(f"{path}: no variable '{name}'; found {found}")
        shape, kind = kinds[name]
        if name in WIDTHS and (kind != "cell" or not 0 < int(np.prod(shape, dtype=object)) <= MAX_CELLS):
            raise UserError(
                f"{path}: '{name}' is {kind} {shape}, expected a cell array over 14 cameras"
            )


def _whole_numbers(values: Any, name: str, path: Path) -> npt.NDArray[np.int64]:
    values = np.ravel(values)
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all() or (values % 1).any():
        raise UserError(f"{path}: '{name}' does not hold whole numbers")
    return values.astype(np.int64)


def _cell(cell: Any, shape: tuple[int, int], what: str, path: Path) -> Floats:
    cell = np.asarray(cell)
    if cell.dtype.kind not in "fiu" or cell.shape != shape:
        raise UserError(
            f"{path}: {what}: {cell.dtype} {cell.shape}, expected numbers {shape}: "
            "frames by 28 joints in one row"
        )
    return cell


def _require_whole(path: Path) -> None:
    """Walk the elements of a MATLAB v5 file. Raises UserError where it is of another kind, cut
    short, damaged, or would inflate beyond bounds."""
    end = path.stat().st_size
    with path.open("rb") as file:
        order = _byte_order(file.read(HEADER), path)
        while file.tell() < end:
            start = file.tell()
            tag = file.read(8)
            kind, size = struct.unpack(f"{order}II", tag) if len(tag) == 8 else (MATRIX, end)
            if file.tell() + size > end:
                raise UserError(f"{path}: cut short at byte {end}; get the file again")
            if kind not in (MATRIX, COMPRESSED) or (kind == MATRIX and size > MAX_BYTES):
                raise UserError(f"{path}: damaged at byte {start}; get the file again")
            if kind == COMPRESSED:
                _require_inflatable(file, size, path)
            file.seek(start + 8 + size)


def _byte_order(header: bytes, path: Path) -> str:
    """Return struct's letter for a v5 header's byte order. Raises UserError on another kind."""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if header.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise UserError(
            f"{path}: MATLAB v7.3 (HDF5), expected MATLAB v5; is it a test sequence's "
            "annot_data.mat? Use the file as distributed"
        )
    if order is None or header[124:126] not in (b"\x00\x01", b"\x01\x00"):
        raise UserError(f"{path}: not a MATLAB v5 file; expected a training sequence's annot.mat")
    return order


def _require_inflatable(file: BinaryIO, size: int, path: Path) -> None:
    engine, inflated = zlib.decompressobj(), 0
    try:
        while size and not engine.eof and inflated <= MAX_BYTES:
            chunk = file.read(min(size, 2**20))
            size -= len(chunk)
            while chunk and inflated <= MAX_BYTES:
                inflated += len(engine.decompress(chunk, 2**22))
                chunk = engine.unconsumed_tail
    except zlib.error as error:
        raise UserError(f"{path}: damaged ({error}); get the file again") from None
    if inflated > MAX_BYTES:
        raise UserError(f"{path}: a variable inflates beyond {MAX_BYTES >> 20} MiB; expected 121 MB")
    if not engine.eof:
        raise UserError(f"{path}: a compressed variable is cut short; get the file again")
