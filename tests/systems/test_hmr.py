"""HMR behind the interface: iterations, losses, whose gradient goes where."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmr_samples import hmr_config
from multibodies.checkpoints import load_regressor
from multibodies.config import Config
from multibodies.core.body import load_body
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.data.motions import Motions
from multibodies.data.training_rows import open_source, read_rows
from multibodies.systems.hmr import HMR, SYSTEM, Judged
from multibodies.training import (
    build_objective,
    labels_of,
)
from training_samples import save_stage1

pytestmark = pytest.mark.slow

WEIGHTS = {"hmr.adversarial": 0.7, "hmr.critic_rate": 5.0}


def _model(stage1: Path, config: Config) -> HMR:
    """Return the network at step 0 with other discriminators' biases than 0."""
    model = SYSTEM.start(load_regressor(stage1), config, load_body())
    for parameter in model.head.critic.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.train()


def _judged(stage1: Path, config: Config) -> tuple[HMR, Judged]:
    model = _model(stage1, config)
    forward = SYSTEM.forward(model, config, load_body())
    assert isinstance(forward, Judged)
    return model, forward.train()


def test_it_starts_as_stage_1_and_its_critic_takes_no_part_in_inference(stage1: Path) -> None:
    plain, images = load_regressor(stage1), torch.rand(2, 3, 32, 32)
    model = _model(stage1, hmr_config()).eval()
    for mine, its in zip(model(images)[:4], plain(images)[:4], strict=True):
        torch.testing.assert_close(mine, its)
    before = model(images).beta
    for parameter in model.head.critic.parameters():
        parameter.data.fill_(float("nan"))
    assert torch.equal(model(images).beta, before)
    assert model(images).extras is None


@pytest.mark.parametrize("feedback", ["all", "mean"])
def test_every_iterations_state_equals_a_loop_over_the_plain_heads_layers(
    stage1: Path, tmp_path: Path, feedback: str
) -> None:
    config = hmr_config({"model.feedback": feedback})
    model = _model(save_stage1(tmp_path / "one", config), config)
    head, features = model.head, torch.randn(3, model.head.fc1.in_features - 157)
    hypotheses = model.from_features(features)
    assert hypotheses.extras is not None
    state = head.init_state.expand(3, -1)
    for t in range(3):
        x = torch.relu(head.fc2(torch.relu(head.fc1(torch.cat([features, state], 1)))))
        state = state + torch.cat(
            [x @ d.weight.T + d.bias for d in (head.decpose, head.decshape, head.deccam)], 1
        )
        rotations = rotation_6d_to_matrix(state[:, :144].unflatten(1, (24, 6)))
        torch.testing.assert_close(hypotheses.extras["rotations"][:, t], rotations)
        torch.testing.assert_close(hypotheses.extras["beta"][:, t], state[:, 144:154])
    torch.testing.assert_close(hypotheses.rotations[:, 0], rotations)
    torch.testing.assert_close(hypotheses.camera[:, 0], state[:, 154:])


def test_terms_equal_naive_loops_and_the_total_their_weighted_sum(rows: Path, stage1: Path) -> None:
    config = hmr_config(WEIGHTS)
    model, forward = _judged(stage1, config)
    batch = read_rows(open_source(rows, "lab-train"))
    hypotheses = forward(batch)
    outcome = SYSTEM.objective(config, load_body(), None)(hypotheses, labels_of(batch))
    eq8 = build_objective(load_body(), config.loss.for_stage1())(hypotheses, labels_of(batch))
    extras = model(batch["image"].permute(0, 3, 1, 2).float() / 255).extras
    assert extras is not None and hypotheses.extras is not None
    judge, real = model.head.critic, hypotheses.extras["real"].tolist()
    for b in range(4):
        fooled, told = 0.0, 0.0
        for t in range(3):
            scores = judge(extras["rotations"][b, t], extras["beta"][b, t]).tolist()
            fooled += sum((d - 1) ** 2 for d in scores) / 3
            told += sum(d**2 for d in scores) / 3 + sum((d - 1) ** 2 for d in real[b][t]) / 3
        assert outcome.terms["adversarial"][b].item() == pytest.approx(fooled, rel=1e-4)
        assert outcome.terms["critic"][b].item() == pytest.approx(told, rel=1e-4)
        expected = eq8.total[b].item() + 0.7 * fooled + told / 5
        assert outcome.total[b].item() == pytest.approx(expected, rel=1e-4)


def test_real_scores_are_those_of_bodies_of_the_bank(stage1: Path) -> None:
    """One body in the bank: every real score is its."""
    model = _model(stage1, hmr_config())
    theta, beta = 0.3 * torch.randn(1, 24, 3), torch.randn(1, 10)
    forward = Judged(model, Motions(theta, beta)).train()
    extras = forward({"image": torch.zeros(2, 32, 32, 3, dtype=torch.uint8)}).extras
    assert extras is not None
    rotations = torch.stack([torch.matrix_exp(_cross(v)) for v in theta[0]])
    expected = model.head.critic(rotations, beta[0])
    torch.testing.assert_close(extras["real"], expected.expand(2, 3, 25), rtol=1e-4, atol=1e-5)


def _cross(v: Tensor) -> Tensor:
    x, y, z = v.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _gradients(
    rows: Path, stage1: Path, config: Config, terms: tuple[str, ...]
) -> dict[str, Tensor]:
    """Return the gradients of the weighted sum of some terms, in a graph of their own."""
    torch.manual_seed(0)
    model, forward = _judged(stage1, config)
    batch = read_rows(open_source(rows, "lab-train"))
    objective = SYSTEM.objective(config, load_body(), None)
    torch.manual_seed(1)
    outcome = objective(forward(batch), labels_of(batch))
    chosen = [objective.weights[name] * outcome.terms[name].mean() for name in terms]
    (torch.stack(chosen).sum() if terms else outcome.total.mean()).backward()
    named = model.head.named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named}


def test_neither_players_gradient_reaches_the_other(rows: Path, stage1: Path) -> None:
    config = hmr_config(WEIGHTS)
    both = _gradients(rows, stage1, config, ())
    generator = _gradients(
        rows, stage1, config, ("best", "theta", "beta", "vertices", "rb", "adversarial")
    )
    critic = _gradients(rows, stage1, config, ("critic",))
    without = _gradients(rows, stage1, config, ("best", "theta", "beta", "vertices", "rb"))
    for name, gradient in both.items():
        own, other = (critic, generator) if name.startswith("critic.") else (generator, critic)
        torch.testing.assert_close(gradient, own[name], rtol=1e-4, atol=1e-5)
        assert other[name].abs().max() == 0, name
        assert own[name].abs().max() > 0, name
    assert any((generator[n] - without[n]).abs().max() > 1e-3 for n in ("fc1.weight",))
