"""Human3.6M's 32 joints, checked and brought into the schema's orders.

Legend: T frames, K joints. Source of the picks: SPIN's preprocessing of Human3.6M.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.apart.reader import Apart
from multibodies.data.sources.h36m.cdf import read_frames
from multibodies.data.sources.h36m.files import Sequence
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

# fmt: off
# The 17 of the 32 that move on their own, in the row order of `J_regressor_h36m`: pelvis, left leg,
# right leg, spine, thorax, neck, head, left arm, right arm.
H36M17_FROM_32: Final = (11, 6, 7, 8, 1, 2, 3, 12, 24, 14, 15, 17, 18, 19, 25, 26, 27)
H36M17_TO_J24: Final = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)
# fmt: on
BODY = (0.3, 3.0)  # metres that a person's joints span


class Mocap(NamedTuple):
    """A sequence's motion capture: joints_3d [T, 32, 3] metres, joints_2d [T, 32, 2] pixels."""

    joints_3d: Floats
    joints_2d: Floats


def read_mocap(sequence: Sequence, reader: Apart) -> Mocap:
    """Read both files of a sequence with `cdf_reader`'s child.

    Pixels are taken as the files give them, as SPIN does. Raises UserError on damaged files or
    ones of another layout, on files of different lengths, and on metres instead of millimetres.
    """
    points = read_frames(reader, sequence.joints_3d, "Pose", 96).reshape(-1, 32, 3)
    pixels = read_frames(reader, sequence.joints_2d, "Pose", 64).reshape(-1, 32, 2)
    if len(points) != len(pixels):
        raise UserError(
            f"{sequence.joints_2d}: {len(pixels)} frames, but {len(points)} in "
            f"{sequence.joints_3d}; they belong together, get both again"
        )
    _check_millimetres(points, sequence)
    return Mocap(points / 1000.0, pixels)


def to_h36m17(joints: Floats) -> Floats:
    """Pick [32, D] -> [17, D]."""
    return joints[list(H36M17_FROM_32)]


def to_j24(joints: Floats) -> Floats:
    """Pick [32, D] -> [24, D + 1]: the last column is 1 for the 17 known joints, else all is 0."""
    placed = np.zeros((24, joints.shape[1] + 1))
    placed[list(H36M17_TO_J24), :-1] = to_h36m17(joints)
    placed[list(H36M17_TO_J24), -1] = 1.0
    return placed


def fault_of(joints_3d: Floats, joints_2d: Floats) -> str | None:
    """Say what is wrong with a frame's joints [32, 3] and [32, 2], if anything is."""
    if not (np.isfinite(joints_3d).all() and np.isfinite(joints_2d).all()):
        return "joints that are not numbers"
    span = float(spans(joints_3d))
    if not BODY[0] <= span <= BODY[1]:
        return f"joints span {span:.3g} m, expected {BODY[0]} to {BODY[1]}"
    if (joints_3d[:, 2] <= 0).any():
        return "joints behind the camera; expected the camera's frame (D3_Positions_mono)"
    return None


def spans(joints: Floats) -> npt.NDArray[np.float64]:
    """Return the diagonal of the box around joints [..., K, 3]."""
    return np.linalg.norm(joints.max(-2) - joints.min(-2), axis=-1)


def _check_millimetres(points: Floats, sequence: Sequence) -> None:
    finite = points[np.isfinite(points).all((1, 2))]
    if len(finite) == 0:
        return
    span = float(np.median(spans(finite)))
    if BODY[0] <= span <= BODY[1]:
        raise UserError(
            f"{sequence.joints_3d}: people span {span:.3g}, which is right in metres; Human3.6M's "
            "own files hold millimetres: get them again"
        )
