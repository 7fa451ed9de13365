"""The released code's squared errors and L1 against naive loops; gradients of both forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from multibodies.core import losses
from multibodies.core.body import load_body
from multibodies.core.loss_forms import FORMS
from multibodies.core.skinning import VertexBody, joint_support

B, M, K = 2, 3, 5
SQUARED = FORMS["squared"]


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_joints_are_confidence_times_squared_error_averaged_over_all() -> None:
    joints, truth, confidence = _random(B, M, K, 3), _random(B, K, 3), torch.rand(B, K).double()
    found = SQUARED.joints(joints, truth, confidence)
    for b in range(B):
        for m in range(M):
            errors = [
                confidence[b, k].item() * (joints[b, m, k, c] - truth[b, k, c]).item() ** 2
                for k in range(K)
                for c in range(3)
            ]
            assert found[b, m].item() == pytest.approx(sum(errors) / (3 * K), rel=1e-12)


def test_reprojection_averages_over_hidden_keypoints_too_and_ignores_their_values() -> None:
    points, keypoints = _random(B, M, K, 2), _random(B, K, 3)
    keypoints[..., 2] = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
    keypoints[:, 1, :2] = math.nan
    found = SQUARED.reprojection(points, keypoints)
    for b in range(B):
        for m in range(M):
            errors = [
                (points[b, m, k, c] - keypoints[b, k, c]).item() ** 2
                for k in (0, 2, 4)
                for c in range(2)
            ]
            assert found[b, m].item() == pytest.approx(sum(errors) / (2 * K), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "shape", "power"),
    [("theta", (24, 3, 3), 2), ("beta", (10,), 2), ("vertices", (7, 3), 1)],
)
def test_smpl_terms_are_means(name: str, shape: tuple[int, ...], power: int) -> None:
    a, b = _random(B, *shape), _random(B, *shape)
    extra = (7,) if name == "vertices" else ()
    for image, value in enumerate(getattr(SQUARED, name)(a, b, *extra)):
        pairs = zip(a[image].flatten().tolist(), b[image].flatten().tolist(), strict=True)
        errors = [abs(x - y) ** power for x, y in pairs]
        assert value.item() == pytest.approx(sum(errors) / len(errors), rel=1e-12)


def test_depth_is_spins_term_averaged_over_hypotheses() -> None:
    camera = _random(B, M, 3)
    for b, value in enumerate(losses.depth_loss(camera)):
        terms = [math.exp(-camera[b, m, 0].item() * 10) ** 2 for m in range(M)]
        assert value.item() == pytest.approx(sum(terms) / M, rel=1e-12)


def test_the_support_is_what_some_regressor_row_reads() -> None:
    body = load_body()
    read: set[int] = set()
    for rows in (body.J_regressor, body.J_regressor_extra, body.J_regressor_h36m):
        read |= set(rows.nonzero()[:, 1].tolist())
    assert joint_support(body).tolist() == sorted(read)


@pytest.mark.parametrize("sampled", [0, 9])
def test_vertices_on_the_support_are_the_meshs(sampled: int) -> None:
    body = load_body()
    rotations, beta = torch.eye(3).expand(1, 24, 3, 3).double(), _random(1, 10)
    mesh = VertexBody(body, dtype=torch.float64)(rotations, beta)
    some = VertexBody(body, sampled, on_support=True, dtype=torch.float64)
    assert some(rotations, beta).shape[1] == (sampled or len(joint_support(body)))
    assert set(some.index.tolist()) <= set(joint_support(body).tolist())
    torch.testing.assert_close(some(rotations, beta), mesh[:, some.index], atol=1e-6, rtol=0)


def _cases(form: str) -> dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]]:
    f, confidence = FORMS[form], (torch.rand(B, K) > 0.3).double()
    truth, keypoints = _random(B, K, 3), torch.cat([_random(B, K, 2), confidence[..., None]], -1)
    full = None if form == "squared" else 20

    def best(x: Tensor) -> Tensor:
        return losses.best_of_m(f.joints(x, truth, confidence))[0]

    def eq5(reduction: str) -> Callable[[Tensor], Tensor]:
        return lambda x: losses.hypothesis_reprojection(f.reprojection(x, keypoints), reduction)

    return {
        "joints": (lambda x: f.joints(x, truth, confidence), (B, M, K, 3)),
        "best_of_m": (best, (B, M, K, 3)),
        "reprojection": (lambda x: f.reprojection(x, keypoints), (B, M, K, 2)),
        "eq. 5, sum": (eq5("sum"), (B, M, K, 2)),
        "eq. 5, mean": (eq5("mean"), (B, M, K, 2)),
        "theta": (lambda x: f.theta(x, torch.zeros_like(x)), (B, 24, 3, 3)),
        "vertices": (lambda x: f.vertices(x, torch.zeros_like(x), full), (B, 7, 3)),
        "beta": (lambda x: f.beta(x, torch.zeros_like(x)), (B, 10)),
        "depth": (losses.depth_loss, (B, M, 3)),
        "heatmap": (lambda x: losses.heatmap_loss(x, 0.3 * keypoints), (B, K, 3, 4)),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", _cases("norm"))
def test_gradients_in_float64(form: str, name: str) -> None:
    function, shape = _cases(form)[name]
    assert torch.autograd.gradcheck(function, (0.3 * _random(*shape)).requires_grad_())


@pytest.mark.parametrize("name", ["joints", "reprojection", "theta", "vertices", "beta"])
def test_shapes_that_would_broadcast_are_refused(name: str) -> None:
    a, b = _random(B, M, 24, 3), _random(1, 24, 3)
    arguments = {"joints": (a, b, torch.ones(B, 24)), "vertices": (a[:, 0], b, None)}
    with pytest.raises(ValueError, match="has shape"):
        getattr(SQUARED, name)(*arguments.get(name, (a[..., :2], b)))
