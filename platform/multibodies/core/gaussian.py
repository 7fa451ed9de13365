"""The gate of the prior: a Gaussian with a full covariance, which a useful flow must beat.

Legend: N skeleton, K joint, D = 3 K dimension. Metres; densities in nats of metres^-D.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from multibodies.core.whitening import check_samples
from multibodies.errors import UserError


class GaussianPrior:
    """N(mean, cov + noise^2 I), with eigenvalues of at least std_floor^2; float64."""

    def __init__(self, skeletons: Tensor, noise: float, std_floor: float) -> None:
        """Fit to noiseless skeletons [N, K, 3]; `noise` and `std_floor` as in PriorSpec (metres).

        Raises UserError on fewer than 2 skeletons or non-finite numbers.
        """
        self.shape = tuple(skeletons.shape[1:])
        flat = skeletons.double().flatten(1)
        check_samples(flat)
        values, axes = torch.linalg.eigh(flat.T.cov())
        values = (values + noise**2).clamp(min=std_floor**2)
        covariance = (axes * values) @ axes.T
        self.distribution = MultivariateNormal(flat.mean(0), covariance)

    def log_prob(self, skeletons: Tensor) -> Tensor:
        """Log-density in nats of skeletons [..., K, 3] -> [...], float64."""
        if tuple(skeletons.shape[-2:]) != self.shape:
            raise UserError(f"expected skeletons [..., {self.shape}], got {list(skeletons.shape)}")
        density: Tensor = self.distribution.log_prob(skeletons.double().flatten(-2))
        return density
