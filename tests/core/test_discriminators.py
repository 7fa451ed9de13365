"""HMR's discriminators and their losses against naive loops in float64."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
from torch import Tensor

from multibodies.core.discriminators import (
    Critic,
    Discriminators,
    adversarial_loss,
    critic_loss,
)
from multibodies.core.rotations import axis_angle_to_matrix

B, T, HIDDEN = 3, 2, 16
Module = TypeVar("Module", bound=torch.nn.Module)


def _randomised(critic: Module) -> Module:
    critic.double()
    for parameter in critic.parameters():  # biases start at 0, which would hide a missing one
        parameter.data += 0.1 * torch.randn_like(parameter)
    return critic


def _bodies() -> tuple[Tensor, Tensor]:
    rotations = axis_angle_to_matrix(torch.randn(B, T, 24, 3, dtype=torch.float64))
    return rotations, torch.randn(B, T, 10, dtype=torch.float64)


def _dense(weights: dict[str, Tensor], name: str, x: list[float]) -> list[float]:
    """Multiply one vector by a layer, number by number."""
    weight, bias = weights[f"{name}.weight"].tolist(), weights[f"{name}.bias"].tolist()
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b
            for row, b in zip(weight, bias, strict=True)]  # fmt: skip


def _relu(x: list[float]) -> list[float]:
    return [max(0.0, v) for v in x]


def _naive(weights: dict[str, Tensor], rotations: Tensor, beta: Tensor) -> list[float]:
    """Judge one body, rotations [24, 3, 3] and beta [10], joint by joint."""
    scores, features = [], []
    for j in range(23):
        x = _relu(_dense(weights, "shared.0", rotations[j + 1].flatten().tolist()))
        x = _relu(_dense(weights, "shared.2", x))
        own, bias = weights["joint_weight"][j].tolist(), float(weights["joint_bias"][j])
        scores.append(sum(w * v for w, v in zip(own, x, strict=True)) + bias)
        features += x
    x = _relu(_dense(weights, "pose.0.2", _relu(_dense(weights, "pose.0.0", features))))
    scores += _dense(weights, "pose.1", x)
    x = _relu(_dense(weights, "shape.0.2", _relu(_dense(weights, "shape.0.0", beta.tolist()))))
    return scores + _dense(weights, "shape.1", x)


def test_25_scores_equal_a_loop_over_joints_and_layers() -> None:
    critic, (rotations, beta) = _randomised(Discriminators(HIDDEN)), _bodies()
    weights = {name: p.detach() for name, p in critic.named_parameters()}
    scores = critic(rotations, beta)
    assert scores.shape == (B, T, 25)
    for b in range(B):
        for t in range(T):
            naive = _naive(weights, rotations[b, t], beta[b, t])
            assert scores[b, t].tolist() == pytest.approx(naive, rel=1e-9, abs=1e-12)


def test_it_has_as_many_weights_as_hmrs() -> None:
    count = sum(p.numel() for p in Discriminators().parameters())
    joints = (9 * 32 + 32) + (32 * 32 + 32) + 23 * (32 + 1)
    pose = (23 * 32 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 + 1)
    assert count == joints + pose + (10 * 10 + 10) + (10 * 5 + 5) + (5 + 1)


def test_the_global_rotation_is_not_judged() -> None:
    critic, (rotations, beta) = _randomised(Discriminators(HIDDEN)), _bodies()
    turned = rotations.clone()
    turned[..., 0, :, :] = torch.eye(3, dtype=torch.float64)
    assert torch.equal(critic(turned, beta), critic(rotations, beta))


def test_losses_equal_a_naive_sum_of_squares() -> None:
    real, fake = torch.randn(2, B, 25, dtype=torch.float64)
    for b in range(B):
        fooled = sum((d - 1) ** 2 for d in fake[b].tolist())
        judged = sum((r - 1) ** 2 + f**2 for r, f in zip(real[b].tolist(), fake[b].tolist(),
                                                         strict=True))  # fmt: skip
        assert adversarial_loss(fake)[b].item() == pytest.approx(fooled, rel=1e-12)
        assert critic_loss(real, fake)[b].item() == pytest.approx(judged, rel=1e-12)


def test_scores_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="fake has shape"):
        adversarial_loss(torch.zeros(B, 24))
    with pytest.raises(ValueError, match="real has shape"):
        critic_loss(torch.zeros(1, 25), torch.zeros(B, 25))


@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_one_step_of_both_losses_gives_the_gradients_of_two_separate_ones(rate: float) -> None:
    """What the frozen critic tells goes to the bodies alone, the critic's own loss to its weights
    alone."""
    critic, (rotations, beta) = _randomised(Critic(HIDDEN, rate)), _bodies()
    real, real_beta = _bodies()
    bodies = [rotations.requires_grad_(), beta.requires_grad_()]
    plain = Discriminators(HIDDEN).double()
    with torch.no_grad():
        for mine, its in zip(plain.parameters(), critic.parameters(), strict=True):
            mine.copy_(rate * its)
    weights = list(plain.parameters())
    of_bodies = torch.autograd.grad(adversarial_loss(plain(*bodies)).sum(), bodies)
    judged = critic_loss(plain(real, real_beta), plain(*[x.detach() for x in bodies]))
    of_weights = torch.autograd.grad(judged.sum(), weights)
    both = adversarial_loss(critic.frozen(*bodies)) + critic_loss(
        critic(real, real_beta), critic(*[x.detach() for x in bodies])
    )
    both.sum().backward()
    expected = [*of_bodies, *[rate * gradient for gradient in of_weights]]
    for x, gradient in zip([*bodies, *critic.parameters()], expected, strict=True):
        assert x.grad is not None
        torch.testing.assert_close(x.grad, gradient)


def test_a_step_of_adam_moves_the_critic_by_its_rate() -> None:
    rotations, beta = _bodies()
    moved = []
    for rate in (1.0, 10.0):
        torch.manual_seed(3)
        critic = Critic(HIDDEN, rate).double()
        before = [rate * p.detach() for p in critic.parameters()]
        optimizer = torch.optim.Adam(critic.parameters(), lr=1e-4)
        (critic(rotations, beta) - 1).square().sum().backward()
        optimizer.step()
        after = [rate * p.detach() for p in critic.parameters()]
        moved.append(torch.cat([(b - a).flatten() for a, b in zip(before, after, strict=True)]))
    assert moved[0].abs().max() == pytest.approx(1e-4, rel=1e-3)
    torch.testing.assert_close(moved[1], 10 * moved[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("which", ["adversarial", "critic"])
def test_gradients_in_float64(which: str) -> None:
    real, fake = torch.randn(2, B, 25, dtype=torch.float64)
    if which == "adversarial":
        assert torch.autograd.gradcheck(adversarial_loss, (fake.requires_grad_(),))
    else:
        both = real.requires_grad_(), fake.requires_grad_()
        assert torch.autograd.gradcheck(critic_loss, both)
