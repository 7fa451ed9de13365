"""Vertices for L_V (eq. 6): the whole mesh, or an even sample of it by the joints-only path.

Shapes: B body, V vertices returned. Metres.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibodies.core.body import BodyArrays, MeshBody
from multibodies.core.joint_body import PosedPoints


class VertexBody(nn.Module):
    """S(theta, beta, gamma) at `sampled` vertices spread evenly over the mesh's order; 0 means all
    of them.

    A sample is exact at its vertices: each is posed as a regressor row that picks one vertex.
    """

    def __init__(
        self, arrays: BodyArrays, sampled: int = 0, *, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.full = len(arrays.v_template)
        count = min(sampled, self.full)
        self.index = torch.linspace(0, self.full - 1, count or self.full).round().long()
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
        return self.posed(rotations, beta)
