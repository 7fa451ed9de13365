"""SMPL-CVAE (supplement C): a Gaussian code z of the true mesh, decoded beside the image.

Shapes: B image, M draw, V vertex, F features, Z size of the code. Metres; nats.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibodies.core.losses import check


class MeshEncoder(nn.Module):
    """q(z | V) = N(mean, diag(exp(log_variance))) of a mesh, by two hidden layers."""

    def __init__(self, vertices: int, hidden: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * vertices, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * size),
        )

    def forward(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Map root-centred vertices [B, V, 3] to mean and log-variance, each [B, Z]."""
        mean, log_variance = self.layers(vertices.flatten(1)).chunk(2, 1)
        return mean, log_variance


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(v)) || N(0, I)) = 1/2 sum_i (mean_i^2 + v_i - 1 - log v_i).

    mean and log_variance [B, Z] -> [B], nats.
    """
    check("log_variance", log_variance, tuple(mean.shape))
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(-1)


def reparametrised(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Z = mean + sqrt(v) noise, differentiable in both: all [B, Z]; noise ~ N(0, I)."""
    check("noise", noise, tuple(mean.shape))
    return mean + torch.exp(0.5 * log_variance) * noise


def without_evidence(mean: Tensor, log_variance: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Give images whose mesh is unknown the standard normal, so that their KL is 0.

    mean and log_variance [B, Z], known [B] in {0, 1}.
    """
    seen = known[:, None] > 0
    return torch.where(seen, mean, 0.0), torch.where(seen, log_variance, 0.0)
