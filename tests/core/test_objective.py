"""Equation 8 over a batch, against a naive loop that meshes with smplx and regresses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from multibodies.core.body import JointBody, MeshBody, load_body
from multibodies.core.camera import project
from multibodies.core.joints import J24_FROM_54
from multibodies.core.loss_forms import FORMS
from multibodies.core.objective import BEST_TERMS, Labels, Objective, choose, collapse
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from multibodies.core.skinning import VertexBody, joint_support

B, M = 2, 3
PAPER = {
    "ri": 1.0,
    "best": 25.0,
    "theta": 1.0,
    "beta": 0.001,
    "vertices": 1.0,
    "rb": 1.0,
    "heatmap": 0.0,
}


def _hypotheses() -> Hypotheses:
    rotations = axis_angle_to_matrix(0.3 * torch.randn(B, M, 24, 3, dtype=torch.float64))
    camera = torch.tensor([0.9, 0.0, 0.0], dtype=torch.float64) + 0.05 * torch.randn(
        B, M, 3, dtype=torch.float64
    )
    beta = torch.randn(B, M, 10, dtype=torch.float64)
    return Hypotheses(rotations, beta, camera, matrix_to_rotation_6d(rotations))


def _labels(has: float = 1.0) -> Labels:
    keypoints = torch.cat(
        [torch.randn(B, 24, 2), (torch.rand(B, 24, 1) > 0.3).float()], -1
    ).double()
    joints = torch.cat([torch.randn(B, 24, 3), torch.ones(B, 24, 1)], -1).double()
    theta, beta = 0.3 * torch.randn(B, 24, 3).double(), torch.randn(B, 10).double()
    known = torch.full((B,), has, dtype=torch.float64)
    return Labels(keypoints, joints, theta, beta, known, known)


@pytest.fixture(scope="module")
def objective() -> Objective:
    arrays = load_body()
    joints = JointBody(arrays, ("j24",), dtype=torch.float64)
    return Objective(joints, VertexBody(arrays, 0, dtype=torch.float64), dict(PAPER), "sum")


def _mid(x: Tensor) -> Tensor:
    return x - x[..., 2:4, :].mean(-2, keepdim=True)


def test_total_equals_a_loop_over_images_and_meshes(objective: Objective) -> None:
    hypotheses, labels = _hypotheses(), _labels()
    outcome = objective(hypotheses, labels)
    mesh = MeshBody(load_body(), dtype=torch.float64)
    for b in range(B):
        distances, pixels = [], []
        for m in range(M):
            x = mesh.joints54(hypotheses.rotations[b, m][None], hypotheses.beta[b, m][None])[
                0, list(J24_FROM_54)
            ]
            distances.append((_mid(x) - _mid(labels.joints[b, :, :3])).norm().item())
            y = project(x[None], hypotheses.camera[b, m][None])[0]
            seen = labels.keypoints[b, :, 2] > 0
            pixels.append((y[seen] - labels.keypoints[b, seen, :2]).norm().item())
        best = distances.index(min(distances))
        assert int(outcome.best[b]) == best
        target = axis_angle_to_matrix(labels.theta[b])
        theta = (hypotheses.rotations[b, best] - target).norm().item()
        true_mesh = mesh(target[None], labels.beta[b][None])
        vertices = (
            (mesh(hypotheses.rotations[b, best][None], hypotheses.beta[b, best][None]) - true_mesh)
            .norm()
            .item()
        )
        beta = (hypotheses.beta[b, best] - labels.beta[b]).norm().item()
        expected = (
            sum(pixels) + 25 * min(distances) + theta + 0.001 * beta + vertices + pixels[best]
        )
        assert outcome.total[b].item() == pytest.approx(expected, rel=1e-5)


def test_without_eq_5_only_the_best_hypothesis_learns(objective: Objective) -> None:
    hypotheses, labels = _hypotheses(), _labels()
    hypotheses.rotations.requires_grad_()
    without = Objective(objective.joints, objective.vertices, {**PAPER, "ri": 0.0}, "sum")
    for target, all_learn in ((without, False), (objective, True)):
        outcome = target(hypotheses, labels)
        (gradient,) = torch.autograd.grad(outcome.total.sum(), hypotheses.rotations)
        for b in range(B):
            for m in range(M):
                learns = bool(gradient[b, m].abs().sum() > 0)
                assert learns == (all_learn or m == int(outcome.best[b]))


def test_an_image_with_2d_labels_only_gets_finite_losses_and_no_3d_gradient(
    objective: Objective,
) -> None:
    hypotheses, labels = _hypotheses(), _labels(has=0.0)
    hypotheses.beta.requires_grad_()
    outcome = objective(hypotheses, labels)
    for name in ("best", "theta", "beta", "vertices"):
        assert torch.equal(outcome.terms[name], torch.zeros_like(outcome.terms[name]))
    assert torch.isfinite(outcome.total).all()
    (gradient,) = torch.autograd.grad(outcome.total.sum(), hypotheses.beta)
    assert torch.isfinite(gradient).all()


def test_choose_falls_back_on_reprojection() -> None:
    distance = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    reprojection = torch.tensor([[2.0, 1.0], [2.0, 1.0]])
    assert choose(distance, reprojection, torch.tensor([1.0, 0.0])).tolist() == [0, 1]


def test_permuting_hypotheses_changes_nothing_but_the_index(objective: Objective) -> None:
    hypotheses, labels = _hypotheses(), _labels()
    order = torch.tensor([2, 0, 1])
    shuffled = hypotheses.each(lambda field: field[:, order])
    a, b = objective(hypotheses, labels), objective(shuffled, labels)
    torch.testing.assert_close(a.total, b.total)
    assert torch.equal(order[b.best], a.best)


def test_collapse_counts_the_winners(objective: Objective) -> None:
    outcome = objective(_hypotheses(), _labels())
    means = collapse(outcome)
    assert means["winners"] == pytest.approx(len(set(outcome.best.tolist())) / M)
    assert means["total"] == pytest.approx(outcome.total.mean().item())


def test_the_squared_total_equals_a_loop_over_images_and_meshes(objective: Objective) -> None:
    body = load_body()
    vertices = VertexBody(body, 0, on_support=True, dtype=torch.float64)
    squared = Objective(objective.joints, vertices, dict(PAPER), "mean", FORMS["squared"])
    hypotheses, labels = _hypotheses(), _labels()
    labels.joints[..., 3] = torch.rand(B, 24)
    outcome = squared(hypotheses, labels)
    mesh, support = MeshBody(body, dtype=torch.float64), joint_support(body)
    for b in range(B):
        distances, pixels = [], []
        for m in range(M):
            posed = hypotheses.rotations[b, m][None], hypotheses.beta[b, m][None]
            x = mesh.joints54(*posed)[0, list(J24_FROM_54)]
            errors = (_mid(x) - _mid(labels.joints[b, :, :3])) ** 2 * labels.joints[b, :, 3:]
            distances.append(errors.sum().item() / 72)
            y = project(x[None], hypotheses.camera[b, m][None])[0]
            seen = labels.keypoints[b, :, 2:]
            pixels.append((seen * (y - labels.keypoints[b, :, :2]) ** 2).sum().item() / 48)
        best = distances.index(min(distances))
        assert int(outcome.best[b]) == best
        target = axis_angle_to_matrix(labels.theta[b])
        mine = mesh(hypotheses.rotations[b, best][None], hypotheses.beta[b, best][None])
        true = mesh(target[None], labels.beta[b][None])
        expected = {
            "ri": sum(pixels) / M,
            "best": min(distances),
            "rb": pixels[best],
            "theta": ((hypotheses.rotations[b, best] - target) ** 2).sum().item() / 216,
            "beta": ((hypotheses.beta[b, best] - labels.beta[b]) ** 2).sum().item() / 10,
            "vertices": (mine - true)[:, support].abs().sum().item() / (3 * len(support)),
        }
        for name, value in expected.items():
            assert outcome.terms[name][b].item() == pytest.approx(value, rel=1e-5), name
        total = sum(PAPER[name] * value for name, value in expected.items())
        assert outcome.total[b].item() == pytest.approx(total, rel=1e-5)


def test_the_form_decides_which_hypothesis_is_the_best(objective: Objective) -> None:
    """Half confidences weigh less in a norm, which squares them, than in a weighted square."""
    joints = torch.zeros(1, 2, 24, 3, dtype=torch.float64)
    joints[0, 0, 0, 0], joints[0, 1, 1, 0] = 1.5, 1.0
    confidence = torch.tensor([[0.5] + [1.0] * 23], dtype=torch.float64)
    truth = torch.zeros(1, 24, 3, dtype=torch.float64)
    chosen = [
        int(FORMS[form].joints(joints, truth, confidence).argmin()) for form in ("norm", "squared")
    ]
    assert chosen == [0, 1]


def test_hypothesis_0_is_supervised_as_the_best_one_is(objective: Objective) -> None:
    hypotheses, labels = _hypotheses(), _labels()
    plain = objective(hypotheses, labels)
    both = Objective(
        objective.joints, objective.vertices, dict(PAPER), "sum", supervise_first=True
    )(hypotheses, labels)
    first = hypotheses.each(lambda field: field[:, :1])
    alone = objective(first, labels)
    for name in BEST_TERMS:
        torch.testing.assert_close(both.terms[f"{name}_first"], alone.terms[name])
    extra = sum(PAPER[name] * alone.terms[name] for name in BEST_TERMS)
    torch.testing.assert_close(both.total, plain.total + extra)
    assert torch.equal(both.best, plain.best)
    assert "best_first" not in plain.terms


def test_hypothesis_0_learns_where_another_is_the_best(objective: Objective) -> None:
    hypotheses, labels = _hypotheses(), _labels()
    hypotheses.rotations.requires_grad_()
    weights = {**PAPER, "ri": 0.0}
    for supervised in (False, True):
        target = Objective(
            objective.joints, objective.vertices, weights, "sum", supervise_first=supervised
        )
        outcome = target(hypotheses, labels)
        (gradient,) = torch.autograd.grad(outcome.total.sum(), hypotheses.rotations)
        for b in range(B):
            learns = [bool(gradient[b, m].abs().sum() > 0) for m in range(M)]
            best = int(outcome.best[b])
            assert learns == [m == best or (supervised and m == 0) for m in range(M)]


def test_the_depth_term_pushes_every_scale_up(objective: Objective) -> None:
    hypotheses, labels = _hypotheses(), _labels()
    camera = hypotheses.camera.clone()
    camera[..., 0] = torch.linspace(-0.1, 0.3, B * M).view(B, M)
    camera.requires_grad_()
    weights = {name: 0.0 for name in PAPER} | {"depth": 2.0}
    target = Objective(objective.joints, objective.vertices, weights, "sum")
    outcome = target(hypotheses._replace(camera=camera), labels)
    for b in range(B):
        scales = camera[b, :, 0].tolist()
        expected = sum(math.exp(-20 * s) for s in scales) / M
        assert outcome.total[b].item() == pytest.approx(2 * expected, rel=1e-9)
    (gradient,) = torch.autograd.grad(outcome.total.sum(), camera)
    assert (gradient[..., 0] < 0).all()
    assert torch.equal(gradient[..., 1:], torch.zeros_like(gradient[..., 1:]))
