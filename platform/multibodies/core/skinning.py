"""Vertices for L_V (eq. 6): the whole mesh, or an even sample of it by the joints-only path.

Shapes: B body, V vertices returned. Metres.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibodies.core.body import BodyArrays, MeshBody
from multibodies.core.joint_body import PosedPoints


def joint_support(arrays: BodyArrays) -> Tensor:
    """Return the vertices [V'] that any joint is read from, sorted.

    They are those with a weight in J_regressor, J_regressor_extra or J_regressor_h36m: every joint
    of the kinematic tree, of training and of evaluation. The vertex joints of the face are not
    regressed and not among them.
    """
    regressors = (arrays.J_regressor, arrays.J_regressor_extra, arrays.J_regressor_h36m)
    return torch.cat(regressors).any(0).nonzero().squeeze(1)


class VertexBody(nn.Module):
    """S(theta, beta, gamma) at `sampled` vertices spread evenly over the mesh's order; 0 means all
    of them. With `on_support`, of those that joints are read from.

    A sample is exact at its vertices: each is posed as a regressor row that picks one vertex.
    """

    index: Tensor

    def __init__(
        self,
        arrays: BodyArrays,
        sampled: int = 0,
        *,
        on_support: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.full = len(arrays.v_template)
        among = joint_support(arrays) if on_support else torch.arange(self.full)
        count = min(sampled, len(among))
        index = among[torch.linspace(0, len(among) - 1, count or len(among)).round().long()]
        self.register_buffer("index", index, persistent=False)
        self.posed: nn.Module
        if count == 0:
            self.posed = MeshBody(arrays, dtype=dtype)
            return
        regressor = torch.zeros(count, self.full, dtype=torch.float64)
        regressor[torch.arange(count), self.index] = 1
        picks = torch.zeros(count, 24, dtype=torch.float64)
        self.posed = PosedPoints(arrays, picks, regressor, dtype=dtype)

    def forward(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Rotations [B, 24, 3, 3], beta [B, 10] -> vertices [B, V, 3]."""
        vertices = self.posed(rotations, beta)
        return vertices if vertices.shape[1] == len(self.index) else vertices[:, self.index]
