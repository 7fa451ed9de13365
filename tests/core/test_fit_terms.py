"""Each term of SMPLify's energy against a naive computation, and the best camera."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from multibodies.core.camera import project
from multibodies.core.fit_terms import (
    angle_prior,
    depth_prior,
    fit_error,
    geman_mcclure,
    keypoint_energy,
    nearest_camera,
    shape_prior,
)
from multibodies.core.joints import SMPL_NAMES
from multibodies.core.pose_prior import PosePrior


def _keypoints(rows: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = 2 * torch.rand(rows, 24, 3, generator=generator, dtype=torch.float64) - 1
    points[..., 2] = (points[..., 2] > -0.4).double()
    return points


def _naive_energy(points: Tensor, keypoints: Tensor, sigma: float) -> float:
    total = 0.0
    for (x, y), (u, v, c) in zip(points.tolist(), keypoints.tolist(), strict=True):
        for away in (112 * (x - u), 112 * (y - v)):
            total += c**2 * sigma**2 * away**2 / (sigma**2 + away**2)
    return total


def test_the_robust_error_is_a_square_where_small_and_bounded_where_large() -> None:
    x = torch.tensor([0.1, -3.0, 1e6], dtype=torch.float64)
    expected = [2500 * v**2 / (2500 + v**2) for v in x.tolist()]
    torch.testing.assert_close(geman_mcclure(x, 50.0), torch.tensor(expected).double())
    assert float(geman_mcclure(x, 50.0)[2]) < 2500


def test_keypoint_energy_and_error_against_loops() -> None:
    keypoints, points = _keypoints(3), _keypoints(3, seed=1)[..., :2]
    energy = keypoint_energy(points, keypoints, 100.0)
    for b in range(3):
        expected = _naive_energy(points[b], keypoints[b], 100.0)
        assert float(energy[b]) == pytest.approx(expected)
        seen = float(keypoints[b, :, 2].sum())
        assert float(fit_error(points, keypoints, 100.0)[b]) == pytest.approx(expected / seen)


def test_hidden_keypoints_cost_nothing_whatever_they_say_and_nobody_seen_is_no_fit() -> None:
    keypoints, points = _keypoints(2), _keypoints(2, seed=1)[..., :2].requires_grad_()
    before = keypoint_energy(points, keypoints, 100.0)
    wild = torch.where(keypoints[..., 2:] > 0, keypoints, keypoints.new_tensor([torch.nan, 9.0, 0]))
    after = keypoint_energy(points, wild, 100.0)
    torch.testing.assert_close(before, after)
    assert torch.isfinite(torch.autograd.grad(after.sum(), points)[0]).all()
    unseen = keypoints * keypoints.new_tensor([1.0, 1.0, 0.0])
    assert torch.isinf(fit_error(points, unseen, 100.0)).all()


@pytest.mark.parametrize(
    ("joint", "component", "wrong"),
    [
        ("left_elbow", 1, 1.0),
        ("right_elbow", 1, -1.0),
        ("left_knee", 0, -1.0),
        ("right_knee", 0, -1.0),
    ],
)
def test_an_elbow_or_knee_that_bends_the_wrong_way_is_dear(
    joint: str, component: int, wrong: float
) -> None:
    theta = torch.zeros(2, 24, 3, dtype=torch.float64)
    theta[0, SMPL_NAMES.index(joint), component] = 0.7 * wrong
    theta[1, SMPL_NAMES.index(joint), component] = -0.7 * wrong
    expected = torch.tensor([3 + math.exp(1.4), 3 + math.exp(-1.4)], dtype=torch.float64)
    torch.testing.assert_close(angle_prior(theta), expected)


def test_the_shape_prior_and_the_depth_prior_against_loops() -> None:
    torch.manual_seed(0)
    beta = torch.randn(3, 10)
    expected = [sum(x * x for x in row) for row in beta.tolist()]
    torch.testing.assert_close(shape_prior(beta), torch.tensor(expected))
    camera, start = 0.5 + torch.rand(3, 3).double(), 0.5 + torch.rand(3, 3).double()
    for b in range(3):
        depths = [2 * 5000 / (224 * float(c[b, 0])) for c in (camera, start)]
        expected_depth = (depths[0] - depths[1]) ** 2
        assert float(depth_prior(camera, start)[b]) == pytest.approx(expected_depth, rel=1e-6)


def test_the_pose_prior_is_the_exponent_of_a_gaussian() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(69, 69, dtype=torch.float64) / 8
    body = torch.randn(500, 69, dtype=torch.float64) @ mixing + 0.3
    theta = torch.cat([torch.randn(500, 3).double(), body], 1).unflatten(1, (24, 3))
    prior = PosePrior(theta, noise=0.1)
    away = body - body.mean(0)
    covariance = away.T @ away / 499 + 0.01 * torch.eye(69)
    gaussian = MultivariateNormal(body.mean(0), covariance)
    tried = torch.randn(4, 24, 3, dtype=torch.float64)
    flat = tried.flatten(1)[:, 3:]
    expected = gaussian.log_prob(body.mean(0)) - gaussian.log_prob(flat)
    torch.testing.assert_close(prior(tried.float()).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("poses", [torch.zeros(1, 24, 3), torch.full((4, 24, 3), torch.nan)])
def test_a_pose_prior_of_nothing_is_refused(poses: Tensor) -> None:
    with pytest.raises(ValueError, match="needs 2 finite poses"):
        PosePrior(poses)


def test_the_nearest_camera_is_the_one_that_took_the_picture() -> None:
    torch.manual_seed(0)
    joints = 0.5 * torch.randn(6, 24, 3)
    camera = torch.cat([0.6 + 0.6 * torch.rand(6, 1), 0.2 * torch.randn(6, 2)], 1)
    keypoints = torch.cat([project(joints, camera), torch.ones(6, 24, 1)], -1)
    keypoints[:, 5] = torch.tensor([7.0, -7.0, 0.0])  # hidden, and wrong
    start = camera + 0.3 * torch.rand(6, 3)
    torch.testing.assert_close(
        nearest_camera(joints, keypoints, start), camera, atol=1e-4, rtol=1e-3
    )
    keypoints[..., 2] = 0
    torch.testing.assert_close(nearest_camera(joints, keypoints, start), start)
