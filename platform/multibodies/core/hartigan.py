"""Weighted K-means in Gram space, many small problems at once: k-means++, then single-point moves.

Legend: B image, R restart, P = B * R problem (image-major), Q some of the problems, M hypothesis (a
point), N cluster. Everything comes from an image's Gram matrix G = X X^T, so a centre is never
formed. With S_km = sum_{i in k} w_i G_im, W_k = sum_{i in k} w_i, Z_k = |sum_{i in k} w_i x_i|^2:

    |x_m - c_k|^2 = G_mm - 2 S_km / W_k + Z_k / W_k^2.

Problems never mix: the result of one depends neither on its neighbours nor on their number.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = (
    1e-9  # a move must lower the energy by this share of the weighted scatter: above rounding
)


class Problems(NamedTuple):
    """P weighted K-means problems over B sets of points. All weights are positive."""

    gram: Tensor  # [B, M, M] float64, of points centred on their weighted mean
    image: Tensor  # [P] the set of each problem
    weights: Tensor  # [P, M]
    radius: Tensor  # [P, M] |x_m|^2

    def of(self, who: Tensor) -> Problems:
        """Return the problems who [Q]."""
        image, weights, radius = (part.index_select(0, who) for part in self[1:])
        return Problems(self.gram, image, weights, radius)


class State(NamedTuple):
    """A partition of each problem and its sums; moves change them in place."""

    label: Tensor  # [P, M] the cluster of each point
    cross: Tensor  # [P, N, M] S
    square: Tensor  # [P, N] Z
    mass: Tensor  # [P, N] W
    members: Tensor  # [P, N] their number

    def of(self, who: Tensor) -> State:
        """Return a copy for the problems who [Q]."""
        return State(*(tensor.index_select(0, who) for tensor in self))


def make_problems(points: Tensor, weights: Tensor, restarts: int) -> Problems:
    """Centre points [B, M, D] on their weighted means and repeat each image for its restarts."""
    mean = (weights[:, None] @ points) / weights.sum(1)[:, None, None]
    centred = points - mean
    gram = centred @ centred.mT
    image = torch.arange(len(points), device=points.device).repeat_interleave(restarts)
    return Problems(gram, image, weights[image], gram.diagonal(dim1=1, dim2=2)[image])


def uniform_table(restarts: int, n: int, seed: int) -> Tensor:
    """Return the uniform numbers [R, N] of k-means++, one table for every image.

    Row 0 is -1: `seed_clusters` takes the farthest points there.
    """
    generator = torch.Generator().manual_seed(seed)
    table = torch.rand(restarts, n, generator=generator, dtype=torch.float64).clamp(max=1 - 1e-9)
    table[0] = -1.0
    return table


def _pick(score: Tensor, taken: Tensor, uniform: Tensor) -> Tensor:
    """Choose an untaken point [P] by the chances score [P, M]; the best where uniform [P] < 0."""
    score = score.masked_fill(taken, 0.0)
    nothing = score.sum(1, keepdim=True) <= 0  # only duplicates are left: any untaken point
    score = torch.where(nothing, (~taken).to(score), score)
    total = score.cumsum(1)
    chance = torch.searchsorted(total, uniform[:, None] * total[:, -1:], right=True)[:, 0]
    return torch.where(uniform < 0, score.argmax(1), chance)


def seed_clusters(problems: Problems, uniform: Tensor) -> Tensor:
    """Choose N distinct seeds, give every point to the nearest: uniform [P, N] -> labels [P, M].

    k-means++ (Arthur and Vassilvitskii 2007) with the chances w_m * (squared distance to the
    nearest seed); where uniform is negative, the point with the largest such product (weighted
    farthest point). A seed keeps its own point: no cluster starts empty, even among duplicates.
    """
    row = torch.arange(len(uniform), device=uniform.device)
    distance = torch.ones_like(problems.radius)
    label = torch.zeros_like(distance, dtype=torch.long)
    taken = torch.zeros_like(distance, dtype=torch.bool)
    for k in range(uniform.shape[1]):
        seed = _pick(problems.weights * distance, taken, uniform[:, k])
        product = problems.gram[problems.image, seed]
        new = problems.radius + problems.radius[row, seed][:, None] - 2 * product
        closer = (new < distance) & ~taken if k else torch.ones_like(taken)
        closer[row, seed] = taken[row, seed] = True
        label = label.masked_fill(closer, k)
        distance = torch.where(closer, new.clamp(min=0), distance)
    return label


def describe(problems: Problems, label: Tensor, n: int) -> State:
    """Compute the sums of the clusters that label [P, M] describes; P must be whole images."""
    weighted = problems.weights.new_zeros(len(label), n, label.shape[1])
    weighted.scatter_(1, label[:, None], problems.weights[:, None])
    cross = weighted.view(len(problems.gram), -1, label.shape[1]) @ problems.gram
    cross = cross.view_as(weighted)
    own = problems.weights * cross.gather(1, label[:, None])[:, 0]
    none = problems.weights.new_zeros(len(label), n)
    square, mass = none.scatter_add(1, label, own), none.scatter_add(1, label, problems.weights)
    return State(label, cross, square, mass, none.scatter_add(1, label, torch.ones_like(own)))


def _additions(problems: Problems, state: State, who: Tensor, cluster: Tensor) -> Tensor:
    """W / (W + w_m) |x_m - c|^2 [Q, M] of a cluster [Q] of problems who [Q]; inf for members."""
    row = who * state.mass.shape[1] + cluster  # whole rows of flat tables are copied fastest
    mass = state.mass.flatten()[row][:, None]
    square = state.square.flatten()[row][:, None] / mass**2
    cross = state.cross.flatten(0, 1).index_select(0, row)
    distance = cross * (-2 / mass) + square + problems.radius.index_select(0, who)
    added = distance * (mass / (mass + problems.weights.index_select(0, who)))
    return added.masked_fill_(state.label.index_select(0, who) == cluster[:, None], torch.inf)


def _removals(problems: Problems, state: State) -> Tensor:
    """W / (W - w_m) |x_m - c|^2 [P, M] of each point's own cluster; 0 for a last member."""
    own = state.label
    mass, square = state.mass.gather(1, own), state.square.gather(1, own)
    cross = state.cross.gather(1, own[:, None])[:, 0]
    distance = problems.radius - 2 * cross / mass + square / mass**2
    last = state.members.gather(1, own) <= 1
    return distance * mass / (mass - problems.weights).masked_fill(last, torch.inf)


