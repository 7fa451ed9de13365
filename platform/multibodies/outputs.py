"""From M weighted hypotheses to n outputs: what K-means sees, how it is used, what stands for a
cluster; or a random draw. Each choice is a value in a table, by the name of its setting.

Shapes: B image, M hypothesis, N output, K joint, D dimension. Metres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from multibodies.config import EvaluationConfig
from multibodies.core.drawing import draw_order, drawn_clusters, seed_of_image
from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.quantizer import Clusters, cluster_means, hypothesis_weights, kmeans, medoids
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.hypotheses import F32, StoredHypotheses


class Outputs(NamedTuple):
    """A partition of the hypotheses into N clusters, an output each.

    points [B, M, D] are what was clustered, weights [B, M] count within a cluster.
    """

    clusters: Clusters
    weights: Tensor
    points: Tensor

    @property
    def medoids(self) -> Tensor:
        """The hypothesis nearest to each cluster's centroid [B, N]."""
        clusters = self.clusters
        return medoids(self.points, clusters.assignment, clusters.centroids, self.weights)


def quantise_all(
    points: Tensor, log_density: Tensor, alpha: float, n: int, restarts: int
) -> Outputs:
    """Eq. 3 over all M hypotheses with the weights of eq. 2: the paper's way, for any n."""
    weights = hypothesis_weights(log_density, alpha)
    return Outputs(kmeans(points, weights, n, restarts=restarts), weights, points)


def first_alone(
    points: Tensor, log_density: Tensor, alpha: float, n: int, restarts: int
) -> Outputs:
    """Hypothesis 0, no K-means: the released code at n = 1. Energy: eq. 3 about hypothesis 0."""
    centre = points[:, :1]
    weights = hypothesis_weights(log_density, alpha)
    energy = (weights * (points - centre).square().sum(2)).sum(1)
    only = torch.zeros_like(weights)
    only[:, 0] = 1
    whole = torch.zeros_like(weights, dtype=torch.long)
    return Outputs(Clusters(centre, whole, energy, only[:, :1]), only, points)


def first_and_others(
    points: Tensor, log_density: Tensor, alpha: float, n: int, restarts: int
) -> Outputs:
    """Hypothesis 0, and K = n - 1 over the others with weights of their own: the released code.

    Energy: eq. 3 over the others.
    """
    rest = quantise_all(points[:, 1:], log_density[:, 1:], alpha, n - 1, restarts)
    one = torch.ones_like(rest.weights[:, :1])
    found = rest.clusters
    clusters = Clusters(
        torch.cat([points[:, :1], found.centroids], 1),
        torch.cat([torch.zeros_like(found.assignment[:, :1]), found.assignment + 1], 1),
        found.energy,
        torch.cat([one, found.mass], 1),
    )
    return Outputs(clusters, torch.cat([one, rest.weights], 1), points)


Rule = Callable[[Tensor, Tensor, float, int, int], Outputs]
SINGLE: dict[str, Rule] = {"kmeans": quantise_all, "first": first_alone}
SEVERAL: dict[bool, Rule] = {False: quantise_all, True: first_and_others}


class Weighted(NamedTuple):
    """Hypotheses of the images `image_ids`: points [B, M, D], weighted by p^alpha of log_density
    [B, M]."""

    points: Tensor
    log_density: Tensor
    alpha: float
    image_ids: Sequence[str]


def quantised(given: Weighted, n: int, evaluation: EvaluationConfig) -> Outputs:
    """The n-quantised best of M, as evaluation.single or .keep_first says."""
    rule = SINGLE[evaluation.single] if n == 1 else SEVERAL[evaluation.keep_first]
    return rule(given.points, given.log_density, given.alpha, n, evaluation.restarts)


def drawn(given: Weighted, n: int, evaluation: EvaluationConfig) -> Outputs:
    """Random modes (supplement C): n hypotheses themselves, by p^alpha without replacement.

    Seeded by the image's id alone. Settings of K-means do not bear on them, and centroid and medoid
    are the same.
    """
    points, log_density, alpha, image_ids = given
    weights = hypothesis_weights(log_density, alpha)
    order = draw_order(log_density, alpha, [seed_of_image(name) for name in image_ids])
    chosen = order[:, :n]
    only = torch.zeros_like(weights).scatter_(1, chosen, 1.0)
    return Outputs(drawn_clusters(points, weights, chosen), only, points)


QUANTIZERS = {"kmeans": quantised, "random": drawn}


def make_outputs(
    points: Tensor,
    log_density: Tensor,
    alpha: float,
    n: int,
    evaluation: EvaluationConfig,
    image_ids: Sequence[str],
) -> Outputs:
    """Make n outputs of points [B, M, D] as evaluation.quantizer says; image_ids name the B."""
    given = Weighted(points, log_density, alpha, image_ids)
    return QUANTIZERS[evaluation.quantizer](given, n, evaluation)


def centroid(values: Tensor, outputs: Outputs) -> Tensor:
    """Weighted means over the clusters; for joints of any set the centroid's, a mean is linear."""
    n = outputs.clusters.mass.shape[1]
    return cluster_means(values, outputs.clusters.assignment, outputs.weights, n)


def medoid(values: Tensor, outputs: Outputs) -> Tensor:
    """Values of the hypotheses nearest to the centroids."""
    return values[torch.arange(len(values))[:, None], outputs.medoids]


# Any quantity of the n outputs, [B, M, ...] -> [B, N, ...].
REPRESENTATIVES = {"centroid": centroid, "medoid": medoid}


def j24(stored: StoredHypotheses) -> Tensor:
    """24 joints about the mid-hip, as the camera sees them."""
    return centre_on_mid_hips(double(stored.joints_j24))


def j24_upright(stored: StoredHypotheses) -> Tensor:
    """The same without the predicted root rotation: R^T x, so that headings do not count."""
    root = rotation_6d_to_matrix(double(stored.rotation_6d[:, :, 0]))
    return j24(stored) @ root


def h36m14(stored: StoredHypotheses) -> Tensor:
    """The 14 evaluation joints about the pelvis."""
    return double(stored.joints_h36m14)


# What K-means sees: stored hypotheses -> joints [B, M, K, 3].
FEATURES = {"j24": j24, "j24_upright": j24_upright, "h36m14": h36m14}


def double(array: F32) -> Tensor:
    """Return a stored array as a float64 tensor."""
    return torch.from_numpy(array.astype(np.float64))
