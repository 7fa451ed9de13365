"""K-means of equation 3 against scikit-learn, brute force and naive loops."""

from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from multibodies.core import quantizer
from multibodies.core.quantizer import (
    Clusters,
    cluster_means,
    hypothesis_weights,
    kmeans,
    medoids,
    quantise,
)
from multibodies.errors import UserError


def cloud(images: int, hypotheses: int, dimension: int) -> Tensor:
    """Points about a curved sheet, as poses are: [B, M, D] float64, tenths of a metre."""
    latent = torch.randn(images, hypotheses, 4, dtype=torch.float64)
    axes = torch.randn(images, 4, dimension, dtype=torch.float64)
    noise = torch.randn(images, hypotheses, dimension, dtype=torch.float64)
    return 0.2 * torch.sin(latent @ axes) + 0.02 * noise


def weights_of(images: int, hypotheses: int, effective: float) -> Tensor:
    """Softmax weights [B, M] whose effective number 1 / sum w^2 is `effective`."""
    logits = torch.randn(images, hypotheses, dtype=torch.float64)
    low, high = torch.zeros(images, 1), torch.full((images, 1), 100.0)
    for _ in range(60):
        middle = (low + high) / 2
        too_many = 1 / (logits * middle).softmax(1).square().sum(1, keepdim=True) > effective
        low, high = torch.where(too_many, middle, low), torch.where(too_many, high, middle)
    return (logits * low).softmax(1)


def naive_energy(points: Tensor, weights: Tensor, centres: Tensor) -> float:
    """Equation 3 of one image as it is written."""
    total = 0.0
    for point, weight in zip(points, weights, strict=True):
        total += float(weight) * min(float((point - c).square().sum()) for c in centres)
    return total


def assert_whole(clusters: Clusters, n: int) -> None:
    for row in clusters.assignment:
        assert sorted(set(row.tolist())) == list(range(n))
    assert torch.isfinite(clusters.centroids).all()


@pytest.mark.parametrize("alpha", [0.25, 1.0, 3.0])
def test_weights_are_equation_2(alpha: float) -> None:
    density = 5 * torch.randn(4, 6, dtype=torch.float64)
    weights = hypothesis_weights(density, alpha)
    for row, result in zip(density.tolist(), weights.tolist(), strict=True):
        powers = [math.exp(value) ** alpha for value in row]
        assert result == pytest.approx([p / sum(powers) for p in powers], rel=1e-12)


def test_a_flow_weight_of_0_is_exactly_uniform() -> None:
    weights = hypothesis_weights(torch.tensor([[-1e30, 3.0, 1e30]]), 0.0)
    assert torch.equal(weights, torch.full((1, 3), 1 / 3))


def test_weights_survive_sharp_densities() -> None:
    weights = hypothesis_weights(torch.tensor([[-4e3, 900.0, 901.0]]), 1e36)
    assert weights.tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_densities_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(UserError, match="log_density of image 1 are not finite"):
        hypothesis_weights(torch.tensor([[0.0, 1.0], [0.0, bad]]), 0.0)


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_flow_weights_out_of_range_are_refused(alpha: float) -> None:
    with pytest.raises(UserError, match="flow weight"):
        hypothesis_weights(torch.zeros(1, 2), alpha)


@pytest.mark.parametrize("shape", [(3,), (2, 0), (1, 2, 3)])
def test_densities_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="shape"):
        hypothesis_weights(torch.zeros(shape), 1.0)


