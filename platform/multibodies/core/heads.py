"""HMR's regression head: from features to body states by iterative error feedback.

Shapes: B image, M hypothesis, F features. A state has 157 numbers: 144 pose (6D), 10 shape, 3
camera.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from multibodies.core.decoders import Decoder, LowRankDecoder, decoder
from multibodies.core.spec import CAMERA, POSE, SHAPE, STATE, RegressorSpec


class StackedHead(nn.Module):
    """Iterative error feedback over M stacked hypotheses; names fc1, fc2, decpose ... as SPIN's.

    With feedback "all" the state read back is every hypothesis' 157 numbers; with "mean", their
    mean: the same function when all hypotheses agree, and fc1 does not grow with M.
    """

    init_state: Tensor

    def __init__(self, features: int, spec: RegressorSpec) -> None:
        super().__init__()
        self.spec = spec
        m, hidden = spec.num_hypotheses, spec.hidden
        state = STATE * (m if spec.feedback == "all" else 1)
        self.fc1 = nn.Linear(features + state, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.drop = nn.Dropout(spec.dropout)
        self.activation = nn.ReLU() if spec.activation == "relu" else nn.Identity()
        self.add_decoders(hidden, m, spec.rank)
        for part in self.decoders():
            part.start()
        self.register_buffer("init_state", mean_state())

    def add_decoders(self, hidden: int, m: int, rank: int) -> None:
        """Make what gives every hypothesis a pose, a shape and a camera of its own."""
        self.decpose = decoder(hidden, POSE, m, rank)
        self.decshape = decoder(hidden, SHAPE, m, rank)
        self.deccam = decoder(hidden, CAMERA, m, rank)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, F] to states [B, M, 157]."""
        if self.spec.feedback == "mean":
            return self._forward_mean(features)
        state = self.init_state.expand(len(features), self.spec.num_hypotheses, -1)
        for _ in range(self.spec.iterations):
            state = state + self._decode(self._hidden(features, state.flatten(1)))
        return state

    def _forward_mean(self, features: Tensor) -> Tensor:
        """Decode all hypotheses once instead of once per iteration, exactly.

        The mean that is read back needs only the decoders' mean weights, and the steps add up:
        sum_t (W x_t + b) = W sum_t x_t + T b.
        """
        steps = self.spec.iterations
        mean_weight, mean_bias = self._mean_decoder()
        seen = self.init_state.expand(len(features), -1)
        total = features.new_zeros(len(features), self.spec.hidden)
        for _ in range(steps):
            x = self._hidden(features, seen)
            seen = seen + torch.nn.functional.linear(x, mean_weight, mean_bias)
            total = total + x
        return self.init_state + self._decode(total / steps) * steps

    def _hidden(self, features: Tensor, seen: Tensor) -> Tensor:
        x = self.drop(self.activation(self.fc1(torch.cat([features, seen], 1))))
        return self.drop(self.activation(self.fc2(x)))

    def _decode(self, x: Tensor) -> Tensor:
        """Map the hidden layer [B, hidden] to every hypothesis' step [B, M, 157]."""
        return torch.cat([part(x) for part in self.decoders()], -1)

    def decoders(self) -> tuple[Decoder | LowRankDecoder, ...]:
        """Return the decoders, in the order of a state's numbers."""
        return self.decpose, self.decshape, self.deccam

    def _mean_decoder(self) -> tuple[Tensor, Tensor]:
        """Return the decoders' weight [157, hidden] and bias [157], averaged over the
        hypotheses."""
        weights, biases = zip(*(part.mean() for part in self.decoders()), strict=True)
        return torch.cat(weights), torch.cat(biases)


class SharedHead(StackedHead):
    """One HMR head that decodes each of M feature vectors, with a loop of its own."""

    def __init__(self, features: int, spec: RegressorSpec) -> None:
        super().__init__(features, replace(spec, num_hypotheses=1))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, M, F] to states [B, M, 157]."""
        return super().forward(features.flatten(0, 1)).view(*features.shape[:2], STATE)


def mean_state() -> Tensor:
    """Return HMR's start: identity joints, a root that faces the camera (x right, y down), mean
    shape, scale 0.9."""
    rotations = torch.eye(3).repeat(24, 1, 1)
    rotations[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    pose = rotations[..., :2].reshape(24, 6)  # SPIN's x.view(3, 2): rows of the first two columns
    return torch.cat([pose.flatten(), torch.zeros(SHAPE), torch.tensor([0.9, 0.0, 0.0])])
