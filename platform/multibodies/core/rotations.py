"""Rotations: SPIN's 6D form, matrices and axis-angle vectors.

Shapes: any leading dimensions `...`; angles in radians; matrices act on column vectors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rotation_6d_to_matrix(x: Tensor) -> Tensor:
    """Gram-Schmidt of two columns: [..., 6] -> [..., 3, 3].

    ``x`` holds the first two columns interleaved, as SPIN's ``rot6d_to_rotmat`` reads
    ``x.view(-1, 3, 2)``: b1 = a1/|a1|, b2 = (a2 - (b1.a2) b1)/|.|, b3 = b1 x b2. ProHMR orders the
    six numbers otherwise. Lengths are bounded from below by 1e-12.
    """
    _check_last(x, (6,))
    # One coordinate per tensor with the batch last in memory: three times faster on a CPU than
    # norms and cross products over an axis of 3, and JointBody then takes the result uncopied.
    joints = x.shape[-2] if x.ndim > 1 else 1
    columns = x.reshape(-1, joints, 6).permute(1, 2, 0).contiguous()
    x1, x2, y1, y2, z1, z2 = columns.unbind(-2)
    x1, y1, z1 = _unit(x1, y1, z1)
    along = x1 * x2 + y1 * y2 + z1 * z2
    x2, y2, z2 = _unit(x2 - along * x1, y2 - along * y1, z2 - along * z1)
    x3, y3, z3 = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    matrix = torch.stack([x1, x2, x3, y1, y2, y3, z1, z2, z3], -2)
    return matrix.movedim(-1, 0).unflatten(-1, (3, 3)).reshape(*x.shape[:-1], 3, 3)


def matrix_to_rotation_6d(matrix: Tensor) -> Tensor:
    """Return the first two columns, interleaved as SPIN reads them: [..., 3, 3] -> [..., 6]."""
    _check_last(matrix, (3, 3))
    return matrix[..., :2].flatten(-2)


def axis_angle_to_matrix(vector: Tensor) -> Tensor:
    """Rodrigues: R = I + sin(t)/t K + (1 - cos(t))/t^2 K^2 with t = |vector|.

    [..., 3] -> [..., 3, 3], differentiable everywhere, also at the zero vector.
    """
    _check_last(vector, (3,))
    x, y, z = vector.unbind(-1)
    angle = torch.linalg.vector_norm(vector, dim=-1)
    a = torch.sinc(angle / math.pi)
    b = 0.5 * torch.sinc(angle / (2 * math.pi)).square()
    rows = [
        1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y,
        b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x,
        b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Return the rotation vector with angle in [0, pi]: [..., 3, 3] -> [..., 3].

    Sound near 0 and near pi, where the sign of the axis is arbitrary.
    """
    quaternion = _matrix_to_quaternion(matrix)
    w, v = quaternion[..., :1], quaternion[..., 1:]
    v, w = torch.where(w < 0, -v, v), w.abs()
    sine = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    small = sine < 1e-7  # angle/sin(angle/2) -> 2/w there; the guard keeps gradients finite
    safe = torch.where(small, torch.ones_like(sine), sine)
    return v * torch.where(small, 2 / w.clamp_min(0.5), 2 * torch.atan2(safe, w) / safe)


def _matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Return (w, x, y, z) from the best conditioned of four branches: [..., 3, 3] -> [..., 4]."""
    _check_last(matrix, (3, 3))
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(-1)
    # 4 q q^T row by row: row i is 4 q_i times the quaternion.
    outer = torch.stack(
        [
            1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01,
            m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20,
            m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m12 + m21,
            m10 - m01, m20 + m02, m21 + m12, 1 - m00 - m11 + m22,
        ],
        -1,
    ).unflatten(-1, (4, 4))  # fmt: skip
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(outer, best[..., None, None], -2).squeeze(-2)
    return row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)


def _unit(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Divide a vector by its length, bounded from below by 1e-12 as ``F.normalize`` does."""
    scale = 1 / (x * x + y * y + z * z).clamp_min(1e-24).sqrt()
    return x * scale, y * scale, z * scale


def _check_last(x: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"expected a tensor that ends in {shape}, got {tuple(x.shape)}")
