"""The box of a person in Human3.6M: from the frame's mask, as SPIN does, else from the joints.

Legend: H, W pixels of the picture. A mask is stored by MATLAB, so HDF5 shows it as [W, H].
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from multibodies.data.sources.record import Box, Floats
from multibodies.errors import UserError

MASK_SCALE = 0.9  # SPIN: the masks are generous
JOINTS_SCALE = 1.2
MAX_PIXELS = 4096 * 4096
DAMAGED = (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError)


class Masks:
    """A sequence's mat file, of which one mask at a time is in memory."""

    def __init__(self, path: Path) -> None:
        """Open a file. Raises UserError when it is no HDF5 file with a list of masks."""
        self.path = path
        try:
            self._file = h5py.File(path, "r")
            self._masks = _references(self._file)
        except DAMAGED as error:
            raise UserError(
                f"{path}: {error}; expected Human3.6M's masks (a mat file of version 7.3 with "
                "'Masks'); get it again, or take it away to have boxes around the joints"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def box(self, frame: int) -> Box:
        """Return the box of a frame's mask. Raises ValueError saying why there is none."""
        if frame >= self._masks.size:
            raise ValueError(f"{self.path.name} has no mask for frame {frame}")
        try:
            stored = self._file[self._masks[np.unravel_index(frame, self._masks.shape)]]
            _check_picture(stored)
            mask = np.asarray(stored[()]).T
        except DAMAGED as error:
            raise ValueError(f"{self.path.name}: mask of frame {frame}: {error}") from None
        return box_of_mask(mask)


def _references(file: h5py.File) -> h5py.Dataset:
    masks = file["Masks"]
    if not isinstance(masks, h5py.Dataset) or h5py.check_ref_dtype(masks.dtype) is None:
        file.close()
        raise ValueError("'Masks' holds no references")
    return masks


def _check_picture(stored: Any) -> None:
    """Refuse what is no picture before any of it is in memory; packed chunks count as well."""
    if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "biuf":
        raise ValueError("not an array of numbers")
    if stored.ndim != 2 or max(stored.size, math.prod(stored.chunks or ())) > MAX_PIXELS:
        raise ValueError(f"an array {stored.shape}, expected a picture")


def box_of_mask(mask: npt.NDArray[Any]) -> Box:
    """Box of .9 times the longer side of a mask [H, W]. Raises ValueError when it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        raise ValueError("the mask is empty")
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    side = MASK_SCALE * max(right - left, bottom - top)
    return Box((left + right) / 2, (top + bottom) / 2, float(side))


def box_of_joints(joints: Floats) -> Box:
    """Box of 1.2 times the longer side around joints [K, 2] in pixels."""
    low, high = joints.min(0), joints.max(0)
    x, y = (low + high) / 2
    return Box(float(x), float(y), float(JOINTS_SCALE * (high - low).max()))
