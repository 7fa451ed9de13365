"""The regressor G(I) = (theta_m, beta_m, gamma_m, t_m), m = 1..M: HMR with M outputs.

Shapes: B image, M hypothesis, F features, S side in pixels. theta holds 24 rotations, the first is
gamma.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from multibodies.core.heads import SharedHead, StackedHead
from multibodies.core.layer5 import Layer5
from multibodies.core.pooling import POOLINGS, Pooled
from multibodies.core.resnet import ResNet
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.core.spec import CAMERA, POSE, SHAPE, RegressorSpec

__all__ = ["TRAINED", "Hypotheses", "Regressor", "RegressorSpec"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Hypotheses(NamedTuple):
    """M bodies per image: rotations [B, M, 24, 3, 3], beta [B, M, 10], camera (s, tx, ty) [B, M,
    3].

    rotation_6d [B, M, 24, 6] is the raw parameter, heatmaps the pooling's logits or None.
    log_weights [B, M]: what the system says of their probability, None where it says nothing.
    extras: what the system's loss needs besides, only while it trains.
    """

    rotations: Tensor
    beta: Tensor
    camera: Tensor
    rotation_6d: Tensor
    heatmaps: Tensor | None = None
    log_weights: Tensor | None = None
    extras: dict[str, Tensor] | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Hypotheses:
        """Return the bodies and cameras changed alike, without what else there is."""
        return Hypotheses(
            change(self.rotations), change(self.beta), change(self.camera), change(self.rotation_6d)
        )


Parts = tuple[ResNet, nn.Module, StackedHead]


def parts_with(spec: RegressorSpec, head: Callable[[int, RegressorSpec], StackedHead]) -> Parts:
    """Make a trunk, its pooling, and a head for that many features."""
    trunk = ResNet(spec.trunk, spec.width)
    pooling = POOLINGS[spec.pooling](trunk.channels)
    return trunk, pooling, head(pooling.num_features, spec)


def _stacked(spec: RegressorSpec) -> Parts:
    """HMR's last layer made M times larger (section 4)."""
    return parts_with(spec, StackedHead)


def _layer5(spec: RegressorSpec) -> Parts:
    """The released code's: one HMR head for M feature vectors. Raises ValueError unless the pooling
    is "average"."""
    if spec.pooling != "average":
        raise ValueError(f"head layer5 has average pooling, not '{spec.pooling}'")
    pooling = Layer5(spec.trunk, spec.width, spec.num_hypotheses)
    return ResNet(spec.trunk, spec.width, 3), pooling, SharedHead(pooling.num_features, spec)


HEADS: dict[str, Callable[[RegressorSpec], Parts]] = {"stacked": _stacked, "layer5": _layer5}

# What trains: the beginnings of parameters' names. "widened" is what grows with M. fc1's columns
# grow too where every hypothesis is fed back, but a tensor trains whole or not at all: they stay.
TRAINED: dict[str, dict[str, tuple[str, ...]]] = {
    "all": {"stacked": ("",), "layer5": ("",)},
    "head": {"stacked": ("head.",), "layer5": ("pooling.", "head.")},
    "widened": {"stacked": ("head.dec",), "layer5": ("pooling.widened.",)},
}


def hypotheses_of(state: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
    """Read states [B, M, 157] as bodies and cameras."""
    pose, beta, camera = state.split([POSE, SHAPE, CAMERA], -1)
    rotation_6d = pose.unflatten(-1, (24, 6))
    return Hypotheses(rotation_6d_to_matrix(rotation_6d), beta, camera, rotation_6d, heatmaps)


class Regressor(nn.Module):
    """Trunk, pooling, head. `pooled` and `from_features` split it where stage 2 caches.

    Another system's network has other `parts`, all that it trains but the trunk within the head.
    """

    weighs = False  # whether the system itself says how probable its hypotheses are
    mean: Tensor
    std: Tensor

    def __init__(self, spec: RegressorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.trunk, self.pooling, self.head = self.parts(spec)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def parts(self, spec: RegressorSpec) -> Parts:
        """Make trunk, pooling and head. Raises ValueError on a pooling that the head has not."""
        return HEADS[spec.head](spec)

    def pooled(self, images: Tensor) -> Pooled:
        """Map RGB images [B, 3, S, S] in [0, 1] to features [B, F], or [B, M, F] where each
        hypothesis has its own, and heat maps."""
        return self.pooling(self.trunk((images - self.mean) / self.std))

    def from_features(self, features: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
        """Decode features [B, F] or [B, M, F] into M hypotheses."""
        return hypotheses_of(self.head(features), heatmaps)

    def forward(self, images: Tensor) -> Hypotheses:
        """Map RGB images [B, 3, S, S] in [0, 1] to M hypotheses."""
        return self.from_features(*self.pooled(images))

    def trained(self, which: str) -> list[nn.Parameter]:
        """Return the parameters that train: of "all", the "head" or what is "widened"."""
        starts = TRAINED[which][self.spec.head]
        return [p for name, p in self.named_parameters() if name.startswith(starts)]
