"""TS1-6 of MPI-INF-3DHP: `annot_data.mat`, MATLAB v7.3 (HDF5). Legend: N frame.

h5py sees MATLAB's arrays transposed: `annot2` [N, 1, 17, 2] px, `univ_annot3` [N, 1, 17, 3] mm,
`valid_frame` [N, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from multibodies.data.sources.mpi_inf_3dhp.frames import Reading, Take, View, require_millimetres
from multibodies.data.sources.mpi_inf_3dhp.pictures import numbered_pictures
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

# Pelvis, left leg, right leg, spine, neck, head, top of the head, left arm, right arm among the
# 17 joints of the test files, which are not in the order of the training files.
TEST_TO_17 = (14, 11, 12, 13, 8, 9, 10, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
SIZES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
SQUARE = (2048, 2048)
MAX_FRAMES = 100_000  # the longest sequence has about 6,000
FIELDS = {"annot2": (1, 17, 2), "univ_annot3": (1, 17, 3), "valid_frame": (1,)}


def read_test_sequence(reading: Reading) -> Take:
    """Read the valid frames of a test sequence; others count as `invalid`.

    Raises UserError where the file is not MATLAB v7.3, lacks a field, or has another shape or unit.
    """
    with _open(reading.labels) as file:
        points, joints, valid = (_array(file, name, reading.labels) for name in FIELDS)
    if not len(points) == len(joints) == len(valid):
        counts = f"{len(points)}, {len(joints)} and {len(valid)}"
        raise UserError(
            f"{reading.labels}: {', '.join(FIELDS)} have {counts} rows; expected one a frame"
        )
    frames = np.arange(len(points))
    sampled = frames % reading.step == 0
    kept = frames[sampled & (valid[:, 0] != 0)]
    skipped = {
        "not_sampled": int((~sampled).sum()),
        "invalid": int(sampled.sum()) - len(kept),
    }
    order = list(TEST_TO_17)
    joints = joints[kept][:, 0, order] / 1000
    require_millimetres(joints, "univ_annot3", reading.labels)
    pictures = numbered_pictures(reading.images / "imageSequence", "img")
    view = View("", "img", SIZES.get(reading.name, SQUARE), pictures)
    nothing = np.zeros(len(kept))
    return Take(
        reading,
        (view,),
        nothing.astype(np.int64),
        kept,
        points[kept][:, 0, order],
        joints,
        nothing,
        skipped,
    )


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; whatever libhdf5 finds wrong inside becomes a UserError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        kind = "a MATLAB v5 file" if _is_version_5(path) else f"no readable HDF5 file ({error})"
        raise UserError(
            f"{path}: {kind}; expected a test sequence's annot_data.mat (MATLAB v7.3); get it again"
        ) from None


def _is_version_5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(19).startswith(b"MATLAB 5.0 MAT-file")


def _array(file: h5py.File, name: str, path: Path) -> Floats:
    """Read one field as float64, shape and storage checked first: a header may claim anything."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise UserError(f"{path}: no field '{name}'; found {', '.join(sorted(file)[:10])}")
    data: Any = file[name]
    rest = FIELDS[name]
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu":
        raise UserError(f"{path}: '{name}': expected an array of numbers")
    if data.shape[1:] != rest or len(data) > MAX_FRAMES:
        raise UserError(
            f"{path}: '{name}' is {data.shape}, expected (N, {', '.join(map(str, rest))}), N up to "
            f"{MAX_FRAMES}"
        )
    if data.external or data.is_virtual:
        raise UserError(f"{path}: '{name}' lies in another file; expected it within")
    return np.asarray(data[()], np.float64)
