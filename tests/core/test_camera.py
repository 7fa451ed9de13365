"""The camera against SPIN's pixels, and re-cropping against the crop itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multibodies.core.camera import camera_translation, crop_camera, project

F64 = torch.float64


def cameras(*shape: int) -> Tensor:
    scale = 0.6 + 0.6 * torch.rand(*shape, 1, dtype=F64)
    return torch.cat([scale, 0.3 * torch.randn(*shape, 2, dtype=F64)], -1)


def spin_projection(points: Tensor, translation: Tensor) -> Tensor:
    """nkolot/SPIN, utils/geometry.py `perspective_projection`: pixels about the centre of 224."""
    intrinsics = torch.diag(torch.tensor([5000.0, 5000.0, 1.0], dtype=F64))
    moved = points + translation[:, None]
    moved = moved / moved[:, :, 2:]
    return torch.einsum("ij,bkj->bki", intrinsics, moved)[:, :, :2]


def test_projection_is_spins_over_112() -> None:
    points, cam = 0.5 * torch.randn(6, 24, 3, dtype=F64), cameras(6)
    translation = torch.stack([cam[:, 1], cam[:, 2], 2 * 5000 / (224 * cam[:, 0] + 1e-9)], -1)
    torch.testing.assert_close(camera_translation(cam), translation)
    torch.testing.assert_close(project(points, cam), spin_projection(points, translation) / 112)


def test_projection_takes_hypotheses_one_by_one() -> None:
    points, cam = 0.5 * torch.randn(2, 3, 24, 3, dtype=F64), cameras(2, 3)
    got = project(points, cam)
    for b in range(2):
        for m in range(3):
            torch.testing.assert_close(got[b, m], project(points[b, m], cam[b, m]))


def test_projection_is_the_scaled_shift_to_first_order() -> None:
    points, cam = 0.5 * torch.randn(4, 24, 3, dtype=F64), cameras(4)
    weak = cam[:, None, :1] * (points[..., :2] + cam[:, None, 1:])
    assert (project(points, cam) - weak).abs().max() < 0.15


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="need points"):
        project(torch.zeros(2, 5, 24, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="need points"):
        project(torch.zeros(4, 24, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="camera"):
        camera_translation(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="need cam"):
        crop_camera(torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(2, 1))


def test_crop_camera_is_the_crop_at_depth_zero() -> None:
    points, cam = 0.5 * torch.randn(5, 24, 3, dtype=F64), cameras(5)
    points[..., 2] = 0
    centre, half = 0.4 * torch.randn(5, 2, dtype=F64), 0.3 + torch.rand(5, dtype=F64)
    expected = (project(points, cam) - centre[:, None]) / half[:, None, None]
    got = project(points, crop_camera(cam, centre, half))
    torch.testing.assert_close(got, expected, atol=1e-7, rtol=1e-7)


def test_crop_camera_of_a_body_is_close() -> None:
    """A body 0.3 m deep, cropped to 0.6 of the view: under 1.5 px at 224 px."""
    points, cam = 0.5 * torch.randn(200, 24, 3, dtype=F64), cameras(200)
    points[..., 2] = points[..., 2].clamp(-0.3, 0.3)
    centre, half = 0.3 * torch.rand(200, 2, dtype=F64), torch.full((200,), 0.6, dtype=F64)
    expected = (project(points, cam) - centre[:, None]) / half[:, None, None]
    error = (project(points, crop_camera(cam, centre, half)) - expected).norm(dim=-1) * 112
    assert error.median() < 1.5


def test_the_whole_view_is_the_identity_crop() -> None:
    cam = cameras(3)
    whole = crop_camera(cam, torch.zeros(3, 2, dtype=F64), torch.ones(3, dtype=F64))
    torch.testing.assert_close(whole, cam)
