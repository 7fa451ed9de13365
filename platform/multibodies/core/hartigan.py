"""Weighted K-means in Gram space, many small problems at once: Lloyd's iterations, then Hartigan's single-point moves.

Legend: B image, P problem (one start of one image), Q some of the problems, M hypothesis (a point), N cluster.
Everything comes from an image's Gram matrix G = X X^T, so a centre is never formed: with S_km = sum_{i in k} w_i G_im,
W_k = sum_{i in k} w_i and Z_k = |sum_{i in k} w_i x_i|^2,

    |x_m - c_k|^2 = G_mm - 2 S_km / W_k + Z_k / W_k^2.

Problems never mix: the result of one depends neither on its neighbours nor on their number.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 1e-9  # a move must lower the energy by this share of the weighted scatter: above rounding


class Problems(NamedTuple):
    """P weighted K-means problems; several may share an image. All weights are positive and sum to 1."""

    gram: Tensor  # [B, M, M] float64, of points centred on their weighted mean
    weights: Tensor  # [B, M]
    image: Tensor  # [P] the image of each problem

    def of(self, who: Tensor) -> Problems:
        """Return the problems `who` [Q]."""
        return self._replace(image=self.image[who])


class State(NamedTuple):
    """A partition of each problem and its sums; moves change them in place."""

    label: Tensor  # [P, M] the cluster of each point
    cross: Tensor  # [P, N, M] S
    square: Tensor  # [P, N] Z
    mass: Tensor  # [P, N] W
    count: Tensor  # [P, N] members

    def of(self, who: Tensor) -> State:
        """Return a copy of the problems `who` [Q]."""
        return State(*(tensor[who] for tensor in self))


def uniform_table(restarts: int, n: int, seed: int) -> Tensor:
    """Return the uniform numbers [R, N] of k-means++: one table for every image, so that batches do not matter.

    Row 0 is -1: `seed_clusters` takes the farthest points there.
    """
    generator = torch.Generator().manual_seed(seed)
    table = torch.rand(restarts, n, generator=generator, dtype=torch.float64).clamp(max=1 - 1e-9)
    return torch.cat([torch.full((1, n), -1.0, dtype=torch.float64), table[1:]])


def diagonals(problems: Problems) -> Tensor:
    """Return |x_m|^2 [P, M]."""
    return problems.gram.diagonal(dim1=1, dim2=2)[problems.image]


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
    diagonal, weight = diagonals(problems), problems.weights[problems.image]
    row = torch.arange(len(weight), device=weight.device)
    distance, label = torch.ones_like(diagonal), torch.zeros_like(diagonal, dtype=torch.long)
    taken = torch.zeros_like(diagonal, dtype=torch.bool)
    for k in range(uniform.shape[1]):
        seed = _pick(weight * distance, taken, uniform[:, k])
        new = diagonal + diagonal[row, seed][:, None] - 2 * problems.gram[problems.image, seed]
        closer = (new < distance) & ~taken if k else torch.ones_like(taken)
        closer[row, seed] = taken[row, seed] = True
        label = label.masked_fill(closer, k)
        distance = torch.where(closer, new.clamp(min=0), distance)
    return label


def describe(problems: Problems, label: Tensor, n: int) -> State:
    """Compute the sums of the clusters that label [P, M] describes."""
    member = torch.zeros(len(label), n, label.shape[1], dtype=torch.float64, device=label.device)
    member.scatter_(1, label[:, None], 1.0)
    weighted = member * problems.weights[problems.image][:, None]
    cross = weighted @ problems.gram[problems.image]
    return State(label, cross, (cross * weighted).sum(2), weighted.sum(2), member.sum(2))


def energies(problems: Problems, label: Tensor, n: int) -> Tensor:
    """Return sum_m w_m G_mm - sum_k Z_k / W_k [P], the energy of eq. 3 with every point in its labelled cluster."""
    state = describe(problems, label, n)
    scatter = (problems.weights[problems.image] * diagonals(problems)).sum(1)
    return scatter - (state.square / state.mass).sum(1)


def lloyd(problems: Problems, label: Tensor, n: int) -> Tensor:
    """Give every point to its nearest centre, except that each centre keeps the nearest of its own: [P, M] -> [P, M].

    The exception cannot raise the energy, and no cluster becomes empty.
    """
    state = describe(problems, label, n)
    shifted = (state.square / state.mass**2)[..., None] - 2 * state.cross / state.mass[..., None]  # lacks G_mm
    nearest = shifted.argmin(1)
    mine = shifted.gather(1, label[:, None])[:, 0] + diagonals(problems)
    clusters = torch.arange(n, device=label.device)
    anchor = mine[:, None].masked_fill(label[:, None] != clusters[:, None], torch.inf).argmin(2)
    return nearest.scatter_(1, anchor, clusters.expand_as(anchor))


def _additions(problems: Problems, state: State, who: Tensor, cluster: Tensor) -> Tensor:
    """Return W / (W + w_m) |x_m - c|^2 [Q, M] for one cluster [Q] of the problems who [Q]; infinite for its members."""
    mass = state.mass[who, cluster][:, None]
    square = state.square[who, cluster][:, None] / mass**2
    part = problems.of(who)
    distance = state.cross[who, cluster] * (-2 / mass) + square + diagonals(part)
    added = distance * (mass / (mass + part.weights[part.image]))
    return added.masked_fill_(state.label[who] == cluster[:, None], torch.inf)


def _removals(problems: Problems, state: State) -> Tensor:
    """Return W / (W - w_m) |x_m - c|^2 [P, M] for each point's own cluster; 0 for the last member, which stays."""
    mass, square, count = (t.gather(1, state.label) for t in (state.mass, state.square, state.count))
    cross = state.cross.gather(1, state.label[:, None])[:, 0]
    distance = diagonals(problems) - 2 * cross / mass + square / mass**2
    rest = torch.where(count > 1, mass - problems.weights[problems.image], torch.inf)
    return distance * mass / rest


