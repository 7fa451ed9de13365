"""Labelled frames of an MPI-INF-3DHP sequence -> records. Legend: N frame, K = 17 joints.

Pixels need no half added: the calibration puts a centred principal point at half the picture's
side (1024 of 2048), so labels that its matrices project are continuous coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.core.joints import H36M_TO_J17, J24_TO_J17
from multibodies.data.sources.record import Box, Fault, Floats, Item, Picture, Record
from multibodies.errors import UserError

# Pelvis, left and right leg, spine, neck, head, top of the head, left and right arm: the place of
# each in j24, after nkolot/SPIN, datasets/preprocess/mpi_inf_3dhp.py.
J17_IN_J24 = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)
LEGS = ((1, 2, 3), (4, 5, 6))
LEG_LENGTHS = (0.4, 1.4)  # metres of thigh and shin; outside is another unit or a broken label
PADDING = 1.2  # of the keypoints' box, as SPIN
FARTHEST = 1e5  # pixels
TOLERANCE = 10.0  # pixels between annot2 and annot3 projected; the set's own agree to hundredths


class Reading(NamedTuple):
    """What to read: a sequence's name, label file, folder of pictures, every how many-th frame."""

    name: str
    labels: Path
    images: Path
    step: int


class View(NamedTuple):
    """A camera of a sequence: its video's name ("" in testing), what frames are called, their size,
    where frame i (from 0) is."""

    video: str
    stem: str
    size: tuple[int, int]
    picture: Callable[[int], Picture]


@dataclass(frozen=True, eq=False)
class Take:
    """The N chosen frames of a sequence, in their order; what was left out, by rule.

    view [N] into views; frames [N] from 0; points [N, 17, 2] pixels; joints [N, 17, 3] metres in
    the camera's frame; errors [N] pixels from points to the projected joints, 0 where unknown.
    """

    reading: Reading
    views: tuple[View, ...]
    view: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    points: Floats
    joints: Floats
    errors: Floats
    skipped: Mapping[str, int]


def item(take: Take, row: int) -> Item:
    """Return the record of a row, or the fault that it is."""
    view, frame = take.views[take.view[row]], int(take.frames[row])
    name = take.reading.name
    parts = [*name.split("/"), *([view.video] if view.video else [])]
    image_id = f"mpii3d-{'-'.join(parts)}-{view.stem}_{frame + 1:06d}"
    points, joints = take.points[row], take.joints[row]
    reason = _fault(points, joints, float(take.errors[row]))
    if reason is not None:
        return Fault(image_id, reason)
    picture = view.picture(frame)
    joints_3d = _in_j24(joints)
    h36m17 = np.zeros((17, 3))
    h36m17[list(H36M_TO_J17)] = joints_3d[list(J24_TO_J17), :3]
    return Record(
        image_id=image_id,
        picture=picture,
        source=f"{name}/{picture.path.relative_to(take.reading.images).as_posix()}",
        box=_box(points),
        subject=parts[0],
        sequence="_".join(parts),
        frame=frame,
        keypoints=_in_j24(points),
        joints_3d=joints_3d,
        h36m17=h36m17,
        size=view.size,
    )


def leg_lengths(joints: Floats) -> Floats:
    """Return thigh plus shin, the mean of both sides: [..., 17, 3] -> [...]."""
    legs = joints[..., LEGS, :]  # [..., side, hip knee ankle, 3]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.linalg.norm(np.diff(legs, axis=-2), axis=-1).sum(-1).mean(-1))


def require_millimetres(joints: Floats, field: str, path: Path) -> None:
    """Hold joints [N, 17, 3], read as mm and now in metres, to a person's size.

    Raises UserError naming file and field where the median leg is in another unit.
    """
    lengths = leg_lengths(joints)
    lengths = lengths[np.isfinite(lengths)]
    if not lengths.size or LEG_LENGTHS[0] <= (leg := float(np.median(lengths))) <= LEG_LENGTHS[1]:
        return
    unit = "metres" if LEG_LENGTHS[0] <= 1000 * leg <= LEG_LENGTHS[1] else "another unit"
    raise UserError(
        f"{path}: {field}: legs measure {1000 * leg:.4g} mm (median), as if in {unit}; expected "
        "millimetres, about 800; use the file as distributed"
    )


def _in_j24(values: Floats) -> Floats:
    """Place [17, D] in j24 with confidence: [24, D + 1]."""
    placed = np.zeros((24, values.shape[1] + 1))
    placed[list(J17_IN_J24)] = np.column_stack([values, np.ones(17)])
    return placed


def _fault(points: Floats, joints: Floats, error: float) -> str | None:
    if not (np.abs(points) <= FARTHEST).all():
        return f"2D joints are not finite, or beyond {FARTHEST:g} px (annot2)"
    if not np.isfinite(joints).all():
        return "3D joints are not finite (annot3, univ_annot3)"
    if not np.ptp(points, axis=0).any():
        return "empty person: all 2D joints are in one place (annot2)"
    leg = float(leg_lengths(joints))
    if not LEG_LENGTHS[0] <= leg <= LEG_LENGTHS[1]:
        return f"3D legs measure {1000 * leg:.4g} mm, expected 400 to 1400"
    if not error <= TOLERANCE:
        return f"annot3 projects {error:.4g} px away from annot2, expected at most {TOLERANCE:g}"
    return None


def _box(points: Floats) -> Box:
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = ((low + high) / 2).tolist()
    return Box(x, y, PADDING * float((high - low).max()))
