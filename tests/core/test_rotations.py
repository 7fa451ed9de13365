"""Rotations against SciPy, against SPIN's formula written plainly, and at the awkward angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from multibodies.core.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    rotation_6d_to_matrix,
)

F64 = torch.float64
ANGLES = (0.0, 1e-9, 1e-5, 0.3, 2.0, math.pi - 1e-3, math.pi - 1e-7, math.pi)


def spin_rot6d_to_rotmat(x: Tensor) -> Tensor:
    """nkolot/SPIN, utils/geometry.py, line by line."""
    x = x.view(-1, 3, 2)
    a1, a2 = x[:, :, 0], x[:, :, 1]
    b1 = functional.normalize(a1)
    b2 = functional.normalize(a2 - torch.einsum("bi,bi->b", b1, a2).unsqueeze(-1) * b1)
    return torch.stack((b1, b2, torch.linalg.cross(b1, b2)), dim=-1)


def vectors(angle: float) -> Tensor:
    axes = functional.normalize(torch.randn(20, 3, dtype=F64), dim=-1)
    return torch.cat([axes, torch.eye(3, dtype=F64), -torch.eye(3, dtype=F64)]) * angle


@pytest.mark.parametrize("shape", [(), (5,), (4, 24), (2, 3, 24), (0, 24), (2, 1, 3, 4)])
def test_rotation_6d_is_spins_for_any_leading_shape(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, 6, dtype=F64)
    matrix = rotation_6d_to_matrix(x)
    assert matrix.shape == (*shape, 3, 3)
    torch.testing.assert_close(matrix.reshape(-1, 3, 3), spin_rot6d_to_rotmat(x.reshape(-1, 6)))


def test_rotation_6d_gives_proper_rotations_and_goes_back() -> None:
    matrix = rotation_6d_to_matrix(torch.randn(50, 24, 6, dtype=F64))
    identity = torch.eye(3, dtype=F64).expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.mT, identity)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(50, 24, dtype=F64))
    torch.testing.assert_close(rotation_6d_to_matrix(matrix_to_rotation_6d(matrix)), matrix)


def test_rotation_6d_interleaves_its_columns() -> None:
    six = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=F64)
    first = torch.tensor([1.0, 3.0, 5.0], dtype=F64)
    torch.testing.assert_close(rotation_6d_to_matrix(six)[:, 0], first / first.norm())


def test_rotation_6d_gradient() -> None:
    x = torch.randn(1, 2, 6, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_6d_to_matrix, (x,))


def test_rotation_6d_of_zeros_is_finite_with_finite_gradient() -> None:
    x = torch.zeros(3, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(rotation_6d_to_matrix(x).sum(), x)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_is_scipys(angle: float) -> None:
    vector = vectors(angle)
    expected = torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix())
    torch.testing.assert_close(axis_angle_to_matrix(vector), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("angle", ANGLES)
def test_axis_angle_goes_back(angle: float) -> None:
    vector = vectors(angle)
    back = matrix_to_axis_angle(torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix()))
    if angle == math.pi:  # both signs are right
        back = back * (back * vector).sum(-1, keepdim=True).sign()
    torch.testing.assert_close(back, vector, atol=1e-7, rtol=0)


def test_matrix_to_axis_angle_is_scipys_on_random_rotations() -> None:
    random = Rotation.random(500, random_state=np.random.default_rng(0))
    got = matrix_to_axis_angle(torch.from_numpy(random.as_matrix()))
    torch.testing.assert_close(got, torch.from_numpy(random.as_rotvec()), atol=1e-9, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1.0, 3.0])
def test_axis_angle_gradients(angle: float) -> None:
    vector = vectors(angle)[::9].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(axis_angle_to_matrix, (vector,))


@pytest.mark.parametrize("angle", [0.0, 0.5, 3.0])
def test_matrix_to_axis_angle_has_finite_gradients(angle: float) -> None:
    matrix = axis_angle_to_matrix(vectors(angle)).requires_grad_()
    (gradient,) = torch.autograd.grad(matrix_to_axis_angle(matrix).sum(), matrix)
    assert bool(torch.isfinite(gradient).all())


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="ends in"):
        rotation_6d_to_matrix(torch.zeros(4, 9))
    with pytest.raises(ValueError, match="ends in"):
        axis_angle_to_matrix(torch.zeros(4, 6))
    with pytest.raises(ValueError, match="ends in"):
        matrix_to_axis_angle(torch.zeros(4, 3))
