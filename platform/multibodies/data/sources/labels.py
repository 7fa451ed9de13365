"""Labels that follow from a body: its joints in every order of the schema. Legend: B body."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.sources.record import Floats

SETS = ("j24", "openpose25", "h36m17", "smpl24")


class BodyJoints(NamedTuple):
    """Joints of B bodies in metres, untranslated: [B, 24 | 25 | 17 | 24, 3]."""

    j24: Floats
    openpose25: Floats
    h36m17: Floats
    smpl24: Floats


def body_joints(body: BodyArrays, theta: Floats, beta: Floats) -> BodyJoints:
    """Pose bodies in float64, without meshes: theta [B, 24, 3] axis-angle, beta [B, 10]."""
    rotations = axis_angle_to_matrix(torch.from_numpy(np.asarray(theta, np.float64)))
    with torch.inference_mode():
        posed = _posing(body)(rotations, torch.from_numpy(np.asarray(beta, np.float64)))
    return BodyJoints(*(posed[name].numpy() for name in SETS))


@lru_cache(maxsize=4)
def _posing(body: BodyArrays) -> JointBody:
    return JointBody(body, SETS, dtype=torch.float64)
