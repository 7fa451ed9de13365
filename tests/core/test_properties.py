"""What must hold whatever the numbers: invariances of metrics, K-means, weights and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from multibodies.core import losses, metrics
from multibodies.core.hartigan import Problems, describe, hartigan, make_problems, seed_clusters
from multibodies.core.loss_forms import FORMS
from multibodies.core.quantizer import hypothesis_weights, kmeans, quantise
from multibodies.core.rotations import axis_angle_to_matrix, rotation_6d_to_matrix

F64 = torch.float64
SEEDS = st.integers(0, 2**32 - 1)
FEWER = settings(max_examples=40)  # where an example costs more than a millisecond
B, M, D = 3, 12, 6


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64)


def some_weights(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator(seed + 1), dtype=F64) + 0.05


@FEWER
@given(
    seed=SEEDS,
    scale=st.floats(0.01, 100),
    turn=st.tuples(*[st.floats(-4, 4)] * 3),
    shift=st.tuples(*[st.floats(-50, 50)] * 3),
)
def test_re_ignores_a_similarity_of_the_prediction(
    seed: int, scale: float, turn: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    pred, truth = normal(seed, 2, 14, 3), normal(seed + 1, 2, 14, 3)
    rotation = axis_angle_to_matrix(torch.tensor(turn, dtype=F64))
    moved = scale * pred @ rotation.mT + torch.tensor(shift, dtype=F64)
    error = metrics.reconstruction_error(pred, truth)
    torch.testing.assert_close(
        metrics.reconstruction_error(moved, truth), error, rtol=1e-6, atol=1e-9
    )


@given(seed=SEEDS, size=st.floats(1e-3, 1e3))
def test_every_6d_vector_with_a_plane_is_a_rotation(seed: int, size: float) -> None:
    matrix = rotation_6d_to_matrix(size * normal(seed, 5, 24, 6))
    identity = torch.eye(3, dtype=F64).expand_as(matrix)
    torch.testing.assert_close(matrix @ matrix.mT, identity, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(5, 24, dtype=F64))


def problems_of(seed: int) -> tuple[Problems, Tensor, Tensor]:
    """Make B problems with unequal weights; return them, the points and the weights."""
    points, weights = normal(seed, B, M, D), some_weights(seed, B, M)
    return make_problems(points, weights, 1), points, weights


def farthest(problems: Problems, n: int) -> Tensor:
    """Labels of n clusters about the weighted farthest points: restart 0's start."""
    return seed_clusters(problems, torch.full((B, n), -1.0, dtype=F64))


@FEWER
@given(seed=SEEDS, n=st.integers(1, M - 1))
def test_the_starts_of_restart_0_are_nested(seed: int, n: int) -> None:
    problems, _, _ = problems_of(seed)
    fewer, more = farthest(problems, n), farthest(problems, n + 1)
    assert torch.equal(fewer[more != n], more[more != n])  # points only leave, to the new seed
    assert (more == n).any(1).all()


@FEWER
@given(seed=SEEDS, n=st.integers(1, M - 1))
def test_energy_never_rises_with_n_from_nested_starts(seed: int, n: int) -> None:
    """n + 1 starts from n's clusters and one point of a shared cluster set apart: the weighted
    scatter can only fall by that, and single-point moves only lower it.
    """
    problems, _, _ = problems_of(seed)
    label, energy = hartigan(problems, farthest(problems, n), n, 1000)
    members = describe(problems, label, n).members.gather(1, label)
    apart = members.argmax(1, keepdim=True)
    _, more = hartigan(problems, label.scatter(1, apart, n), n + 1, 1000)
    assert (more <= energy * (1 + 1e-9) + 1e-12).all()


@FEWER
@given(seed=SEEDS, n=st.integers(1, M))
def test_moves_never_raise_the_energy_of_a_start(seed: int, n: int) -> None:
    problems, points, weights = problems_of(seed)
    start = farthest(problems, n)
    energy = kmeans(points, weights, n, restarts=1).energy
    for b in range(B):
        total = 0.0
        for k in range(n):
            own = start[b] == k
            w, x = weights[b, own], points[b, own]
            total += float((w * (x - (w @ x) / w.sum()).square().sum(1)).sum())
        assert float(energy[b]) <= total * (1 + 1e-9) + 1e-12


@given(seed=SEEDS, level=st.floats(-1e4, 1e4), alpha=st.floats(0, 100))
def test_equal_densities_are_uniform_weights(seed: int, level: float, alpha: float) -> None:
    m = 1 + seed % 30
    weights = hypothesis_weights(torch.full((2, m), level, dtype=F64), alpha)
    torch.testing.assert_close(weights, torch.full((2, m), 1 / m, dtype=F64), rtol=1e-12, atol=0)


