"""SPIN's loss (Kolotouros et al., ICCV 2019): the regressor starts SMPLify, whose best fit so far
supervises it (nkolot/SPIN, train/trainer.py).

Shapes: B image, K keypoint. One hypothesis per image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from multibodies.core.augment import Draws, change_pose
from multibodies.core.best_fits import BestFits
from multibodies.core.objective import Labels, Loss, Objective, Outcome
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import matrix_to_axis_angle
from multibodies.core.smplify import Fit, SMPLify

Use = Literal["fits", "static_fits", "truth_where_known"]


class Rules(NamedTuple):
    """How fits are used.

    labels: "fits": a row's own theta and beta are never looked at; "static_fits": they are the
    row's first fit; "truth_where_known": they supervise, fits do elsewhere. every: a row is fitted
    each so many times that it is seen. threshold: error from which on a fit is not believed.
    largest_beta: a fit with a larger one says nothing of the shape.
    """

    labels: Use = "truth_where_known"
    every: int = 1
    threshold: float = 100.0
    largest_beta: float = 3.0


class FitLoss(Loss):
    """Equation 8 whose theta, beta and vertices are those of the best fits."""

    def __init__(
        self, objective: Objective, smplify: SMPLify, fits: BestFits, rules: Rules
    ) -> None:
        super().__init__()
        self.objective, self.smplify, self.fits, self.rules = objective, smplify, fits, rules
        self.weights = objective.weights

    def forward(self, hypotheses: Hypotheses, labels: Labels) -> Outcome:
        """Fit, compare, remember, supervise. Raises ValueError on labels without keys."""
        if labels.key is None:
            raise ValueError("fits are kept by row: the batch has no column 'key'")
        best = self.best_fits(hypotheses, labels)
        return self.objective(hypotheses, supervised(labels, best, hypotheses, self.rules))

    @torch.no_grad()
    def best_fits(self, hypotheses: Hypotheses, labels: Labels) -> Fit:
        """Return each row's best fit, new or old, and remember it."""
        assert labels.key is not None
        kept, visits = self.fits.recall(labels.key)
        theta = change_pose(kept.theta, view_of(labels))
        old = self.known(Fit(theta, *kept[1:]), labels, hypotheses)
        due = (visits % self.rules.every == 0).nonzero()[:, 0]
        best, better = old, torch.zeros_like(old.error, dtype=torch.bool)
        if len(due):
            best, better = replaced(old, due, self.fitted(hypotheses, labels, due))
        upright = unchanged_pose(best.theta, view_of(labels))
        better = better | (kept.error.isinf() & old.error.isfinite())  # its labels were its first
        self.fits.update(labels.key, best._replace(theta=upright), better)
        return best

    def known(self, fit: Fit, labels: Labels, hypotheses: Hypotheses) -> Fit:
        """Judge the fits kept by the keypoints as they are seen now; a row without one has its own
        labels where they count as a fit, else an infinite error."""
        new = fit.error.isinf()
        if self.rules.labels == "static_fits":
            take = new & (labels.has_smpl > 0)
            theta = torch.where(take[:, None, None], labels.theta, fit.theta)
            beta = torch.where(take[:, None], labels.beta, fit.beta)
            fit, new = fit._replace(theta=theta, beta=beta), new & ~take
        judged = self.smplify.judged(fit.theta, fit.beta, hypotheses.camera[:, 0], labels.keypoints)
        return judged._replace(error=judged.error.masked_fill(new, torch.inf))

    def fitted(self, hypotheses: Hypotheses, labels: Labels, rows: Tensor) -> Fit:
        """Run SMPLify from the network's bodies, of some rows [R] alone."""
        return self.smplify(
            matrix_to_axis_angle(hypotheses.rotations[rows, 0]),
            hypotheses.beta[rows, 0],
            hypotheses.camera[rows, 0],
            labels.keypoints[rows],
        )


def replaced(old: Fit, rows: Tensor, new: Fit) -> tuple[Fit, Tensor]:
    """Put new fits of some rows [R] where their error is smaller; also return where [B]."""
    takes = new.error < old.error[rows]
    where = rows[takes]
    better = torch.zeros_like(old.error, dtype=torch.bool)
    better[where] = True
    parts = [a.index_put((where,), b[takes]) for a, b in zip(old, new, strict=True)]
    return Fit(*parts), better


def supervised(labels: Labels, fit: Fit, hypotheses: Hypotheses, rules: Rules) -> Labels:
    """Return labels whose theta and beta are the fits' where these are used and believed.

    A shape that is not believed is the network's own: its beta has no gradient.
    """
    own = labels.has_smpl > 0 if rules.labels == "truth_where_known" else fit.error < 0
    extreme = (fit.beta.abs() > rules.largest_beta).any(1, keepdim=True)
    shape = torch.where(extreme, hypotheses.beta[:, 0].detach(), fit.beta)
    return labels._replace(
        theta=torch.where(own[:, None, None], labels.theta, fit.theta),
        beta=torch.where(own[:, None], labels.beta, shape),
        has_smpl=(own | (fit.error < rules.threshold)).to(labels.has_smpl),
    )


def view_of(labels: Labels) -> Draws:
    """Return how the picture was mirrored and turned; nothing where that is not told."""
    count = len(labels.beta)
    flip = labels.beta.new_zeros(count, dtype=torch.bool) if labels.flip is None else labels.flip
    angle = labels.beta.new_zeros(count) if labels.angle is None else labels.angle
    one = torch.ones_like(angle)
    return Draws(flip, angle, one, one[:, None].expand(-1, 3))


def unchanged_pose(theta: Tensor, view: Draws) -> Tensor:
    """Undo `change_pose`: mirror back, then turn back."""
    still = view._replace(angle=torch.zeros_like(view.angle))
    back = view._replace(flip=torch.zeros_like(view.flip), angle=-view.angle)
    return change_pose(change_pose(theta, still), back)
