"""Weighted K-means of M = 100 hypotheses of 64 images against scikit-learn with n_init=10.

A row fails where the energy of eq. 3, mean over images of its ratio to scikit-learn's, is above its
bound, however fast it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from multibodies.bench import samples
from multibodies.bench.harness import Road, Row, Setting, absent, alternate, faster
from multibodies.core.quantizer import kmeans


class Search(NamedTuple):
    """How hard `kmeans` looks, the most energy it may leave, the least speed for that."""

    name: str
    restarts: int
    rounds: int
    iterations: int
    energy: float
    target: float


SEARCHES = (Search("precise", 2, 3, 1000, 1.01, 10), Search("fast", 1, 3, 0, 1.05, 50))


def by_sklearn(points: Tensor, weights: Tensor, n: int) -> Tensor:
    """Energies [B] of scikit-learn's best of ten starts. Raises ImportError where it is missing."""
    from sklearn.cluster import KMeans

    energies = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters
        for x, w in zip(points.numpy(), weights.numpy(), strict=True):
            model = KMeans(n, n_init=10, random_state=0).fit(x, sample_weight=w)
            energies.append(float(model.inertia_))
    return torch.tensor(energies)


def measure(setting: Setting) -> Iterator[Row]:
    """Yield two rows per n: the precise and the fast search."""
    images, count, sizes = (4, 12, (3,)) if setting.quick else (64, 100, (5, 10, 25))
    points, weights = samples.hypotheses(images, count).flatten(2), samples.weights(images, count)
    for n in sizes:
        try:
            best = by_sklearn(points, weights, n)
        except ImportError as error:
            why = f"scikit-learn is not installed ({error.name})"
            yield from (absent(_title(n, s), s.target, why) for s in SEARCHES)
            continue
        roads: dict[str, Road] = {"sklearn": partial(by_sklearn, points, weights, n)}
        on = points.to(setting.device), weights.to(setting.device)
        for search in SEARCHES:
            roads[search.name] = partial(_search, *on, n, search)
        times = alternate(f"K-means, n = {n}", roads, setting)
        for search in SEARCHES:
            energy = float((_search(*on, n, search).cpu() / best).mean())
            row = faster(_title(n, search), times["sklearn"], times[search.name], search.target)
            row.extra["energy"] = round(energy, 4)
            note = f"energy {energy:.3f} of scikit-learn's, at most {search.energy}"
            yield replace(row, note=note, failed=energy > search.energy)


def _search(points: Tensor, weights: Tensor, n: int, search: Search) -> Tensor:
    return kmeans(
        points,
        weights,
        n,
        restarts=search.restarts,
        rounds=search.rounds,
        iterations=search.iterations,
    ).energy


def _title(n: int, search: Search) -> str:
    return f"K-means, n = {n}: scikit-learn / ours {search.name}"
