"""Lloyd's rounds against the loop as it is written."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multibodies.core.hartigan import describe, make_problems, seed_clusters, uniform_table
from multibodies.core.lloyd import lloyd
from multibodies.core.quantizer import kmeans


def naive_round(points: Tensor, weights: Tensor, label: list[int], n: int) -> list[int]:
    """One round of one image; a cluster's nearest member stays."""
    members = [[m for m, own in enumerate(label) if own == k] for k in range(n)]
    centres = [(weights[i] / weights[i].sum()) @ points[i] for i in members]
    distance = [[float((x - c).square().sum()) for c in centres] for x in points]
    kept = {min(i, key=lambda m, k=k: distance[m][k]) for k, i in enumerate(members)}  # type: ignore[misc]
    return [
        own if m in kept else min(range(n), key=distance[m].__getitem__)
        for m, own in enumerate(label)
    ]


def energies(points: Tensor, weights: Tensor, label: Tensor, n: int) -> Tensor:
    """Equation 3 of labels [B, M] about the weighted means of their clusters."""
    member = torch.nn.functional.one_hot(label, n).double() * weights[..., None]
    centres = member.mT @ points / member.sum(1)[..., None]
    own = centres.gather(1, label[..., None].expand_as(points))
    return (weights * (points - own).square().sum(2)).sum(1)


def start(points: Tensor, weights: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Labels of the farthest-point start, and after one round."""
    problems = make_problems(points, weights, 1)
    label = seed_clusters(problems, uniform_table(1, n, 0).expand(len(points), n))
    return label, lloyd(problems, label, n, 1)


def test_a_round_is_the_naive_loop() -> None:
    points = torch.randn(6, 30, 3, dtype=torch.float64)
    weights = torch.rand(6, 30, dtype=torch.float64) + 0.05
    before, after = start(points, weights, 5)
    assert not torch.equal(before, after)
    for x, w, old, new in zip(points, weights, before, after, strict=True):
        assert new.tolist() == naive_round(x, w, old.tolist(), 5)


def test_energy_never_rises_and_rounds_end() -> None:
    points = torch.randn(4, 40, 5, dtype=torch.float64)
    weights = torch.rand(4, 40, dtype=torch.float64) + 0.05
    problems = make_problems(points, weights, 1)
    label = seed_clusters(problems, uniform_table(1, 6, 0).expand(4, 6))
    labels = [lloyd(problems, label, 6, k) for k in range(40)]
    trace = torch.stack([energies(points, weights, each, 6) for each in labels])
    assert (trace[1:] <= trace[:-1] * (1 + 1e-12)).all()
    assert (trace[-1] < trace[0]).all()
    assert torch.equal(labels[-1], labels[-2])


@pytest.mark.parametrize("distinct", [1, 2, 5, 12])
def test_no_cluster_becomes_empty(distinct: int) -> None:
    points = torch.randn(3, distinct, 4, dtype=torch.float64)[:, torch.arange(12) % distinct]
    weights = torch.rand(3, 12, dtype=torch.float64) + 1e-6
    _, label = start(points, weights, 6)
    counts = describe(make_problems(points, weights, 1), label, 6).members
    assert (counts > 0).all()


def test_rounds_before_moves_end_where_no_move_helps() -> None:
    """A result of rounds and moves is a fixed point of both, near that of moves alone."""
    points = torch.randn(5, 60, 8, dtype=torch.float64)
    weights = torch.rand(5, 60, dtype=torch.float64) + 0.05
    both, moves = kmeans(points, weights, 6, rounds=3), kmeans(points, weights, 6)
    assert torch.equal(torch.cdist(points, both.centroids).argmin(2), both.assignment)
    assert float((both.energy / moves.energy).mean()) == pytest.approx(1, abs=0.02)


def test_rounds_alone_do_better_than_the_start() -> None:
    points, weights = torch.randn(5, 60, 8).double(), torch.rand(5, 60).double() + 0.05
    none, six = (
        kmeans(points, weights, 6, restarts=1, rounds=k, iterations=0).energy for k in (0, 6)
    )
    assert (six < none).all()
    order = torch.randperm(5)
    mixed = kmeans(points[order], weights[order], 6, restarts=1, rounds=6, iterations=0)
    torch.testing.assert_close(mixed.energy, six[order])
