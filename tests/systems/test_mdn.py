"""SMPL-MDN behind the interface of systems: where it starts, what it learns by, what it keeps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from by_heart import SHIPPED, by_heart, eight_images, errors_mm, learnt
from model_samples import save_prior
from multibodies.bodies.loading import load_body
from multibodies.checkpoints import load_regressor
from multibodies.config import load_config
from multibodies.core import mdn
from multibodies.core.mixture_regressor import MixtureRegressor
from multibodies.core.objective import Labels
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from multibodies.errors import UserError
from multibodies.inference import Inference, infer_images
from multibodies.local import fit_local
from multibodies.systems.mdn import SYSTEM, MixtureObjective, virtual
from multibodies.training import build_objective, labels_of
from training_samples import save_rows, save_stage1, tiny_config

B, M = 3, 4
MDN = {"system.name": "mdn"}


def objective(nll: float) -> MixtureObjective:
    config = load_config("embedded", {**MDN, "mdn.nll": nll, "loss.vertices_sampled": 16})
    made = SYSTEM.objective(config, load_body(None), None)
    assert isinstance(made, MixtureObjective)
    return made


def modes_near(labels: Labels, spread: float) -> Hypotheses:
    """Return modes about the truth that share root, shape and camera."""
    theta = labels.theta[:, None] + spread * torch.randn(B, M, 24, 3)
    theta[:, :, 0] = theta[:, :1, 0]
    rotations = axis_angle_to_matrix(theta)
    return Hypotheses(
        rotations,
        torch.randn(B, 1, 10).expand(-1, M, -1),
        torch.tensor([0.9, 0.0, 0.0]).expand(B, M, -1),
        matrix_to_rotation_6d(rotations),
        log_weights=torch.randn(B, M).log_softmax(1),
        extras={"log_variance": math.log(0.001) + 0.02 * torch.randn(B, M)},
    )


def some_labels(known: tuple[float, ...] = (1.0,) * B) -> Labels:
    keypoints = torch.cat([torch.randn(B, 24, 2), torch.ones(B, 24, 1)], -1)
    joints = torch.cat([torch.randn(B, 24, 3), torch.ones(B, 24, 1)], -1)
    theta, beta = 0.4 * torch.randn(B, 24, 3), torch.randn(B, 10)
    return Labels(keypoints, joints, theta, beta, torch.ones(B), torch.tensor(known))


def test_the_total_is_eq_8_of_eq_9_and_the_weighted_likelihood() -> None:
    """Equation 9 by the probabilities of torch.distributions."""
    labels, loss = some_labels(), objective(0.01)
    modes = modes_near(labels, 0.003)
    outcome = loss(modes, labels)
    theta = labels.theta[:, 1:].flatten(1).double()
    means = mdn.log_rotations(modes.rotations.double())
    assert modes.log_weights is not None
    assert modes.extras is not None
    scale = (0.5 * modes.extras["log_variance"].double()).exp()[..., None].expand_as(means)
    parts, weights = Independent(Normal(means, scale), 1), modes.log_weights.double()
    likelihood = MixtureSameFamily(Categorical(logits=weights), parts).log_prob(theta)
    shares = (weights + parts.log_prob(theta[:, None])).softmax(1)
    assert float(shares.amax()) < 0.999  # several modes count
    pose = (shares[..., None] * means).sum(1).float()
    single = build_objective(
        load_body(None), load_config("embedded", {"loss.vertices_sampled": 16}).loss.for_stage1()
    )
    alone = single(virtual(modes, pose), labels)
    torch.testing.assert_close(outcome.terms["nll"].double(), -likelihood, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(
        outcome.total, alone.total - 0.01 * likelihood.float(), rtol=1e-4, atol=1e-3
    )
    assert outcome.best.tolist() == shares.argmax(1).tolist()
    assert outcome.terms.keys() <= loss.weights.keys()


def test_the_virtual_prediction_has_the_modes_root_shape_and_camera() -> None:
    modes = modes_near(some_labels(), 0.3)
    made = virtual(modes, mdn.log_rotations(modes.rotations[:, 2]))
    torch.testing.assert_close(made.rotations[:, 0], modes.rotations[:, 2], atol=1e-5, rtol=0)
    torch.testing.assert_close(made.rotation_6d[:, 0], modes.rotation_6d[:, 2], atol=1e-5, rtol=0)
    assert torch.equal(made.beta, modes.beta[:, :1])
    assert torch.equal(made.camera, modes.camera[:, :1])


def test_without_theta_no_likelihood_and_modes_weigh_what_they_weigh_before_it_is_seen() -> None:
    labels = some_labels((1.0, 0.0, 1.0))
    modes = modes_near(labels, 0.3)
    modes.rotations.requires_grad_()
    outcome = objective(1.0)(modes, labels)
    assert outcome.terms["nll"].ne(0).tolist() == [True, False, True]
    (gradient,) = torch.autograd.grad(outcome.total[1], modes.rotations)
    assert bool(gradient.isfinite().all())
    assert modes.log_weights is not None
    size = gradient[1, :, 1:].flatten(1).norm(dim=1)
    assert int(size.argmax()) == int(modes.log_weights[1].argmax())
    assert bool((size > 0).all())


@pytest.mark.slow
@pytest.mark.parametrize("learns", ["means", "mixture"])
@pytest.mark.parametrize("shape", [{}, {"model.feedback": "all"}, {"model.rank": 8}], ids=str)
def test_the_network_starts_as_m_copies_of_the_shipped_stage_1(
    learns: str, shape: dict[str, Any]
) -> None:
    config = by_heart({**MDN, **shape, "mdn.learns": learns, "stage2.spread": 0.0})
    stage1 = load_regressor(SHIPPED)
    made = SYSTEM.start(stage1, config, load_body(None)).eval()
    assert made.spec.options == {"learns": learns, "variance": 0.001}
    images = torch.rand(2, 3, 64, 64)
    many, one = made(images), stage1(images)
    for mine, its in zip(many[:4], one[:4], strict=True):
        torch.testing.assert_close(mine, its.expand_as(mine), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(many.log_weights, torch.full((2, 4), -math.log(4)))
    torch.testing.assert_close(many.extras["log_variance"], torch.full((2, 4), math.log(0.001)))


@pytest.mark.slow
def test_modes_differ_in_the_body_alone_and_every_start_of_a_seed_is_the_same() -> None:
    stage1, images = load_regressor(SHIPPED), torch.rand(2, 3, 64, 64)
    starts = [SYSTEM.start(stage1, by_heart(MDN), load_body(None)).eval() for _ in range(2)]
    found = starts[0](images)
    for shared in (found.beta, found.camera, found.rotations[:, :, 0]):
        assert torch.equal(shared, shared[:, :1].expand_as(shared))
    moved = (found.rotations[:, 1:] - found.rotations[:, :1]).abs().amax((0, 1, 3, 4))
    assert bool((moved[1:] > 1e-4).all())
    assert torch.equal(found.rotations, starts[1](images).rotations)


def test_a_head_of_many_feature_vectors_is_refused() -> None:
    layer5 = {"model.head": "layer5", "model.pooling": "average", "model.width": 8}
    config = tiny_config({**MDN, **layer5})
    with pytest.raises(UserError, match=r"model\.head is 'layer5'; system 'mdn'"):
        SYSTEM.start(MixtureRegressor.__new__(MixtureRegressor), config, load_body(None))


@pytest.mark.slow
@pytest.mark.parametrize("learns", ["means", "mixture"])
def test_a_training_is_kept_and_infers_its_own_weights(tmp_path: Path, learns: str) -> None:
    config = tiny_config({**MDN, "mdn.learns": learns})
    rows, stage1 = save_rows(tmp_path / "rows"), save_stage1(tmp_path / "stage1", config)
    out = fit_local(config, "stage2", rows, tmp_path / "out", start_from=stage1, progress=False)
    model = load_regressor(out)
    assert isinstance(model, MixtureRegressor)
    inference = Inference(model, save_prior(tmp_path / "prior"), load_body(None))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    stored = infer_images(inference, ["a", "b"], images)
    weights = torch.from_numpy(stored.log_density).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    uniform = bool(torch.allclose(weights, torch.full((2, 3), 1 / 3)))
    assert uniform == (learns == "means")


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.parametrize("learns", ["means", "mixture"])
def test_eight_images_are_learnt_by_heart(learns: str) -> None:
    config = by_heart({**MDN, "mdn.learns": learns, "stage2.steps": 80})
    model, (batch, _) = learnt(config), eight_images()
    with torch.no_grad():
        modes = model.from_features(batch["features"])
    before = errors_mm(load_regressor(SHIPPED).from_features(batch["features"]))
    best = errors_mm(modes).amin(1)
    assert float(best.mean()) < 20 < float(before.mean())
    loss = SYSTEM.objective(config, load_body(None), None)
    near = loss(modes, labels_of(batch)).distance.amin(1)
    assert float(near.mean()) < 69**0.5 * 0.001**0.5 * 3  # radians: three standard deviations
