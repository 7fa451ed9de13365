"""The regressor G(I) = (theta_m, beta_m, gamma_m, t_m), m = 1..M: HMR with a final layer M times
larger (section 4).

Shapes: B image, M hypothesis, F features, S side in pixels. theta holds 24 rotations, the first is
gamma.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from multibodies.core.pooling import POOLINGS, Pooled
from multibodies.core.resnet import ResNet
from multibodies.core.rotations import rotation_6d_to_matrix

POSE, SHAPE, CAMERA = 144, 10, 3
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class RegressorSpec:
    """What a checkpoint must say so that its network can be built again (plain JSON values)."""

    trunk: str = "resnet50"
    width: int = 64
    pooling: str = "average"
    hidden: int = 1024
    dropout: float = 0.5
    iterations: int = 3
    feedback: str = "all"
    activation: str = "none"
    num_hypotheses: int = 1

    def to_json(self) -> dict[str, str | int | float]:
        """Return the fields as plain values."""
        return asdict(self)


class Hypotheses(NamedTuple):
    """M bodies per image: rotations [B, M, 24, 3, 3], beta [B, M, 10], camera (s, tx, ty) [B, M,
    3].

    rotation_6d [B, M, 24, 6] is the raw parameter, heatmaps the pooling's logits or None.
    """

    rotations: Tensor
    beta: Tensor
    camera: Tensor
    rotation_6d: Tensor
    heatmaps: Tensor | None = None


class Head(nn.Module):
    """HMR's iterative error feedback over M stacked hypotheses; names fc1, fc2, decpose ... as
    SPIN's.

    With feedback "all" the state read back is every hypothesis' 157 numbers; with "mean", their
    mean: the same
    function when all hypotheses agree, and fc1 does not grow with M.
    """

    init_state: Tensor

    def __init__(self, features: int, spec: RegressorSpec) -> None:
        super().__init__()
        self.spec = spec
        m = spec.num_hypotheses
        state = (POSE + SHAPE + CAMERA) * (m if spec.feedback == "all" else 1)
        self.fc1 = nn.Linear(features + state, spec.hidden)
        self.fc2 = nn.Linear(spec.hidden, spec.hidden)
        self.drop = nn.Dropout(spec.dropout)
        self.activation = nn.ReLU() if spec.activation == "relu" else nn.Identity()
        self.decpose = nn.Linear(spec.hidden, POSE * m)
        self.decshape = nn.Linear(spec.hidden, SHAPE * m)
        self.deccam = nn.Linear(spec.hidden, CAMERA * m)
        for decoder in (self.decpose, self.decshape, self.deccam):
            nn.init.xavier_uniform_(decoder.weight, gain=0.01)
        self.register_buffer("init_state", mean_state())

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, F] to states [B, M, 157] = 144 pose (6D), 10 shape, 3 camera."""
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
        m = self.spec.num_hypotheses
        return torch.cat([decoder(x).unflatten(1, (m, -1)) for decoder in self._decoders()], -1)

    def _decoders(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.decpose, self.decshape, self.deccam

    def _mean_decoder(self) -> tuple[Tensor, Tensor]:
        """Return the decoders' weight [157, hidden] and bias [157], averaged over the
        hypotheses."""
        m = self.spec.num_hypotheses
        weights = [d.weight.unflatten(0, (m, -1)).mean(0) for d in self._decoders()]
        return torch.cat(weights), torch.cat(
            [d.bias.unflatten(0, (m, -1)).mean(0) for d in self._decoders()]
        )


class Regressor(nn.Module):
    """Trunk, pooling, head. `features` and `from_features` split it where stage 2 caches."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: RegressorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.trunk = ResNet(spec.trunk, spec.width)
        self.pooling = POOLINGS[spec.pooling](self.trunk.channels)
        self.head = Head(self.pooling.num_features, spec)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def pooled(self, images: Tensor) -> Pooled:
        """Map RGB images [B, 3, S, S] in [0, 1] to features [B, F] and heat maps."""

        return self.pooling(self.trunk((images - self.mean) / self.std))

    def from_features(self, features: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
        """Decode features [B, F] into M hypotheses."""
        state = self.head(features)
        pose, beta, camera = state.split([POSE, SHAPE, CAMERA], -1)
        rotation_6d = pose.unflatten(-1, (24, 6))
        return Hypotheses(rotation_6d_to_matrix(rotation_6d), beta, camera, rotation_6d, heatmaps)

    def forward(self, images: Tensor) -> Hypotheses:
        """Map RGB images [B, 3, S, S] in [0, 1] to M hypotheses."""
        return self.from_features(*self.pooled(images))


def mean_state() -> Tensor:
    """Return HMR's start: identity joints, a root that faces the camera (x right, y down), mean
    shape, scale 0.9."""
    rotations = torch.eye(3).repeat(24, 1, 1)
    rotations[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    pose = rotations[..., :2].reshape(24, 6)  # SPIN's x.view(3, 2): rows of the first two columns
    return torch.cat([pose.flatten(), torch.zeros(SHAPE), torch.tensor([0.9, 0.0, 0.0])])


def expand(
    stage1: Regressor, num_hypotheses: int, spread: float, generator: Generator
) -> Regressor:
    """Make the M-hypothesis model that starts as M copies of a one-hypothesis model (appendix D).

    Copies of the decoders' rows differ by Gaussian noise of standard deviation `spread` times the
    rows' own,
    without which every copy would receive the same gradient. Raises ValueError if `stage1` has M >
    1.
    """
    if stage1.spec.num_hypotheses != 1:
        raise ValueError(f"stage 1 must have one hypothesis, got {stage1.spec.num_hypotheses}")
    model = Regressor(replace(stage1.spec, num_hypotheses=num_hypotheses))
    state = dict(stage1.state_dict())
    for name in ("decpose", "decshape", "deccam"):
        weight, bias = state[f"head.{name}.weight"], state[f"head.{name}.bias"]
        noise = torch.randn(num_hypotheses, *weight.shape, generator=generator) * weight.std()
        state[f"head.{name}.weight"] = (weight + spread * noise).flatten(0, 1)
        shift = torch.randn(num_hypotheses, *bias.shape, generator=generator) * weight.std()
        state[f"head.{name}.bias"] = (bias + spread * shift).flatten()
    if model.spec.feedback == "all":
        state["head.fc1.weight"] = _tile_feedback(state["head.fc1.weight"], num_hypotheses)
    model.load_state_dict(state)
    return model


def _tile_feedback(weight: Tensor, num_hypotheses: int) -> Tensor:
    size = POSE + SHAPE + CAMERA
    features, state = weight[:, :-size], weight[:, -size:]
    return torch.cat([features, *[state / num_hypotheses] * num_hypotheses], 1)
