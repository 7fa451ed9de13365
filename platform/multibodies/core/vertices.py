"""Per-vertex errors of many hypotheses against one true mesh.

Shapes: B image, M hypothesis, V vertex, K joint of a regressor. Metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from multibodies.core.body import BodyArrays, MeshBody
from multibodies.core.metrics import mpjpe

Pose = tuple[Tensor, Tensor]  # rotations [..., 24, 3, 3], beta [..., 10]


@torch.inference_mode()
def vertex_errors(
    arrays: BodyArrays,
    hypotheses: Pose,
    truth: Pose,
    root: Sequence[int] = (0,),
    truth_root: Sequence[int] = (0,),
) -> Tensor:
    """PVE of every hypothesis, the mean distance of the vertices: [B, M], metres.

    Both meshes are centred on their H36M joints, the mean of `root` and of `truth_root`, as the
    joints are for MPJPE; nothing is aligned. One image's M meshes are in memory at a time.
    """
    mesh, regressor = MeshBody(arrays), arrays.J_regressor_h36m
    errors = []
    for rotations, beta, *true in zip(*hypotheses, *truth, strict=True):
        posed = _centred(mesh(rotations, beta), regressor, root)
        wanted = _centred(mesh(true[0][None], true[1][None]), regressor, truth_root)
        errors.append(mpjpe(posed, wanted.expand_as(posed)))
    return torch.stack(errors)


def _centred(vertices: Tensor, regressor: Tensor, root: Sequence[int]) -> Tensor:
    """Subtract the mean of some regressed joints from vertices [B, V, 3]."""
    return vertices - (regressor[list(root)].mean(0) @ vertices)[:, None]
