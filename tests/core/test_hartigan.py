"""Single-point moves against the energy recomputed from scratch."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from multibodies.core.hartigan import hartigan, make_problems, seed_clusters, uniform_table


def energy_of(points: Tensor, weights: Tensor, label: list[int], n: int) -> float:
    """Weighted scatter of the points [M, D] about their clusters' weighted means."""
    total = 0.0
    for k in range(n):
        members = [m for m, own in enumerate(label) if own == k]
        w = weights[members]
        mean = (w / w.sum()) @ points[members]
        total += float((w * (points[members] - mean).square().sum(1)).sum())
    return total


def best_single_move(points: Tensor, weights: Tensor, label: list[int], n: int) -> float:
    """Try every move that leaves no cluster empty; return the least energy."""
    least = energy_of(points, weights, label, n)
    for m, k in itertools.product(range(len(label)), range(n)):
        moved = [*label[:m], k, *label[m + 1 :]]
        if len(set(moved)) == n:
            least = min(least, energy_of(points, weights, moved, n))
    return least


def test_every_move_is_the_best_of_all() -> None:
    points = torch.randn(2, 8, 3, dtype=torch.float64)
    weights = torch.rand(2, 8, dtype=torch.float64) + 0.05
    problems = make_problems(points, weights, 3)
    label = seed_clusters(problems, uniform_table(3, 3, 0).repeat(2, 1))
    for step in range(4):
        moved, energy = hartigan(problems, label, 3, step + 1)
        before, _ = hartigan(problems, label, 3, step)
        for p in range(6):
            x, w = points[p // 3], weights[p // 3]
            assert math.isclose(float(energy[p]), energy_of(x, w, moved[p].tolist(), 3))
            expected = best_single_move(x, w, before[p].tolist(), 3)
            assert math.isclose(float(energy[p]), expected, rel_tol=1e-8)


def test_it_ends_where_no_move_helps() -> None:
    points = torch.randn(1, 9, 2, dtype=torch.float64)
    weights = torch.rand(1, 9, dtype=torch.float64) + 0.05
    problems = make_problems(points, weights, 4)
    label = seed_clusters(problems, uniform_table(4, 3, 1))
    label, energy = hartigan(problems, label, 3, 1000)
    for row, value in zip(label.tolist(), energy.tolist(), strict=True):
        best = best_single_move(points[0], weights[0], row, 3)
        assert math.isclose(value, best, rel_tol=1e-8)


def test_farthest_points_come_first() -> None:
    points = torch.tensor([[[0.0], [1.0], [10.0], [11.0], [30.0]]], dtype=torch.float64)
    weights = torch.tensor([[9.0, 1, 1, 1, 1]], dtype=torch.float64)
    label = seed_clusters(make_problems(points, weights, 1), uniform_table(1, 3, 0))
    # the heaviest point, then the largest w d^2: 30 (900), then 11 (121)
    assert label.tolist() == [[0, 0, 2, 2, 1]]


def test_kmeans_plus_plus_draws_in_proportion() -> None:
    points = torch.tensor([[[0.0], [1.0], [3.0]]], dtype=torch.float64)
    weights = torch.tensor([[1e-9, 4.0, 1.0]], dtype=torch.float64)
    count = 2000
    table = torch.stack([torch.full((count,), 0.5), (torch.arange(count) + 0.5) / count], 1)
    problems = make_problems(points, weights, count)
    label = seed_clusters(problems, table.double())
    # seed 0 is point 1 (chances 4 : 1 at 0.5); of the others w d^2 is 1e-9 and 4
    assert (label[:, 1] == 0).all()
    assert (label[:, 2] == 1).all()
    weights = torch.tensor([[4.0, 8.0, 1.0]], dtype=torch.float64)
    label = seed_clusters(make_problems(points, weights, count), table.double())
    assert int((label[:, 0] == 1).sum()) == count // 2  # 4 * 1 against 1 * 4
