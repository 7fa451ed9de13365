"""SPIN's loss: which fits supervise, which are kept, and in which frame."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from multibodies.config import load_config
from multibodies.core.augment import Draws, change_keypoints, change_pose
from multibodies.core.best_fits import BestFits
from multibodies.core.body import JointBody, load_body
from multibodies.core.camera import project
from multibodies.core.fit_loss import FitLoss, Rules, supervised, unchanged_pose, view_of
from multibodies.core.joints import J24_FLIP
from multibodies.core.objective import Labels
from multibodies.core.pose_prior import PosePrior
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from multibodies.core.smplify import Fit, FitSettings, SMPLify
from multibodies.training import build_objective

ROWS = 3


def _loss(iterations: int = 3, **rules: Any) -> FitLoss:
    loss = load_config("smoke", {"loss.vertices_sampled": 16}).loss.for_stage1()
    arrays, generator = load_body(), torch.Generator().manual_seed(0)
    prior = PosePrior(0.5 * torch.randn(200, 24, 3, generator=generator))
    settings = FitSettings(iterations, iterations)
    smplify = SMPLify(JointBody(arrays, ("j24",)), prior, settings)
    return FitLoss(build_objective(arrays, loss), smplify, BestFits(), Rules(**rules))


def _scene(seed: int = 0) -> tuple[Hypotheses, Labels]:
    """Return a network's bodies and the labels of other ones."""
    generator = torch.Generator().manual_seed(seed)

    def body() -> tuple[Tensor, Tensor]:
        theta = 0.3 * torch.randn(ROWS, 24, 3, generator=generator)
        return theta, torch.randn(ROWS, 10, generator=generator)

    (theta, beta), (guess, shape) = body(), body()
    camera = torch.tensor([0.9, 0.0, 0.2]).expand(ROWS, 3)
    joints = JointBody(load_body(), ("j24",))(axis_angle_to_matrix(theta), beta)["j24"]
    ones = torch.ones(ROWS, 24, 1)
    keypoints = torch.cat([project(joints, camera), ones], -1)
    rotations = axis_angle_to_matrix(guess)[:, None]
    hypotheses = Hypotheses(
        rotations, shape[:, None], camera[:, None], matrix_to_rotation_6d(rotations)
    )
    known = torch.ones(ROWS)
    key = torch.tensor([11, -12, 13])
    labels = Labels(keypoints, torch.cat([joints, ones], -1), theta, beta, known, known, key)
    return hypotheses, labels


def test_fits_never_look_at_the_rows_own_bodies() -> None:
    hypotheses, labels = _scene()
    loss = _loss(labels="fits", threshold=1e9)
    wrong = labels._replace(theta=labels.theta + 1, beta=labels.beta - 1)
    first, second = loss(hypotheses, labels), _loss(labels="fits", threshold=1e9)(hypotheses, wrong)
    for name, term in first.terms.items():
        torch.testing.assert_close(term, second.terms[name])
    kept, visits = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    expected = loss.objective.form.theta(
        hypotheses.rotations[:, 0], axis_angle_to_matrix(kept.theta)
    )
    torch.testing.assert_close(first.terms["theta"], expected)
    assert visits.tolist() == [1, 1, 1]


def test_the_truth_supervises_where_it_is_known_and_a_fit_elsewhere() -> None:
    hypotheses, labels = _scene()
    labels = labels._replace(has_smpl=torch.tensor([1.0, 0.0, 0.0]))
    loss = _loss(labels="truth_where_known", threshold=1e9)
    outcome = loss(hypotheses, labels)
    kept, _ = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    theta = torch.cat([labels.theta[:1], kept.theta[1:]])
    expected = loss.objective.form.theta(hypotheses.rotations[:, 0], axis_angle_to_matrix(theta))
    torch.testing.assert_close(outcome.terms["theta"], expected)


