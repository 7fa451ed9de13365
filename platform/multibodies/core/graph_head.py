"""GraphCMR's head: from features to a coarse mesh, and from that to SMPL's parameters.

After nkolot/GraphCMR, models/graph_cnn.py and smpl_param_regressor.py. Other than there: weights
start as PyTorch's layers do (its own draw starts nearly at zero), the regressor normalises layers
and not batches, so that a step does not depend on how a batch is split, and turns 6D numbers and
not matrices by SVD into rotations; both networks give steps away from the mean body. Shapes:
B image, V vertex of the coarse mesh, C channel, F feature. Metres.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from multibodies.core.graph import GraphBlock, GraphLinear, group_norm
from multibodies.core.heads import mean_state
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.core.spec import CAMERA, POSE, SHAPE, RegressorSpec

MESH_CHANNELS = (64, 32)  # fewer, and norms over them leave too little of the image


class Regressed(NamedTuple):
    """A state [B, 157] as any head gives it, and the graph's mesh [B, V, 3] in the camera's
    frame."""

    state: Tensor
    mesh: Tensor


class GraphNetwork(nn.Module):
    """GraphCMR's Graph CNN: every vertex has its place on the template and the image's feature.

    Blocks 2C -> C and C -> C, then C -> 64 -> 32 -> 3 for the mesh; the camera from one channel
    at all vertices.
    """

    def __init__(self, features: int, vertices: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.place = GraphLinear(3, 2 * channels)
        self.image = nn.Linear(features, 2 * channels, bias=False)
        widths = [2 * channels] + [channels] * (blocks + 1)
        self.trunk = _chain(widths)
        self.mesh = _chain([channels, *MESH_CHANNELS])
        self.mesh_out = nn.Sequential(
            group_norm(MESH_CHANNELS[-1]), nn.ReLU(), GraphLinear(MESH_CHANNELS[-1], 3)
        )
        self.camera = nn.Sequential(
            group_norm(channels), nn.ReLU(), GraphLinear(channels, 1), nn.ReLU(), nn.Flatten()
        )
        self.camera_out = nn.Linear(vertices, CAMERA)
        _start_small(self.mesh_out[-1])
        _start_small(self.camera_out)

    def forward(self, features: Tensor, template: Tensor, adjacency: Tensor) -> tuple[Tensor, ...]:
        """Features [B, F], template [V, 3], adjacency [V, V] -> steps of the mesh [B, V, 3] and of
        the camera [B, 3]."""
        # one linear layer over [template, feature] at every vertex, the feature's part done once
        x = self.place(_normalised(template).t()[None]) + self.image(features)[..., None]
        for block in self.trunk:
            x = block(x, adjacency)
        y = x
        for block in self.mesh:
            y = block(y, adjacency)
        return self.mesh_out(y).transpose(1, 2), self.camera_out(self.camera(x))


class ParameterRegressor(nn.Module):
    """GraphCMR's MLP from a coarse mesh to SMPL's pose and shape: two residual layers."""

    def __init__(self, vertices: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3 * vertices, hidden), nn.LayerNorm(hidden), nn.ReLU())
        self.residual = nn.ModuleList(_residual(hidden) for _ in range(2))
        self.last = nn.Linear(hidden, POSE + SHAPE)
        _start_small(self.last)

    def forward(self, mesh: Tensor, template: Tensor) -> Tensor:
        """Mesh [B, V, 3], template [V, 3] -> steps of pose and shape [B, 154].

        The template beside the mesh, as in GraphCMR, is a constant input of a linear layer: the
        mesh less the template spans the same functions with half the weights.
        """
        x = self.first((mesh - template).flatten(1))
        for block in self.residual:
            x = relu(x + block(x))
        return self.last(x)


class GraphHead(nn.Module):
    """Graph network and parameter regressor, which reads the graph's mesh and sends no gradient
    back into it; the mesh it starts from and its adjacency are buffers."""

    template: Tensor
    adjacency: Tensor
    init_state: Tensor

    def __init__(self, features: int, spec: RegressorSpec) -> None:
        super().__init__()
        vertices, channels, blocks = (
            int(spec.options[name]) for name in ("vertices", "channels", "blocks")
        )
        self.graph = GraphNetwork(features, vertices, channels, blocks)
        self.regressor = ParameterRegressor(vertices, spec.hidden)
        self.register_buffer("template", torch.zeros(vertices, 3))
        self.register_buffer("adjacency", torch.zeros(vertices, vertices))
        self.register_buffer("init_state", mean_state())

    def forward(self, features: Tensor) -> Regressed:
        """Map features [B, F] to a state and the graph's mesh."""
        pose, shape, camera = self.init_state.split([POSE, SHAPE, CAMERA])
        root = rotation_6d_to_matrix(pose[:6])
        facing = self.template @ root.t()
        mesh_step, camera_step = self.graph(features, self.template, self.adjacency)
        mesh = facing + mesh_step
        body = torch.cat([pose, shape]) + self.regressor(mesh.detach(), facing)
        return Regressed(torch.cat([body, camera + camera_step], 1), mesh)


def _start_small(layer: nn.Module) -> None:
    """Let a last layer's steps begin near 0, as HMR's decoders do: random ones flip joints, and
    some stay so."""
    assert isinstance(layer, nn.Linear)
    nn.init.xavier_uniform_(layer.weight, gain=0.01)
    nn.init.zeros_(layer.bias)


def _chain(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(GraphBlock(before, after) for before, after in pairwise(widths))


def _residual(hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(hidden, hidden),
        nn.LayerNorm(hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.LayerNorm(hidden),
    )


def _normalised(template: Tensor) -> Tensor:
    """Return the template [V, 3] around its box's centre, in [-1, 1]."""
    low, high = template.amin(0), template.amax(0)
    centred = template - (low + high) / 2
    return centred / centred.abs().max()
