"""Metrics against SciPy's Procrustes, against naive loops, and under the invariances they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from torch import Tensor

from multibodies.core import metrics
from multibodies.core.rotations import axis_angle_to_matrix

F64 = torch.float64


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64)


def rigid(points: Tensor, scale: float = 1.0) -> Tensor:
    """A random rotation, shift and scale of [..., K, 3], another for each set of points."""
    lead = points.shape[:-2]
    turn = axis_angle_to_matrix(rand(*lead, 3))
    return scale * points @ turn.mT + rand(*lead, 1, 3)


def proper_procrustes(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """SciPy's orthogonal Procrustes, kept from reflecting by Umeyama's sign."""
    x, y = pred - pred.mean(0), truth - truth.mean(0)
    rotation, _ = orthogonal_procrustes(x, y)
    if np.linalg.det(rotation) < 0:
        u, _, vt = np.linalg.svd(x.T @ y)
        rotation = u @ np.diag([1.0, 1.0, -1.0]) @ vt
    scale = np.trace(rotation.T @ x.T @ y) / np.square(x).sum()
    return np.asarray(scale * x @ rotation + truth.mean(0))


def test_mpjpe_is_the_naive_mean() -> None:
    pred, truth = rand(2, 3, 14, 3), rand(2, 3, 14, 3)
    got = metrics.mpjpe(pred, truth)
    for b in range(2):
        for n in range(3):
            lengths = [math.dist(p, t) for p, t in zip(pred[b, n], truth[b, n], strict=True)]
            assert got[b, n].item() == pytest.approx(sum(lengths) / 14, rel=1e-12)


@pytest.mark.parametrize("mirrored", [False, True])
def test_procrustes_is_scipys(mirrored: bool) -> None:
    truth = rand(20, 14, 3)
    pred = rigid(truth + 0.1 * rand(20, 14, 3), 1.7)
    if mirrored:
        pred[..., 0] *= -1
    got = metrics.procrustes_align(pred, truth)
    for p, t, g in zip(pred.numpy(), truth.numpy(), got.numpy(), strict=True):
        np.testing.assert_allclose(g, proper_procrustes(p, t), atol=1e-12)


def test_procrustes_reaches_the_disparity_of_scipy_spatial() -> None:
    """`scipy.spatial.procrustes` scales both sets to norm one; these cases need no reflection."""
    truth = rand(20, 14, 3)
    pred = rigid(truth + 0.05 * rand(20, 14, 3), 0.6)
    aligned = metrics.procrustes_align(pred, truth)
    for p, t, a in zip(pred.numpy(), truth.numpy(), aligned.numpy(), strict=True):
        _, _, disparity = procrustes(t, p)
        spread = np.square(t - t.mean(0)).sum()
        assert np.square(a - t).sum() / spread == pytest.approx(disparity, rel=1e-9)


def test_reconstruction_error_ignores_similarities_and_not_mirrors() -> None:
    truth = rand(8, 14, 3)
    pred = truth + 0.1 * rand(8, 14, 3)
    error = metrics.reconstruction_error(pred, truth)
    torch.testing.assert_close(metrics.reconstruction_error(rigid(pred, 3.0), truth), error)
    exact = metrics.reconstruction_error(rigid(truth, 0.3), truth)
    torch.testing.assert_close(exact, torch.zeros(8, dtype=F64), atol=1e-12, rtol=0)
    mirrored = metrics.reconstruction_error(truth * torch.tensor([-1.0, 1.0, 1.0]), truth)
    assert bool((mirrored > 0.1).all())


def test_procrustes_is_the_minimum() -> None:
    """No small similarity of the aligned points comes nearer in least squares."""
    truth = rand(14, 3)
    aligned = metrics.procrustes_align(rand(14, 3), truth)
    best = (aligned - truth).square().sum()
    centre = aligned.mean(0)
    for _ in range(200):
        turn = axis_angle_to_matrix(0.01 * rand(3))
        moved = (1 + 0.01 * rand(1)) * (aligned - centre) @ turn.T + centre + 0.01 * rand(3)
        assert (moved - truth).square().sum() >= best - 1e-12


def test_procrustes_of_flat_and_collapsed_points_is_finite() -> None:
    truth = rand(3, 14, 3)
    pred = rand(3, 14, 3)
    pred[0, :, 2] = 0  # a plane
    pred[1] = torch.linspace(0, 1, 14, dtype=F64)[:, None]  # a line
    pred[2] = 0.7  # a point
    aligned = metrics.procrustes_align(pred, truth)
    assert bool(torch.isfinite(aligned).all())
    np.testing.assert_allclose(aligned[0], proper_procrustes(pred[0].numpy(), truth[0].numpy()))
    torch.testing.assert_close(aligned[2], truth[2].mean(0).expand(14, 3))


def test_procrustes_is_good_in_float32() -> None:
    truth = rand(50, 14, 3)
    pred = rigid(truth + 0.1 * rand(50, 14, 3))
    exact = metrics.reconstruction_error(pred, truth)
    torch.testing.assert_close(
        metrics.reconstruction_error(pred.float(), truth.float()).double(), exact, atol=1e-6, rtol=0
    )


def test_strict_and_oracle_take_the_minimum() -> None:
    errors = rand(6, 5).abs()
    expected = torch.tensor([min(row) for row in errors.tolist()], dtype=F64)
    assert torch.equal(metrics.select_strict(errors), expected)
    assert torch.equal(metrics.m_oracle(errors), expected)


def test_official_choice_is_the_naive_one_and_serves_both_metrics() -> None:
    joints, truth = rand(7, 5, 24, 3), rand(7, 24, 3)
    confidence = (torch.rand(7, 24, dtype=F64) > 0.3).double()
    index = metrics.select_official(joints, truth, confidence)
    for b in range(7):
        costs = []
        for n in range(5):
            x = joints[b, n] - (joints[b, n, 2] + joints[b, n, 3]) / 2
            y = truth[b] - (truth[b, 2] + truth[b, 3]) / 2
            costs.append(
                sum(float(confidence[b, k] * (x[k] - y[k]).square().sum()) for k in range(24))
            )
        assert index[b] == int(np.argmin(costs))
    errors = rand(7, 5)
    taken = metrics.take(errors, index)
    assert taken.tolist() == [errors[b, index[b]].item() for b in range(7)]
    torch.testing.assert_close(index, metrics.select_official(joints + 3.0, truth, confidence))


def test_dead_share_counts_who_never_wins() -> None:
    assert metrics.dead_share(torch.tensor([0, 0, 3, 3, 1]), 5) == pytest.approx(2 / 5)
    assert metrics.dead_share(torch.tensor([0]), 1) == 0
    for winners in (torch.tensor([5]), torch.tensor([], dtype=torch.long)):
        with pytest.raises(ValueError, match="winners"):
            metrics.dead_share(winners, 5)


def test_effective_number_of_uniform_and_certain_weights() -> None:
    weights = torch.tensor([[0.25] * 4, [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    torch.testing.assert_close(metrics.effective_number(weights), torch.tensor([4.0, 1.0, 2.0]))


def test_consistency_is_the_naive_mean_over_visible_joints() -> None:
    points, keypoints = rand(4, 6, 24, 2), rand(4, 24, 3)
    keypoints[..., 2] = (keypoints[..., 2] > 0).double()
    keypoints[0, :, 2] = 0
    keypoints[1, keypoints[1, :, 2] == 0, :2] = math.nan  # hidden keypoints may hold anything
    got = metrics.consistency(points, keypoints)
    assert math.isnan(got[0])
    for b in range(1, 4):
        distances = [
            math.dist(points[b, m, k], keypoints[b, k, :2])
            for m in range(6)
            for k in range(24)
            if keypoints[b, k, 2] > 0
        ]
        assert got[b].item() == pytest.approx(np.mean(distances), rel=1e-12)


def test_diversity_is_the_naive_mean_distance_to_the_mean() -> None:
    joints, mask = rand(3, 6, 24, 3), torch.rand(3, 24) > 0.5
    mask[0] = False
    got = metrics.diversity(joints, mask)
    assert math.isnan(got[0])
    for b in range(1, 3):
        distances = []
        for k in torch.nonzero(mask[b]).flatten().tolist():
            mean = joints[b, :, k].mean(0)
            distances += [math.dist(joints[b, m, k], mean) for m in range(6)]
        assert got[b].item() == pytest.approx(np.mean(distances), rel=1e-12)
    same = joints[:, :1].expand(3, 6, 24, 3)
    everything = torch.ones(3, 24, dtype=torch.bool)
    torch.testing.assert_close(
        metrics.diversity(same, everything), torch.zeros(3, dtype=F64), atol=1e-12, rtol=0
    )


def test_improvement_is_the_published_percentage() -> None:
    """MEGA's table: 3D Multi-bodies on 3DPW, 93.8 -> 75.8 mm, 19.2 %."""
    assert metrics.improvement(93.8, 75.8) == pytest.approx(19.2, abs=0.05)