@pytest.mark.parametrize(("dimension", "effective"), [(51, 4), (72, 15), (51, 100)])
@pytest.mark.parametrize("n", [5, 10, 25])
def test_energy_is_as_low_as_sklearns(n: int, dimension: int, effective: float) -> None:
    points, weights = cloud(6, 100, dimension), weights_of(6, 100, effective)
    clusters = kmeans(points, weights, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ratios = [
            float(energy) / KMeans(n, n_init=10, random_state=0).fit(x, sample_weight=w).inertia_
            for x, w, energy in zip(points.numpy(), weights.numpy(), clusters.energy, strict=True)
        ]
    assert sum(ratios) / len(ratios) < 1.015
    assert max(ratios) < 1.1


def test_energy_is_equation_3() -> None:
    points, weights = cloud(4, 30, 9), weights_of(4, 30, 8)
    clusters = kmeans(points, weights, 6)
    for x, w, c, energy in zip(
        points, weights, clusters.centroids, clusters.energy.tolist(), strict=True
    ):
        assert energy == pytest.approx(naive_energy(x, w, c), rel=1e-9)


def partitions(m: int, n: int) -> list[list[list[int]]]:
    """Every way to split m things into n groups that are not empty."""
    labels = (x for x in itertools.product(range(n), repeat=m) if len(set(x)) == n)
    named_in_order = (x for x in labels if sorted(range(n), key=x.index) == list(range(n)))
    return [[[i for i in range(m) if x[i] == k] for k in range(n)] for x in named_in_order]


def test_small_problems_are_solved_exactly() -> None:
    points, weights = cloud(5, 6, 3), weights_of(5, 6, 4)
    clusters = kmeans(points, weights, 3, restarts=8)
    groupings = partitions(6, 3)
    assert len(groupings) == 90  # Stirling's number
    for x, w, energy in zip(points, weights, clusters.energy.tolist(), strict=True):
        centres = (torch.stack([w[i] / w[i].sum() @ x[i] for i in g]) for g in groupings)
        assert energy == pytest.approx(min(naive_energy(x, w, c) for c in centres), rel=1e-6)


def test_energy_never_rises() -> None:
    points, weights = cloud(5, 40, 12), weights_of(5, 40, 20)
    trace = torch.stack([kmeans(points, weights, 6, iterations=k).energy for k in range(16)])
    assert (trace[1:] <= trace[:-1] * (1 + 1e-12)).all()
    assert (trace[-1] < trace[0]).all()


def test_every_hypothesis_is_nearest_to_its_own_centroid() -> None:
    points, weights = cloud(6, 60, 20), weights_of(6, 60, 30)
    clusters = kmeans(points, weights, 7)
    assert torch.equal(torch.cdist(points, clusters.centroids).argmin(2), clusters.assignment)


def test_centroids_and_masses_are_those_of_the_members() -> None:
    points, weights = cloud(3, 20, 5), weights_of(3, 20, 6)
    clusters = kmeans(points, weights, 4)
    for b, k in itertools.product(range(3), range(4)):
        members = [m for m in range(20) if clusters.assignment[b, m] == k]
        mass = sum(float(weights[b, m]) for m in members)
        mean = sum(weights[b, m] / mass * points[b, m] for m in members)
        torch.testing.assert_close(clusters.centroids[b, k], mean)
        assert float(clusters.mass[b, k]) == pytest.approx(mass)
    assert (clusters.mass.diff(dim=1) <= 0).all()


def test_n_1_is_the_weighted_mean() -> None:
    points, weights = cloud(3, 10, 6), weights_of(3, 10, 3)
    clusters = kmeans(points, weights, 1)
    torch.testing.assert_close(
        clusters.centroids[:, 0], torch.einsum("bm,bmd->bd", weights, points)
    )
    assert not clusters.assignment.any()


def test_n_m_returns_the_hypotheses() -> None:
    points, weights = cloud(2, 8, 6), weights_of(2, 8, 4)
    clusters = kmeans(points, weights, 8)
    assert_whole(clusters, 8)
    torch.testing.assert_close(clusters.energy, torch.zeros(2, dtype=torch.float64))
    own = clusters.centroids.gather(1, clusters.assignment[..., None].expand_as(points))
    torch.testing.assert_close(own, points)
    torch.testing.assert_close(clusters.mass, weights.sort(1, descending=True).values)


def test_results_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    points, weights = cloud(9, 40, 15), weights_of(9, 40, 10)
    whole = kmeans(points, weights, 5)
    order = torch.randperm(9)
    mixed = kmeans(points[order], weights[order], 5)
    monkeypatch.setattr(quantizer, "CHUNK", 1)
    single = kmeans(points, weights, 5)
    assert torch.equal(mixed.assignment, whole.assignment[order])
    assert torch.equal(single.assignment, whole.assignment)
    torch.testing.assert_close(mixed.centroids, whole.centroids[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(single.centroids, whole.centroids, rtol=0, atol=1e-12)


def test_the_seed_decides() -> None:
    points, weights = cloud(20, 60, 15), weights_of(20, 60, 40)
    first, second, other = (kmeans(points, weights, 12, seed=s) for s in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.assignment, other.assignment)


def test_weights_count_only_in_proportion() -> None:
    points, weights = cloud(3, 20, 5), weights_of(3, 20, 6)
    one, ten = kmeans(points, weights, 4), kmeans(points, 10 * weights, 4)
    assert torch.equal(one.assignment, ten.assignment)
    torch.testing.assert_close(ten.energy, 10 * one.energy)


def test_a_weight_of_0_pulls_no_centroid() -> None:
    centres = torch.tensor([[0.0, 0, 0], [10, 0, 0], [0, 10, 0]], dtype=torch.float64)
    group = torch.arange(12) % 3
    points = (centres[group] + 0.1 * torch.randn(12, 3, dtype=torch.float64))[None]
    weights = torch.rand(1, 12, dtype=torch.float64) + 0.1
    far = centres[[0, 1]][None] + 2.0
    with_far = kmeans(torch.cat([points, far], 1), torch.cat([weights, torch.zeros(1, 2)], 1), 3)
    without = kmeans(points, weights, 3)
    torch.testing.assert_close(with_far.centroids, without.centroids)
    torch.testing.assert_close(with_far.energy, without.energy)
    assert torch.equal(with_far.assignment[0, 12:], with_far.assignment[0, :2])


def test_one_hypothesis_with_all_the_weight() -> None:
    points, weights = cloud(1, 12, 6), torch.zeros(1, 12, dtype=torch.float64)
    weights[0, 7] = 1.0
    clusters = kmeans(points, weights, 5)
    assert_whole(clusters, 5)
    torch.testing.assert_close(clusters.centroids[0, 0], points[0, 7])
    assert clusters.mass.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]
    assert float(clusters.energy) < 1e-20


@pytest.mark.parametrize("distinct", [1, 2, 3, 6])
def test_duplicates_never_leave_a_cluster_empty(distinct: int) -> None:
    points = cloud(4, distinct, 5)[:, torch.arange(12) % distinct]
    clusters = kmeans(points, weights_of(4, 12, 5), 6)
    assert_whole(clusters, 6)
    torch.testing.assert_close(clusters.energy, torch.zeros(4, dtype=torch.float64))


def test_float32_far_from_the_origin() -> None:
    points, weights = cloud(4, 30, 6), weights_of(4, 30, 9)
    near = kmeans(points, weights, 5)
    far = kmeans((points + 8).float(), weights.float(), 5)
    assert far.centroids.dtype is far.energy.dtype is torch.float32
    assert torch.equal(near.assignment, far.assignment)
    torch.testing.assert_close(far.energy.double(), near.energy, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("points", "weights", "n", "message"),
    [
        (torch.zeros(1, 4, 2), torch.ones(1, 4), 5, "n = 5 outputs of M = 4 hypotheses"),
        (torch.zeros(1, 4, 2), torch.ones(1, 4), 0, "choose n from 1 to 4"),
        (torch.zeros(1, 4, 2), torch.ones(1, 5), 2, r"\[1, 4, 2\] and \[1, 5\]"),
        (torch.zeros(2, 4, 2), torch.ones(1, 4), 2, "got"),
        (torch.zeros(4, 2), torch.ones(4), 2, "got"),
        (torch.zeros(0, 4, 2), torch.ones(0, 4), 2, "got"),
        (torch.full((1, 4, 2), torch.nan), torch.ones(1, 4), 2, "points of image 0"),
        (torch.zeros(1, 4, 2), torch.full((1, 4), torch.inf), 2, "weights of image 0"),
        (torch.zeros(1, 4, 2), torch.tensor([[1.0, 1, 1, -1]]), 2, "weights of image 0"),
        (torch.zeros(1, 4, 2), torch.zeros(1, 4), 2, "one of them > 0"),
    ],
)
def test_bad_input_is_refused(points: Tensor, weights: Tensor, n: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kmeans(points, weights, n)


def test_no_restarts_are_refused() -> None:
    with pytest.raises(UserError, match="restarts"):
        kmeans(torch.zeros(1, 4, 2), torch.ones(1, 4), 2, restarts=0)


def test_medoids_are_the_nearest_members() -> None:
    points, weights = cloud(3, 25, 6), weights_of(3, 25, 8)
    clusters = kmeans(points, weights, 4)
    index = medoids(points, clusters.assignment, clusters.centroids, weights)
    for b, k in itertools.product(range(3), range(4)):
        members = [m for m in range(25) if clusters.assignment[b, m] == k]
        assert int(index[b, k]) == min(
            members, key=lambda m: float((points[b, m] - clusters.centroids[b, k]).norm())
        )


def test_equally_near_members_go_by_weight_then_by_order() -> None:
    points = torch.tensor([[[0.1], [0.3], [5.0], [5.4], [5.2], [5.2]]])
    assignment = torch.tensor([[0, 0, 1, 1, 1, 1]])
    centroids = torch.tensor([[[0.2], [5.2]]])
    weights = torch.tensor([[0.1, 0.3, 0.1, 0.3, 0.1, 0.1]])
    assert medoids(points, assignment, centroids, weights).tolist() == [[1, 4]]


@pytest.mark.parametrize("shape", [(), (14, 3)])
def test_cluster_means_of_any_quantity(shape: tuple[int, ...]) -> None:
    values, weights = torch.randn(2, 6, *shape), torch.rand(2, 6)
    weights[1, 2:] = 0
    assignment = torch.tensor([[0, 1, 1, 2, 0, 1], [0, 0, 1, 1, 2, 2]])
    means = cluster_means(values, assignment, weights, 3)
    assert means.shape == (2, 3, *shape)
    for b, k in itertools.product(range(2), range(3)):
        members = [m for m in range(6) if assignment[b, m] == k]
        share = [float(weights[b, m]) for m in members]
        share = share if sum(share) else [1.0] * len(members)
        expected = sum(s / sum(share) * values[b, m] for s, m in zip(share, members, strict=True))
        torch.testing.assert_close(means[b, k], expected)


def test_cluster_means_refuse_unequal_shapes() -> None:
    with pytest.raises(UserError, match="differ"):
        cluster_means(
            torch.zeros(2, 5, 3), torch.zeros(2, 4, dtype=torch.long), torch.ones(2, 4), 2
        )


def test_quantise_by_joints_returns_another_quantity() -> None:
    joints, weights = cloud(2, 20, 72).unflatten(2, (24, 3)), weights_of(2, 20, 6)
    values = torch.randn(2, 20, 14, 3)
    mean = quantise(joints, values, weights, 4)
    medoid = quantise(joints, values, weights, 4, representative="medoid")
    clusters = kmeans(joints.flatten(2), weights, 4)
    assert torch.equal(mean.clusters.assignment, clusters.assignment)
    torch.testing.assert_close(mean.values, cluster_means(values, clusters.assignment, weights, 4))
    for b, k in itertools.product(range(2), range(4)):
        assert torch.equal(medoid.values[b, k], values[b, medoid.medoids[b, k]])


def test_quantise_refuses_other_arguments() -> None:
    joints, weights = torch.zeros(1, 4, 24, 3), torch.ones(1, 4)
    with pytest.raises(UserError, match="representative"):
        quantise(joints, joints, weights, 2, representative="mode")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="features"):
        quantise(joints, joints[:, :3], weights, 2)
    with pytest.raises(UserError, match="n = 5"):
        quantise(joints, joints, weights, 5)
