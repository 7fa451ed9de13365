"""The mixture of SMPL-MDN against torch.distributions and naive loops, also at sharp variances."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from multibodies.core import mdn
from multibodies.core.rotations import axis_angle_to_matrix, rotation_6d_to_matrix

F64 = torch.float64
B, M, D = 3, 4, 69


def sample(spread: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return theta, means, log-variances about log .001 and log-weights; all differ."""
    theta = torch.randn(B, D, dtype=F64)
    means = theta[:, None] + spread * torch.randn(B, M, D, dtype=F64)
    log_variance = math.log(0.001) + torch.randn(B, M, dtype=F64)
    return theta, means, log_variance, torch.randn(B, M, dtype=F64).log_softmax(1)


@pytest.mark.parametrize("spread", [0.01, 1.0])
def test_the_likelihood_is_that_of_torch_distributions(spread: float) -> None:
    theta, means, log_variance, log_weights = sample(spread)
    modes = Independent(Normal(means, (0.5 * log_variance).exp()[..., None].expand_as(means)), 1)
    expected = MixtureSameFamily(Categorical(logits=log_weights), modes).log_prob(theta)
    found = mdn.negative_log_likelihood(mdn.log_joint(theta, means, log_variance, log_weights))
    torch.testing.assert_close(found, -expected, rtol=1e-10, atol=0)


def test_the_posterior_and_the_virtual_prediction_equal_naive_loops() -> None:
    """Equation 9 as written, at a variance where its densities are no zeros."""
    theta, means, log_variance, log_weights = sample(0.02)
    weights = mdn.posterior(mdn.log_joint(theta, means, log_variance, log_weights))
    found = mdn.virtual_prediction(means, weights)
    for b in range(B):
        densities = []
        for m in range(M):
            v = math.exp(float(log_variance[b, m]))
            density = math.exp(float(log_weights[b, m]))
            for d in range(D):
                away = float(theta[b, d] - means[b, m, d])
                density *= math.exp(-(away**2) / (2 * v)) / math.sqrt(2 * math.pi * v)
            densities.append(density)
        shares = [density / sum(densities) for density in densities]
        assert weights[b].tolist() == pytest.approx(shares, rel=1e-9)
        naive = [sum(p * float(means[b, m, d]) for m, p in enumerate(shares)) for d in range(D)]
        assert found[b].tolist() == pytest.approx(naive, rel=1e-9)


def test_modes_as_far_as_rotations_go_stay_finite_in_float32() -> None:
    """The exponents are near -7e5, far below what float32, or float64, can exponentiate."""
    theta = torch.full((1, D), math.pi)
    means = torch.stack([-theta, -theta + 0.01], 1).requires_grad_()
    log_variance = torch.full((1, 2), math.log(0.001))
    joint = mdn.log_joint(theta, means, log_variance, torch.full((1, 2), -math.log(2)))
    (gradient,) = torch.autograd.grad(mdn.negative_log_likelihood(joint).sum(), means)
    assert bool(joint.isfinite().all() and gradient.isfinite().all())
    assert mdn.posterior(joint).tolist() == [[0.0, 1.0]]  # the nearer one alone


def test_the_gradient_of_the_likelihood_is_the_expectation_step() -> None:
    theta, means, log_variance, log_weights = sample(0.02)
    means.requires_grad_()
    joint = mdn.log_joint(theta, means, log_variance, log_weights)
    (found,) = torch.autograd.grad(mdn.negative_log_likelihood(joint).sum(), means)
    shares = mdn.posterior(joint)[..., None]
    torch.testing.assert_close(
        found, shares * (means - theta[:, None]) / log_variance.exp()[..., None]
    )


def test_the_prior_weighs_modes_that_are_equally_near() -> None:
    theta, means = torch.zeros(1, D, dtype=F64), torch.ones(1, 2, D, dtype=F64)
    means[:, 1] = -1
    weights = torch.tensor([[0.2, 0.8]], dtype=F64)
    joint = mdn.log_joint(theta, means, torch.full((1, 2), -7.0, dtype=F64), weights.log())
    torch.testing.assert_close(mdn.posterior(joint), weights)
    torch.testing.assert_close(
        mdn.virtual_prediction(means, mdn.posterior(joint)), torch.full((1, D), -0.6, dtype=F64)
    )


def test_shapes_that_would_broadcast_are_refused() -> None:
    theta, means, log_variance, log_weights = sample()
    with pytest.raises(ValueError, match="theta has shape"):
        mdn.log_joint(theta[:1], means, log_variance, log_weights)
    with pytest.raises(ValueError, match="log_variance has shape"):
        mdn.log_joint(theta, means, log_variance[:, :1], log_weights)
    with pytest.raises(ValueError, match="weights has shape"):
        mdn.virtual_prediction(means, log_weights[:, :1])


def test_log_rotations_are_scipys_without_the_root() -> None:
    rotations = rotation_6d_to_matrix(torch.randn(2, M, 24, 6, dtype=F64))
    found = mdn.log_rotations(rotations)
    flat = rotations[..., 1:, :, :].reshape(-1, 3, 3).numpy()
    expected = torch.from_numpy(Rotation.from_matrix(flat).as_rotvec()).view(2, M, D)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_labels_longer_than_pi_are_the_same_rotations() -> None:
    axes = torch.nn.functional.normalize(torch.randn(2, 24, 3, dtype=F64), dim=-1)
    angles = torch.linspace(0.1, 3, 48, dtype=F64).view(2, 24, 1)
    short = (axes * angles)[:, 1:].flatten(1)
    for turns in (0, 1, -1, 2):
        found = mdn.canonical(axes * (angles + 2 * math.pi * turns))
        torch.testing.assert_close(found, short, atol=1e-9, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-4, math.pi - 1e-4, math.pi - 1e-7, math.pi])
def test_gradients_through_the_logarithm_are_finite_at_the_awkward_angles(angle: float) -> None:
    axes = torch.nn.functional.normalize(torch.randn(24, 3), dim=-1)
    matrix = axis_angle_to_matrix(axes * angle).requires_grad_()
    (gradient,) = torch.autograd.grad(mdn.log_rotations(matrix).square().sum(), matrix)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) < 1e3
