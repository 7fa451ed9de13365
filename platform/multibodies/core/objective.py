"""The training objective of one batch: hypotheses and labels in, eq. 8 out.

Shapes: B image, M hypothesis, K = 24 joints (j24, centred on the mid-hip), V vertex. Metres; [-1,
1] across the crop.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from multibodies.core import losses
from multibodies.core.body import JointBody
from multibodies.core.camera import project
from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.core.skinning import VertexBody

TERMS = ("ri", "best", "theta", "beta", "vertices", "rb", "heatmap")


class Labels(NamedTuple):
    """What is known of each image; has_3d and has_smpl [B] in {0, 1} say which of it is.

    keypoints [B, K, 3] (x, y, visible), joints [B, K, 4] (x, y, z, confidence), theta [B, 24, 3],
    beta [B, 10].
    """

    keypoints: Tensor
    joints: Tensor
    theta: Tensor
    beta: Tensor
    has_3d: Tensor
    has_smpl: Tensor


class Outcome(NamedTuple):
    """total [B] of eq. 8, its terms (unweighted) name -> [B], the best index m* [B], eq. 1's
    distances [B, M]."""

    total: Tensor
    terms: dict[str, Tensor]
    best: Tensor
    distance: Tensor


class Objective(nn.Module):
    """Equation 8 over a batch. Every hypothesis costs joints only; vertices are posed for the best
    one."""

    def __init__(
        self, joints: JointBody, vertices: VertexBody, weights: dict[str, float], ri_reduction: str
    ) -> None:
        super().__init__()
        self.joints, self.vertices = joints, vertices
        self.weights, self.ri_reduction = weights, ri_reduction

    def skeletons(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Pose [..., 24, 3, 3] and [..., 10] into joints [..., K, 3] in the camera's frame."""
        flat = self.joints(rotations.flatten(0, -4), beta.flatten(0, -2))["j24"]
        return flat.unflatten(0, rotations.shape[:-3])

    def forward(self, hypotheses: Hypotheses, labels: Labels) -> Outcome:
        """Return eq. 8's value and terms per image."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.weights["ri"] > 0):
            joints = self.skeletons(hypotheses.rotations, hypotheses.beta)
            reprojection = losses.reprojection_distance(
                project(joints, hypotheses.camera), labels.keypoints
            )
        confidence = labels.joints[..., 3] * labels.has_3d[:, None]
        truth = centre_on_mid_hips(labels.joints[..., :3])
        distance = losses.joint_distance(centre_on_mid_hips(joints.detach()), truth, confidence)
        best = choose(distance, reprojection.detach(), labels.has_3d)
        terms = {"ri": losses.hypothesis_reprojection(reprojection, self.ri_reduction)}
        terms |= self.best_terms(pick(hypotheses, best), labels, truth, confidence)
        if hypotheses.heatmaps is not None:
            terms["heatmap"] = losses.heatmap_loss(hypotheses.heatmaps, labels.keypoints)
        return Outcome(losses.total(terms, self.weights), terms, best, distance)

    def best_terms(
        self, body: Hypotheses, labels: Labels, truth: Tensor, confidence: Tensor
    ) -> dict[str, Tensor]:
        """Equations 1, 6 and 7 of the best hypothesis (M = 1 in `body`); unknown labels give 0."""
        joints = self.skeletons(body.rotations, body.beta)
        points = project(joints, body.camera)
        rotations, beta = body.rotations[:, 0], body.beta[:, 0]
        target = axis_angle_to_matrix(labels.theta)
        with torch.no_grad():
            vertices = self.vertices(target, labels.beta)
        smpl = {
            "theta": losses.theta_loss(rotations, target),
            "beta": losses.beta_loss(beta, labels.beta),
            "vertices": losses.vertices_loss(
                self.vertices(rotations, beta), vertices, self.vertices.full
            ),
        }
        return {
            "best": losses.joint_distance(centre_on_mid_hips(joints), truth, confidence)[:, 0],
            "rb": losses.reprojection_distance(points, labels.keypoints)[:, 0],
            **{name: torch.where(labels.has_smpl > 0, term, 0.0) for name, term in smpl.items()},
        }


def choose(distance: Tensor, reprojection: Tensor, has_3d: Tensor) -> Tensor:
    """Return m* [B]: eq. 1's argmin, or, for an image without 3D, the hypothesis that reprojects
    best."""
    return torch.where(has_3d > 0, distance.argmin(1), reprojection.argmin(1))


def pick(hypotheses: Hypotheses, index: Tensor) -> Hypotheses:
    """Return the hypotheses at index [B] as a set of M = 1."""
    rows = torch.arange(len(index), device=index.device)
    return Hypotheses(
        *[None if field is None else field[rows, index][:, None] for field in hypotheses[:4]]
    )


def collapse(outcome: Outcome) -> dict[str, float]:
    """Return batch means of the terms, and the share of hypotheses that won at least once."""
    means = {name: float(term.detach().mean()) for name, term in outcome.terms.items()}
    winners = len(outcome.best.unique()) / outcome.distance.shape[1]
    return {"total": float(outcome.total.detach().mean()), "winners": winners, **means}
