"""n-quantised best-of-M: from M weighted hypotheses to n outputs (equations 2 and 3).

Legend: B image, M hypothesis, N output (the paper's n), K joint, D dimension, R restart. Metres;
energies in m^2. Computed in float64; results have the type of the points.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from multibodies.core.hartigan import hartigan, make_problems, seed_clusters, uniform_table
from multibodies.core.lloyd import lloyd
from multibodies.errors import UserError

LEAST_WEIGHT = 1e-8  # of the mean weight: what a hypothesis of weight 0 counts for in the search
TIE = 1e-5  # distances that differ by a smaller share of themselves are equal
CHUNK = 2**19  # numbers in the search's largest tensor: it fits a core's cache


class Clusters(NamedTuple):
    """n clusters per image, the heaviest first, equal ones by first member; none is empty."""

    centroids: Tensor  # [B, N, D] weighted means
    assignment: Tensor  # [B, M] the cluster of each hypothesis
    energy: Tensor  # [B] eq. 3
    mass: Tensor  # [B, N] summed weights


class Quantised(NamedTuple):
    """n outputs per image."""

    values: Tensor  # [B, N, ...] of the representatives
    clusters: Clusters
    medoids: Tensor  # [B, N] the hypothesis that stands for each cluster


def hypothesis_weights(log_density: Tensor, alpha: float) -> Tensor:
    """p(X^m)^alpha / sum_k p(X^k)^alpha: eq. 2 with the flow weight alpha, 1 as written, 0 uniform.

    log_density [B, M] in nats -> [B, M]; alpha = 0 gives exactly 1 / M.
    Raises UserError on another shape, a density that is not finite, or alpha < 0.
    """
    if log_density.ndim != 2 or not log_density.shape[1]:
        raise UserError(f"log_density must have the shape [B, M], got {list(log_density.shape)}")
    if not 0 <= alpha < float("inf"):
        raise UserError(f"the flow weight must be a finite number >= 0, got {alpha}")
    _refuse_non_finite("log_density", log_density)
    if alpha == 0:
        return torch.full_like(log_density, 1 / log_density.shape[1])
    peak = log_density.amax(1, keepdim=True)  # so that no alpha overflows
    return torch.softmax(alpha * (log_density - peak), dim=1)


def kmeans(
    points: Tensor,
    weights: Tensor,
    n: int,
    *,
    restarts: int = 4,
    rounds: int = 0,
    iterations: int = 1000,
    seed: int = 0,
) -> Clusters:
    """Minimise E = sum_m w_m min_j |x_m - c_j|^2 (eq. 3) over n centres, image by image.

    points [B, M, D], weights [B, M] >= 0. Restart 0 starts from weighted farthest points, the
    others from k-means++ with the random table of `seed`; each takes single-point moves until none
    lowers E (at most `iterations` an image), which is also a fixed point of Lloyd's iteration; the
    least E wins. An image's result depends neither on the others nor on the order of its
    hypotheses. n = 1 is the weighted mean.
    `rounds` of Lloyd's iteration before the moves trade a little of E for speed (`make bench`):
    restarts=2, rounds=3 is within 1 % of scikit-learn's n_init=10; restarts=1, rounds=3 without
    moves, iterations=0, within 5 %.
    A hypothesis of weight 0 pulls no centre, unless its whole cluster has weight 0: then the centre
    is their plain mean.
    Raises UserError on n > M, n < 1, unequal shapes, numbers that are not finite, negative weights
    or an image whose weights are all 0.
    """
    _check(points, weights, n, restarts)
    table = uniform_table(restarts, n, seed).to(points.device)
    size = max(1, CHUNK // (restarts * n * points.shape[1]))
    pairs = zip(torch.split(points, size), torch.split(weights, size), strict=True)
    parts = [_kmeans_chunk(x.double(), w.double(), table, rounds, iterations) for x, w in pairs]
    centroids, assignment, energy, mass = (torch.cat(part) for part in zip(*parts, strict=True))
    return Clusters(centroids.to(points), assignment, energy.to(points), mass.to(points))


def _kmeans_chunk(
    points: Tensor, weights: Tensor, table: Tensor, rounds: int, moves: int
) -> Clusters:
    """`kmeans` of some images in float64, with the random numbers [R, N].

    Seeds, ties and rounding follow an order of the hypotheses' own, not the one they came in.
    """
    order = own_order(points, weights)
    image = torch.arange(len(points), device=points.device)[:, None]
    found = _search(points[image, order], weights[image, order], table, rounds, moves)
    assignment = torch.empty_like(order).scatter_(1, order, found.assignment)
    return found._replace(assignment=assignment)


def own_order(points: Tensor, weights: Tensor) -> Tensor:
    """Return an order [B, M] of the hypotheses that does not depend on how they are listed.

    By a fixed mixture of their coordinates, then by weight: only equal ones keep their places.
    """
    mixture = torch.arange(1, points.shape[2] + 1, dtype=points.dtype, device=points.device).sqrt()
    by_weight = weights.argsort(dim=1, stable=True)
    key = (points * mixture).sum(2).gather(1, by_weight)
    return by_weight.gather(1, key.argsort(dim=1, stable=True))


def cluster_means(values: Tensor, assignment: Tensor, weights: Tensor, n: int) -> Tensor:
    """Weighted mean of any quantity over each cluster; the plain mean where all weights are 0.

    values [B, M, ...], assignment [B, M], weights [B, M] -> [B, N, ...]. A centroid is the mean of
    the points. Raises UserError on unequal shapes.
    """
    if values.shape[:2] != assignment.shape or weights.shape != assignment.shape:
        shapes = [list(t.shape) for t in (values, assignment, weights)]
        raise UserError(f"values, assignment and weights differ in [B, M]: {shapes}")
    member = torch.nn.functional.one_hot(assignment, n).mT.double()  # [B, N, M]
    share = member * weights[:, None]
    share = torch.where(share.sum(2, keepdim=True) > 0, share, member)
    share = share / share.sum(2, keepdim=True)
    flat = values.double().reshape(*assignment.shape, -1)
    return (share @ flat).to(values).reshape(len(values), n, *values.shape[2:])


def medoids(points: Tensor, assignment: Tensor, centroids: Tensor, weights: Tensor) -> Tensor:
    """Return each cluster's member nearest to its centroid; ties: the heavier, then the first in
    `own_order`.

    points [B, M, D], assignment [B, M], centroids [B, N, D], weights [B, M] -> indices [B, N]. The
    released code returns these instead of centroids: a mesh exists for them.
    """
    order = own_order(points.double(), weights)
    points = points.gather(1, order[..., None].expand_as(points)).double()
    assignment, weights = assignment.gather(1, order), weights.gather(1, order)
    own = centroids.double().gather(1, assignment[..., None].expand_as(points))
    distance = (points - own).square().sum(2)
    member = torch.nn.functional.one_hot(assignment, centroids.shape[1]).mT.bool()  # [B, N, M]
    near = distance[:, None].masked_fill(~member, torch.inf)
    tied = near <= near.amin(2, keepdim=True) * (1 + TIE)
    return order.gather(1, weights[:, None].masked_fill(~tied, -1.0).argmax(2))


def quantise(
    features: Tensor,
    values: Tensor,
    weights: Tensor,
    n: int,
    *,
    representative: Literal["centroid", "medoid"] = "centroid",
    restarts: int = 4,
    rounds: int = 0,
    seed: int = 0,
) -> Quantised:
    """Quantise M hypotheses to n by their joints; return any quantity of the n representatives.

    features [B, M, K, 3] are what K-means sees; values [B, M, ...] what is returned (the features,
    evaluation joints, ...): each cluster's weighted mean ("centroid") or its medoid's value.
    restarts, rounds: how hard `kmeans` searches. Raises UserError as `kmeans`, and on unequal
    shapes or another representative.
    """
    if representative not in ("centroid", "medoid"):
        raise UserError(f"representative must be 'centroid' or 'medoid', got '{representative}'")
    if features.ndim != 4 or values.shape[:2] != features.shape[:2]:
        shapes = f"{list(features.shape)} and {list(values.shape)}"
        raise UserError(f"need features [B, M, K, 3] and values [B, M, ...], got {shapes}")
    points = features.flatten(2)
    clusters = kmeans(points, weights, n, restarts=restarts, rounds=rounds, seed=seed)
    index = medoids(points, clusters.assignment, clusters.centroids, weights)
    if representative == "centroid":
        return Quantised(cluster_means(values, clusters.assignment, weights, n), clusters, index)
    image = torch.arange(len(values), device=values.device)[:, None]
    return Quantised(values[image, index], clusters, index)


def _search(points: Tensor, weights: Tensor, table: Tensor, rounds: int, moves: int) -> Clusters:
    """`_kmeans_chunk` of hypotheses in their own order."""
    restarts, n = table.shape
    share = weights / weights.mean(1, keepdim=True)
    problems = make_problems(points, share.clamp(min=LEAST_WEIGHT), restarts)
    label = seed_clusters(problems, table.repeat(len(points), 1))
    label = lloyd(problems, label, n, rounds)
    label, energy = hartigan(problems, label, n, moves)
    best = energy.view(-1, restarts).argmin(1)
    image = torch.arange(len(points), device=points.device)
    label = _heaviest_first(label.view(len(points), restarts, -1)[image, best], weights, n)
    centroids = cluster_means(points, label, weights, n)
    own = centroids.gather(1, label[..., None].expand_as(points))
    mass = torch.zeros_like(centroids[..., 0]).scatter_add_(1, label, weights)
    return Clusters(centroids, label, (weights * (points - own).square().sum(2)).sum(1), mass)


def _heaviest_first(label: Tensor, weights: Tensor, n: int) -> Tensor:
    """Renumber the clusters of label [B, M] by falling mass, equal masses by first member."""
    member = torch.nn.functional.one_hot(label, n)  # [B, M, N]
    order = member.argmax(1).argsort(1)
    mass = (member * weights[..., None]).sum(1).gather(1, order)
    mass = (mass / (1e-9 * weights.sum(1, keepdim=True))).round()  # sums of equal weights tie
    order = order.gather(1, mass.argsort(dim=1, descending=True, stable=True))
    return order.argsort(1).gather(1, label)


def _check(points: Tensor, weights: Tensor, n: int, restarts: int) -> None:
    """Refuse what eq. 3 is not defined for."""
    if points.ndim != 3 or weights.shape != points.shape[:2] or not len(points):
        shapes = f"{list(points.shape)} and {list(weights.shape)}"
        raise UserError(f"K-means needs points [B, M, D] and weights [B, M], got {shapes}")
    m = points.shape[1]
    if not 1 <= n <= m:
        raise UserError(f"n = {n} outputs of M = {m} hypotheses: choose n from 1 to {m}")
    if restarts < 1:
        raise UserError(f"restarts must be at least 1, got {restarts}")
    _refuse_non_finite("points", points.flatten(1))
    _refuse_non_finite("weights", weights)
    bad = ((weights < 0).any(1) | (weights.sum(1) <= 0)).nonzero()
    if len(bad):
        raise UserError(f"weights of image {int(bad[0])}: all must be >= 0 and one of them > 0")


def _refuse_non_finite(name: str, values: Tensor) -> None:
    """Raise UserError naming the first image of values [B, D] with a NaN or an infinity."""
    bad = (~values.abs().amax(1).isfinite()).nonzero()  # amax keeps a NaN
    if len(bad):
        image = int(bad[0])
        raise UserError(f"{name} of image {image} are not finite: quarantine it before quantising")
