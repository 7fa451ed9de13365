"""SMPL-CVAE's parts: the KL divergence against torch.distributions, the code, the unknown mesh."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from multibodies.core import cvae

F64 = torch.float64
B, Z = 5, 7


def sample() -> tuple[Tensor, Tensor]:
    return torch.randn(B, Z, dtype=F64), 2 * torch.randn(B, Z, dtype=F64)


def test_the_divergence_is_that_of_torch_distributions_per_image() -> None:
    mean, log_variance = sample()
    code = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    standard = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    found = cvae.kl_to_standard_normal(mean, log_variance)
    torch.testing.assert_close(found, kl_divergence(code, standard))


def test_the_divergence_equals_its_closed_form_in_a_loop_and_is_0_for_the_prior_itself() -> None:
    mean, log_variance = sample()
    found = cvae.kl_to_standard_normal(mean, log_variance)
    for b in range(B):
        naive = 0.0
        for i in range(Z):
            v = math.exp(float(log_variance[b, i]))
            naive += 0.5 * (float(mean[b, i]) ** 2 + v - 1 - math.log(v))
        assert float(found[b]) == pytest.approx(naive, rel=1e-12)
    zeros = torch.zeros(1, Z)
    assert cvae.kl_to_standard_normal(zeros, zeros).item() == 0


def test_codes_have_the_moments_that_the_encoder_says() -> None:
    mean, log_variance = (
        torch.tensor([[1.0, -2.0]], dtype=F64),
        torch.tensor([[0.4, -3.0]], dtype=F64),
    )
    noise = torch.randn(200_000, 2, dtype=F64)
    z = cvae.reparametrised(mean.expand_as(noise), log_variance.expand_as(noise), noise)
    torch.testing.assert_close(z.mean(0, keepdim=True), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0, keepdim=True), log_variance.exp(), rtol=0.02, atol=0)


def test_gradients_reach_mean_and_log_variance() -> None:
    mean, log_variance = (x.requires_grad_() for x in sample())
    noise = torch.randn(B, Z, dtype=F64)
    assert torch.autograd.gradcheck(
        lambda a, b: cvae.reparametrised(a, b, noise), (mean, log_variance)
    )
    assert torch.autograd.gradcheck(cvae.kl_to_standard_normal, (mean, log_variance))


def test_an_unknown_mesh_has_the_standard_normal_and_no_gradient() -> None:
    encoder = cvae.MeshEncoder(4, 8, Z)
    mesh = torch.randn(2, 4, 3, requires_grad=True)
    first, second = encoder(mesh)
    mean, log_variance = cvae.without_evidence(first, second, torch.tensor([1.0, 0.0]))
    divergence = cvae.kl_to_standard_normal(mean, log_variance)
    assert divergence[0] > 0
    assert divergence[1] == 0
    (gradient,) = torch.autograd.grad(divergence.sum() + mean.sum(), mesh)
    assert bool(gradient[0].abs().sum() > 0)
    assert bool((gradient[1] == 0).all())


def test_shapes_that_would_broadcast_are_refused() -> None:
    mean, log_variance = sample()
    with pytest.raises(ValueError, match="log_variance has shape"):
        cvae.kl_to_standard_normal(mean, log_variance[:1])
    with pytest.raises(ValueError, match="noise has shape"):
        cvae.reparametrised(mean, log_variance, mean[:1])
