"""SMPL-MDN's density (supplement C, eq. 9): a Gaussian mixture over the body's log-rotations.

Shapes: B image, M mode, D = 69, the axis-angle vectors of the 23 joints below the root. Radians.
A component is isotropic: N(mu_m, v_m I), where v_m is the variance, as the paper calls its
sigma_m, in radians^2; .001 is a standard deviation of 1.8 degrees. All densities stay logarithms:
at that variance they span thousands of nats.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from multibodies.core.losses import check
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_axis_angle


def log_rotations(rotations: Tensor) -> Tensor:
    """Return the joints' log-rotations without the root's: [..., 24, 3, 3] -> [..., 69].

    Every vector has a norm of at most pi.
    """
    return matrix_to_axis_angle(rotations[..., 1:, :, :]).flatten(-2)


@torch.no_grad()
def canonical(theta: Tensor) -> Tensor:
    """Return labels as `log_rotations` gives predictions: [..., 24, 3] -> [..., 69].

    An axis-angle label may be longer than pi, and names the same rotation as a shorter one.
    """
    return log_rotations(axis_angle_to_matrix(theta))


def log_joint(theta: Tensor, means: Tensor, log_variance: Tensor, log_weights: Tensor) -> Tensor:
    """Logarithm of eq. 9's alpha_m N(theta | mu_m, v_m I).

    theta [B, D], means [B, M, D], log_variance and log_weights [B, M] -> [B, M], nats.
    """
    b, m, d = means.shape
    check("theta", theta, (b, d))
    check("log_variance", log_variance, (b, m))
    check("log_weights", log_weights, (b, m))
    square = (theta[:, None] - means).square().sum(-1)
    normal = square * torch.exp(-log_variance) + d * (log_variance + math.log(2 * math.pi))
    return log_weights - 0.5 * normal


def negative_log_likelihood(joint: Tensor) -> Tensor:
    """-log sum_m alpha_m N(theta | mu_m, v_m I) of `log_joint` [B, M] -> [B], nats."""
    return -joint.logsumexp(1)


@torch.no_grad()
def posterior(joint: Tensor) -> Tensor:
    """Equation 9's weights, the probability of each mode given theta: [B, M] -> [B, M].

    They are constants of a step, as in expectation maximisation and as the choice of best-of-M is:
    where two modes are equally near, their derivative is hundreds per radian and says nothing.
    """
    return joint.softmax(1)


def virtual_prediction(means: Tensor, weights: Tensor) -> Tensor:
    """Equation 9: theta^ = sum_m mu_m p_m. means [B, M, D], weights [B, M] -> [B, D]."""
    check("weights", weights, tuple(means.shape[:2]))
    return torch.einsum("bm,bmd->bd", weights, means)
