"""GraphCMR's networks: graph convolutions on a coarse mesh, and SMPL's parameters from its vertices.

After Kolotouros, Pavlakos, Daniilidis, "Convolutional Mesh Regression for Single-Image Human Shape
Reconstruction", CVPR 2019, and its code (nkolot/GraphCMR, models/). Shapes: B image, V vertex of
the coarse mesh, E edge, C channel, F feature. Channels come before vertices, as group norms are
fastest then. Metres.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

GROUP = 8  # channels that share a group norm's statistics


def row_normalised(edges: Tensor, vertices: int) -> Tensor:
    """D^-1 (A + I), GraphCMR's normalised adjacency: [V, V], rows sum to one.

    edges [2, E] int64, each in both directions; D is the degree with the loop. Row i averages over
    vertex i and its neighbours. Dense: up to some 500 vertices as fast on a CPU as a sparse one,
    whose product wants the vertices first.
    """
    adjacency = torch.eye(vertices)
    adjacency[edges[0], edges[1]] = 1
    return adjacency / adjacency.sum(1, keepdim=True)


class GraphLinear(nn.Linear):
    """The same linear map at every vertex: [B, C, V] -> [B, C', V]."""

    def forward(self, x: Tensor) -> Tensor:
        """One small product per image: on a CPU thrice as fast as a convolution of width 1."""
        return torch.baddbmm(self.bias[:, None], self.weight.expand(len(x), -1, -1), x)


class GraphConvolution(nn.Module):
    """A linear map, then the mean over every vertex and its neighbours: A_hat X W + b."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = GraphLinear(channels, channels)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """[B, C, V] -> [B, C, V]; adjacency is `row_normalised`."""
        return self.linear(x) @ adjacency.t()  # rows sum to one: b may be added before the mean


class GraphBlock(nn.Module):
    """GraphCMR's residual block: norm, ReLU, linear, norm, ReLU, convolution, norm, ReLU, linear."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        inner = max(1, out // 2)
        self.norms = nn.ModuleList(group_norm(c) for c in (channels, inner, inner))
        self.first, self.last = GraphLinear(channels, inner), GraphLinear(inner, out)
        self.convolution = GraphConvolution(inner)
        self.skip = nn.Identity() if channels == out else GraphLinear(channels, out)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        """[B, C, V] -> [B, C', V]."""
        y = self.first(relu(self.norms[0](x)))
        y = self.convolution(relu(self.norms[1](y)), adjacency)
        y = self.last(relu(self.norms[2](y)))
        return self.skip(x) + y


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a group norm of 8 channels a group, one group where there are fewer or they do not
    divide."""
    return nn.GroupNorm(channels // GROUP if channels % GROUP == 0 else 1, channels)
