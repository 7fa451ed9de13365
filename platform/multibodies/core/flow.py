"""RealNVP (supplement F): a density on R^D as a composition of nflows' and our couplings.

Legend: N sample, D coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from nflows.transforms.base import CompositeTransform
from nflows.transforms.permutations import Permutation
from torch import Tensor, nn

from multibodies.core.couplings import Conditioner, FreeAffineCoupling, MaskedAffineCoupling


def permuted(dimension: int, couplings: int, hidden: int, dropout: float) -> list[nn.Module]:
    """Return couplings of halves after random permutations, each with its mirror.

    Every second coupling sees the coordinates reversed, so each pair transforms all of them.
    """
    half = torch.arange(dimension) >= dimension // 2  # these are transformed, given the others

    def net(inputs: int, outputs: int) -> Conditioner:
        return Conditioner(inputs, outputs, hidden, dropout)

    layers: list[nn.Module] = []
    for k in range(couplings):
        reverse = torch.arange(dimension - 1, -1, -1)
        order = reverse if k % 2 else torch.randperm(dimension)
        layers += [Permutation(order), FreeAffineCoupling(half, net)]
    return layers


def masked(dimension: int, couplings: int, hidden: int, dropout: float) -> list[nn.Module]:
    """Return the released code's couplings: each keeps a coordinate with probability 1/2."""
    masks = torch.rand(couplings, dimension) < 0.5
    return [MaskedAffineCoupling(mask, hidden, dropout) for mask in masks]


Architecture = Callable[[int, int, int, float], list[nn.Module]]
ARCHITECTURES: dict[str, Architecture] = {"permutations": permuted, "bernoulli": masked}


class RealNVP(nn.Module):
    """A density on R^D, base N(0, I), of one of the ARCHITECTURES.

    Permutations and masks come from torch's global generator and are part of the state.
    """

    def __init__(
        self,
        dimension: int,
        couplings: int,
        hidden: int,
        architecture: str = "permutations",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers = ARCHITECTURES[architecture](dimension, couplings, hidden, dropout)
        self.transform = CompositeTransform(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x) [N, D] and log |det df / dx| [N]."""
        z, log_det = self.transform(x)
        return z, log_det

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z) [N, D]."""
        x: Tensor = self.transform.inverse(z)[0]
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(f(x); 0, I) + log |det df / dx| [N] (eq. 4)."""
        z, log_det = self.forward(x)
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1) + log_det