def _move(problems: Problems, state: State, who: Tensor, point: Tensor, target: Tensor) -> None:
    """Move one point [Q] of each problem who [Q] to the cluster target [Q], in place."""
    source, weight = state.label[who, point], problems.weights[who, point]
    gram = problems.image[who] * problems.gram.shape[1] + point
    row = weight[:, None] * problems.gram.flatten(0, 1).index_select(0, gram)
    own = weight * row.gather(1, point[:, None])[:, 0]
    for cluster, sign in ((source, -1), (target, 1)):
        state.square[who, cluster] += 2 * sign * weight * state.cross[who, cluster, point] + own
        state.cross[who, cluster] += sign * row
        state.mass[who, cluster] += sign * weight
        state.members[who, cluster] += sign
    state.label[who, point] = target


def _best_moves(problems: Problems, state: State, added: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest fall of the energy by one move [P], its point [P] and its target [P]."""
    gain = problems.weights * (_removals(problems, state) - added.amin(1))
    fall, point = gain.max(1)
    # the target of the one point that moves: argmin of all of them would cost 20 times amin
    choices = added.gather(2, point[:, None, None].expand(-1, added.shape[1], 1))
    return fall, point, choices[..., 0].argmin(1)


def hartigan(problems: Problems, label: Tensor, n: int, moves: int) -> tuple[Tensor, Tensor]:
    """Take each problem's best single-point move until none is left (Hartigan 1975).

    Moving x from cluster a to b changes the energy (eq. 3) by

        w * (W_b / (W_b + w) |x - c_b|^2 - W_a / (W_a - w) |x - c_a|^2).

    Only a fall is taken and a cluster's last member stays: the energy never rises, no cluster
    becomes empty. At most `moves` per problem. label [P, M] -> labels [P, M] and energies [P].
    """
    rows = torch.arange(len(label), device=label.device)
    state = describe(problems, label.clone(), n)
    scatter = (problems.weights * problems.radius).sum(1)
    label, energy = label.clone(), scatter - (state.square / state.mass).sum(1)
    if n == 1 or not moves:
        return label, energy
    clusters = (torch.full_like(rows, k) for k in range(n))
    added = torch.stack([_additions(problems, state, rows, k) for k in clusters], 1)  # [P, N, M]
    for _ in range(moves):
        fall, point, target = _best_moves(problems, state, added)
        who = (fall > TOLERANCE * scatter[rows]).nonzero()[:, 0]
        if 2 * len(who) < len(rows):  # most are done: go on without them
            label[rows] = state.label
            rows, problems, state, added = rows[who], problems.of(who), state.of(who), added[who]
            fall, point, target = fall[who], point[who], target[who]
            who = torch.arange(len(who), device=who.device)
        if not len(who):
            break
        touched = torch.cat([state.label[who, point[who]], target[who]])
        _move(problems, state, who, point[who], target[who])
        twice = torch.cat([who, who])
        added[twice, touched] = _additions(problems, state, twice, touched)
        energy[rows[who]] -= fall[who]
    label[rows] = state.label
    return label, energy
