"""A Gaussian prior on the body's pose, where SMPLify has a mixture of 8 fitted to mocap data.

That mixture is a licensed file. This one is computed from poses that are at hand: the embedded
keyframes of the training split, widened, or a file of the user's. Shapes: N pose, B image. The
pose is theta without its root: 69 numbers, axis-angle.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibodies.core.losses import check


class PosePrior(nn.Module):
    """0.5 (x - mean)^T C^-1 (x - mean), C the covariance of poses plus `noise`^2 I (radians)."""

    mean: Tensor
    whitener: Tensor

    def __init__(self, poses: Tensor, noise: float = 0.1) -> None:
        """Fit to theta [N, 24, 3]. `noise` bounds how stiff a joint that the poses hardly move can
        be. Raises ValueError on fewer than two poses or numbers that are not finite."""
        super().__init__()
        check("poses", poses, (len(poses), 24, 3))
        flat = poses[:, 1:].flatten(1).double()
        if len(flat) < 2 or not bool(flat.isfinite().all()):
            raise ValueError(f"a pose prior needs 2 finite poses or more, got {len(flat)}")
        covariance = flat.T.cov() + noise**2 * torch.eye(69, dtype=torch.float64)
        root = torch.linalg.cholesky(torch.linalg.inv(covariance))
        self.register_buffer("mean", flat.mean(0).float(), persistent=False)
        self.register_buffer("whitener", root.float(), persistent=False)

    def forward(self, theta: Tensor) -> Tensor:
        """Theta [B, 24, 3] -> [B]."""
        away = theta[:, 1:].flatten(1) - self.mean
        return 0.5 * (away @ self.whitener).square().sum(1)