def _move(problems: Problems, state: State, who: Tensor, point: Tensor, target: Tensor) -> None:
    """Move one point [Q] of each problem who [Q] to the cluster target [Q], in place."""
    source, image = state.label[who, point], problems.image[who]
    weight = problems.weights[image, point]
    row = weight[:, None] * problems.gram[image, point]
    own = weight * row.gather(1, point[:, None])[:, 0]
    for cluster, sign in ((source, -1), (target, 1)):
        state.square[who, cluster] += 2 * sign * weight * state.cross[who, cluster, point] + own
        state.cross[who, cluster] += sign * row
        state.mass[who, cluster] += sign * weight
        state.count[who, cluster] += sign
    state.label[who, point] = target


def _best_moves(problems: Problems, state: State, added: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest fall of the energy by one move [P], its point [P] and its target [P]."""
    least, target = added.min(1)
    fall, point = (problems.weights[problems.image] * (_removals(problems, state) - least)).max(1)
    return fall, point, target.gather(1, point[:, None])[:, 0]


def hartigan(problems: Problems, label: Tensor, n: int, moves: int) -> Tensor:
    """Take the best single-point move of each problem until none is left (Hartigan 1975): [P, M] -> [P, M].

    Moving x from cluster a to b changes the energy by w * (W_b / (W_b + w) |x - c_b|^2 - W_a / (W_a - w) |x - c_a|^2).
    Only a fall is taken and the last member of a cluster stays, so the energy never rises and no cluster becomes empty.
    At most `moves` per problem; problems that are done leave the batch once they are the larger part of it.
    """
    label = label.clone()
    rows = torch.arange(len(label), device=label.device)
    state = describe(problems, label.clone(), n)
    added = torch.stack([_additions(problems, state, rows, torch.full_like(rows, k)) for k in range(n)], 1)
    least = TOLERANCE * (problems.weights * problems.gram.diagonal(dim1=1, dim2=2)).sum(1)
    for _ in range(moves if n > 1 else 0):
        fall, point, target = _best_moves(problems, state, added)
        who = (fall > least[problems.image]).nonzero()[:, 0]
        if 2 * len(who) < len(rows):
            rows, problems, state, added = rows[who], problems.of(who), state.of(who), added[who]
            point, target = point[who], target[who]
            who = torch.arange(len(who), device=who.device)
        if not len(who):
            break
        touched = (state.label[who, point[who]], target[who])
        _move(problems, state, who, point[who], target[who])
        for cluster in touched:
            added[who, cluster] = _additions(problems, state, who, cluster)
        label[rows] = state.label
    return label
