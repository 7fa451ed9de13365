"""`annot.mat` of MPI-INF-3DHP's training sequences, MATLAB v5. Legend: N frame of a video."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.matlab import Array, read_variables
from multibodies.errors import UserError

WIDTHS = {"annot2": 56, "annot3": 84}  # 28 joints, x y and x y z in one row
NUMBERS = ("frames", "cameras")


class Annotations(NamedTuple):
    """Cells by camera number: annot2 [N, 56] px, annot3 [N, 84] mm; frames [N], counted from 0."""

    annot2: Mapping[int, Array]
    annot3: Mapping[int, Array]
    frames: npt.NDArray[np.int64]


def read_annotations(path: Path) -> Annotations:
    """Read annot2, annot3, frames and cameras of a training sequence.

    Raises UserError naming the file and the field that is missing, damaged or of another shape.
    """
    expected = "a training sequence's annot.mat"
    content = read_variables(path, (*WIDTHS, *NUMBERS), expected)
    frames, cameras = (_whole_numbers(content[name], name, path) for name in NUMBERS)
    if len(set(cameras.tolist())) != len(cameras):
        raise UserError(f"{path}: 'cameras' names a camera twice: {cameras.tolist()}")
    if (np.diff(frames) <= 0).any() or (frames < 0).any():
        raise UserError(f"{path}: 'frames' does not rise from 0; expected the video's frames")
    annot2, annot3 = (_cells(content[name], name, frames, cameras, path) for name in WIDTHS)
    return Annotations(annot2, annot3, frames)


def _whole_numbers(values: Array | list[Array], name: str, path: Path) -> npt.NDArray[np.int64]:
    if isinstance(values, list) or not np.isfinite(values).all() or (values % 1).any():
        raise UserError(f"{path}: '{name}' does not hold whole numbers")
    if np.abs(values.astype(np.float64)).max(initial=0) > 2**31:
        raise UserError(f"{path}: '{name}' holds numbers beyond any video's")
    return values.ravel().astype(np.int64)


def _cells(
    cells: Array | list[Array],
    name: str,
    frames: npt.NDArray[np.int64],
    cameras: npt.NDArray[np.int64],
    path: Path,
) -> dict[int, Array]:
    if not isinstance(cells, list):
        raise UserError(f"{path}: '{name}' is {cells.shape}; expected a cell array over 14 cameras")
    if len(cells) != len(cameras):
        counts = f"{len(cells)} cells, 'cameras' {len(cameras)} numbers"
        raise UserError(f"{path}: '{name}' has {counts}; expected one cell a camera")
    by_camera = dict(zip(cameras.tolist(), cells, strict=True))
    shape = (len(frames), WIDTHS[name])
    for camera, cell in by_camera.items():
        if cell.shape != shape:
            raise UserError(
                f"{path}: '{name}', camera {camera}: {cell.shape}, expected {shape}: frames by 28 "
                "joints in one row"
            )
    return by_camera
