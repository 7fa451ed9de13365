"""The last layer of the stacked head: one affine map per hypothesis, free or of low rank.

Shapes: B image, M hypothesis, H hidden, D numbers of one hypothesis, R rank.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear


class Decoder(nn.Linear):
    """HMR's last layer made M times larger (section 4): weight [M D, H], bias [M D]."""

    def __init__(self, hidden: int, size: int, num_hypotheses: int) -> None:
        super().__init__(hidden, size * num_hypotheses)
        self.num_hypotheses = num_hypotheses

    def start(self) -> None:
        """Start as HMR's decoders do: Xavier with gain 0.01."""
        nn.init.xavier_uniform_(self.weight, gain=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H] to [B, M, D]."""
        return super().forward(x).unflatten(1, (self.num_hypotheses, -1))

    def mean(self) -> tuple[Tensor, Tensor]:
        """Return weight [D, H] and bias [D], averaged over the hypotheses."""
        m = self.num_hypotheses
        return self.weight.unflatten(0, (m, -1)).mean(0), self.bias.unflatten(0, (m, -1)).mean(0)

    def copies(
        self, weight: Tensor, bias: Tensor, spread: float, generator: Generator
    ) -> dict[str, Tensor]:
        """Return the state of M noisy copies of one decoder's weight [D, H] and bias [D].

        The noise is Gaussian, of standard deviation `spread` times the weight's own.
        """
        m, std = self.num_hypotheses, weight.std()
        noise = torch.randn(m, *weight.shape, generator=generator) * std
        shift = torch.randn(m, *bias.shape, generator=generator) * std
        return {
            "weight": (weight + spread * noise).flatten(0, 1),
            "bias": (bias + spread * shift).flatten(),
        }


class LowRankDecoder(nn.Module):
    """Hypothesis m's map is W x + U_m (V x) + b_m (ours).

    W [D, H] and V [R, H] are shared, U_m [D, R] and b_m [D] its own: D (H + M R) + R H weights
    where `Decoder` has D H M.
    """

    def __init__(self, hidden: int, size: int, num_hypotheses: int, rank: int) -> None:
        super().__init__()
        self.num_hypotheses = num_hypotheses
        self.weight = nn.Parameter(torch.empty(size, hidden))
        self.basis = nn.Parameter(torch.empty(rank, hidden))
        self.factors = nn.Parameter(torch.empty(num_hypotheses * size, rank))
        self.bias = nn.Parameter(torch.zeros(num_hypotheses * size))

    def start(self) -> None:
        """Start as HMR's decoders do; the hypotheses differ by a hundredth of that."""
        nn.init.xavier_uniform_(self.weight, gain=0.01)
        nn.init.normal_(self.basis)
        std = 0.01 * float(self.weight.detach().std()) / len(self.basis) ** 0.5
        nn.init.normal_(self.factors, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, H] to [B, M, D]."""
        own = linear(linear(x, self.basis), self.factors, self.bias)
        shared = linear(x, self.weight)[:, None]
        return own.unflatten(1, (self.num_hypotheses, -1)) + shared

    def mean(self) -> tuple[Tensor, Tensor]:
        """Return weight [D, H] and bias [D], averaged over the hypotheses."""
        m = self.num_hypotheses
        factors = self.factors.unflatten(0, (m, -1)).mean(0)
        return self.weight + factors @ self.basis, self.bias.unflatten(0, (m, -1)).mean(0)

    def copies(
        self, weight: Tensor, bias: Tensor, spread: float, generator: Generator
    ) -> dict[str, Tensor]:
        """Return the state of M noisy copies of one decoder's weight [D, H] and bias [D].

        An entry of U_m V has the standard deviation that `Decoder.copies` gives its noise. V has
        unit variance, so that Adam moves the hypotheses by U and hardly by V.
        """
        m, rank, std = self.num_hypotheses, len(self.basis), spread * weight.std()
        factors = torch.randn(self.factors.shape, generator=generator)
        shift = torch.randn(m, *bias.shape, generator=generator)
        return {
            "weight": weight,
            "basis": torch.randn(self.basis.shape, generator=generator),
            "factors": factors * std / rank**0.5,
            "bias": (bias + std * shift).flatten(),
        }


def decoder(hidden: int, size: int, num_hypotheses: int, rank: int) -> Decoder | LowRankDecoder:
    """Make M maps from `hidden` to `size` numbers: free ones for rank 0, else of that rank."""
    if rank:
        return LowRankDecoder(hidden, size, num_hypotheses, rank)
    return Decoder(hidden, size, num_hypotheses)
