"""Batched SMPLify (Bogo et al. 2016) as SPIN runs it in its loop, on the joints-only body.

Shapes: B image, K = 24 keypoints (j24). theta is axis-angle, its first row the root. Camera (s, tx,
ty). Every image's energy stands alone and Adam goes number by number, so that a fit does not depend
on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from multibodies.core.camera import project
from multibodies.core.fit_terms import (
    angle_prior,
    depth_prior,
    fit_error,
    keypoint_energy,
    nearest_camera,
    shape_prior,
)
from multibodies.core.joint_body import JointBody
from multibodies.core.level_body import LevelBody
from multibodies.core.pose_prior import PosePrior
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_axis_angle

HIPS: Final = (2, 3)  # of j24; used in phase 1 alone: people mark them elsewhere than bodies do
TORSO: Final = (2, 3, 8, 9)  # hips and shoulders: phase 1


class Fit(NamedTuple):
    """A body on its keypoints: theta [B, 24, 3], beta [B, 10], camera [B, 3], and its error [B],
    square pixels of 224 per visible keypoint, robust (`fit_error`)."""

    theta: Tensor
    beta: Tensor
    camera: Tensor
    error: Tensor


class FitSettings(NamedTuple):
    """Adam's iterations in each phase and its rate, the robust error's sigma in pixels, and the
    weights, which are squared. Defaults are SPIN's."""

    camera_iterations: int = 100
    body_iterations: int = 100
    rate: float = 1e-2
    sigma: float = 100.0
    pose: float = 4.78
    shape: float = 5.0
    angle: float = 15.2
    depth: float = 100.0


class SMPLify(nn.Module):
    """Fit bodies to 2D keypoints from a start."""

    def __init__(self, joints: JointBody, prior: PosePrior, settings: FitSettings) -> None:
        super().__init__()
        self.joints, self.prior, self.settings = LevelBody(joints.points), prior, settings

    def forward(self, theta: Tensor, beta: Tensor, camera: Tensor, keypoints: Tensor) -> Fit:
        """Fit from theta [B, 24, 3], beta [B, 10], camera [B, 3] to keypoints [B, K, 3] as (x, y,
        visible); the camera of the result is the one that suits it best."""
        rest = keypoints.detach()
        theta, camera = self.turned(theta.detach(), beta.detach(), camera.detach(), rest)
        theta, beta = self.bent(theta, beta.detach(), camera, without_hips(rest))
        return self.judged(theta, beta, camera, keypoints)

    @torch.no_grad()
    def judged(self, theta: Tensor, beta: Tensor, camera: Tensor, keypoints: Tensor) -> Fit:
        """Return bodies as fits to keypoints [B, K, 3], each in the camera that suits it best."""
        used = without_hips(keypoints)
        joints = self.skeletons(theta, beta)
        best = nearest_camera(joints, used, camera)
        error = fit_error(project(joints, best), used, self.settings.sigma)
        return Fit(theta, beta, best, error)

    def skeletons(self, theta: Tensor, beta: Tensor) -> Tensor:
        """Pose theta [B, 24, 3] and beta [B, 10] into joints [B, K, 3]."""
        joints: Tensor = self.joints(axis_angle_to_matrix(theta), beta)
        return joints

    def turned(
        self, theta: Tensor, beta: Tensor, camera: Tensor, keypoints: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Phase 1: the root's rotation and the camera, by the torso where it is all seen."""
        used, settings = torso_or_all(keypoints), self.settings
        with torch.no_grad():
            joints, root = self.skeletons(theta, beta), self.joints.root(beta)[:, None]
        around = joints - root

        def energy(turn: Tensor, view: Tensor) -> Tensor:
            moved = around @ axis_angle_to_matrix(turn).mT + root  # rigid: no body is posed
            near = keypoint_energy(project(moved, view), used, settings.sigma)
            return near + settings.depth**2 * depth_prior(view, camera)

        start = torch.zeros_like(theta[:, 0]), camera
        iterations = settings.camera_iterations
        turn, view = minimise(energy, start, iterations, settings.rate)
        rotation = axis_angle_to_matrix(turn) @ axis_angle_to_matrix(theta[:, 0])
        return torch.cat([matrix_to_axis_angle(rotation)[:, None], theta[:, 1:]], 1), view

    def bent(
        self, theta: Tensor, beta: Tensor, camera: Tensor, keypoints: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Phase 2: theta and beta under the priors, in the camera of phase 1."""
        settings = self.settings

        def energy(pose: Tensor, shape: Tensor) -> Tensor:
            points = project(self.skeletons(pose, shape), camera)
            return (
                keypoint_energy(points, keypoints, settings.sigma)
                + settings.pose**2 * self.prior(pose)
                + settings.angle**2 * angle_prior(pose)
                + settings.shape**2 * shape_prior(shape)
            )

        iterations = settings.body_iterations
        pose, shape = minimise(energy, (theta, beta), iterations, settings.rate)
        return pose, shape


def minimise(
    energy: Callable[..., Tensor], start: Sequence[Tensor], iterations: int, rate: float
) -> list[Tensor]:
    """Minimise an energy [B] of several variables [B, ...], each row by itself, by so many steps of
    Adam. Gradients flow only in here: the result has none, and under `no_grad` it works the same.
    """
    with torch.enable_grad():
        variables = [x.detach().clone().requires_grad_() for x in start]
        adam = torch.optim.Adam(variables, lr=rate, fused=True)
        for _ in range(iterations):
            adam.zero_grad()
            energy(*variables).sum().backward()
            adam.step()
    return [x.detach() for x in variables]


def without_hips(keypoints: Tensor) -> Tensor:
    """Return keypoints [B, K, 3] of which the hips are not visible."""
    kept = torch.ones_like(keypoints)
    kept[:, list(HIPS), 2] = 0
    return keypoints * kept


def torso_or_all(keypoints: Tensor) -> Tensor:
    """Return keypoints [B, K, 3] of which only the torso's are visible, or, where it is not all
    seen, what is."""
    torso = torch.zeros_like(keypoints[..., 2])
    torso[:, list(TORSO)] = 1
    whole = (keypoints[:, list(TORSO), 2] > 0).all(1, keepdim=True)
    seen = keypoints[..., 2] * torch.where(whole, torso, 1.0)
    return torch.cat([keypoints[..., :2], seen[..., None]], -1)