def test_unequal_shapes_are_refused_not_broadcast() -> None:
    with pytest.raises(ValueError, match="two equal shapes"):
        metrics.mpjpe(torch.zeros(4, 5, 14, 3), torch.zeros(4, 1, 14, 3))
    with pytest.raises(ValueError, match="two equal shapes"):
        metrics.procrustes_align(torch.zeros(14, 3), torch.zeros(17, 3))
    with pytest.raises(ValueError, match="need joints"):
        metrics.select_official(torch.zeros(2, 5, 24, 3), torch.zeros(1, 24, 3), torch.ones(2, 24))
    with pytest.raises(ValueError, match="need errors"):
        metrics.take(torch.zeros(4, 5), torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match="need points"):
        metrics.consistency(torch.zeros(2, 5, 24, 2), torch.zeros(1, 24, 3))
    with pytest.raises(ValueError, match="need joints"):
        metrics.diversity(torch.zeros(2, 5, 24, 3), torch.ones(2, 5))


def test_rigid_alignment_undoes_a_rigid_motion_and_not_a_scale() -> None:
    wanted = rand(4, 14, 3)
    pred = rigid(wanted)
    assert float(metrics.rigid_error(pred, wanted).max()) < 1e-12
    larger = metrics.rigid_error(1.2 * pred, wanted)
    centred = (wanted - wanted.mean(1, keepdim=True)).numpy()
    expected = 0.2 * np.linalg.norm(centred, axis=2).mean(1)  # what scale alone leaves
    np.testing.assert_allclose(larger.numpy(), expected, rtol=1e-9)
    assert float(metrics.reconstruction_error(1.2 * pred, wanted).max()) < 1e-12
