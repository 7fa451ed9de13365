"""The terms of SMPLify's energy as SPIN weighs them (nkolot/SPIN, smplify/losses.py), and the
camera in which bodies lie best on keypoints.

Shapes: B image, K keypoint. Pixels are those of a crop of 224: 112 of them are 1 in [-1, 1]. No
function averages over B.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from multibodies.core.camera import FOCAL, FOCAL_NDC, IMAGE, camera_translation
from multibodies.core.losses import check

PIXELS: Final = IMAGE / 2  # in 1 of [-1, 1]
# elbows and knees in theta's 72 numbers, and the sign of a bend that they do not have
HINGES: Final = (55, 58, 12, 15)
HINGE_SIGNS: Final = (1.0, -1.0, -1.0, -1.0)


def geman_mcclure(x: Tensor, sigma: float) -> Tensor:
    """sigma^2 x^2 / (sigma^2 + x^2), elementwise: x^2 where small, never more than sigma^2."""
    squared = x.square()
    return sigma**2 * squared / (sigma**2 + squared)


def keypoint_energy(points: Tensor, keypoints: Tensor, sigma: float) -> Tensor:
    """sum_k c_k^2 (rho(dx) + rho(dy)) in square pixels, c the visibility.

    points [B, K, 2], keypoints [B, K, 3] as (x, y, visible) in [-1, 1] -> [B].
    """
    check("points", points, (*keypoints.shape[:2], 2))
    seen = keypoints[..., 2:] > 0
    away = PIXELS * torch.where(seen, points - keypoints[..., :2], 0.0)
    return (geman_mcclure(away, sigma) * keypoints[..., 2:].square()).sum((-2, -1))


def fit_error(points: Tensor, keypoints: Tensor, sigma: float) -> Tensor:
    """`keypoint_energy` over the sum of c^2: square pixels per visible keypoint; infinite where
    none is visible. SPIN divides by all 49 keypoints, so that hidden ones count as right."""
    energy = keypoint_energy(points, keypoints, sigma)
    weight = keypoints[..., 2].square().sum(1)
    return torch.where(weight > 0, energy / weight.clamp_min(1e-9), torch.inf)


def angle_prior(theta: Tensor) -> Tensor:
    """sum over elbows and knees of exp(a)^2, a the angle of bending the wrong way.

    theta [B, 24, 3] -> [B].
    """
    check("theta", theta, (len(theta), 24, 3))
    bends = theta.flatten(1)[:, list(HINGES)] * theta.new_tensor(HINGE_SIGNS)
    return bends.exp().square().sum(1)


def shape_prior(beta: Tensor) -> Tensor:
    """||beta||^2: [B, 10] -> [B]."""
    return beta.square().sum(1)


def depth_prior(camera: Tensor, start: Tensor) -> Tensor:
    """(tz - tz of the start)^2 in square metres: cameras (s, tx, ty) [B, 3], twice -> [B]."""
    return (camera_translation(camera) - camera_translation(start))[:, 2].square()


@torch.no_grad()
def nearest_camera(joints: Tensor, keypoints: Tensor, start: Tensor) -> Tensor:
    """Return the cameras (s, tx, ty) [B, 3] in which joints [B, K, 3] lie best on the visible
    keypoints [B, K, 3]: SPIN's estimate_translation.

    The projection x (Z + tz) = f (X + tx), y likewise, is linear in t: least squares weighted by
    visibility, in float64. Where the keypoints leave t undetermined it is that of the `start`.
    """
    places, marks = joints.double(), keypoints.double()
    weight = marks[..., 2].square()
    f, zero = torch.full_like(weight, FOCAL_NDC), torch.zeros_like(weight)
    across, down = marks[..., 0], marks[..., 1]
    left = torch.cat([torch.stack([f, zero, -across], -1), torch.stack([zero, f, -down], -1)], 1)
    depth = places[..., 2]
    right = torch.cat([across * depth - f * places[..., 0], down * depth - f * places[..., 1]], 1)
    weighted = left * torch.cat([weight, weight], 1)[..., None]
    begin = camera_translation(start.double())
    normal, ridge = weighted.mT @ left, 1e-6 * torch.eye(3).to(left)
    change = (weighted.mT @ (right[..., None] - left @ begin[..., None])).squeeze(-1)
    found = begin + torch.linalg.solve(normal + ridge, change)
    camera = torch.cat([2 * FOCAL / (IMAGE * found[:, 2:]), found[:, :2]], -1)
    return torch.where(found[:, 2:] > 1.0, camera.to(start), start)
