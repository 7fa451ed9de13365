"""Bounded whitening: to mean 0 and standard deviation about 1, coordinate by coordinate.

Legend: N sample, D dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibodies.errors import UserError


class Whitening(nn.Module):
    """z = (x - mean) / std with buffers in the state; the identity until it is fitted."""

    mean: Tensor
    std: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("std", torch.ones(dimension))

    def fit(self, x: Tensor, noise: float, floor: float) -> None:
        """Set mean(x) and max(sqrt(var(x) + noise^2), floor); x [N, D], whose var may be 0.

        Raises UserError on fewer than 2 samples or non-finite numbers.
        """
        check_samples(x)
        variance, mean = torch.var_mean(x.double(), dim=0)
        self.mean.copy_(mean)
        self.std.copy_((variance + noise**2).sqrt().clamp(min=floor))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z [N, D] and log |det dz / dx|, a scalar."""
        return (x - self.mean) / self.std, -self.std.log().sum()

    def inverse(self, z: Tensor) -> Tensor:
        """x [N, D]."""
        return z * self.std + self.mean


def check_samples(x: Tensor) -> None:
    """Refuse samples [N, D] that have no covariance. Raises UserError."""
    if len(x) < 2:
        raise UserError(f"a prior needs at least 2 skeletons to fit, got {len(x)}")
    bad = (~x.isfinite().all(1)).nonzero()
    if len(bad):
        raise UserError(f"skeleton {int(bad[0])} is not finite: quarantine its row before fitting")
