"""The gate of the prior: a Gaussian with a full covariance, which a useful flow must beat.

Legend: N skeleton, K joint, D = 3 K dimension. Metres; densities in nats of metres^-D.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from multibodies.core.whitening import check_samples
from multibodies.errors import UserError


class GaussianPrior:
    """N(mean, cov + noise^2 I), its eigenvalues bounded from below by std_floor^2; float64."""

    def __init__(self, skeletons: Tensor, noise: float, std_floor: float) -> None:
        """Fit to noiseless skeletons [N, K, 3]; `noise` and `std_floor` as in PriorSpec (metres).

        Raises UserError on fewer than 2 skeletons or numbers that are not finite.
        """
        self.shape = skeletons.shape[1:]
        flat = skeletons.double().flatten(1)
        check_samples(flat)
        variances, self.axes = torch.linalg.eigh(flat.T.cov())  # columns of axes: [D, D]
        self.variances = (variances + noise**2).clamp(min=std_floor**2)  # [D]
        self.mean = flat.mean(0)

    def log_prob(self, skeletons: Tensor) -> Tensor:
        """Log-density in nats of skeletons [..., K, 3] -> [...], float64. Raises UserError."""
        if skeletons.shape[-2:] != self.shape:
            expected, got = list(self.shape), list(skeletons.shape)
            raise UserError(f"the Gaussian takes skeletons [..., *{expected}], got {got}")
        along = (skeletons.double().flatten(-2) - self.mean) @ self.axes
        scale = (2 * math.pi * self.variances).log()
        density: Tensor = -0.5 * (along.square() / self.variances + scale).sum(-1)
        return density
