"""`annot.mat` of MPI-INF-3DHP's training sequences, MATLAB v5. Legend: N frame of a video."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.matlab5 import require_whole
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

WIDTHS = {"annot2": 56, "annot3": 84}  # 28 joints, x y and x y z in one row
NUMBERS = ("frames", "cameras")
MAX_BYTES = 256 * 2**20  # of a variable; the longest sequence's annot3 has 121 MB
MAX_CELLS = 64


class Annotations(NamedTuple):
    """Cells by camera number: annot2 [N, 56] px, annot3 [N, 84] mm; frames [N], counted from 0."""

    annot2: Mapping[int, npt.NDArray[Any]]
    annot3: Mapping[int, npt.NDArray[Any]]
    frames: npt.NDArray[np.int64]


def read_annotations(path: Path) -> Annotations:
    """Read annot2, annot3, frames and cameras of a training sequence.

    Raises UserError naming the file and the field that is missing, damaged or of another shape.
    """
    require_whole(path, MAX_BYTES, "a training sequence's annot.mat")
    content = _load(path)
    frames, cameras = (_whole_numbers(content[name], name, path) for name in NUMBERS)
    if len(set(cameras.tolist())) != len(cameras):
        raise UserError(f"{path}: 'cameras' names a camera twice: {cameras.tolist()}")
    if (np.diff(frames) <= 0).any() or (frames < 0).any():
        raise UserError(f"{path}: 'frames' does not rise from 0; expected the video's frames")
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
        if name in WIDTHS and (
            kind != "cell" or not 0 < int(np.prod(shape, dtype=object)) <= MAX_CELLS
        ):
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
