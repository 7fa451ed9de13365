"""SMPL-MDN (supplement C): the modes of a mixture over log-rotations are the hypotheses.

Shapes: B image, M mode, D = 69 numbers of the 23 joints below the root. Radians.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multibodies.config import Config
from multibodies.core import mdn
from multibodies.core.body import BodyArrays
from multibodies.core.mixture_regressor import MixtureRegressor, mixture_from
from multibodies.core.objective import Labels, Loss, Objective, Outcome
from multibodies.core.regressor import Hypotheses, Regressor, RegressorSpec
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from multibodies.systems.base import System
from multibodies.systems.recipes import seeded, spec_of
from multibodies.training import Memory, build_objective


class MixtureObjective(Loss):
    """Eq. 8 of eq. 9's virtual prediction, and the mixture's negative log-likelihood of theta.

    Where theta is unknown the likelihood is left out, and the virtual prediction weighs the modes
    by their alpha, the posterior without evidence.
    """

    def __init__(self, single: Objective, nll: float) -> None:
        super().__init__()
        self.single = single
        self.weights = single.weights | {"nll": nll}

    def forward(self, hypotheses: Hypotheses, labels: Labels) -> Outcome:
        """Return the total per image; best is the likeliest mode, distance that of log-rotations
        ||theta - mu_m|| [B, M]."""
        assert hypotheses.log_weights is not None
        assert hypotheses.extras is not None
        means, theta = mdn.log_rotations(hypotheses.rotations), mdn.canonical(labels.theta)
        log_variance, known = hypotheses.extras["log_variance"], labels.has_smpl > 0
        joint = mdn.log_joint(theta, means, log_variance, hypotheses.log_weights)
        evidence = torch.where(known[:, None], joint, hypotheses.log_weights)
        weights = mdn.posterior(evidence)
        outcome = self.single(virtual(hypotheses, mdn.virtual_prediction(means, weights)), labels)
        nll = torch.where(known, mdn.negative_log_likelihood(joint), 0.0)
        return Outcome(
            outcome.total + self.weights["nll"] * nll,
            outcome.terms | {"nll": nll},
            weights.argmax(1),
            (theta[:, None] - means.detach()).norm(dim=-1),
        )


def virtual(modes: Hypotheses, theta: Tensor) -> Hypotheses:
    """Return G_MDN(I) = (theta^, beta, gamma, t), one hypothesis with log-rotations theta [B, D];
    shape, root and camera are those that all modes share."""
    first = modes.each(lambda field: field[:, :1])
    body = axis_angle_to_matrix(theta.unflatten(1, (1, 23, 3)))
    rotations = torch.cat([first.rotations[:, :, :1], body], 2)
    six = matrix_to_rotation_6d(rotations)
    return first._replace(rotations=rotations, rotation_6d=six, heatmaps=modes.heatmaps)


class Mdn(System):
    """M modes that share root, shape and camera; stage 2's settings say how many."""

    def network(self, spec: RegressorSpec) -> Regressor:
        """Make the untrained network of a checkpoint's recipe."""
        return MixtureRegressor(spec)

    def start(self, stage1: Regressor, config: Config, arrays: BodyArrays) -> Regressor:
        """Make M noisy copies of stage 1's pose. Raises UserError on a head that it has not."""
        options = config.mdn.model_dump(include={"learns", "variance"})
        spec = spec_of(config, options)
        with seeded(config) as generator:
            return mixture_from(stage1, spec, config.stage2.spread, generator)

    def objective(self, config: Config, arrays: BodyArrays, memory: Memory | None) -> Loss:
        """Make eq. 8 of one prediction and the likelihood."""
        single = build_objective(arrays, config.loss.for_stage1())
        return MixtureObjective(single, config.mdn.nll)


SYSTEM = Mdn()