@FEWER
@given(seed=SEEDS, constant=st.floats(1e-6, 1e6), n=st.integers(1, M))
def test_equal_weights_are_uniform_weights(seed: int, constant: float, n: int) -> None:
    points = normal(seed, B, M, D)
    uniform = kmeans(points, torch.full((B, M), 1 / M, dtype=F64), n)
    equal = kmeans(points, torch.full((B, M), constant, dtype=F64), n)
    assert torch.equal(equal.assignment, uniform.assignment)
    torch.testing.assert_close(equal.centroids, uniform.centroids, rtol=0, atol=1e-9)
    torch.testing.assert_close(equal.energy / (M * constant), uniform.energy, atol=1e-12, rtol=1e-9)


@FEWER
@given(
    seed=SEEDS,
    n=st.integers(1, M),
    uniform=st.booleans(),
    representative=st.sampled_from(["centroid", "medoid"]),
)
def test_permuting_hypotheses_changes_nothing(
    seed: int, n: int, uniform: bool, representative: Literal["centroid", "medoid"]
) -> None:
    """With every restart, to the last bit: random seeds, ties and rounding included."""
    joints, truth = normal(seed, B, M, 5, 3), normal(seed + 1, B, 5, 3)
    weights = torch.full((B, M), 1 / M, dtype=F64) if uniform else some_weights(seed, B, M)
    order = torch.randperm(M, generator=generator(seed))
    one = quantise(joints, joints, weights, n, representative=representative)
    other = quantise(
        joints[:, order], joints[:, order], weights[:, order], n, representative=representative
    )
    for name in ("centroids", "energy", "mass"):
        assert torch.equal(getattr(one.clusters, name), getattr(other.clusters, name)), name
    assert torch.equal(one.clusters.assignment[:, order], other.clusters.assignment)
    wanted = truth[:, None].expand_as(one.values)
    errors = [metrics.select_strict(metrics.mpjpe(x.values, wanted)) for x in (one, other)]
    torch.testing.assert_close(*errors, rtol=1e-12, atol=0)


HIDDEN = st.sampled_from([torch.nan, torch.inf, -torch.inf, 1e200, 0.0])


@pytest.mark.parametrize("form", FORMS)
@given(seed=SEEDS, label=HIDDEN)
def test_a_joint_without_confidence_has_exactly_no_gradient_in_eq_1(
    form: str, seed: int, label: float
) -> None:
    joints = normal(seed, B, M, 24, 3).requires_grad_()
    confidence = (torch.rand(B, 24, generator=generator(seed)) > 0.4).double()
    truth = normal(seed + 1, B, 24, 3).masked_fill(confidence[..., None] == 0, label)
    loss, best = losses.best_of_m(FORMS[form].joints(joints, truth, confidence))
    (gradient,) = torch.autograd.grad(loss.sum(), joints)
    assert torch.isfinite(loss).all()
    counted = torch.nn.functional.one_hot(best, M)[:, :, None] * confidence[:, None] > 0
    assert torch.equal(gradient != 0, counted[..., None].expand_as(gradient))


def eq_5(distance: Tensor) -> Tensor:
    return losses.hypothesis_reprojection(distance)


def eq_7(distance: Tensor) -> Tensor:
    return distance[:, 0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss_of", [eq_5, eq_7])
@given(seed=SEEDS, label=HIDDEN)
def test_a_hidden_keypoint_has_exactly_no_gradient_in_eqs_5_and_7(
    loss_of: Callable[[Tensor], Tensor], form: str, seed: int, label: float
) -> None:
    points = normal(seed, B, M, 24, 2).requires_grad_()
    seen = (torch.rand(B, 24, 1, generator=generator(seed)) > 0.4).double()
    keypoints = torch.cat([normal(seed + 1, B, 24, 2).masked_fill(seen == 0, label), seen], -1)
    loss = loss_of(FORMS[form].reprojection(points, keypoints))
    (gradient,) = torch.autograd.grad(loss.sum(), points)
    assert torch.isfinite(loss).all()
    hypotheses = torch.arange(M) < (M if loss_of is eq_5 else 1)
    counted = (seen[:, None] > 0) & hypotheses[:, None, None]
    assert torch.equal(gradient != 0, counted.expand_as(gradient))


@given(seed=SEEDS, label=HIDDEN)
def test_a_hidden_keypoint_has_exactly_no_gradient_in_its_heat_map(seed: int, label: float) -> None:
    logits = normal(seed, B, 6, 4, 4).requires_grad_()
    seen = torch.arange(6) % 2 == 0
    where = (0.4 * normal(seed + 1, B, 6, 2)).clamp(-0.9, 0.9).masked_fill(~seen[:, None], label)
    keypoints = torch.cat([where, seen.double().expand(B, 6)[..., None]], -1)
    loss = losses.heatmap_loss(logits, keypoints)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert torch.isfinite(loss).all()
    assert torch.equal((gradient != 0).any(-1).any(-1), seen.expand(B, 6))
