"""The body: SMPL-format arrays, its mesh through smplx, its joints with and without the mesh.

Shapes: B body, V vertex, K joint. Metres. The pose is 24 rotation matrices relative to the parent,
the root (gamma) first; beta has 10 numbers.
"""

from __future__ import annotations

import contextlib
import io

import smplx
import torch
from torch import Tensor, nn

from multibodies.core.body_arrays import BodyArrays, body_from_arrays, load_body
from multibodies.core.joint_body import JointBody

__all__ = ["BodyArrays", "JointBody", "MeshBody", "body_from_arrays", "load_body"]


class MeshBody(nn.Module):
    """S(theta, beta, gamma): vertices through smplx. Nothing to train, no state dict."""

    def __init__(self, arrays: BodyArrays, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # smplx prints that 10 shape components are few
            self.smpl = _smplx_layer(arrays, dtype)
        for module in self.smpl.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, buffer, persistent=False)
        extra = arrays.J_regressor_extra.to(dtype)
        self.register_buffer("regressor_extra", extra, persistent=False)

    regressor_extra: Tensor

    def forward(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Rotations [B, 24, 3, 3], beta [B, 10] -> vertices [B, V, 3].

        Raises ValueError on other shapes.
        """
        vertices: Tensor = self._pose(rotations, beta).vertices
        return vertices

    def joints54(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Smplx's 45 joints and the 9 of J_regressor_extra, by way of the mesh: [B, 54, 3]."""
        output = self._pose(rotations, beta)
        extra = torch.einsum("kv,bvd->bkd", self.regressor_extra, output.vertices)
        return torch.cat([output.joints, extra], 1)

    def _pose(self, rotations: Tensor, beta: Tensor) -> smplx.utils.SMPLOutput:
        if rotations.shape != (len(beta), 24, 3, 3) or beta.shape[1:] != (10,):
            shapes = tuple(rotations.shape), tuple(beta.shape)
            raise ValueError(f"need rotations [B, 24, 3, 3] and beta [B, 10], got {shapes}")
        root, rest = rotations[:, :1], rotations[:, 1:]
        return self.smpl(betas=beta, global_orient=root, body_pose=rest, pose2rot=False)


def _smplx_layer(arrays: BodyArrays, dtype: torch.dtype) -> smplx.SMPL:
    """Give smplx the arrays by SMPL's names; it reads pickles only from a path, and gets none."""
    data = smplx.utils.Struct(
        v_template=arrays.v_template.numpy(),
        shapedirs=arrays.shapedirs.numpy(),
        posedirs=arrays.posedirs.numpy(),
        J_regressor=arrays.J_regressor.numpy(),
        weights=arrays.weights.numpy(),
        kintree_table=arrays.parents.numpy()[None],
        f=arrays.faces.numpy(),
    )
    return smplx.SMPL(
        "",
        data_struct=data,
        create_betas=False,
        create_global_orient=False,
        create_body_pose=False,
        create_transl=False,
        dtype=dtype,
    )
