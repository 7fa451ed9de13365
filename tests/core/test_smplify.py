"""SMPLify brings perturbed bodies back on their keypoints, every image by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multibodies.config import load_config
from multibodies.core.body import JointBody, load_body
from multibodies.core.camera import project
from multibodies.core.pose_prior import PosePrior
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.core.smplify import HIPS, FitSettings, SMPLify
from multibodies.data.draws import draw_rows
from multibodies.data.motions import motions_of
from multibodies.data.poses import pose_bank, widen
from multibodies.systems.spin import POSES

pytestmark = pytest.mark.slow

ROWS = 8


@pytest.fixture(scope="module")
def smplify() -> SMPLify:
    prior = PosePrior(motions_of(None, POSES, load_config("embedded").data).theta)
    return SMPLify(JointBody(load_body(), ("j24",)), prior, FitSettings())


@pytest.fixture(scope="module")
def truth() -> tuple[Tensor, Tensor, Tensor]:
    """Theta, beta and camera of people of another split than the prior's."""
    theta, _ = widen(pose_bank("lab-val", 0.0), draw_rows(3, 1, range(ROWS)), 20.0, (5.0, 5.0))
    generator = torch.Generator().manual_seed(0)
    beta = torch.randn(ROWS, 10, generator=generator)
    camera = torch.tensor([0.9, 0.0, 0.2]).expand(ROWS, 3).contiguous()
    return torch.from_numpy(theta).float(), beta, camera


def _seen(theta: Tensor, beta: Tensor, camera: Tensor) -> Tensor:
    """Keypoints of bodies, by another road: the whole body and the camera."""
    joints = JointBody(load_body(), ("j24",))(axis_angle_to_matrix(theta), beta)["j24"]
    points = project(joints, camera)
    return torch.cat([points, torch.ones_like(points[..., :1])], -1)


def _pixels(theta: Tensor, beta: Tensor, camera: Tensor, keypoints: Tensor) -> Tensor:
    """Mean distance in pixels of 224, hips left out: [B]."""
    away = 112 * (_seen(theta, beta, camera) - keypoints)[..., :2].norm(dim=-1)
    kept = [k for k in range(24) if k not in HIPS]
    return away[:, kept].mean(1)


def test_perturbed_truth_comes_back_to_under_5_pixels(
    smplify: SMPLify, truth: tuple[Tensor, Tensor, Tensor]
) -> None:
    theta, beta, camera = truth
    keypoints = _seen(*truth)
    torch.manual_seed(0)
    start = theta + 0.15 * torch.randn_like(theta)
    shifted = camera + torch.tensor([0.02, 0.05, -0.05])
    before = _pixels(start, torch.zeros_like(beta), shifted, keypoints)
    fit = smplify(start, torch.zeros_like(beta), shifted, keypoints)
    after = _pixels(fit.theta, fit.beta, fit.camera, keypoints)
    assert float(before.min()) > 5
    assert float(after.max()) < 5, after
    assert float(fit.error.max()) < 25  # square pixels
    assert not fit.theta.requires_grad


def test_a_fit_does_not_depend_on_its_batch(
    smplify: SMPLify, truth: tuple[Tensor, Tensor, Tensor]
) -> None:
    theta, beta, camera = (x[:3].double() for x in truth)
    keypoints = _seen(*(x[:3] for x in truth)).double()
    prior = smplify.prior.double()
    body = JointBody(load_body(), ("j24",), dtype=torch.float64)
    exact = SMPLify(body, prior, FitSettings(10, 10))
    torch.manual_seed(0)
    start = theta + 0.2 * torch.randn_like(theta)
    together = exact(start, beta, camera, keypoints)
    alone = exact(start[1:2], beta[1:2], camera[1:2], keypoints[1:2])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, atol=1e-8, rtol=1e-8)
    smplify.prior.float()


def test_phase_1_turns_a_body_that_is_seen_from_elsewhere(
    smplify: SMPLify, truth: tuple[Tensor, Tensor, Tensor]
) -> None:
    theta, beta, camera = truth
    start = theta.clone()
    start[:, 0] = start[:, 0] + 0.25
    turned, _ = smplify.turned(start, beta, camera, _seen(*truth))
    away = [(axis_angle_to_matrix(x) - axis_angle_to_matrix(theta))[:, 0] for x in (start, turned)]
    before, after = (x.norm(dim=(1, 2)) for x in away)
    assert float((after / before).max()) < 0.5
    assert torch.equal(turned[:, 1:], theta[:, 1:])


def test_an_unseen_person_gets_no_fit(
    smplify: SMPLify, truth: tuple[Tensor, Tensor, Tensor]
) -> None:
    keypoints = _seen(*truth)[:2] * torch.tensor([1.0, 1.0, 0.0])
    body = JointBody(load_body(), ("j24",))
    fit = SMPLify(body, smplify.prior, FitSettings(3, 3))(*(x[:2] for x in truth), keypoints)
    assert torch.isinf(fit.error).all()
    assert torch.isfinite(fit.theta).all()