def test_static_fits_begin_with_the_rows_own_bodies_and_stay_while_they_are_the_best() -> None:
    hypotheses, labels = _scene()
    labels = labels._replace(has_smpl=torch.tensor([1.0, 1.0, 0.0]))
    loss = _loss(labels="static_fits")
    loss(hypotheses, labels)
    kept, _ = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    assert torch.equal(kept.theta[:2], labels.theta[:2])  # the truth reprojects exactly
    assert float(kept.error[:2].max()) < 1e-3 < float(kept.error[2])


def test_a_bad_fit_teaches_nothing_and_the_keypoints_still_do() -> None:
    hypotheses, labels = _scene()
    raw = hypotheses.rotation_6d.clone().requires_grad_()
    outcome = _loss(labels="fits", threshold=1e-6)(hypotheses._replace(rotation_6d=raw), labels)
    for name in ("theta", "beta", "vertices"):
        assert float(outcome.terms[name].abs().max()) == 0, name
    assert float(outcome.terms["rb"].min()) > 0


def test_a_kept_fit_is_replaced_by_better_ones_alone() -> None:
    hypotheses, labels = _scene()
    loss = _loss(iterations=3, labels="fits")
    loss(hypotheses, labels)
    first, _ = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    loss(_scene(seed=5)[0], labels)  # from bodies further away or nearer
    second, _ = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    assert (second.error <= first.error).all()
    loss.smplify.settings = FitSettings(30, 60)
    loss(hypotheses, labels)
    third, _ = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    assert (third.error < second.error).all()


def test_a_row_is_fitted_every_so_many_times_that_it_is_seen() -> None:
    hypotheses, labels = _scene()
    loss = _loss(labels="fits", every=2)
    loss(hypotheses, labels)
    first, _ = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    loss.smplify.settings = FitSettings(20, 40)
    loss(hypotheses, labels)
    assert torch.equal(loss.fits.recall(labels.key)[0].theta, first.theta)  # type: ignore[arg-type]
    loss(hypotheses, labels)
    assert not torch.equal(loss.fits.recall(labels.key)[0].theta, first.theta)  # type: ignore[arg-type]


def test_an_extreme_shape_teaches_no_shape() -> None:
    hypotheses, labels = _scene()
    beta = torch.zeros(ROWS, 10)
    beta[0, 3], beta[1, 3] = -3.5, 2.5
    fit = Fit(labels.theta, beta, hypotheses.camera[:, 0], torch.zeros(ROWS))
    taught = supervised(labels, fit, hypotheses, Rules("fits"))
    assert torch.equal(taught.beta[0], hypotheses.beta[0, 0])
    assert torch.equal(taught.beta[1:], beta[1:])


def test_fits_are_kept_as_the_stored_picture_shows_them() -> None:
    hypotheses, labels = _scene()
    draws = Draws(
        torch.tensor([True, False, True]),
        torch.tensor([0.4, -0.7, 0.0]),
        torch.ones(ROWS),
        torch.ones(ROWS, 3),
    )
    changed = labels._replace(
        keypoints=change_keypoints(labels.keypoints, draws, J24_FLIP),
        theta=change_pose(labels.theta, draws),
        flip=draws.flip,
        angle=draws.angle,
    )
    loss = _loss(iterations=0, labels="static_fits", threshold=1e9)
    loss(hypotheses, changed)
    kept, _ = loss.fits.recall(labels.key)  # type: ignore[arg-type]
    torch.testing.assert_close(
        axis_angle_to_matrix(kept.theta), axis_angle_to_matrix(labels.theta), atol=1e-5, rtol=0
    )
    seen = loss.best_fits(hypotheses, labels)  # as stored: neither mirrored nor turned
    torch.testing.assert_close(seen.theta, kept.theta)
    assert float(seen.error.max()) < 1.0


def test_undoing_nothing_changes_no_bit() -> None:
    _, labels = _scene()
    assert torch.equal(unchanged_pose(labels.theta, view_of(labels)), labels.theta)


def test_labels_without_keys_are_refused() -> None:
    hypotheses, labels = _scene()
    with pytest.raises(ValueError, match="no column 'key'"):
        _loss()(hypotheses, labels._replace(key=None))
