"""Equations 1, 5, 6, 7 and 8 against naive loops in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from multibodies.core import losses

B, M, K = 3, 4, 24


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    joints = torch.randn(B, M, K, 3, dtype=torch.float64, requires_grad=True)
    truth = torch.randn(B, K, 3, dtype=torch.float64)
    confidence = (torch.rand(B, K) > 0.3).double()
    return joints, truth, confidence


def _keypoints() -> tuple[Tensor, Tensor]:
    points = torch.randn(B, M, K, 2, dtype=torch.float64, requires_grad=True)
    keypoints = torch.cat([torch.randn(B, K, 2), (torch.rand(B, K, 1) > 0.4).float()], -1).double()
    return points, keypoints


def test_best_of_m_equals_a_naive_loop() -> None:
    joints, truth, confidence = _batch()
    distance = losses.joint_distance(joints, truth, confidence)
    loss, best = losses.best_of_m(distance)
    for b in range(B):
        values = []
        for m in range(M):
            squares = 0.0
            for k in range(K):
                if confidence[b, k] > 0:
                    squares += sum(
                        (joints[b, m, k, c] - truth[b, k, c]).item() ** 2 for c in range(3)
                    )
            values.append(math.sqrt(squares))
        assert loss[b].item() == pytest.approx(min(values), rel=1e-12)
        assert best[b].item() == values.index(min(values))


def test_only_the_best_hypothesis_has_a_gradient() -> None:
    joints, truth, confidence = _batch()
    loss, best = losses.best_of_m(losses.joint_distance(joints, truth, confidence))
    (gradient,) = torch.autograd.grad(loss.sum(), joints)
    for b in range(B):
        for m in range(M):
            assert bool(gradient[b, m].abs().sum() > 0) == (m == int(best[b]))


def test_hypothesis_reprojection_equals_a_naive_loop_and_its_mean_divides_by_m() -> None:
    points, keypoints = _keypoints()
    distance = losses.reprojection_distance(points, keypoints)
    for b in range(B):
        expected = 0.0
        for m in range(M):
            seen = [k for k in range(K) if keypoints[b, k, 2] > 0]
            expected += math.sqrt(
                sum(
                    (points[b, m, k, c] - keypoints[b, k, c]).item() ** 2
                    for k in seen
                    for c in range(2)
                )
            )
        assert losses.hypothesis_reprojection(distance)[b].item() == pytest.approx(
            expected, rel=1e-12
        )
        assert losses.hypothesis_reprojection(distance, "mean")[b].item() == pytest.approx(
            expected / M, rel=1e-12
        )


def test_a_hidden_keypoint_has_exactly_no_gradient_even_where_it_is_nan() -> None:
    points, keypoints = _keypoints()
    keypoints[..., :2][keypoints[..., 2] == 0] = float("nan")
    (gradient,) = torch.autograd.grad(losses.reprojection_distance(points, keypoints).sum(), points)
    hidden = (keypoints[:, None, :, 2] == 0).expand(B, M, K)
    assert torch.equal(gradient[hidden], torch.zeros_like(gradient[hidden]))
    assert torch.isfinite(gradient).all()
    assert (gradient[~hidden] != 0).all()


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (losses.theta_loss, (B, 24, 3, 3)),
        (losses.vertices_loss, (B, 50, 3)),
        (losses.beta_loss, (B, 10)),
    ],
)
def test_smpl_losses_equal_naive_norms(
    function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    a, b = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    for i, value in enumerate(function(a, b)):
        squares = sum(
            (x - y) ** 2
            for x, y in zip(a[i].flatten().tolist(), b[i].flatten().tolist(), strict=True)
        )
        assert value.item() == pytest.approx(math.sqrt(squares), rel=1e-12)


def test_a_sampled_vertex_loss_is_scaled_to_the_whole_mesh() -> None:
    offset = torch.full((1, 6890, 3), 0.01, dtype=torch.float64)
    zero = torch.zeros_like(offset)
    sampled = losses.vertices_loss(offset[:, ::10], zero[:, ::10], full=6890)
    torch.testing.assert_close(sampled, losses.vertices_loss(offset, zero))


def test_heatmap_loss_is_the_cross_entropy_of_bilinear_targets() -> None:
    h = w = 4
    logits = torch.randn(1, 1, h, w, dtype=torch.float64)
    x, y = 0.30, -0.55
    keypoints = torch.tensor([[[x, y, 1.0]]], dtype=torch.float64)
    column, row = (x + 1) * w / 2 - 0.5, (y + 1) * h / 2 - 0.5
    log_p = logits.flatten().log_softmax(0).view(h, w)
    expected = 0.0
    for i in range(h):
        for j in range(w):
            share = max(0.0, 1 - abs(j - column)) * max(0.0, 1 - abs(i - row))
            expected -= share * log_p[i, j].item()
    assert losses.heatmap_loss(logits, keypoints).item() == pytest.approx(expected, rel=1e-12)


def test_heatmap_loss_ignores_hidden_and_outside_keypoints() -> None:
    logits = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    keypoints = torch.tensor(
        [[[0.1, 0.1, 1.0], [0.1, 0.1, 0.0], [1.4, 0.1, 1.0]]], dtype=torch.float64
    )
    alone = losses.heatmap_loss(logits[:, :1], keypoints[:, :1])
    torch.testing.assert_close(losses.heatmap_loss(logits, keypoints), alone)


def test_total_is_the_weighted_sum_with_the_papers_lambdas() -> None:
    terms = {
        name: torch.rand(B, dtype=torch.float64)
        for name in ("ri", "best", "theta", "beta", "vertices", "rb")
    }
    weights = {"ri": 1.0, "best": 25.0, "theta": 1.0, "beta": 0.001, "vertices": 1.0, "rb": 1.0}
    expected = [sum(weights[n] * terms[n][b].item() for n in terms) for b in range(B)]
    assert losses.total(terms, weights).tolist() == pytest.approx(expected, rel=1e-12)


def test_a_weight_of_zero_leaves_its_term_out_of_the_graph() -> None:
    x = torch.tensor([2.0], requires_grad=True)
    nan_gradient = (x - 2.0).sqrt()
    value = losses.total({"best": 3 * x, "ri": nan_gradient}, {"best": 1.0, "ri": 0.0})
    assert torch.autograd.grad(value.sum(), x)[0].item() == 3.0


def test_a_term_without_a_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="shape_prior"):
        losses.total({"shape_prior": torch.zeros(1)}, {"best": 1.0})


@pytest.mark.parametrize("shape", [(B, 1, 3), (1, K, 3), (B, K, 2)])
def test_shapes_that_would_broadcast_are_refused(shape: tuple[int, ...]) -> None:
    joints, _, confidence = _batch()
    with pytest.raises(ValueError, match="truth has shape"):
        losses.joint_distance(joints, torch.zeros(shape, dtype=torch.float64), confidence)


@pytest.mark.parametrize(
    "name", ["joint_distance", "reprojection_distance", "theta_loss", "vertices_loss", "beta_loss"]
)
def test_gradients_in_float64(name: str) -> None:
    torch.manual_seed(1)
    joints, truth, confidence = _batch()
    points, keypoints = _keypoints()
    rotations = torch.randn(2, 24, 3, 3, dtype=torch.float64, requires_grad=True)
    flat = torch.randn(2, 10, dtype=torch.float64, requires_grad=True)
    cases = {
        "joint_distance": (lambda x: losses.joint_distance(x, truth, confidence), joints),
        "reprojection_distance": (lambda x: losses.reprojection_distance(x, keypoints), points),
        "theta_loss": (lambda x: losses.theta_loss(x, torch.zeros_like(x)), rotations),
        "vertices_loss": (
            lambda x: losses.vertices_loss(x, torch.zeros_like(x)),
            joints[:, 0].detach().requires_grad_(),
        ),
        "beta_loss": (lambda x: losses.beta_loss(x, torch.zeros_like(x)), flat),
    }
    function, argument = cases[name]
    assert torch.autograd.gradcheck(function, (argument,))
