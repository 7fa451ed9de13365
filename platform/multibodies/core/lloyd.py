"""Lloyd's rounds in Gram space: every point to its nearest centre at once, many problems together.

Legend: P problem, M hypothesis (a point), N cluster; the sums are those of `hartigan`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from multibodies.core.hartigan import TOLERANCE, Problems, describe


def lloyd(problems: Problems, label: Tensor, n: int, rounds: int) -> Tensor:
    """Move every point to its nearest centre, at most `rounds` times (Lloyd 1982).

    A cluster keeps the member nearest to its centre: the energy (eq. 3) never rises and no cluster
    becomes empty. A few rounds do most of what a hundred single-point moves do, less well: label
    [P, M] -> labels [P, M].
    """
    least_gain = TOLERANCE * problems.radius.amax(1, keepdim=True)
    for _ in range(rounds):
        state = describe(problems, label, n)
        # |x - c|^2 - |x|^2: what tells the centres of a point apart
        offset = state.cross.mul_((-2 / state.mass)[..., None])
        offset += (state.square / state.mass**2)[..., None]
        own = offset.gather(1, label[:, None])[:, 0]
        least, nearest = offset.min(1)
        distance = own + problems.radius
        kept = torch.full_like(state.mass, torch.inf).scatter_reduce_(1, label, distance, "amin")
        moves = (least < own - least_gain) & (distance > kept.gather(1, label))
        if not moves.any():
            break
        label = torch.where(moves, nearest, label)
    return label
