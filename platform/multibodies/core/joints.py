"""Joint sets: names, picks between them, the skeleton to draw, centring.

Shapes: K joints; picks are indices, so ``b = a[..., PICK, :]``.

`smpl24`  the 24 kinematic joints of SMPL.
`54`      smpl24, smplx's 21 vertex joints, the 9 rows of SPIN's ``J_regressor_extra``.
`j24`     SPIN's 24 "ground truth" joints (nkolot/SPIN, constants.py), picked from the 54.
`openpose25`  OpenPose's BODY_25, picked from the 54 as SPIN does.
`h36m17`  rows of ``J_regressor_h36m``; `j14` the 14 of them that MPJPE and RE use.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

SMPL_PARENTS: Final = (
    -1,
    0,
    0,
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    9,
    9,
    12,
    13,
    14,
    16,
    17,
    18,
    19,
    20,
    21,
)

SMPL_NAMES: Final = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle",
    "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar",
    "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist",
    "right_wrist", "left_hand", "right_hand",
)  # fmt: skip

# smplx.vertex_ids' joints 24..28 of the 54: nose, right eye, left eye, right ear, left ear.
FACE_VERTICES: Final = (332, 6260, 2800, 4071, 583)
# 29..34: big toe, small toe, heel of the left foot, then of the right.
FEET_VERTICES: Final = (3216, 3226, 3387, 6617, 6624, 6787)
FIRST_FACE: Final = 24
FIRST_EXTRA: Final = 45

J24_NAMES: Final = (
    "Right Ankle", "Right Knee", "Right Hip", "Left Hip", "Left Knee", "Left Ankle", "Right Wrist",
    "Right Elbow", "Right Shoulder", "Left Shoulder", "Left Elbow", "Left Wrist", "Neck (LSP)",
    "Top of Head (LSP)", "Pelvis (MPII)", "Thorax (MPII)", "Spine (H36M)", "Jaw (H36M)",
    "Head (H36M)", "Nose", "Left Eye", "Right Eye", "Left Ear", "Right Ear",
)  # fmt: skip

OPENPOSE25_NAMES: Final = (
    "Nose", "Neck", "Right Shoulder", "Right Elbow", "Right Wrist", "Left Shoulder", "Left Elbow",
    "Left Wrist", "Middle Hip", "Right Hip", "Right Knee", "Right Ankle", "Left Hip", "Left Knee",
    "Left Ankle", "Right Eye", "Left Eye", "Right Ear", "Left Ear", "Left Big Toe",
    "Left Small Toe", "Left Heel", "Right Big Toe", "Right Small Toe", "Right Heel",
)  # fmt: skip

# fmt: off
J24_FROM_54: Final = (
    8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27
)
OPENPOSE25_FROM_54: Final = (
    24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34
)

# A mirrored image: joint k of the mirror is joint J24_FLIP[k] of the original, x negated.
J24_FLIP: Final = (
    5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18, 19, 21, 20, 23, 22
)
SMPL_FLIP: Final = (
    0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22
)

OPENPOSE25_FLIP: Final = (
    0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21
)

H36M_TO_J17: Final = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9)
H36M_TO_J14: Final = H36M_TO_J17[:14]
H36M_FLIP: Final = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
# The j24 joint of each of H36M's 17 motion-capture joints in the evaluation's order (J17).
J24_TO_J17: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18, 14, 16, 17)

# The j24 joint of each COCO keypoint: nose, eyes, ears, shoulders, elbows, wrists, hips, knees,
# ankles, left before right.
COCO17_TO_J24: Final = (19, 20, 21, 22, 23, 9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0)
# fmt: on

MID_HIPS: Final = (2, 3)  # of j24

J24_EDGES: Final = (
    (0, 1), (1, 2), (2, 14), (3, 14), (3, 4), (4, 5), (6, 7), (7, 8), (8, 15), (9, 15), (9, 10),
    (10, 11), (14, 16), (16, 15), (15, 12), (12, 17), (17, 18), (18, 13), (17, 19), (19, 20),
    (19, 21), (20, 22), (21, 23),
)  # fmt: skip


def centre_on_mid_hips(joints: Tensor) -> Tensor:
    """Subtract the mean of the two hips: j24 [..., 24, D] -> same shape."""
    if joints.ndim < 2 or joints.shape[-2] != len(J24_NAMES):
        raise ValueError(f"expected j24 joints [..., 24, D], got {tuple(joints.shape)}")
    right, left = MID_HIPS
    return joints - 0.5 * (joints[..., right, :] + joints[..., left, :]).unsqueeze(-2)
