"""The two forms of the distances in eq. 1 and 5 to 7: the paper's norms, the released code's means.

Shapes: B image, M hypothesis, K joint, V vertex. Metres in space, [-1, 1] across the crop in the
image. Here are the released code's, which are SPIN's (nkolot/SPIN, train/trainer.py): errors
weighted by confidence, averaged over everything that a formula sums up, what is masked included. No
function averages over B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from multibodies.core import losses
from multibodies.core.losses import check


def joint_error(joints: Tensor, truth: Tensor, confidence: Tensor) -> Tensor:
    """SPIN's keypoint_3d_loss: mean of confidence (X^m - X)^2 over joints and coordinates.

    joints [B, M, K, 3], truth [B, K, 3], confidence [B, K] -> [B, M], square metres.
    """
    b, _, k, _ = joints.shape
    check("truth", truth, (b, k, 3))
    check("confidence", confidence, (b, k))
    known = confidence[:, None, :, None]
    difference = torch.where(known != 0, joints - truth[:, None], 0.0)
    return (difference.square() * known).mean((-2, -1))


def reprojection_error(points: Tensor, keypoints: Tensor) -> Tensor:
    """SPIN's keypoint_loss: mean of visibility (pi_t(X^m) - Y)^2 over keypoints and coordinates.

    points [B, M, K, 2], keypoints [B, K, 3] as (x, y, visible) -> [B, M].
    """
    b, _, k, _ = points.shape
    check("keypoints", keypoints, (b, k, 3))
    seen = keypoints[:, None, :, 2:] > 0
    difference = torch.where(seen, points - keypoints[:, None, :, :2], 0.0)
    return (difference.square() * keypoints[:, None, :, 2:]).mean((-2, -1))


def theta_error(rotations: Tensor, truth: Tensor) -> Tensor:
    """SPIN's smpl_losses, pose: mean squared error of the 24 rotation matrices.

    rotations, truth [B, 24, 3, 3] -> [B].
    """
    check("truth", truth, tuple(rotations.shape))
    return (rotations - truth).square().mean((-3, -2, -1))


def vertices_error(vertices: Tensor, truth: Tensor, full: int | None = None) -> Tensor:
    """SPIN's shape_loss: mean absolute error (L1) of the vertices, metres.

    vertices, truth [B, V, 3] -> [B]. A mean needs no scaling to `full` vertices.
    """
    check("truth", truth, tuple(vertices.shape))
    return (vertices - truth).abs().mean((-2, -1))


def beta_error(beta: Tensor, truth: Tensor) -> Tensor:
    """SPIN's smpl_losses, shape: mean squared error. beta, truth [B, 10] -> [B]."""
    check("truth", truth, tuple(beta.shape))
    return (beta - truth).square().mean(-1)


class Form(NamedTuple):
    """The distances of eq. 1 and 5 to 7; `on_support`: vertices are those that joints are read
    from, not all."""

    joints: Callable[[Tensor, Tensor, Tensor], Tensor]
    reprojection: Callable[[Tensor, Tensor], Tensor]
    theta: Callable[[Tensor, Tensor], Tensor]
    vertices: Callable[[Tensor, Tensor, int | None], Tensor]
    beta: Callable[[Tensor, Tensor], Tensor]
    on_support: bool


FORMS = {
    "norm": Form(
        losses.joint_distance,
        losses.reprojection_distance,
        losses.theta_loss,
        losses.vertices_loss,
        losses.beta_loss,
        on_support=False,
    ),
    "squared": Form(
        joint_error, reprojection_error, theta_error, vertices_error, beta_error, on_support=True
    ),
}
