"""Random modes against the probabilities of drawing one after the other, in plain loops."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from multibodies.core.drawing import draw_order, drawn_clusters
from multibodies.core.quantizer import hypothesis_weights
from multibodies.errors import UserError

F64 = torch.float64


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_pairs_are_as_frequent_as_drawing_one_after_the_other_makes_them(alpha: float) -> None:
    images, density = 20_000, torch.tensor([0.0, 1.0, -2.0, 0.3], dtype=F64)
    order = draw_order(density.expand(images, -1), alpha, range(images))
    powers = [float(torch.exp(alpha * d)) for d in density]
    p = [power / sum(powers) for power in powers]
    for i, j in permutations(range(4), 2):
        expected = p[i] * p[j] / (1 - p[i])
        found = ((order[:, 0] == i) & (order[:, 1] == j)).double().mean().item()
        assert found == pytest.approx(expected, abs=4.5 * (expected / images) ** 0.5)


def test_an_order_lists_every_hypothesis_once_and_depends_on_the_images_own_seed_alone() -> None:
    density = torch.randn(6, 9, dtype=F64)
    order = draw_order(density, 1.0, range(6))
    assert order.sort(1).values.tolist() == [list(range(9))] * 6
    assert len({tuple(row) for row in order.tolist()}) == 6
    for image in range(6):
        alone = draw_order(density[image : image + 1], 1.0, [image])
        assert alone[0].tolist() == order[image].tolist()


def test_densities_that_underflow_still_have_an_order() -> None:
    density = torch.tensor([[0.0, -9000.0, -5000.0]], dtype=F64)
    assert draw_order(density, 1.0, [3]).tolist() == [[0, 2, 1]]


def test_clusters_are_about_the_chosen_hypotheses() -> None:
    points = torch.randn(2, 6, 4, dtype=F64)
    points[0, 5] = points[0, 1]  # two that are equal, both drawn
    weights = hypothesis_weights(torch.randn(2, 6, dtype=F64), 1.0)
    chosen = torch.tensor([[1, 5, 2], [3, 0, 4]])
    found = drawn_clusters(points, weights, chosen)
    for b in range(2):
        energy = 0.0
        for m in range(6):
            away = [float((points[b, m] - points[b, c]).square().sum()) for c in chosen[b].tolist()]
            energy += float(weights[b, m]) * min(away)
            if m not in chosen[b].tolist():
                assert int(found.assignment[b, m]) == away.index(min(away))
        assert float(found.energy[b]) == pytest.approx(energy, rel=1e-12)
        for n, c in enumerate(chosen[b].tolist()):
            assert int(found.assignment[b, c]) == n
            assert torch.equal(found.centroids[b, n], points[b, c])
    assert found.mass.tolist() == [[1.0] * 3] * 2


def test_more_outputs_than_hypotheses_and_too_few_seeds_are_refused() -> None:
    points, chosen = torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(UserError, match="cannot draw n = 3 of M = 2"):
        drawn_clusters(points, torch.full((1, 2), 0.5), chosen)
    with pytest.raises(ValueError, match="1 seeds for 2 images"):
        draw_order(torch.zeros(2, 3), 1.0, [0])
