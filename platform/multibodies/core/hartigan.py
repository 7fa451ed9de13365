"""Weighted K-means in Gram space: seeding and Hartigan's single-point moves, for many small problems at once.

Legend: B image, R restart, P problem (one restart of one image), M hypothesis (a point), N output (a cluster).
Everything comes from an image's Gram matrix G = X X^T, so a centre is never formed: with S_km = sum_{i in k} w_i G_im,
W_k = sum_{i in k} w_i and Q_k = |sum_{i in k} w_i x_i|^2,

    |x_m - c_k|^2 = G_mm - 2 S_km / W_k + Q_k / W_k^2.

Problems never mix: the result of one depends neither on its neighbours nor on their number.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 1e-7  # a move must gain this share of the image's largest squared radius: well above rounding


class Problems(NamedTuple):
    """P weighted K-means problems; several may share an image. All weights are positive."""

    gram: Tensor  # [B, M, M] float64, of points centred on their weighted mean
    weights: Tensor  # [B, M]
    image: Tensor  # [P] the image of each problem


class Sums(NamedTuple):
    """What a move needs to know of every cluster; changed in place by moves."""

    cross: Tensor  # [P, N, M] S
    square: Tensor  # [P, N] Q
    mass: Tensor  # [P, N] W
    count: Tensor  # [P, N] members


def uniform_table(restarts: int, n: int, seed: int) -> Tensor:
    """Return the uniform numbers [R, N] of k-means++: one table for every image, so that batches do not matter."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(restarts, n, generator=generator, dtype=torch.float64).clamp(max=1 - 1e-9)


def _pick(score: Tensor, taken: Tensor, uniform: Tensor) -> Tensor:
    """Choose an untaken point [P]: by the chances score [P, M], or the largest score where uniform [P] is negative."""
    score = score.masked_fill(taken, 0.0)
    nothing = score.sum(1, keepdim=True) <= 0  # only duplicates are left: any untaken point
    score = torch.where(nothing, (~taken).to(score), score)
    total = score.cumsum(1)
    chance = torch.searchsorted(total, uniform[:, None] * total[:, -1:], right=True)[:, 0]
    return torch.where(uniform < 0, score.argmax(1), chance)


def seed_clusters(problems: Problems, uniform: Tensor) -> Tensor:
    """Choose N distinct points as seeds, give every point to its nearest seed; uniform [P, N] -> labels [P, M].

    k-means++ (Arthur and Vassilvitskii 2007) with the chances w_m * (squared distance to the nearest seed); where
    uniform is negative, the point with the largest such product (weighted farthest point). A seed keeps its own point,
    so that no cluster starts empty even among duplicates.
    """
    gram, weights, image = problems
    diagonal = gram.diagonal(dim1=1, dim2=2)[image]  # P, M
    weight = weights[image]
    problem = torch.arange(len(image), device=image.device)
    distance = torch.ones_like(diagonal)
    label = torch.zeros_like(diagonal, dtype=torch.long)
    taken = torch.zeros_like(diagonal, dtype=torch.bool)
    for k in range(uniform.shape[1]):
        seed = _pick(weight * distance, taken, uniform[:, k])
        new = (diagonal + diagonal[problem, seed][:, None] - 2 * gram[image, seed]).clamp(min=0)
        closer = (new < distance) & ~taken if k else torch.ones_like(taken)
        closer[problem, seed] = True
        taken[problem, seed] = True
        label = label.masked_fill(closer, k)
        distance = torch.where(closer, new, distance)
    return label


def cluster_sums(problems: Problems, label: Tensor, n: int) -> Sums:
    """Compute S, Q, W and the member counts of the clusters that label [P, M] describes."""
    member = torch.nn.functional.one_hot(label, n).to(problems.gram)  # P, M, N
    weighted = (member * problems.weights[problems.image][..., None]).mT.contiguous()
    cross = weighted @ problems.gram[problems.image]
    return Sums(cross, (cross * weighted).sum(2), weighted.sum(2), member.sum(1))


def energies(problems: Problems, label: Tensor, n: int) -> Tensor:
    """Return sum_m w_m G_mm - sum_k Q_k / W_k [P], the energy of eq. 3 with every point in its labelled cluster."""
    sums = cluster_sums(problems, label, n)
    total = (problems.weights * problems.gram.diagonal(dim1=1, dim2=2)).sum(1)
    return total[problems.image] - (sums.square / sums.mass).sum(1)


def _move(problems: Problems, sums: Sums, label: Tensor, m: int, who: Tensor, target: Tensor) -> None:
    """Move point m of the problems `who` to the clusters `target`, in label and in sums."""
    image, source = problems.image[who], label[who, m]
    weight = problems.weights[image, m]
    row = weight[:, None] * problems.gram[image, m]
    square = weight * row[:, m]
    sums.square[who, source] += square - 2 * weight * sums.cross[who, source, m]
    sums.square[who, target] += square + 2 * weight * sums.cross[who, target, m]
    for cluster, sign in ((source, -1), (target, 1)):
        sums.cross[who, cluster] += sign * row
        sums.mass[who, cluster] += sign * weight
        sums.count[who, cluster] += sign
    label[who, m] = target


def sweep(problems: Problems, label: Tensor, n: int) -> Tensor:
    """Offer every point in turn its best move (Hartigan 1975), in place; return which problems moved [P].

    Moving x from cluster a to b changes the energy by w * (W_b / (W_b + w) |x - c_b|^2 - W_a / (W_a - w) |x - c_a|^2):
    taken when negative, so the energy never rises. The last member of a cluster stays: no cluster becomes empty.
    """
    sums = cluster_sums(problems, label, n)
    diagonal = problems.gram.diagonal(dim1=1, dim2=2)
    least = TOLERANCE * diagonal.amax(1)[problems.image]
    moved = torch.zeros_like(problems.image, dtype=torch.bool)
    for m in range(label.shape[1]):
        weight = problems.weights[problems.image, m][:, None]
        centre = diagonal[problems.image, m][:, None] - 2 * sums.cross[:, :, m] / sums.mass
        distance = centre + sums.square / sums.mass**2  # P, N
        own = label[:, m : m + 1]
        mass = sums.mass.gather(1, own)
        loss = (mass / (mass - weight) * distance.gather(1, own))[:, 0]
        gain = distance * (sums.mass / (sums.mass + weight))
        best, target = gain.scatter_(1, own, torch.inf).min(1)
        free = (sums.count.gather(1, own)[:, 0] > 1) & (loss - best > least)
        who = free.nonzero()[:, 0]
        _move(problems, sums, label, m, who, target[who])
        moved |= free
    return moved


def settle(problems: Problems, label: Tensor, n: int, sweeps: int) -> Tensor:
    """Sweep every problem until none of its points moves, at most `sweeps` times; label [P, M] -> [P, M]."""
    label = label.clone()
    active = torch.arange(len(label), device=label.device)
    for _ in range(sweeps if n > 1 else 0):
        part = label[active]
        moved = sweep(Problems(problems.gram, problems.weights, problems.image[active]), part, n)
        label[active] = part
        active = active[moved]
        if not len(active):
            break
    return label
