"""SMPL-CVAE behind the interface of systems: its start, its code in training and at test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from by_heart import SHIPPED, by_heart, eight_images, errors_mm, learnt
from model_samples import save_prior
from multibodies import local
from multibodies.bodies.loading import load_body
from multibodies.checkpoints import load_regressor
from multibodies.config import load_config
from multibodies.core.body import MeshBody
from multibodies.core.coded_regressor import CodedRegressor
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.inference import Inference, infer_images
from multibodies.systems.cvae import SYSTEM, CodedForward
from multibodies.training import build_objective, labels_of
from training_samples import largest_difference, save_rows, save_stage1, tiny_config

CVAE = {"system.name": "cvae"}


def started(changes: dict[str, Any]) -> tuple[CodedRegressor, CodedForward]:
    config, body = by_heart({**CVAE, **changes}), load_body(None)
    model = SYSTEM.start(load_regressor(SHIPPED), config, body).eval()
    assert isinstance(model, CodedRegressor)
    forward = SYSTEM.forward(model, config, body)
    assert isinstance(forward, CodedForward)
    return model, forward


@pytest.mark.slow
@pytest.mark.parametrize("feedback", ["all", "mean"])
def test_the_network_starts_as_the_shipped_stage_1_whatever_the_code(feedback: str) -> None:
    model, forward = started({"stage2.spread": 0.0, "model.feedback": feedback})
    batch, _ = eight_images()
    one = load_regressor(SHIPPED).from_features(batch["features"])
    for found in (model.from_features(batch["features"]), forward(batch)):
        for mine, its in zip(found[:4], one[:4], strict=True):
            torch.testing.assert_close(mine, its.expand_as(mine), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_bank_is_standard_normal_drawn_once_per_seed_and_all_its_codes_weigh_the_same() -> None:
    many = {"stage2.num_hypotheses": 500, "cvae.code": 8}
    model, _ = started(many)
    bank = model.head.bank
    assert bank.shape == (500, 8)
    assert float(bank.mean().abs()) < 4 / 4000**0.5
    assert float(bank.var()) == pytest.approx(1, abs=4 * (2 / 4000) ** 0.5)
    assert torch.equal(bank, started(many)[0].head.bank)
    assert not torch.equal(bank, started({**many, "stage2.seed": 1})[0].head.bank)
    features = eight_images()[0]["features"][:2]
    first, again = model.from_features(features), model.from_features(features)
    assert torch.equal(first.rotations, again.rotations)
    assert float(first.rotations.detach().std(1).amax()) > 1e-4
    torch.testing.assert_close(first.log_weights, torch.full((2, 500), -math.log(500)))


@pytest.mark.slow
def test_the_encoder_sees_the_true_mesh_about_its_root() -> None:
    _, forward = started({"loss.vertices_sampled": 50})
    body, (batch, _) = load_body(None), eight_images()
    for image in range(2):
        pose = axis_angle_to_matrix(batch["theta"][image])[None], batch["beta"][image][None]
        mesh = MeshBody(body)(*pose)[0]
        rest = body.v_template + body.shapedirs @ batch["beta"][image]
        root = body.J_regressor[0] @ rest  # a pose does not move it
        picked = mesh[torch.linspace(0, len(mesh) - 1, 50).round().long()]
        found = forward.mesh({name: x[[image]] for name, x in batch.items()})[0]
        torch.testing.assert_close(found, picked - root, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_an_image_without_a_mesh_has_a_code_of_the_prior_and_no_divergence() -> None:
    model, forward = started({})
    batch = dict(eight_images()[0])
    batch["has_smpl"] = torch.arange(8) % 2 == 0
    batch["theta"] = torch.where(batch["has_smpl"][:, None, None], batch["theta"], 0.0)
    loss = SYSTEM.objective(by_heart(CVAE), load_body(None), None)
    outcome = loss(forward(batch), labels_of(batch))
    assert ((outcome.terms["kl"] == 0) == ~batch["has_smpl"]).all()
    torch.manual_seed(1)
    found = forward(batch)
    torch.manual_seed(1)
    code = torch.randn(8, model.head.bank.shape[1])
    state = model.head.coded(batch["features"], code[:, None])[1::2]
    torch.testing.assert_close(found.rotation_6d[1::2].flatten(2), state[..., :144])


def test_the_total_is_eq_8_and_the_weighted_divergence() -> None:
    """The divergence by a mean over draws: E[log q(z) - log p(z)]."""
    config = load_config("embedded", {**CVAE, "cvae.kl": 0.3, "loss.vertices_sampled": 16})
    batch, _ = eight_images()
    rotations = axis_angle_to_matrix(batch["theta"] + 0.1)[:, None]
    mean, log_variance = torch.randn(8, 2), torch.randn(8, 2)
    one = Hypotheses(
        rotations,
        batch["beta"][:, None] + 1,
        torch.tensor([0.9, 0.0, 0.0]).expand(8, 1, -1),
        rotations[..., :2].flatten(-2),
        extras={"code_mean": mean, "code_log_variance": log_variance},
    )
    outcome = SYSTEM.objective(config, load_body(None), None)(one, labels_of(batch))
    alone = build_objective(load_body(None), config.loss.for_stage1())(one, labels_of(batch))
    z = mean + (0.5 * log_variance).exp() * torch.randn(100_000, 8, 2)
    log_q = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(z).sum(-1)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    kl = (log_q - log_p).mean(0)
    torch.testing.assert_close(outcome.terms["kl"], kl, atol=0.05, rtol=0.02)
    torch.testing.assert_close(outcome.total, alone.total + 0.3 * outcome.terms["kl"])


class _Killed(Exception):
    pass


@pytest.mark.slow
def test_a_killed_training_ends_like_an_undisturbed_one_its_draws_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config({**CVAE, "model.dropout": 0.5, "cvae.hidden": 16})
    rows, stage1 = save_rows(tmp_path / "rows"), save_stage1(tmp_path / "stage1", config)
    calm = fit(config, rows, stage1, tmp_path / "calm")
    save = local._save

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        if arguments[-1].step == 4:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(local, "_save", save_and_die)
        with pytest.raises(_Killed):
            fit(config, rows, stage1, tmp_path / "hit")
    assert largest_difference(calm, fit(config, rows, stage1, tmp_path / "hit")) == 0
    model = load_regressor(calm)
    assert isinstance(model, CodedRegressor)
    inference = Inference(model, save_prior(tmp_path / "prior"), load_body(None))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    stored = infer_images(inference, ["a", "b"], images)
    np.testing.assert_allclose(stored.log_density, -math.log(3), rtol=1e-6)
    assert stored.num_hypotheses == 3


def fit(config: Any, rows: Path, stage1: Path, out: Path) -> Path:
    return local.fit_local(config, "stage2", rows, out, start_from=stage1, progress=False)


@pytest.mark.drill
@pytest.mark.slow
def test_eight_images_are_learnt_by_heart_whatever_is_drawn() -> None:
    config = by_heart({**CVAE, "cvae.kl": 1.0, "stage2.steps": 80})
    model, (batch, _) = learnt(config), eight_images()
    with torch.no_grad():
        errors = errors_mm(model.from_features(batch["features"]))
    before = errors_mm(load_regressor(SHIPPED).from_features(batch["features"]))
    assert float(errors.mean()) < 20 < float(before.mean())
