"""n-quantised best-of-M: from M weighted hypotheses to n outputs (equations 2 and 3).

Legend: B image, M hypothesis, N output (n of the paper), K joint, D dimension, R restart. Metres; energies in m^2.
Computed in float64; the results have the type of the points.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from multibodies.core.hartigan import hartigan, make_problems, seed_clusters, uniform_table
from multibodies.errors import UserError

LEAST_WEIGHT = 1e-8  # of the heaviest: what a hypothesis of weight 0 counts for while clusters form
TIE = 1e-5  # two hypotheses within this share of the smaller squared distance are equally near
CHUNK = 2**19  # numbers in the largest intermediate tensor


class Clusters(NamedTuple):
    """n clusters per image, the heaviest first (ties: the one with the earliest hypothesis). None is empty."""

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
    """Return p(X^m)^alpha / sum_k p(X^k)^alpha, eq. 2 with the flow weight alpha: 1 as written, 0 exactly uniform.

    log_density: [B, M] in nats -> [B, M]. Raises UserError on another shape, a non-finite density or alpha < 0.
    """
    if log_density.ndim != 2 or not log_density.shape[1]:
        raise UserError(f"log_density must have the shape [B, M], got {list(log_density.shape)}")
    if not 0 <= alpha < float("inf"):
        raise UserError(f"the flow weight must be a finite number >= 0, got {alpha}")
    _refuse_non_finite("log_density", log_density)
    if alpha == 0:
        return torch.full_like(log_density, 1 / log_density.shape[1])
    return torch.softmax(alpha * log_density, dim=1)


def kmeans(
    points: Tensor, weights: Tensor, n: int, *, restarts: int = 4, iterations: int = 1000, seed: int = 0
) -> Clusters:
    """Minimise E = sum_m w_m min_j |x_m - c_j|^2 (eq. 3) over n centres, for every image by itself.

    points [B, M, D], weights [B, M] >= 0. Restart 0 starts from weighted farthest points, the others from k-means++
    with the random table of `seed`; each then takes single-point moves until none lowers E (at most `iterations` sweeps;
    a partition without such a move is also a fixed point of Lloyd's algorithm); the restart with the least E wins. The
    result for an image does not depend on the other images. n = 1 is the weighted mean. A hypothesis of weight 0 pulls
    no centre, unless all of its cluster have weight 0: then the centre is their plain mean.
    Raises UserError when n > M or n < 1, on unequal shapes, non-finite numbers, negative weights or weights all 0.
    """
    _check(points, weights, n, restarts)
    if not len(points):
        return Clusters(points[:, :n], weights.long(), weights.sum(1), weights[:, :n])
    size = max(1, CHUNK // (restarts * n * points.shape[1]))
    pairs = zip(points.split(size), weights.split(size), strict=True)
    parts = [_kmeans_chunk(x.double(), w.double(), uniform_table(restarts, n, seed), iterations) for x, w in pairs]
    centroids, assignment, energy, mass = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return Clusters(centroids.to(points), assignment, energy.to(points), mass.to(points))


def cluster_means(values: Tensor, assignment: Tensor, weights: Tensor, n: int) -> Tensor:
    """Return the weighted mean of any quantity over each cluster, the plain mean where a cluster's weights are all 0.

    values [B, M, ...], assignment [B, M], weights [B, M] -> [B, N, ...]. A centroid is the mean of the points.
    """
    if values.shape[:2] != assignment.shape or weights.shape != assignment.shape:
        raise UserError(f"unequal shapes: values {list(values.shape)}, assignment {list(assignment.shape)}")
    member = torch.nn.functional.one_hot(assignment, n).mT.double()  # B, N, M
    share = member * weights[:, None].double()
    share = torch.where(share.sum(2, keepdim=True) > 0, share, member)
    share = share / share.sum(2, keepdim=True)
    means = share @ values.double().flatten(2) if values.ndim > 2 else share @ values.double()[..., None]
    return means.to(values).reshape(len(values), n, *values.shape[2:])


def medoids(points: Tensor, assignment: Tensor, centroids: Tensor, weights: Tensor) -> Tensor:
    """Return the member of each cluster nearest to its centroid (released code); ties: the heavier, then the earlier.

    points [B, M, D], assignment [B, M], centroids [B, N, D], weights [B, M] -> indices [B, N].
    """
    own = centroids.double().gather(1, assignment[..., None].expand_as(points))
    distance = (points.double() - own).square().sum(2)
    member = torch.nn.functional.one_hot(assignment, centroids.shape[1]).mT.bool()  # B, N, M
    near = distance[:, None].masked_fill(~member, torch.inf)
    tied = near <= near.amin(2, keepdim=True) * (1 + TIE)
    return weights[:, None].masked_fill(~tied, -1.0).argmax(2)


def quantise(
    features: Tensor,
    values: Tensor,
    weights: Tensor,
    n: int,
    *,
    representative: Literal["centroid", "medoid"] = "centroid",
    restarts: int = 4,
    seed: int = 0,
) -> Quantised:
    """Quantise M hypotheses to n by their joints and return another quantity of the n representatives.

    features [B, M, K, 3] are what K-means sees, values [B, M, ...] what is returned (the features themselves, evaluation
    joints, ...): the weighted mean of each cluster ("centroid") or the value of its medoid. Raises as `kmeans`.
    """
    if features.ndim != 4 or values.shape[:2] != features.shape[:2]:
        raise UserError(f"unequal shapes: features {list(features.shape)}, values {list(values.shape)}")
    points = features.flatten(2)
    clusters = kmeans(points, weights, n, restarts=restarts, seed=seed)
    index = medoids(points, clusters.assignment, clusters.centroids, weights)
    if representative == "centroid":
        return Quantised(cluster_means(values, clusters.assignment, weights, n), clusters, index)
    if representative != "medoid":
        raise UserError(f"representative must be 'centroid' or 'medoid', got '{representative}'")
    image = torch.arange(len(values), device=values.device)[:, None]
    return Quantised(values[image, index], clusters, index)


def _kmeans_chunk(points: Tensor, weights: Tensor, uniform: Tensor, moves: int) -> Clusters:
    """`kmeans` of one chunk of images in float64, with the uniform numbers [R, N]."""
    restarts, n = uniform.shape
    share = (weights / weights.sum(1, keepdim=True)).clamp(min=LEAST_WEIGHT / points.shape[1])
    problems = make_problems(points, share, restarts)
    label = seed_clusters(problems, uniform.to(points.device).repeat(len(points), 1))
    label, energy = hartigan(problems, label, n, moves)
    best = energy.view(-1, restarts).argmin(1)
    label = label.view(len(points), restarts, -1)[torch.arange(len(points), device=points.device), best]
    return _describe(points, weights, _heaviest_first(label, weights, n), n)


def _heaviest_first(label: Tensor, weights: Tensor, n: int) -> Tensor:
    """Renumber the clusters [B, M] by falling mass; equal masses by their earliest hypothesis."""
    member = torch.nn.functional.one_hot(label, n)  # B, M, N
    earliest = member.argmax(1).argsort(1)
    mass = (member * weights[..., None]).sum(1).gather(1, earliest)
    order = earliest.gather(1, mass.argsort(dim=1, descending=True, stable=True))
    return order.argsort(1).gather(1, label)


def _describe(points: Tensor, weights: Tensor, label: Tensor, n: int) -> Clusters:
    """Centroids, energy and masses of the labelled clusters."""
    centroids = cluster_means(points, label, weights, n)
    own = centroids.gather(1, label[..., None].expand_as(points))
    energy = (weights * (points - own).square().sum(2)).sum(1)
    mass = torch.zeros_like(centroids[..., 0]).scatter_add_(1, label, weights)
    return Clusters(centroids, label, energy, mass)


def _check(points: Tensor, weights: Tensor, n: int, restarts: int) -> None:
    """Refuse what eq. 3 is not defined for."""
    if points.ndim != 3 or weights.shape != points.shape[:2]:
        raise UserError(
            f"K-means needs points [B, M, D] and weights [B, M], got {list(points.shape)} and {list(weights.shape)}"
        )
    if not 1 <= n <= points.shape[1]:
        raise UserError(f"n = {n} outputs of M = {points.shape[1]} hypotheses: choose n from 1 to {points.shape[1]}")
    if restarts < 1:
        raise UserError(f"restarts must be at least 1, got {restarts}")
    _refuse_non_finite("points", points.flatten(1))
    _refuse_non_finite("weights", weights)
    bad = ((weights < 0).any(1) | (weights.sum(1) <= 0)).nonzero()
    if len(bad):
        raise UserError(f"weights of image {int(bad[0])}: all must be >= 0 and one of them > 0")


def _refuse_non_finite(name: str, values: Tensor) -> None:
    """Raise UserError naming the first image (row) of [B, ...] that holds a NaN or an infinity."""
    bad = (~values.isfinite()).any(1).nonzero()
    if len(bad):
        raise UserError(f"{name} of image {int(bad[0])} are not finite: quarantine that image before quantising")
