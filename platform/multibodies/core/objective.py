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
from multibodies.core.loss_forms import FORMS, Form
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.core.skinning import VertexBody

BEST_TERMS = ("best", "theta", "beta", "vertices", "rb")  # of one hypothesis
TERMS = ("ri", *BEST_TERMS, "depth", "heatmap")
FIRST = "_first"  # ends the names of these terms of hypothesis 0


class Labels(NamedTuple):
    """What is known of each image; has_3d and has_smpl [B] in {0, 1} say which of it is.

    keypoints [B, K, 3] (x, y, visible), joints [B, K, 4] (x, y, z, confidence), theta [B, 24, 3],
    beta [B, 10]. key [B] int64 names the rows, flip [B] bool and angle [B] say how an augmentation
    mirrored and turned them; None where the system does not ask, or nothing was changed.
    """

    keypoints: Tensor
    joints: Tensor
    theta: Tensor
    beta: Tensor
    has_3d: Tensor
    has_smpl: Tensor
    key: Tensor | None = None
    flip: Tensor | None = None
    angle: Tensor | None = None


class Outcome(NamedTuple):
    """total [B] of eq. 8, its terms (unweighted) name -> [B], the best index m* [B], eq. 1's
    distances [B, M]."""

    total: Tensor
    terms: dict[str, Tensor]
    best: Tensor
    distance: Tensor


class Truth(NamedTuple):
    """What labels say in the terms of eq. 8: joints [B, K, 3] centred on the mid-hip, confidence
    [B, K], rotations [B, 24, 3, 3], vertices [B, V, 3]."""

    joints: Tensor
    confidence: Tensor
    rotations: Tensor
    vertices: Tensor


class Loss(nn.Module):
    """What a network learns by: (Hypotheses, Labels) -> Outcome.

    weights: each term's weight by its name; a term that is not finite is named in an error.
    """

    weights: dict[str, float]


class Objective(Loss):
    """Equation 8 over a batch. Every hypothesis costs joints only; vertices are posed for the best
    one.

    With `supervise_first` hypothesis 0 gets the terms of the best one too, with the same weights;
    they are terms of their own, `best_first` and so on.
    """

    def __init__(
        self,
        joints: JointBody,
        vertices: VertexBody,
        weights: dict[str, float],
        ri_reduction: str,
        form: Form = FORMS["norm"],
        *,
        supervise_first: bool = False,
    ) -> None:
        super().__init__()
        self.joints, self.vertices = joints, vertices
        self.ri_reduction, self.form, self.supervise_first = ri_reduction, form, supervise_first
        first = {name + FIRST: weights[name] for name in BEST_TERMS}
        self.weights = weights | (first if supervise_first else {})

    def skeletons(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Pose [..., 24, 3, 3] and [..., 10] into joints [..., K, 3] in the camera's frame."""
        flat = self.joints(rotations.flatten(0, -4), beta.flatten(0, -2))["j24"]
        return flat.unflatten(0, rotations.shape[:-3])

    def forward(self, hypotheses: Hypotheses, labels: Labels) -> Outcome:
        """Return eq. 8's value and terms per image."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.weights["ri"] > 0):
            joints = self.skeletons(hypotheses.rotations, hypotheses.beta)
            reprojection = self.form.reprojection(
                project(joints, hypotheses.camera), labels.keypoints
            )
        truth = self.truth(labels)
        distance = self.form.joints(
            centre_on_mid_hips(joints.detach()), truth.joints, truth.confidence
        )
        second = rank_without_3d(hypotheses.rotations, reprojection, truth, labels.keypoints)
        best = choose(distance, second, labels.has_3d)
        terms = {"ri": losses.hypothesis_reprojection(reprojection, self.ri_reduction)}
        terms |= self.best_terms(pick(hypotheses, best), labels, truth)
        if self.supervise_first:
            first = self.best_terms(pick(hypotheses, torch.zeros_like(best)), labels, truth)
            terms |= {name + FIRST: term for name, term in first.items()}
        if self.weights.get("depth"):
            terms["depth"] = losses.depth_loss(hypotheses.camera)
        if hypotheses.heatmaps is not None:
            terms["heatmap"] = losses.heatmap_loss(hypotheses.heatmaps, labels.keypoints)
        return Outcome(losses.total(terms, self.weights), terms, best, distance)

    @torch.no_grad()
    def truth(self, labels: Labels) -> Truth:
        """Pose the labels."""
        rotations = axis_angle_to_matrix(labels.theta)
        return Truth(
            centre_on_mid_hips(labels.joints[..., :3]),
            labels.joints[..., 3] * labels.has_3d[:, None],
            rotations,
            self.vertices(rotations, labels.beta),
        )

    def best_terms(self, body: Hypotheses, labels: Labels, truth: Truth) -> dict[str, Tensor]:
        """Equations 1, 6 and 7 of one hypothesis (M = 1 in `body`); unknown labels give 0."""
        form, rotations, beta = self.form, body.rotations[:, 0], body.beta[:, 0]
        joints = self.skeletons(body.rotations, body.beta)
        points, vertices = project(joints, body.camera), self.vertices(rotations, beta)
        smpl = {
            "theta": form.theta(rotations, truth.rotations),
            "beta": form.beta(beta, labels.beta),
            "vertices": form.vertices(vertices, truth.vertices, self.vertices.full),
        }
        centred = centre_on_mid_hips(joints)
        return {
            "best": form.joints(centred, truth.joints, truth.confidence)[:, 0],
            "rb": form.reprojection(points, labels.keypoints)[:, 0],
            **{name: torch.where(labels.has_smpl > 0, term, 0.0) for name, term in smpl.items()},
        }


@torch.no_grad()
def rank_without_3d(
    rotations: Tensor, reprojection: Tensor, truth: Truth, keypoints: Tensor
) -> Tensor:
    """Return by what m* [B, M] of images without 3D is chosen: how well hypotheses reproject, or,
    where no keypoint is visible, how near they are to theta, all else that there may be to know."""
    away = (rotations - truth.rotations[:, None]).square().sum((-3, -2, -1))
    seen = (keypoints[..., 2] > 0).any(1)
    return torch.where(seen[:, None], reprojection, away)


def choose(distance: Tensor, second: Tensor, has_3d: Tensor) -> Tensor:
    """Return m* [B]: eq. 1's argmin, or, for an image without 3D, that of `second` [B, M]."""
    return torch.where(has_3d > 0, distance.argmin(1), second.argmin(1))


def pick(hypotheses: Hypotheses, index: Tensor) -> Hypotheses:
    """Return the hypotheses at index [B] as a set of M = 1."""
    rows = torch.arange(len(index), device=index.device)
    return hypotheses.each(lambda field: field[rows, index][:, None])


def collapse(outcome: Outcome) -> dict[str, float]:
    """Return batch means of the terms, and the share of hypotheses that won at least once."""
    means = {name: float(term.detach().mean()) for name, term in outcome.terms.items()}
    winners = len(outcome.best.unique()) / outcome.distance.shape[1]
    return {"total": float(outcome.total.detach().mean()), "winners": winners, **means}
