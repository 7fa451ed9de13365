"""The affine couplings of the prior's RealNVP (supplement F), on nflows.

Legend: N sample, D coordinate, I of them kept, O of them transformed given the kept, H hidden.
"""

from __future__ import annotations

import torch
from nflows.transforms.base import Transform
from nflows.transforms.coupling import AffineCouplingTransform
from torch import Tensor, nn
from torch.nn.functional import linear

LOG_SCALE_LIMIT = 2.0  # a free coupling scales a coordinate by e^-2 to e^2 at most


class Conditioner(nn.Sequential):
    """The net of a coupling: the kept coordinates [N, I] -> shift and log-scale of the rest [N, O].

    Linear, Dropout, LeakyReLU, twice, and Linear, as in the released code; no dropout by default.
    The last layer starts at zero: an untrained coupling is the identity.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, dropout: float = 0.0) -> None:
        last = nn.Linear(hidden, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        super().__init__(first, _activation(dropout), second, _activation(dropout), last)

    def forward(self, inputs: Tensor, context: None = None) -> Tensor:
        """Map [N, I] -> [N, O]; nflows passes a context, which must be None."""
        assert context is None
        for layer in self:
            inputs = layer(inputs)
        return inputs


class FreeAffineCoupling(AffineCouplingTransform):  # type: ignore[misc]  # nflows has no types
    """An affine coupling whose scale is exp(a tanh(s / a)), a = 2: free to stretch and to shrink.

    nflows' own scale, sigmoid(s + 2) + 1e-3, can only shrink (bayesiains/nflows issue 49).
    """

    def _scale_and_shift(self, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = transform_params.chunk(2, dim=1)
        return torch.exp(LOG_SCALE_LIMIT * torch.tanh(raw / LOG_SCALE_LIMIT)), shift


class MaskedNet(nn.Module):
    """Linear, Dropout, LeakyReLU, twice, and Linear on all D coordinates, those not kept zeroed.

    Zeroed inputs and unused outputs are left out of the products instead: the same numbers for
    half the work in both outer layers.
    """

    def __init__(self, dimension: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(dimension, hidden), nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, dimension)
        self.activation = _activation(dropout)

    def forward(self, seen: Tensor, kept: Tensor, moved: Tensor) -> Tensor:
        """Map the coordinates `seen` [N, I] -> [N, O]; kept [I] and moved [O] are their indices."""
        narrow = self.first.weight.index_select(1, kept)
        hidden = self.activation(linear(seen, narrow, self.first.bias))
        hidden = self.activation(self.second(hidden))
        return linear(hidden, self.last.weight[moved], self.last.bias[moved])


class MaskedAffineCoupling(Transform):  # type: ignore[misc]  # nflows has no types
    """The released code's coupling: z = m x + (1 - m) (x - t(m x)) exp(-tanh s(m x)).

    Two nets, s and t, see the D coordinates times a mask m of the state; unlike nflows', the mask
    may be drawn anew by whoever loads the state, and may keep all coordinates, or none.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, hidden: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mask", mask.bool())
        self.scale_net = MaskedNet(len(mask), hidden, dropout)
        self.shift_net = MaskedNet(len(mask), hidden, dropout)

    def forward(self, inputs: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
        """z [N, D] and log |det dz / dx| [N]."""
        moved, log_scale, shift = self._parameters_at(inputs)
        z = (inputs.index_select(1, moved) - shift) * torch.exp(-log_scale)
        return inputs.index_copy(1, moved, z), -log_scale.sum(1)

    def inverse(self, inputs: Tensor, context: None = None) -> tuple[Tensor, Tensor]:
        """x [N, D] and log |det dx / dz| [N]."""
        moved, log_scale, shift = self._parameters_at(inputs)
        x = inputs.index_select(1, moved) * torch.exp(log_scale) + shift
        return inputs.index_copy(1, moved, x), log_scale.sum(1)

    def _parameters_at(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return which coordinates move [O], their log-scale and their shift [N, O]."""
        kept, moved = (mask.nonzero().flatten() for mask in (self.mask, ~self.mask))
        seen = inputs.index_select(1, kept)
        log_scale = torch.tanh(self.scale_net(seen, kept, moved))
        return moved, log_scale, self.shift_net(seen, kept, moved)


def _activation(dropout: float) -> nn.Sequential:
    """Dropout, LeakyReLU; in place, which autograd allows after a Linear or a Dropout."""
    return nn.Sequential(nn.Dropout(dropout), nn.LeakyReLU(inplace=True))
