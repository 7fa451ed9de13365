"""Records of 3DPW: a person's body moved from the world into the camera of each frame.

Legend: N frame, K joint; world -> camera is X_cam = R_cam X + t_cam. A body posed with the root
R about its pelvis J_0 (which depends on beta alone) has X = J_0 + R (Y - J_0) + trans. Posed with
the root R_cam R instead, it is X' = J_0 + R_cam R (Y - J_0), so that

    X_cam = X' + R_cam (J_0 + trans) + t_cam - J_0
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from multibodies.core.body import BodyArrays
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from multibodies.data.sources.labels import BodyJoints, body_joints
from multibodies.data.sources.record import Box, Fault, Floats, Item, Picture, Record
from multibodies.data.sources.threedpw.file import COCO18, Actor, Sequence, plausible

PADDING = 1.2  # nkolot/SPIN, datasets/preprocess/pw3d.py
# COCO-18 is OpenPose's COCO model: BODY_25 without the middle of the hips and the feet.
OPENPOSE25_OF_COCO18 = (*range(8), *range(9, 19))
FARTHEST = 100.0  # metres from the camera; millimetres read as metres are beyond it
ROTATION_ERROR = 1e-2  # |R R^T - I|, no more than rounding in a file of few digits


class Posed(NamedTuple):
    """N frames in the camera's frame, metres: joints of every set, theta [N, 24, 3]."""

    joints: BodyJoints
    theta: Floats


def items_of(
    sequence: Sequence, person: int, frames: npt.NDArray[np.intp], body: BodyArrays, images: Path
) -> list[Item]:
    """Return a Record or a Fault for some of a person's kept frames.

    `body` is that of the person's gender, `images` the folder of the sequences' pictures. All kept
    frames are posed together whichever are asked for: the last bits depend on the batch's size.
    """
    actor = sequence.actors[person]
    kept = actor.kept
    with np.errstate(all="ignore"):  # unsound frames come out as NaN, and as faults below
        posed = pose_in_camera(actor, kept, sequence.cameras[kept], body)
    items: list[Item] = []
    for i, place in zip(frames.tolist(), np.searchsorted(kept, frames).tolist(), strict=True):
        image_id = f"3dpw-{sequence.name}-p{person}-{i:05d}"
        reason = _unusable(sequence, actor, i) or _too_far(posed.joints.smpl24[place])
        if reason is not None:
            items.append(Fault(image_id, f"frame {i} of person {person}: {reason}"))
        else:
            items.append(_record(sequence, person, i, image_id, images, posed, place))
    return items


def pose_in_camera(
    actor: Actor, frames: npt.NDArray[np.intp], cameras: Floats, body: BodyArrays
) -> Posed:
    """Pose N frames in their cameras [N, 4, 4], exactly: the equation above."""
    rotation, shift = cameras[:, :3, :3], cameras[:, :3, 3]
    theta = actor.poses[frames].copy()
    theta[:, 0] = _turned(rotation, theta[:, 0])
    posed = body_joints(body, theta, np.tile(actor.beta, (len(frames), 1)))
    pelvis = posed.smpl24[:, 0]
    moved = np.einsum("nij,nj->ni", rotation, pelvis + actor.trans[frames]) + shift - pelvis
    return Posed(BodyJoints(*(joints + moved[:, None] for joints in posed)), theta)


def _turned(rotation: Floats, root: Floats) -> Floats:
    """Return the axis-angle of R_cam R: [N, 3, 3], [N, 3] -> [N, 3]."""
    matrices = torch.from_numpy(rotation) @ axis_angle_to_matrix(torch.from_numpy(root))
    return matrix_to_axis_angle(matrices).numpy()


def _record(
    sequence: Sequence,
    person: int,
    frame: int,
    image_id: str,
    images: Path,
    posed: Posed,
    place: int,
) -> Record:
    actor = sequence.actors[person]
    name = f"image_{frame:05d}.jpg"  # the index in the arrays, not img_frame_ids
    joints = BodyJoints(*(points[place] for points in posed.joints))
    points = actor.points[frame]
    return Record(
        image_id=image_id,
        picture=Picture(images / sequence.name / name),
        source=f"imageFiles/{sequence.name}/{name}",
        box=box_of(points),
        subject=f"{sequence.name}-p{person}",
        sequence=sequence.name,
        frame=frame,
        gender=actor.gender,
        keypoints=_project(joints.j24, sequence.intrinsics),
        openpose=_openpose(points),
        joints_3d=np.column_stack([joints.j24, np.ones(24)]),
        h36m17=joints.h36m17,
        theta=posed.theta[place],
        beta=actor.beta,
    )


def box_of(points: Floats) -> Box:
    """Return the square of 1.2 times the extent of the points with confidence: [18, 3] -> Box."""
    seen = points[points[:, 2] > 0, :2]
    low, high = seen.min(0), seen.max(0)
    x, y = 0.5 * (low + high)
    return Box(float(x), float(y), float(PADDING * (high - low).max()))


def _openpose(points: Floats) -> Floats:
    """Put COCO-18 [18, 3] into OpenPose's 25 [25, 3]; what is absent is zero."""
    seen = points[:, 2:] > 0
    joints = np.zeros((25, 3))
    joints[list(OPENPOSE25_OF_COCO18)] = np.where(seen, points, 0.0)
    return joints


def _project(points: Floats, intrinsics: Floats) -> Floats:
    """Pinhole projection [24, 3] -> x, y, confidence; what lies behind the camera is zero."""
    before = points[:, 2:] > 0
    image = np.where(before, points, 1.0) @ intrinsics.T
    return np.where(before, np.column_stack([image[:, :2] / image[:, 2:], np.ones(24)]), 0.0)


def _unusable(sequence: Sequence, actor: Actor, frame: int) -> str | None:
    """Say why a kept frame cannot become a record, or None."""
    points, camera = actor.points[frame], sequence.cameras[frame]
    seen = points[points[:, 2] > 0]
    numbers = {
        "poses": actor.poses[frame],
        "trans": actor.trans[frame],
        "betas": actor.beta,
        "poses2d": seen,
        "cam_poses": camera,
    }
    for name, values in numbers.items():
        if not plausible(values):
            return f"'{name}' holds NaN, infinite or absurdly large numbers"
    rotation = camera[:3, :3]
    error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if error > ROTATION_ERROR or np.linalg.det(rotation) < 0:
        return "'cam_poses' holds no rotation"
    if box_of(points).side <= 0:
        return f"'poses2d' has {len(seen)} of {COCO18} points, which span no box"
    return None


def _too_far(joints: Floats) -> str | None:
    distance = np.linalg.norm(joints, axis=1).max()
    if distance < FARTHEST:
        return None
    return (
        f"the person is {distance:.0f} m from the camera; "
        "'trans' and 'cam_poses' must be in metres, not millimetres"
    )
