"""Fitting the prior: the gate, the noise, resuming, sharing between workers."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from multibodies.core.prior import PriorSpec, SkeletonPrior
from multibodies.core.prior_fit import (
    Schedule,
    Worker,
    add_noise,
    draw_batch,
    fit_prior,
    fit_step,
    judge,
    seeded_dropout,
    start_fit,
)
from multibodies.errors import UserError

pytestmark = pytest.mark.slow

SPEC = PriorSpec(couplings=4, hidden=32, noise=0.02, std_floor=0.01, joints=4)


def chains(count: int) -> Tensor:
    """Chains of four joints, 0.4 m bones: bent, so banana-shaped; the first joint never moves."""
    bend = 0.8 * torch.randn(count, 3)
    angle = torch.cumsum(bend, 1)
    twist = (0.5 * bend[:, :1] + 0.3 * torch.randn(count, 1)).expand(-1, 3)
    bones = torch.stack([angle.sin(), angle.cos() * twist.cos(), angle.cos() * twist.sin()], -1)
    return torch.cat([torch.zeros(count, 1, 3), 0.4 * bones.cumsum(1)], 1)


def test_the_flow_beats_a_gaussian() -> None:
    seen: list[tuple[int, float]] = []
    prior, report = fit_prior(
        chains(4000),
        chains(500),
        SPEC,
        steps=250,
        batch=128,
        lr=3e-3,
        on_step=lambda step, nll: seen.append((step, nll)),
    )
    assert report["passed"] is True
    assert report["val_nll"] < report["gaussian_val_nll"] - 2
    assert report["gain_nats"] == report["gaussian_val_nll"] - report["val_nll"]
    assert report["val_nll"] == pytest.approx(report["train_nll"], abs=0.5)
    assert [step for step, _ in seen] == list(range(1, 251))
    assert sum(nll for _, nll in seen[-20:]) < sum(nll for _, nll in seen[:20])
    assert not prior.training


@pytest.mark.slow
def test_masked_couplings_with_dropout_beat_a_gaussian_too() -> None:
    spec = replace(SPEC, couplings=8, architecture="bernoulli", dropout=0.02)
    report = fit_prior(chains(4000), chains(500), spec, steps=200, batch=128, lr=3e-3).report
    assert report["passed"] is True
    assert report["val_nll"] < report["gaussian_val_nll"] - 1


def test_a_flow_that_a_gaussian_beats_does_not_pass() -> None:
    train = chains(1000)
    untrained = start_fit(train, SPEC, Schedule(1, 1, 1e-3)).model
    report = judge(untrained, train, chains(500))
    assert report["passed"] is False
    assert report["gain_nats"] < 0


def effective_hypotheses(noise: float) -> float:
    """Fit with a noise; return the effective number of 50 hypotheses 1 cm off real chains."""
    train = chains(2000)
    spec = PriorSpec(couplings=4, hidden=32, noise=noise, std_floor=0.01, joints=4)
    prior = fit_prior(train, train[:10], spec, steps=100, batch=64, lr=3e-3).prior
    hypotheses = chains(20)[:, None] + 0.01 * torch.randn(20, 50, 4, 3)
    with torch.no_grad():
        weights = prior.log_prob(hypotheses).softmax(1)
    return float((1 / weights.square().sum(1)).mean())


def test_joint_noise_keeps_the_weights_from_collapsing() -> None:
    assert effective_hypotheses(0.03) > 5 * effective_hypotheses(0.0005)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    train = chains(50)
    schedule = Schedule(steps=10, batch=2000, lr=1e-3, seed=3)
    batch = draw_batch(train, schedule, 0.02, 4)
    torch.manual_seed(77)
    assert torch.equal(draw_batch(train, schedule, 0.02, 4), batch)
    assert not torch.equal(draw_batch(train, schedule, 0.02, 5), batch)
    assert not torch.equal(draw_batch(train, Schedule(10, 2000, 1e-3, 4), 0.02, 4), batch)
    nearest = torch.cdist(batch.flatten(1), train.flatten(1)).min(1)
    expected = 0.02 * math.sqrt(12)  # of 12 coordinates, mean of squares
    assert float(nearest.values.square().mean().sqrt()) == pytest.approx(expected, rel=0.05)
    assert len(set(nearest.indices.tolist())) == 50


def test_noise_comes_from_its_generator() -> None:
    x = torch.zeros(2, 4, 3, dtype=torch.float64)
    drawn = add_noise(x, 0.5, torch.Generator().manual_seed(1))
    again = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.equal(drawn, 0.5 * again)


@pytest.mark.parametrize("architecture", ["permutations", "bernoulli"])
def test_a_resumed_fit_goes_on_as_if_nothing_had_happened(architecture: str) -> None:
    spec = replace(SPEC, architecture=architecture, dropout=0.3)
    train, schedule = chains(100), Schedule(steps=8, batch=16, lr=1e-2)
    whole = start_fit(train, spec, schedule)
    losses = [fit_step(whole, train, schedule) for _ in range(8)]
    first = start_fit(train, spec, schedule)
    for _ in range(4):
        fit_step(first, train, schedule)
    torch.manual_seed(5)
    second = start_fit(chains(100), spec, Schedule(steps=8, batch=16, lr=1e-2, seed=9))
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.step = first.step
    assert [fit_step(second, train, schedule) for _ in range(4)] == losses[4:]
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_workers_drop_independently_and_leave_the_generator_alone() -> None:
    spec, train, schedule = replace(SPEC, dropout=0.5), chains(100), Schedule(4, 16, 1e-2)
    state = start_fit(train, spec, schedule)
    nn.init.normal_(state.model.flow.transform._transforms[1].transform_net[-1].weight)
    before = torch.get_rng_state()
    drawn = {
        (step, rank): dropped(state.model, train, step, rank) for step in (0, 1) for rank in (0, 1)
    }
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[1, 0], dropped(state.model, train, 1, 0))
    values = list(drawn.values())
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(values, 2))


def dropped(model: SkeletonPrior, train: Tensor, step: int, rank: int) -> Tensor:
    with seeded_dropout(3, step, rank, train.device), torch.no_grad():
        return model.train().log_prob(train)


def test_workers_share_a_step() -> None:
    train, schedule = chains(100), Schedule(steps=4, batch=15, lr=1e-2)
    gradients: list[list[Tensor]] = []

    def keep(model: nn.Module) -> None:
        gradients.append(
            [torch.zeros(1) if p.grad is None else p.grad.clone() for p in model.parameters()]
        )

    for worker in (Worker(average=keep), Worker(0, 2, keep), Worker(1, 2, keep)):
        fit_step(start_fit(train, SPEC, schedule), train, schedule, worker)
    for alone, one, two in zip(*gradients, strict=True):
        torch.testing.assert_close((one + two) / 2, alone)
    assert any(bool((one != two).any()) for one, two in zip(*gradients[1:], strict=True))


def test_a_loss_that_is_not_finite_stops_before_the_weights() -> None:
    train, schedule = chains(20), Schedule(steps=4, batch=4, lr=1e-2)
    state = start_fit(train, SPEC, schedule)
    before = copy.deepcopy(state.model.state_dict())
    with pytest.raises(FloatingPointError, match="step 0"):
        fit_step(state, torch.full_like(train, torch.inf), schedule)
    assert all(torch.equal(before[k], v) for k, v in state.model.state_dict().items())


def test_the_rate_warms_up_and_ends_at_zero() -> None:
    schedule = Schedule(steps=1000, batch=1, lr=0.5)
    assert schedule.rate(0) == pytest.approx(0.005)
    assert schedule.rate(500) == pytest.approx(0.25)
    assert schedule.rate(1000) == pytest.approx(0, abs=1e-12)


def test_other_skeletons_are_refused() -> None:
    with pytest.raises(UserError, match="skeletons"):
        fit_prior(torch.zeros(5, 24, 3), chains(5), SPEC, steps=1, batch=1, lr=1e-3)
