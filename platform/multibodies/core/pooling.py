"""From a trunk's feature maps to one feature vector per image.

Shapes: B image, K = 24 keypoints, h x w the finest map, C its channels, F features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as tf

from multibodies.core.joints import J24_NAMES

KEYPOINTS = len(J24_NAMES)


class Pooled(NamedTuple):
    """features [B, F]; heatmaps: logits [B, K, h, w], or None where the pooling has none."""

    features: Tensor
    heatmaps: Tensor | None


class AveragePooling(nn.Module):
    """Global average of the last stage, as in HMR."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.num_features = channels[-1]

    def forward(self, maps: list[Tensor]) -> Pooled:
        """Map the stages' maps to features [B, C4]."""
        return Pooled(maps[-1].mean((2, 3)), None)


class KeypointPooling(nn.Module):
    """The average beside what the image says at each of 24 soft keypoints (ours).

    A top-down pyramid gives one heat map per keypoint on the finest map; its softmax gives the
    expected
    position, its peak, and the features under it (integral regression, Sun et al. 2018, with
    attention).
    """

    def __init__(self, channels: tuple[int, ...], pyramid: int = 64, sampled: int = 32) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, pyramid, 1) for c in channels)
        self.smooth = nn.Conv2d(pyramid, pyramid, 3, padding=1)
        self.heat = nn.Conv2d(pyramid, KEYPOINTS, 1)
        self.value = nn.Conv2d(pyramid, sampled, 1)
        self.num_features = channels[-1] + KEYPOINTS * (3 + sampled)

    def forward(self, maps: list[Tensor]) -> Pooled:
        """Map the stages' maps to features [B, C4 + 24 (3 + sampled)] and heat-map logits."""
        top: Tensor = self.lateral[-1](maps[-1])
        for lateral, finer in zip(list(self.lateral)[-2::-1], maps[-2::-1], strict=True):
            top = lateral(finer) + tf.interpolate(top, size=finer.shape[-2:], mode="nearest")
        top = tf.relu(self.smooth(tf.relu(top)))
        heat = self.heat(top)
        attention = heat.flatten(2).softmax(-1)
        position = attention @ grid(heat.shape[-2], heat.shape[-1], heat)
        peak = attention.amax(-1, keepdim=True)
        under = attention @ self.value(top).flatten(2).transpose(1, 2)
        parts = [maps[-1].mean((2, 3)), position.flatten(1), peak.flatten(1), under.flatten(1)]
        return Pooled(torch.cat(parts, 1), heat)


def grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return the cells' centres [h w, 2] as (x, y) in [-1, 1], row by row."""
    ys, xs = (
        (torch.arange(n, dtype=like.dtype, device=like.device) * 2 + 1) / n - 1
        for n in (height, width)
    )
    return torch.stack([xs.repeat(height), ys.repeat_interleave(width)], -1)


POOLINGS = {"average": AveragePooling, "keypoints": KeypointPooling}
